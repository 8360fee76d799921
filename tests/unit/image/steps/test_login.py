"""The steps around the choice: what they read, what they set, what they say."""

from pathlib import Path

import pytest

from bridge.image.errors import InvalidInput, MissingSetting
from bridge.image.registry.credentials import EcrHost
from bridge.image.registry.ecr import AccessDenied, EcrRepository
from bridge.image.steps import login
from bridge.image.steps.login import AccessSettings, make_repository, sign_in

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


class Fake:
    """ECR with one answer, and what it was asked."""

    def __init__(self, answer: tuple[EcrRepository, bool] | AccessDenied) -> None:
        self.answer = answer
        self.asked: list[tuple[EcrHost, str, tuple[str, ...]]] = []

    def connect(self, host: EcrHost) -> "Fake":
        self.host = host
        return self

    def ensure(self, name: str, filters: tuple[str, ...]) -> tuple[EcrRepository, bool]:
        self.asked.append((self.host, name, filters))
        if isinstance(self.answer, AccessDenied):
            raise self.answer
        return self.answer


def with_answer(monkeypatch: pytest.MonkeyPatch, answer: tuple[EcrRepository, bool] | AccessDenied) -> Fake:
    fake = Fake(answer)
    monkeypatch.setattr(login, "Ecr", fake)
    return fake


def test_the_way_and_what_its_step_needs_become_outputs(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
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


def test_without_a_word_images_go_to_ghcr_by_the_runs_token(outputs: Path) -> None:
    sign_in(AccessSettings())
    assert read(outputs)["way"] == "run-token"


def test_an_address_of_mlflow_that_is_missing_stands_in_the_same_message() -> None:
    settings = AccessSettings(docker_registry="docker.io", has_mlflow=False)
    with pytest.raises(MissingSetting, match=r"DOCKER_USERNAME.*MLFLOW_TRACKING_URI"):
        sign_in(settings)


def test_filters_that_ecr_would_not_take_stop_the_run_before_anything_is_built() -> None:
    with pytest.raises(InvalidInput, match="ecr-alias-filters"):
        sign_in(AccessSettings(docker_registry=ECR, has_aws_keys=True, ecr_alias_filters="champion?"))


def test_only_ecr_is_asked_for_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = with_answer(monkeypatch, (EcrRepository("x", "MUTABLE"), True))
    make_repository(AccessSettings(docker_registry="ghcr.io"), "ghcr.io/me/iris")
    assert fake.asked == []


def test_the_repository_is_asked_for_by_ecrs_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = with_answer(monkeypatch, (EcrRepository("x", "MUTABLE"), True))
    make_repository(AccessSettings(docker_registry=ECR), f"{ECR}/models/iris")
    make_repository(AccessSettings(docker_registry="public.ecr.aws"), "public.ecr.aws/alias/models/iris")
    assert [name for _, name, _ in fake.asked] == ["models/iris"] * 2


def test_a_role_that_may_not_look_lets_the_push_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_answer(monkeypatch, AccessDenied("models/iris: ECR refused: allow it"))
    make_repository(AccessSettings(docker_registry=ECR), f"{ECR}/models/iris")
    assert capsys.readouterr().out == "::notice title=Repository not looked at::models/iris: ECR refused: allow it\n"


@pytest.mark.parametrize(
    ("found", "made", "told"),
    [
        (EcrRepository("x", "MUTABLE"), False, True),
        (EcrRepository("x", "IMMUTABLE_WITH_EXCLUSION", ("champion",)), False, False),
        (EcrRepository("x", "IMMUTABLE_WITH_EXCLUSION", ("champion",)), True, False),
    ],
)
def test_filters_that_a_repository_does_not_have_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: EcrRepository, made: bool, told: bool
) -> None:
    with_answer(monkeypatch, (found, made))
    make_repository(AccessSettings(docker_registry=ECR, ecr_alias_filters="champion"), f"{ECR}/models/iris")
    assert ("ecr-alias-filters not applied" in capsys.readouterr().out) is told
