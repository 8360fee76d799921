import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import yaml

from bridge.image.builders.layered.plan import (
    REQUIREMENTS_LABEL,
    Base,
    Layer,
    LayeredPlan,
    Previous,
    config,
    descriptor,
    manifest,
    plan,
)
from bridge.image.errors import InvalidInput, UnsafeMetadata, UnsupportedModel
from bridge.image.metadata import ModelMetadata

METADATA = ModelMetadata("3.17.2", "3.11.7", has_serving_example=True)
BASE = Base("python:3.11.7-slim", ("sha256:b",), ("PATH=/usr/local/bin:/bin", "LANG=C.UTF-8"))
LAYERS = (Layer("sha256:r", "sha256:rz", 7), Layer("sha256:m", "sha256:mz", 5))


def planned(flavors: dict[str, Any] | None = None, requirements: str = "numpy==2.4.6", **options: Any) -> LayeredPlan:
    said = {"flavors": {"python_function": {"loader_module": "mlflow.sklearn"}, **(flavors or {})}}
    env = yaml.safe_dump({"dependencies": ["-r requirements.txt"]})
    texts = {"MLmodel": yaml.safe_dump(said), "python_env.yaml": env, "requirements.txt": requirements}
    return plan(texts, METADATA, **options)


def test_the_base_is_the_models_python_unless_another_one_is_asked_for() -> None:
    assert planned().base == "python:3.11.7-slim"
    assert planned(base_image="registry.example/python:3").base == "registry.example/python:3"


@pytest.mark.parametrize("name", ["--help", "python:3 AS x", "python\nRUN x", "-", " python", "${SECRET}"])
def test_a_base_image_is_a_name_and_nothing_else(name: str) -> None:
    with pytest.raises(InvalidInput, match="base-image"):
        planned(base_image=name)


def test_a_flavor_brings_the_system_packages_that_mlflow_gives_it() -> None:
    assert planned().packages == ()
    assert planned({"lightgbm": {}}).packages == ("libgomp1",)


@pytest.mark.filterwarnings("default")  # MLflow warns of its own type hints
def test_the_table_of_system_packages_is_mlflows_own() -> None:
    from mlflow.pyfunc.backend import FLAVOR_SPECIFIC_APT_PACKAGES

    found = {flavor: planned({flavor: {}}).packages for flavor in FLAVOR_SPECIFIC_APT_PACKAGES}
    assert found == {flavor: tuple(packages) for flavor, packages in FLAVOR_SPECIFIC_APT_PACKAGES.items()}


@pytest.mark.parametrize("flavor", ["spark", "h2o", "johnsnowlabs"])
def test_a_model_that_needs_java_is_left_to_the_other_builder(flavor: str) -> None:
    with pytest.raises(UnsupportedModel, match="Java") as refused:
        planned({flavor: {}})
    assert refused.value.mlflow_can_build


@pytest.mark.parametrize("text", ["", "flavors: 7", "flavors: {python_function: 7}", "[", "flavors: {}"])
def test_a_model_without_python_function_is_refused_by_every_builder(text: str) -> None:
    with pytest.raises((UnsafeMetadata, UnsupportedModel), match="MLmodel") as refused:
        plan({"MLmodel": text}, METADATA)
    assert not getattr(refused.value, "mlflow_can_build", False)


@pytest.mark.parametrize("module", ["os", "mlflow", "mlflow.x; import os", "mlflow..x", 7, "mlflow.sklearn\n"])
def test_only_a_module_of_mlflows_is_imported_in_the_build(module: object) -> None:
    assert planned({"python_function": {"loader_module": module}}).modules == ()


def test_the_key_changes_with_all_that_decides_the_layers_and_with_nothing_else() -> None:
    first = planned()
    assert first.key(BASE) == planned(wheels_only=True).key(BASE)
    others = [
        planned(requirements="numpy==2.4.5").key(BASE),
        planned({"lightgbm": {}}).key(BASE),
        first.key(replace(BASE, diff_ids=("sha256:c",))),
        first.key(replace(BASE, env=())),
        first.key(replace(BASE, architecture="arm64")),
    ]
    assert len({first.key(BASE), *others}) == len(others) + 1


