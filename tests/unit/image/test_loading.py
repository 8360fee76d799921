"""What an engine is given of an image in layers; that engines take it is shown in tests/e2e."""

import hashlib
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from bridge.image.builders.layered import engine
from bridge.image.builders.layered.plan import descriptor, manifest
from bridge.image.errors import BuildFailed
from tests.unit.image.fake_programs import Programs

_ENGINE = """\
#!{python}
import pathlib, sys
pathlib.Path({archive!r}).write_bytes(sys.stdin.buffer.read())
print({says!r})
"""


def name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with configuration, manifest and the last of two layers."""
    folder = tmp_path / "image"
    folder.mkdir()
    layers = [b"what the engine holds", b"the model"]
    (folder / name(layers[1])).write_bytes(layers[1])
    (folder / name(b"{}")).write_bytes(b"{}")
    parts = [descriptor(f"sha256:{name(layer)}", len(layer)) for layer in layers]
    (folder / "manifest.json").write_bytes(manifest(b"{}", parts))
    return folder


def load(image: Path, says: str) -> tuple[str, dict[str, bytes]]:
    """Give what loading gives, and the archive's files, with an engine that says this of it."""
    program, archive = Path(os.environ["PATH"]) / "docker", image.parent / "archive.tar"
    program.write_text(_ENGINE.format(python=sys.executable, archive=str(archive), says=says))
    program.chmod(0o755)
    held = engine.load(image)
    with tarfile.open(archive) as tar:
        return held, {each.name: content.read() for each in tar if (content := tar.extractfile(each))}


@pytest.mark.usefixtures("programs")
def test_an_engine_is_given_an_image_in_both_forms_without_the_layers_that_it_holds(image: Path) -> None:
    said = (image / "manifest.json").read_bytes()
    _, files = load(image, f"Loaded image ID: sha256:{name(b'{}')}")
    (described,) = json.loads(files["manifest.json"])
    assert files[described["Config"]] == b"{}"
    assert [files.get(layer) for layer in described["Layers"]] == [None, b"the model"]
    (found,) = json.loads(files["index.json"])["manifests"]
    assert found["digest"] == f"sha256:{name(said)}"
    assert found["size"] == len(said)
    assert files[f"blobs/sha256/{name(said)}"] == said
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert all(name(files[each]) == each.rpartition("/")[2] for each in files if each.startswith("blobs/"))


@pytest.mark.usefixtures("programs")
def test_the_engines_own_id_is_given_be_it_the_configurations_or_the_manifests(image: Path) -> None:
    for digest in (name(b"{}"), name((image / "manifest.json").read_bytes())):
        assert load(image, f"Loaded image ID: sha256:{digest}")[0] == f"sha256:{digest}"


@pytest.mark.usefixtures("programs")
def test_an_engine_that_loads_anything_else_is_told_of(image: Path) -> None:
    with pytest.raises(BuildFailed, match=r"can't load the image .Loaded image ID: sha256:0000"):
        load(image, "Loaded image ID: sha256:" + 64 * "0")


def test_an_engine_that_ends_before_it_has_read_anything_is_told_of(image: Path, programs: Programs) -> None:
    (image / name(b"{}")).write_bytes(b"{}" + bytes(5_000_000))
    programs.say("docker", "no space left on device", status=1)
    (programs.folder / "docker").write_text("#!/bin/sh\necho no space left on device\nexit 1\n")
    with pytest.raises(BuildFailed, match=r"can't load the image .no space left on device"):
        engine.load(image)


def test_an_engine_that_cannot_give_its_base_is_told_of(programs: Programs, tmp_path: Path) -> None:
    programs.say("docker", status=1, err="unable to find content")
    with pytest.raises(BuildFailed, match="unable to find content"):
        engine.save("python:3", tmp_path / "base.tar")
