import re
from typing import Any

import pytest

from bridge.image.builders.choice import Builder
from bridge.image.errors import InvalidInput
from bridge.image.settings import ImageSettings


def read(inputs: dict[str, str] | None = None, machine: str = "x86_64", **values: Any) -> Builder:
    return Builder.read(ImageSettings(**values), inputs, machine)


def test_mlflows_own_builder_is_taken_where_nobody_asks_for_another() -> None:
    assert read() == Builder("mlflow")
    assert not read().layered


def test_a_payload_stands_above_the_workflows_inputs() -> None:
    said = {"builder": "layered", "base-image": "debian:12", "smoke-test": "off"}
    assert read(said, builder="mlflow", base_image="alpine:3").base_image == "debian:12"
    assert read({"builder": ""}, builder="layered").layered


@pytest.mark.parametrize("found", [True, False])
def test_what_an_earlier_job_found_stands_above_both(found: bool) -> None:
    assert read({"builder": "layered"}, builder="layered", layered=found).layered is found
    assert read({"builder": "mlflow"}, layered=found).layered is found


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"base_image": "python:3"}, "base-image"),
        ({"platforms": "linux/amd64"}, "platforms"),
        ({"build_from_source": True}, "build-from-source"),
        ({"has_package_index": True}, "the secrets PIP_INDEX_URL and PIP_EXTRA_INDEX_URL"),
        ({"has_ca_certificates": True}, "the secret CA_CERTIFICATES"),
        ({"base_image": "python:3", "platforms": "linux/amd64"}, "base-image and platforms"),
    ],
)
def test_what_mlflows_own_builder_does_not_know_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    said = f"builder is mlflow, and only layered knows {named}: set builder to layered, or leave that out"
    with pytest.raises(InvalidInput, match=f"^{re.escape(said)}$"):
        read(**values)
    assert " and ".join(read(builder="layered", **values).asked) == named


def test_another_builder_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match="builder 'buildpacks' is not one of mlflow, layered"):
        read(builder="buildpacks")
    with pytest.raises(InvalidInput, match="builder 'Layered'"):
        read({"builder": "Layered"})


def test_a_payloads_base_never_runs_beside_the_secrets_of_an_index() -> None:
    with pytest.raises(InvalidInput, match="base-image comes with the payload"):
        read({"base-image": "evil:1"}, builder="layered", has_package_index=True)
    assert read(builder="layered", base_image="ours:1", has_package_index=True).base_image == "ours:1"
    assert read({"base-image": "ours:1"}, builder="layered").base_image == "ours:1"


@pytest.mark.parametrize(
    ("index", "allowed", "wheels_only"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_beside_the_secrets_of_an_index_only_wheels_are_installed_unless_it_is_allowed(
    index: bool, allowed: bool, wheels_only: bool
) -> None:
    said = read(builder="layered", has_package_index=index, build_from_source=allowed)
    assert said.wheels_only is wheels_only


@pytest.mark.parametrize(("machine", "platform"), [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64")])
def test_the_runners_own_platform_is_built_for(machine: str, platform: str) -> None:
    assert read(machine=machine, builder="layered", platforms=platform).layered


@pytest.mark.parametrize(
    ("platforms", "says"),
    [
        ("linux/arm64", "platforms is linux/arm64 and this runner is linux/amd64: give runs-on a runner of that kind"),
        ("linux/amd64,linux/arm64", "names several, and an image is made for one"),
        ("windows/amd64", "is no platform"),
        ("linux/amd64,", "is no platform"),
        ("--help", "is no platform"),
        ("linux/amd64\nlinux/arm64", "is no platform"),
    ],
)
def test_any_other_platform_is_refused(platforms: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read(builder="layered", platforms=platforms)