def test_the_image_serves_as_nobody_special_and_says_how_to_look_whether_it_is_well() -> None:
    said = json.loads(config(BASE, LAYERS, {"mlflow.model.name": "m"}, "2000-01-01T00:00:00Z"))
    assert said["config"]["User"] == "10001:10001"
    assert "8080/tcp" in said["config"]["ExposedPorts"]
    assert "/health" in said["config"]["Healthcheck"]["Test"][-1]
    assert said["config"]["Labels"] == {"mlflow.model.name": "m"}
    assert "PATH=/opt/venv/bin:/usr/local/bin:/bin" in said["config"]["Env"]
    assert said["rootfs"]["diff_ids"] == ["sha256:b", "sha256:r", "sha256:m"]
    assert len(said["history"]) == 3


def test_the_server_starts_by_mlflows_own_command_without_all_the_others() -> None:
    said = json.loads(config(BASE, LAYERS, {}, "2000-01-01T00:00:00Z"))["config"]["Entrypoint"]
    assert said[:2] == ["sh", "-c"]
    asked = said[2].replace("python", sys.executable).replace("serve ", "serve --help ")
    shown = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("Usage: mlflow models serve")
    assert "--workers" in shown


def test_the_same_parts_give_the_same_manifest() -> None:
    parts = [descriptor("sha256:bz", 9), descriptor("sha256:rz", 7)]
    made = [manifest(config(BASE, LAYERS, {"b": "1", "a": "2"}, "now"), parts) for _ in range(2)]
    assert made[0] == made[1]
    assert [each["size"] for each in json.loads(made[0])["layers"]] == [9, 7]


def entry(name: str) -> dict[str, Any]:
    return descriptor(f"sha256:{name * 64}", 1)


def previous(**changes: Any) -> Previous:
    layers = tuple(entry(each) for each in "abc")
    labels = {REQUIREMENTS_LABEL: "the key"}
    return replace(Previous("r/m", "sha256:p", labels, ("sha256:b", "sha256:r", "sha256:m"), layers), **changes)


def test_a_previous_image_with_the_same_key_gives_all_but_its_model() -> None:
    found = previous().below_the_model(BASE, "the key")
    assert found is not None
    assert found[0] == ["sha256:b", "sha256:r"]
    assert [each["digest"] for each in found[1]] == [each["digest"] for each in map(entry, "ab")]


def test_there_may_be_several_layers_between_base_and_model() -> None:
    layers = tuple(entry(each) for each in "a12c")
    found = previous(diff_ids=("sha256:b", "sha256:1", "sha256:2", "sha256:m"), layers=layers)
    assert found.below_the_model(BASE, "the key") == (["sha256:b", "sha256:1", "sha256:2"], list(layers[:3]))


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {}},
        {"labels": {REQUIREMENTS_LABEL: "another"}},
        {"diff_ids": ("sha256:x", "sha256:r", "sha256:m")},
        {"diff_ids": ("sha256:b", "sha256:r")},
        {"layers": ()},
        {"diff_ids": ("sha256:b", "sha256:m"), "layers": (entry("a"), entry("c"))},
        *(
            {"layers": (entry("a"), {**entry("b"), **planted}, entry("c"))}
            for planted in (
                {"urls": ["https://evil.example/layer"]},
                {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
                {"digest": "sha256:b"},
                {"digest": None},
                {"size": "1"},
            )
        ),
        {"layers": (entry("a"), "sha256:b", entry("c"))},
    ],
)
def test_a_previous_image_that_is_another_gives_nothing(changes: dict[str, Any]) -> None:
    assert previous(**changes).below_the_model(BASE, "the key") is None
