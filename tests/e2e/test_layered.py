"""Images in layers, by a real engine and a real registry: the same answers, a next version in seconds, no secrets."""

import gzip
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.images import in_registry, signed_in, size_of
from bridge.image import docker
from bridge.image.artifacts import metadata_in
from bridge.image.builders.layered import assemble as layered
from bridge.image.builders.layered import engine as layered_engine
from bridge.image.builders.layered import remote as layered_registry
from bridge.image.builders.layered.plan import LayeredPlan
from bridge.image.builders.layered.remote import LayeredRepository
from bridge.image.builders.layered.requirements import Requirements
from bridge.image.errors import BuildFailed
from bridge.image.metadata import ModelMetadata
from bridge.image.steps import smoke_test
from tests.loopback.registry import Registry
from tests.loopback.stage import base_image, missing_for_images
from tests.proof import parity

_CREATED = "2000-01-01T00:00:00Z"
_LABELS = {"mlflow.model.name": "layers"}
_MODEL = """
import sys, mlflow, pandas
class Times(mlflow.pyfunc.PythonModel):
    def __init__(self, factor): self.factor = factor
    def predict(self, context, model_input, params=None):
        return [float(value) * self.factor for value in model_input["x"]]
mlflow.pyfunc.save_model(
    sys.argv[1], python_model=Times(float(sys.argv[2])), pip_requirements=["cloudpickle", "pandas"],
    input_example=pandas.DataFrame({"x": [1.0, 2.0]}),
)
"""


@dataclass(frozen=True)
class Pushed:
    """The first version: its folder, its image, and where that was pushed."""

    model: Path
    image: layered.LayeredImage
    repository: LayeredRepository
    blobs: Path


