"""Where the base's layers are taken from."""

import json
from pathlib import Path

import pytest

from bridge.image.builders.layered import engine, remote
from bridge.image.builders.layered.plan import Base

BASE = Base("python:3.11.7-slim", ("sha256:a", "sha256:b"), origin="python@sha256:o")
HUB, MIRROR = f"python@sha256:{'1' * 64}", f"127.0.0.1:5000/python@sha256:{'2' * 64}"


def fetched(folder: Path, kind: str, diff_ids: tuple[str, ...] = BASE.diff_ids) -> Path:
    """What skopeo leaves of an image whose layers are of that media type."""
    layers = [{"mediaType": kind, "digest": f"sha256:{diff_id}z", "size": 1} for diff_id in diff_ids]
    manifest = {"schemaVersion": 2, "config": {"digest": "sha256:c"}, "layers": layers}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "c").write_text(json.dumps({"rootfs": {"diff_ids": diff_ids}}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "kind", ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"]
)
def test_the_image_that_the_engine_holds_is_taken_as_it_is(tmp_path: Path, kind: str) -> None:
    assert remote._is_of(BASE, fetched(tmp_path, kind))


def test_another_image_or_another_compression_is_not_taken(tmp_path: Path) -> None:
    assert not remote._is_of(BASE, fetched(tmp_path, "application/vnd.oci.image.layer.v1.tar+zstd"))
    assert not remote._is_of(BASE, fetched(tmp_path, "application/vnd.oci.image.layer.v1.tar+gzip", ("sha256:a",)))


def test_a_manifest_of_an_old_registry_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schemaVersion": 1, "fsLayers": []}', encoding="utf-8")
    assert not remote._is_of(BASE, tmp_path)


@pytest.mark.parametrize(
    ("image", "known", "origin"),
    [
        ("python:3.11.7-slim", [MIRROR, HUB], HUB),
        ("python", [MIRROR, HUB], HUB),
        (HUB, [MIRROR, HUB], HUB),
        ("127.0.0.1:5000/python:3.11", [HUB, MIRROR], MIRROR),
        ("127.0.0.1:5000/python", [HUB, MIRROR], MIRROR),
        ("pyth:3.11", [HUB], HUB),
        ("python:3.11.7-slim", [], ""),
    ],
)
def test_of_several_registries_the_one_is_asked_that_the_base_is_named_after(
    image: str, known: list[str], origin: str
) -> None:
    assert engine._origin(image, known) == origin
