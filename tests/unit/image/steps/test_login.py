"""The steps around the choice of the sign-in: what they read, what they set, and what they print."""

from pathlib import Path

import pytest

from bridge.image.errors import InvalidInput, MissingSetting, RegistryError
from bridge.image.registry.credentials import AccessSettings
from bridge.image.steps.login import sign_in, sign_in_failed

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture(autouse=True)
def outputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    for name in AccessSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return file


def read(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines()
    return {lines[at].partition("<<")[0]: lines[at + 1] for at in range(0, len(lines), 3)}


def test_the_method_and_what_its_steps_need_become_outputs(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
    monkeypatch.setenv("DOCKER_REGISTRY", ECR)
    monkeypatch.setenv("AWS_ROLE_TO_ASSUME", "arn:aws:iam::123456789012:role/images")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://token.example")
    sign_in(AccessSettings())
    assert read(outputs) == {
        "way": "aws-role",
        "username": "",
        "account": "123456789012",
        "region": "eu-central-1",
        "registry-type": "private",
        "audience": "sts.amazonaws.com",
        "name": "",
        "environment": "",
    }


def test_without_any_setting_images_go_to_ghcr_by_the_runs_token(outputs: Path) -> None:
    sign_in(AccessSettings())
    assert read(outputs)["way"] == "run-token"


def test_one_message_names_what_is_missing_for_the_registry_and_for_mlflow() -> None:
    with pytest.raises(MissingSetting, match=r"DOCKER_USERNAME.*MLFLOW_TRACKING_URI"):
        sign_in(AccessSettings(docker_registry="docker.io", has_mlflow=False))


def test_after_a_refused_password_the_user_is_named() -> None:
    access = AccessSettings(docker_registry="docker.io", docker_username="me", has_password=True)
    with pytest.raises(RegistryError, match="sign-in as me"):
        sign_in_failed(access)


def test_after_a_refused_token_the_connection_is_named_and_no_password() -> None:
    access = AccessSettings(
        docker_registry="docker.io",
        docker_username="us",
        dockerhub_oidc_connectionid="c",
        actions_id_token_request_url="https://token.example",
    )
    with pytest.raises(RegistryError, match="sign-in as us") as error:
        sign_in_failed(access)
    assert "DOCKERHUB_OIDC_CONNECTIONID" in error.value.hint
    assert "PASSWORD" not in error.value.hint


def test_filters_that_ecr_would_not_accept_stop_the_run_before_anything_is_built() -> None:
    with pytest.raises(InvalidInput, match="champion"):
        sign_in(AccessSettings(docker_registry=ECR, has_aws_keys=True, ecr_alias_filters="champion?"))
