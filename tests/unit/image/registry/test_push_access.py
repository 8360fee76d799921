"""The check before a push: of ECR, and of a registry that there is no sign-in to."""

import json
from pathlib import Path

import pytest

from bridge.image.registry import push_access
from bridge.image.registry.client import Repository
from bridge.image.registry.credentials import AccessSettings, EcrHost
from bridge.image.registry.ecr import AccessDenied, EcrRepository
from bridge.image.registry.push_access import check_push

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
PUBLIC = "public.ecr.aws"


class FakeEcr:
    """ECR with one answer, and the requests that it got."""

    def __init__(self, answer: tuple[EcrRepository, bool] | AccessDenied) -> None:
        self.answer = answer
        self.requests: list[tuple[EcrHost, str, tuple[str, ...]]] = []

    def connect(self, host: EcrHost) -> "FakeEcr":
        self.host = host
        return self

    def ensure(self, name: str, filters: tuple[str, ...]) -> tuple[EcrRepository, bool]:
        self.requests.append((self.host, name, filters))
        if isinstance(self.answer, AccessDenied):
            raise self.answer
        return self.answer


def with_answer(monkeypatch: pytest.MonkeyPatch, answer: tuple[EcrRepository, bool] | AccessDenied) -> FakeEcr:
    fake = FakeEcr(answer)
    monkeypatch.setattr(push_access, "Ecr", fake)
    return fake


def access(registry: str, **values: str) -> AccessSettings:
    return AccessSettings.model_validate({"docker_registry": registry, **values})


def test_a_missing_repository_is_requested_by_ecrs_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = with_answer(monkeypatch, (EcrRepository("MUTABLE"), True))
    check_push(Repository(f"{ECR}/models/iris"), access(ECR, ecr_alias_filters="champion"))
    check_push(Repository(f"{PUBLIC}/alias/models/iris"), access(PUBLIC))
    assert fake.requests == [
        (EcrHost("123456789012", "eu-central-1"), "models/iris", ("champion",)),
        (EcrHost("", "us-east-1"), "models/iris", ()),
    ]


def test_a_role_that_may_not_read_the_repository_continues_to_the_push(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_answer(monkeypatch, AccessDenied("models/iris: ECR refused", "allow it"))
    check_push(Repository(f"{ECR}/models/iris"), access(ECR))
    assert capsys.readouterr().out == "::notice title=Repository not checked::models/iris: ECR refused: allow it\n"


@pytest.mark.parametrize(
    ("repository", "created", "reported"),
    [
        (EcrRepository("MUTABLE"), False, True),
        (EcrRepository("IMMUTABLE_WITH_EXCLUSION", ("champion",)), False, False),
        (EcrRepository("IMMUTABLE_WITH_EXCLUSION", ("champion",)), True, False),
    ],
)
def test_filters_that_an_existing_repository_does_not_have_are_reported(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    repository: EcrRepository,
    created: bool,
    reported: bool,
) -> None:
    with_answer(monkeypatch, (repository, created))
    check_push(Repository(f"{ECR}/models/iris"), access(ECR, ecr_alias_filters="champion"))
    assert ("::notice title=ecr-alias-filters not applied::" in capsys.readouterr().out) is reported


@pytest.mark.parametrize("sign_ins", [None, {}, {"auths": {"registry.example": {}}, "credsStore": "pass"}])
def test_without_a_sign_in_the_registry_is_not_asked(tmp_path: Path, sign_ins: object) -> None:
    if sign_ins is not None:
        (tmp_path / "config.json").write_text(json.dumps(sign_ins))
    check_push(
        Repository("registry.example/demo/iris", tmp_path), access("registry.example")
    )  # or the network fails it