def save(folder: Path, factor: float) -> Path:
    subprocess.run([sys.executable, "-c", _MODEL, str(folder), str(factor)], env=docker.environment(), check=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def tools() -> Iterator[None]:
    """uv and uvx stand beside this Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    if lacking := missing_for_images():
        pytest.skip(lacking)
    here = tmp_path_factory.mktemp("layered")
    model = save(here / "model", 2.0)
    with Registry(here / "registry") as registry, signed_in(registry, here):
        repository = LayeredRepository(f"{registry.host}/demo/layers", here)
        plan = layered.plan(model, metadata_in(model))
        image = layered.build(model, plan, here / "image", _LABELS, created=_CREATED)
        assert repository.push_parts(image.folder, "1") == image.digest
        yield Pushed(model, image, repository, here / "registry" / "blobs")
        docker.remove(image.id)


def test_both_builders_images_give_the_same_answers(first: Pushed) -> None:
    metadata = metadata_in(first.model)
    theirs = "layered-parity"
    releases = {"mlflow_version": metadata.mlflow_version, "python_version": metadata.python_version}
    docker.build_with_mlflow(first.model, theirs, **releases)
    first.image.load()
    try:
        asked = parity.requests_to(first.model)
        expected, given = parity.answers(theirs, asked), parity.answers(first.image.id, asked)
        assert given == expected
        assert given[1] == (200, {"predictions": [2.0, 4.0]})
        assert size(first.image.id) < 0.9 * size(theirs)
        check_nginx_as_root(theirs)
    finally:
        docker.remove(theirs)


def check_nginx_as_root(image: str) -> None:
    """MLflow's image answers as root too, within the smoke test's limits: those with pyenv or conda must be root."""
    container = docker.Container.start(image, network=False, root=True)
    try:
        smoke_test.ping(container, image)
    finally:
        container.remove()


def test_the_next_version_takes_its_layers_from_the_registry_and_pushes_its_model_alone(
    first: Pushed, tmp_path: Path
) -> None:
    model = save(tmp_path / "model", 3.0)
    docker.remove(first.image.id)  # a fresh runner has no layers of it
    before = size_of(first.blobs)
    image = layered.build(
        model, layered.plan(model, metadata_in(model)), tmp_path / "image", _LABELS, created=_CREATED,
        previous=first.repository.previous(first.image.digest),
    )  # fmt: skip
    assert image.reused == f"{first.repository.name}@{first.image.digest}"
    image.load()
    try:
        asked = [*parity.requests_to(model), parity.Request("/health"), parity.Request("/version")]
        given = parity.answers(image.id, asked)
        assert given[1] == (200, {"predictions": [3.0, 6.0]})
        assert [status for status, _ in given[-2:]] == [200, 200]
        assert user(image.id) == "10001"
        assert json.loads(inside(image.id, _INSTALLED)) == {"lacking": [], "asked for": True, "interface": False}
    finally:
        docker.remove(image.id)
    digest = first.repository.push_parts(image.folder, "2")
    assert first.repository.manifest(digest).config == image.id, "what was pushed is not what was tested"
    assert (size_of(first.blobs) - before) * 100 < before


def test_the_base_is_the_one_that_the_engine_knows_byte_by_byte_where_a_registry_has_it(tmp_path: Path) -> None:
    if lacking := missing_for_images():
        pytest.skip(lacking)
    with Registry(tmp_path / "registry") as registry, signed_in(registry, tmp_path):
        with in_registry(base_image(), registry) as name:
            known = layered_engine.base(name)
        assert known.origin.startswith(f"{registry.host}/base/python@sha256:")
        theirs = LayeredRepository(known.origin.partition("@")[0], tmp_path).previous(known.origin.partition("@")[2])
        assert theirs
        own = layered_registry.base_layers(replace(known, image=base_image(), origin=""), tmp_path / "own")
        fetched = layered_registry.base_layers(known, tmp_path / "fetched")
        assert [each["digest"] for each in fetched] == [each["digest"] for each in theirs.layers]
        assert [each["digest"] for each in fetched] != [each["digest"] for each in own]
        another = replace(known, image=base_image(), diff_ids=("sha256:other",))
        gone = replace(known, image=base_image(), origin=f"{registry.host}/nothing@sha256:{'0' * 64}")
        for place, base in enumerate((another, gone)):
            assert layered_registry.base_layers(base, tmp_path / str(place)) == own


def test_no_secret_of_a_build_is_in_its_image_and_nothing_is_built_from_source_beside_it(tmp_path: Path) -> None:
    if lacking := missing_for_images():
        pytest.skip(lacking)
    password, certificate = secrets.token_hex(16), f"# {secrets.token_hex(16)}\n"
    (tmp_path / "model").mkdir()
    with index(tmp_path, password) as url:
        given = {"ca": certificate, "extra-index-urls": url}
        image = layered.build(
            tmp_path / "model", of("privately==1.0"), tmp_path / "image", _LABELS, created=_CREATED, secrets=given
        )
        held = contents(image)
        assert b"A private greeting" in held["layers"], "the private package is not there"
        looked_for = (*given.items(), ("password", password))
        found = [
            f"{name} in the {place}"
            for place, content in held.items()
            for name, value in looked_for
            if value.strip().encode() in content
        ]
        assert found == []
        assert b"bin/uv" not in held["layers"]
        with pytest.raises(BuildFailed):
            layered_engine.install(of("fromsource==1.0"), tmp_path / "none", given)


def contents(image: layered.LayeredImage) -> dict[str, bytes]:
    """What an image says where: to who reads the registry, and to who asks the engine that holds it."""
    image.load()
    try:
        asked = {
            "history": ["docker", "history", "--no-trunc", image.id],
            "configuration in the engine": ["docker", "image", "inspect", image.id],
        }
        said = {
            name: subprocess.run(command, capture_output=True, check=True).stdout for name, command in asked.items()
        }
    finally:
        docker.remove(image.id)
    configuration, *layers = (
        (image.folder / digest.removeprefix("sha256:")).read_bytes() for digest in (image.id, *image.new)
    )
    return said | {
        "configuration": configuration,
        "manifest": (image.folder / "manifest.json").read_bytes(),
        "layers": b"".join(gzip.decompress(layer) for layer in layers),  # those of the base are as they were
    }


def of(requirement: str) -> LayeredPlan:
    release = base_image().removeprefix("python:").removesuffix("-slim")
    metadata = ModelMetadata("3.17.2", release, has_serving_example=False)
    return LayeredPlan(metadata, Requirements((requirement,)), wheels_only=True)


_INDEX = """
import base64, http.server, sys
sys.path.insert(0, "/index")
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization", "") != "Basic " + base64.b64encode(sys.argv[1].encode()).decode():
            self.send_response(401); self.send_header("WWW-Authenticate", "Basic"); self.end_headers(); return
        super().do_GET()
http.server.HTTPServer(("", 8000), lambda *a: Handler(*a, directory="/index")).serve_forever()
"""


@contextmanager
def index(folder: Path, password: str) -> Iterator[str]:
    """Run a package index in a container, without a port of this machine; give its address with user and password."""
    (folder / "project").mkdir()
    packages = folder / "index"
    for name, kind in (("privately", "wheel"), ("fromsource", "sdist")):
        (packages / name).mkdir(parents=True)
        (folder / "project" / f"{name}.py").write_text("'A private greeting'\n", encoding="utf-8")
        (folder / "project" / "pyproject.toml").write_text(_PROJECT.format(name=name), encoding="utf-8")
        command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(packages / name)]
        subprocess.run(command, cwd=folder / "project", check=True, capture_output=True)
        shutil.rmtree(folder / "project" / "dist", ignore_errors=True)
    started = subprocess.run(
        ["docker", "create", base_image(), "python", "-c", _INDEX, f"demo:{password}"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        subprocess.run(["docker", "cp", f"{packages}/.", f"{started}:/index"], check=True, capture_output=True)
        subprocess.run(["docker", "start", started], check=True, capture_output=True)
        where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = subprocess.run(
            ["docker", "inspect", "--format", where, started], capture_output=True, text=True, check=True
        ).stdout.strip()
        yield f"http://demo:{password}@{address}:8000/"
    finally:
        subprocess.run(["docker", "rm", "--force", started], check=True, capture_output=True)


_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "1.0"
[tool.hatch.build.targets.wheel]
include = ["{name}.py"]
"""


def size(image: str) -> int:
    said = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", image], capture_output=True, text=True, check=True
    )
    return int(said.stdout)


_INSTALLED = """
import importlib.metadata, json, pathlib, sys, sysconfig
packages = pathlib.Path(sysconfig.get_path("purelib"))
found = list(importlib.metadata.distributions(path=[str(packages)]))
lacking = [str(file) for each in found for file in each.files or () if not pathlib.Path(file.locate()).exists()]
asked_for = {"mlflow", "pandas", "cloudpickle"} <= {each.metadata["Name"] for each in found}
interface = (packages / "mlflow" / "server" / "js" / "build").exists()
print(json.dumps({"lacking": lacking, "asked for": asked_for, "interface": interface}))
"""


def inside(image: str, script: str) -> str:
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def user(image: str) -> str:
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "id", image, "-u"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
