from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.builders.choice import ENV_MANAGERS, Builder, build_secrets, check_size, size_limit
from bridge.image.errors import ImageTooLarge, InvalidInput
from bridge.image.settings import ImageSettings

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PASSWORD = "s3cret%2Fword"


def read(inputs: dict[str, str] | None = None, machine: str = "x86_64", **values: Any) -> Builder:
    return Builder.read(ImageSettings(**values), inputs, machine)


def test_the_default_is_mlflows_own_builder() -> None:
    assert read() == Builder("mlflow")
    assert not read().layered


def test_a_payload_overrides_the_workflows_inputs() -> None:
    payload = {"builder": "layered", "base-image": "debian:12", "smoke-test": "off"}
    assert read(payload, builder="mlflow", base_image="alpine:3").base_image == "debian:12"
    assert read({"builder": ""}, builder="layered").layered


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
def test_what_mlflows_own_builder_does_not_support_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(**values)
    assert refused.value.message.endswith(named)
    assert " and ".join(read(builder="layered", **values).layered_only) == named


@pytest.mark.parametrize("name", ["buildpacks", "Layered"])
def test_an_unknown_builder_is_refused_with_the_supported_ones(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}'.*mlflow, layered"):
        read(builder=name)
    with pytest.raises(InvalidInput, match=f"'{name}'.*mlflow, layered"):
        read({"builder": name})


def test_a_payloads_base_never_runs_beside_the_secrets_of_an_index() -> None:
    with pytest.raises(InvalidInput, match="base-image"):
        read({"base-image": "evil:1"}, builder="layered", has_package_index=True)
    assert read(builder="layered", base_image="ours:1", has_package_index=True).base_image == "ours:1"
    assert read({"base-image": "ours:1"}, builder="layered").base_image == "ours:1"


@pytest.mark.parametrize(
    ("index", "allowed", "wheels_only"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_beside_the_secrets_of_an_index_only_wheels_are_installed_unless_it_is_allowed(
    index: bool, allowed: bool, wheels_only: bool
) -> None:
    builder = read(builder="layered", has_package_index=index, build_from_source=allowed)
    assert builder.wheels_only is wheels_only


@pytest.mark.parametrize(("machine", "platform"), [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64")])
def test_an_image_can_be_built_for_the_runners_own_platform(machine: str, platform: str) -> None:
    assert read(machine=machine, builder="layered", platforms=platform).layered


@pytest.mark.parametrize(
    ("platforms", "reason"),
    [
        ("linux/arm64", "this runner is linux/amd64: set runs-on"),
        ("linux/amd64,linux/arm64", "several"),
        ("windows/amd64", "not a platform"),
        ("linux/amd64,", "not a platform"),
        ("--help", "not a platform"),
        ("linux/amd64\nlinux/arm64", "not a platform"),
    ],
)
def test_any_other_platform_is_refused(platforms: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        read(builder="layered", platforms=platforms)


def test_mlflows_builder_gets_its_options() -> None:
    assert read().mlflow_options() == ["--env-manager", "local"]
    builder = read(env_manager="virtualenv", install_java=True)
    assert builder.mlflow_options() == ["--env-manager", "virtualenv", "--install-java=true"]
    assert read(env_manager="conda").mlflow_options()[-1] == "--install-java=false"


@pytest.mark.parametrize(
    ("values", "root"),
    [({}, False), ({"env_manager": "conda"}, True), ({"env_manager": "conda", "builder": "layered"}, False)],
)
def test_only_an_image_with_its_python_below_root_needs_root(values: dict[str, Any], root: bool) -> None:
    assert read(**values).needs_root is root


@pytest.mark.parametrize("value", ["uv", "LOCAL", "local --help", "venv\n"])
def test_an_unknown_env_manager_is_refused_with_the_supported_ones(value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(env_manager=value)
    assert "local, virtualenv, conda" in refused.value.hint


def test_java_without_the_image_that_has_it_is_refused_with_the_fix() -> None:
    with pytest.raises(InvalidInput) as refused:
        read(env_manager="local", install_java=True)
    assert "virtualenv" in refused.value.hint


@pytest.mark.parametrize("value", ENV_MANAGERS)
def test_the_options_are_ones_that_mlflows_builder_has(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_ENV_MANAGER_CONDA_WARNING", "true")
    from mlflow.models.cli import commands

    options = read(env_manager=value, install_java=value != "local").mlflow_options()
    values = commands.commands["build-docker"].make_context("build-docker", ["-m", "m", *options]).params
    assert values["env_manager"] == value
    assert values["install_java"] in (None, True)


@pytest.mark.parametrize(
    ("text", "size"), [("", None), ("500 MB", 500_000_000), ("2.5GB", 2_500_000_000), ("1.001 GB", 1_001_000_000)]
)
def test_a_size_limit_is_a_number_with_its_unit(text: str, size: int | None) -> None:
    assert size_limit(text) == size


@pytest.mark.parametrize("text", ["5", "5GiB", "-1 GB", "0 MB", "1e9 GB", "١ GB", "1 GB\n", "lots"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        size_limit(text)


@given(st.text())
def test_any_text_is_a_size_limit_or_our_error(text: str) -> None:
    try:
        limit = size_limit(text)
    except BridgeError:
        return
    assert limit is None or limit > 0


def test_an_image_of_the_limits_size_passes_and_a_byte_more_does_not() -> None:
    check_size("iris:7", 10**9, size_limit("1 GB"))
    check_size("iris:7", 10**12, None)
    with pytest.raises(ImageTooLarge, match="iris:7"):
        check_size("iris:7", 10**9 + 1, size_limit("1 GB"))


def test_a_build_has_only_the_secrets_that_are_set() -> None:
    assert build_secrets(ImageSettings()) == {}
    settings = ImageSettings.model_validate(
        {
            "pip_index_url": "https://one.example/simple\n",
            "pip_extra_index_url": "https://two.example/simple https://three.example:8443/simple",
            "ca_certificates": PEM,
        }
    )
    assert build_secrets(settings) == {
        "index-url": "https://one.example/simple",
        "extra-index-urls": "https://two.example/simple\nhttps://three.example:8443/simple",
        "ca": PEM,
    }


def test_a_password_is_masked_as_it_is_written_and_as_it_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"https://me:{PASSWORD}@one.example/simple"
    build_secrets(ImageSettings.model_validate({"pip_index_url": address}))
    assert set(capsys.readouterr().out.splitlines()) == {"::add-mask::s3cret%252Fword", "::add-mask::s3cret/word"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pip_index_url", f"ftp://me:{PASSWORD}@one.example"),
        ("pip_index_url", f"https://me:{PASSWORD}@one.example https://two.example"),
        ("pip_index_url", f"{PASSWORD}"),
        ("pip_index_url", f"https://me:{PASSWORD}@[one.example/simple"),
        ("pip_extra_index_url", f"https://two.example --index-url {PASSWORD}"),
        ("ca_certificates", PASSWORD),
    ],
)
def test_what_is_no_address_and_no_certificate_is_refused_by_name_without_its_value(name: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        build_secrets(ImageSettings.model_validate({name: value}))
    assert refused.value.message.startswith(f"{name.upper()} ")
    assert PASSWORD not in str(refused.value)


def test_no_representation_of_the_settings_shows_a_secret() -> None:
    secrets = dict.fromkeys(("pip_index_url", "pip_extra_index_url", "ca_certificates"), PASSWORD)
    assert PASSWORD not in repr(ImageSettings.model_validate(secrets))
