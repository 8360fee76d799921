"""ECR's repositories without ECR: botocore's own stub of its client, which checks each request."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.session import get_session
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.errors import InvalidInput, RegistryError
from bridge.image.registry.credentials import EcrHost
from bridge.image.registry.ecr import AccessDenied, Ecr, EcrRepository, alias_filters

ACCOUNT = "123456789012"
NAME = "demo/iris"


class Answers:
    """An API of ECR with the answers that a test wrote down, in that order, and none to any other call."""

    def __init__(self, host: EcrHost) -> None:
        service = "ecr" if host.account else "ecr-public"
        client = get_session().create_client(
            service, region_name=host.region, aws_access_key_id="key", aws_secret_access_key="secret"
        )
        self.stub = Stubber(client)
        self.ecr = Ecr(host, client)

    def describe(self, **values: Any) -> None:
        answer, request = [{"repositoryName": NAME, **values}], {"registryId": ACCOUNT, "repositoryNames": [NAME]}
        self.stub.add_response("describe_repositories", {"repositories": answer}, request)

    def refuse(self, call: str, code: str, message: str = "no") -> None:
        self.stub.add_client_error(call, code, message, 400)


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers(EcrHost(ACCOUNT, "eu-central-1"))
    with answers.stub:
        yield answers
        answers.stub.assert_no_pending_responses()


def request(**more: Any) -> dict[str, Any]:
    scan = {"imageScanningConfiguration": {"scanOnPush": True}}
    return {"registryId": ACCOUNT, "repositoryName": NAME, **scan, "imageTagMutability": "MUTABLE", **more}


def test_an_existing_repository_is_not_changed(answers: Answers) -> None:
    answers.describe(imageTagMutability="IMMUTABLE")
    assert answers.ecr.ensure(NAME, ["champion"]) == (EcrRepository("IMMUTABLE"), False)


def test_a_missing_repository_is_created_with_scan_on_push_and_tags_that_can_be_moved(answers: Answers) -> None:
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.stub.add_response("create_repository", {"repository": request()}, request())
    assert answers.ecr.ensure(NAME) == (EcrRepository("MUTABLE"), True)


def test_with_alias_filters_only_their_tags_can_be_moved(answers: Answers) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "champion*"}]
    expected = request(imageTagMutability="IMMUTABLE_WITH_EXCLUSION", imageTagMutabilityExclusionFilters=filters)
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.stub.add_response("create_repository", {"repository": expected}, expected)
    created, _ = answers.ecr.ensure(NAME, ["champion*"])
    assert created == EcrRepository("IMMUTABLE_WITH_EXCLUSION", ("champion*",))


def test_a_repository_that_another_run_created_meanwhile_is_used(answers: Answers) -> None:
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.refuse("create_repository", "RepositoryAlreadyExistsException")
    answers.describe()
    assert answers.ecr.ensure(NAME) == (EcrRepository("MUTABLE"), False)


def test_ecr_public_gets_only_the_name() -> None:
    answers = Answers(EcrHost("", "us-east-1"))
    with answers.stub:
        answers.refuse("describe_repositories", "RepositoryNotFoundException")
        created = {"repository": {"repositoryName": NAME}}
        answers.stub.add_response("create_repository", created, {"repositoryName": NAME})
        assert answers.ecr.ensure(NAME, ["champion"]) == (EcrRepository("MUTABLE"), True)


@pytest.mark.parametrize("service", ["ecr", "ecr-public"])
def test_a_role_that_may_not_read_the_repository_is_named_the_permission(service: str) -> None:
    answers = Answers(EcrHost(ACCOUNT if service == "ecr" else "", "us-east-1"))
    answers.refuse("describe_repositories", "AccessDeniedException", "User: x is not authorized")
    with answers.stub, pytest.raises(AccessDenied) as denied:
        answers.ecr.ensure(NAME)
    assert f"{service}:DescribeRepositories" in denied.value.hint


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("ExpiredTokenException", "re-run the failed jobs"),
        ("UnrecognizedClientException", "check AWS_ACCESS_KEY_ID"),
        ("LimitExceededException", "a higher quota"),
        ("InvalidParameterException", "re-run the job"),
    ],
)
def test_a_refusal_is_one_line_with_its_hint(answers: Answers, code: str, hint: str) -> None:
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.refuse("create_repository", code, "so\nit is")
    with pytest.raises(RegistryError) as caught:
        answers.ecr.ensure(NAME)
    assert not isinstance(caught.value, AccessDenied)
    assert hint in caught.value.hint
    assert "so it is" in caught.value.message


def test_without_any_credentials_the_error_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RegistryError, match="AWS_ROLE_TO_ASSUME"):
        Ecr.connect(EcrHost(ACCOUNT, "eu-central-1")).describe(NAME)


def test_alias_filters_are_separated_by_blanks_or_commas() -> None:
    assert alias_filters(" champion, challenger-*\n champion ") == ("champion", "challenger-*")
    assert alias_filters(" , ") == ()


@pytest.mark.parametrize("text", ["champion?", "a*b*c*", "x" * 129, "a b c d e f", "[ab]", "имя"])
def test_what_ecr_would_not_accept_as_a_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        alias_filters(text)


@given(st.text())
def test_any_text_becomes_filters_that_ecr_accepts_or_our_error(text: str) -> None:
    try:
        filters = alias_filters(text)
    except BridgeError:
        return
    assert len(filters) <= 5
    assert all(name.isascii() and 1 <= len(name) <= 128 and name.count("*") <= 2 for name in filters)
