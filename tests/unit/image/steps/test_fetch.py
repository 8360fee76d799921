"""What is pulled before a build in layers, by an engine and a registry that say what a test wrote down."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.image.artifacts import ModelArtifacts
from bridge.image.builders.choice import Builder
from bridge.image.builders.layered.engine import base as engine_base
from bridge.image.builders.layered.plan import RECIPE, REQUIREMENTS_LABEL, descriptor
from bridge.image.builders.layered.plan import plan as plan_of
from bridge.image.builders.layered.remote import LayeredRepository
from bridge.image.metadata import ModelMetadata
from bridge.image.steps.fetch import fetch
from tests.unit.image.fake_programs import Programs

DIGEST = "sha256:1"
BASE = {"RootFS": {"Layers": ["sha256:b"]}, "Config": {"Env": ["PATH=/bin"]}, "Architecture": "amd64"}
TEXTS = {
    "MLmodel": "mlflow_version: 3.17.2\nflavors: {python_function: {env: {virtualenv: python_env.yaml}}}\n",
    "python_env.yaml": "python: 3.11.7\ndependencies: [-r requirements.txt]\n",
    "requirements.txt": "mlflow==3.17.2\nnumpy==2.4.6\n",
}
BUILDER = Builder("layered")


class Written(ModelArtifacts):
    """A model that consists of these texts."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def describe(self, to: Path) -> dict[str, int]:
        for name, text in self._texts.items():
            (to / name).write_text(text)
        return {name: len(text) for name, text in self._texts.items()}


@pytest.fixture
def machine(programs: Programs) -> Programs:
    """An engine that holds the base, and a registry whose image has the layers of TEXTS."""
    programs.say("docker", json.dumps([BASE]))
    key = plan_of(TEXTS, ModelMetadata("3.17.2", "3.11.7", has_serving_example=False)).key(engine_base("x"))
    held(programs, key)
    (programs.folder / "calls.jsonl").unlink()
    return programs


def held(programs: Programs, key: str) -> None:
    layers = [descriptor(f"sha256:{name * 64}", 1) for name in "abc"]
    labels = {REQUIREMENTS_LABEL: key, "bridge.recipe": RECIPE}
    config = {"config": {"Labels": labels}, "rootfs": {"diff_ids": ["sha256:b", "sha256:r", "sha256:m"]}}
    # Both calls of skopeo end with the same name, so one answer serves for both.
    programs.say("skopeo", json.dumps({"config": config["config"], "rootfs": config["rootfs"], "layers": layers}))


def call(texts: dict[str, str] | None = None, digest: str = DIGEST, **options: Any) -> Any:
    return fetch(Written(texts or TEXTS), options.get("builder", BUILDER), LayeredRepository("r.example/iris"), digest)


def asked(programs: Programs) -> list[str]:
    return [" ".join([name, *arguments]) for name, arguments, _, _ in programs.calls]


def test_an_image_with_the_same_requirements_is_pulled_and_given(machine: Programs) -> None:
    machine.say("docker image", json.dumps([BASE]))
    found = call()
    assert (found.name, found.digest, found.diff_ids[-1]) == ("r.example/iris", DIGEST, "sha256:m")
    assert asked(machine)[-1] == f"docker image inspect r.example/iris@{DIGEST}"


def test_an_image_that_the_engine_lacks_is_pulled_and_done_without_where_it_is_gone(machine: Programs) -> None:
    machine.say(f"docker r.example_iris@{DIGEST}", "", status=1)
    assert call() is None
    assert asked(machine)[-1] == f"docker pull --quiet r.example/iris@{DIGEST}"


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS | {"requirements.txt": "mlflow==3.17.2\nnumpy==2.4.7\n"},
        TEXTS | {"MLmodel": TEXTS["MLmodel"].replace("flavors: {", "flavors: {lightgbm: {}, ")},
    ],
)
def test_other_requirements_are_no_reason_to_pull(machine: Programs, texts: dict[str, str]) -> None:
    assert call(texts) is None
    assert [each for each in asked(machine) if each.startswith("docker ")] == [
        "docker image inspect python:3.11.7-slim"
    ]


def test_without_an_earlier_image_the_base_alone_is_looked_for(machine: Programs) -> None:
    assert call(digest="", builder=Builder("layered", base_image="python:3")) is None
    assert asked(machine) == ["docker image inspect python:3"]


@pytest.mark.parametrize("program", ["docker", "skopeo"])
def test_an_engine_or_a_registry_that_fails_is_told_of_and_stops_nothing(
    machine: Programs, program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.image.registry.client.time.sleep", lambda _: None)
    machine.say(program, status=1, err="no such host")
    assert call() is None
    assert "no earlier image is built upon: " in capsys.readouterr().out


def test_a_model_that_cannot_be_read_stops_nothing_here(machine: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    assert call({"MLmodel": ""}) is None
    assert "no readable MLmodel" in capsys.readouterr().out
    assert asked(machine) == []


@pytest.mark.parametrize(
    "planted",
    [
        {},
        {"layers": [], "config": None},
        {"layers": [], "config": {"Labels": None}, "rootfs": {}},
        {"layers": None, "config": {"Labels": {}}, "rootfs": {"diff_ids": []}},
        {"layers": [1], "config": {"Labels": ["a"]}, "rootfs": {"diff_ids": []}},
    ],
)
def test_an_image_that_is_nothing_of_ours_is_not_built_upon(machine: Programs, planted: object) -> None:
    machine.say("skopeo", json.dumps(planted))
    assert call() is None
