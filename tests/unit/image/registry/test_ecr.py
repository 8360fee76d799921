"""ECR's repositories without ECR: a stand-in of botocore's client by botocore itself, which checks what it is told."""

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
    """An API of ECR that says what a test wrote down, in that order, and to no other call."""

    def __init__(self, host: EcrHost) -> None:
        service = "ecr" if host.account else "ecr-public"
        client = get_session().create_client(
            service, region_name=host.region, aws_access_key_id="key", aws_secret_access_key="secret"
        )
        self.stub = Stubber(client)
        self.ecr = Ecr(host, client)

    def describe(self, **said: Any) -> None:
        wanted = {"registryId": ACCOUNT, "repositoryNames": [NAME]}
        self.stub.add_response("describe_repositories", {"repositories": [{"repositoryName": NAME, **said}]}, wanted)

    def refuse(self, call: str, code: str, message: str = "no") -> None:
        self.stub.add_client_error(call, code, message, 400)


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers(EcrHost(ACCOUNT, "eu-central-1"))
    with answers.stub:
        yield answers
        answers.stub.assert_no_pending_responses()


def asked(**more: Any) -> dict[str, Any]:
    scan = {"imageScanningConfiguration": {"scanOnPush": True}}
    return {"registryId": ACCOUNT, "repositoryName": NAME, **scan, "imageTagMutability": "MUTABLE", **more}


def test_a_repository_that_is_there_is_left_as_it_is(answers: Answers) -> None:
    answers.describe(imageTagMutability="IMMUTABLE")
    assert answers.ecr.ensure(NAME, ["champion"]) == (EcrRepository(NAME, "IMMUTABLE"), False)


def test_a_missing_repository_is_made_with_scan_on_push_and_tags_that_move(answers: Answers) -> None:
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.stub.add_response("create_repository", {"repository": asked()}, asked())
    assert answers.ecr.ensure(NAME) == (EcrRepository(NAME, "MUTABLE", scan_on_push=True), True)


def test_with_alias_filters_none_but_their_tags_move(answers: Answers) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "champion*"}]
    wanted = asked(imageTagMutability="IMMUTABLE_WITH_EXCLUSION", imageTagMutabilityExclusionFilters=filters)
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.stub.add_response("create_repository", {"repository": wanted}, wanted)
    made, _ = answers.ecr.ensure(NAME, ["champion*"])
    assert made.moves("champion-eu")
    assert not made.moves("7")


def test_a_repository_that_another_run_made_meanwhile_is_taken(answers: Answers) -> None:
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.refuse("create_repository", "RepositoryAlreadyExistsException")
    answers.describe()
    assert answers.ecr.ensure(NAME) == (EcrRepository(NAME, "MUTABLE"), False)


def test_ecr_public_is_told_the_name_alone() -> None:
    answers = Answers(EcrHost("", "us-east-1"))
    with answers.stub:
        answers.refuse("describe_repositories", "RepositoryNotFoundException")
        made = {"repository": {"repositoryName": NAME}}
        answers.stub.add_response("create_repository", made, {"repositoryName": NAME})
        assert answers.ecr.ensure(NAME, ["champion"]) == (EcrRepository(NAME, "MUTABLE"), True)


def test_a_role_that_may_not_look_is_told_apart_from_any_other_failure(answers: Answers) -> None:
    answers.refuse("describe_repositories", "AccessDeniedException", "User: x is not authorized")
    with pytest.raises(AccessDenied, match="allow the role ecr:DescribeRepositories, or make the repository yourself"):
        answers.ecr.ensure(NAME)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("ExpiredTokenException", "run the failed jobs again"),
        ("UnrecognizedClientException", "check AWS_ACCESS_KEY_ID"),
        ("LimitExceededException", "a higher quota"),
        ("InvalidParameterException", "when ECR is well"),
    ],
)
def test_a_refusal_is_told_with_its_mend_in_one_line(answers: Answers, code: str, hint: str) -> None:
    answers.refuse("describe_repositories", "RepositoryNotFoundException")
    answers.refuse("create_repository", code, "so\nit is")
    with pytest.raises(RegistryError, match=hint) as caught:
        answers.ecr.ensure(NAME)
    assert not isinstance(caught.value, AccessDenied)
    assert "so it is" in str(caught.value)


def test_without_any_credentials_the_error_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RegistryError, match="check AWS_ROLE_TO_ASSUME"):
        Ecr.connect(EcrHost(ACCOUNT, "eu-central-1")).describe(NAME)


@pytest.mark.parametrize(
    ("mutability", "filters", "moves"),
    [
        ("MUTABLE", (), True),
        ("IMMUTABLE", (), False),
        ("IMMUTABLE_WITH_EXCLUSION", ("champ*",), True),
        ("IMMUTABLE_WITH_EXCLUSION", ("other",), False),
        ("MUTABLE_WITH_EXCLUSION", ("champ*",), False),
        ("MUTABLE_WITH_EXCLUSION", ("other",), True),
    ],
)
def test_whether_a_tag_moves_is_what_mutability_and_filters_say(
    mutability: str, filters: tuple[str, ...], moves: bool
) -> None:
    assert EcrRepository(NAME, mutability, filters).moves("champion") is moves


def test_alias_filters_stand_between_blanks_or_commas() -> None:
    assert alias_filters(" champion, challenger-*\n champion ") == ("champion", "challenger-*")
    assert alias_filters(" , ") == ()


@pytest.mark.parametrize("text", ["champion?", "a*b*c*", "x" * 129, "a b c d e f", "[ab]", "имя"])
def test_what_ecr_would_not_take_as_a_filter_is_refused_with_what_it_takes(text: str) -> None:
    with pytest.raises(InvalidInput, match="at most 5 filters"):
        alias_filters(text)


@given(st.text())
def test_any_text_gives_filters_that_ecr_takes_or_our_error(text: str) -> None:
    try:
        filters = alias_filters(text)
    except BridgeError:
        return
    assert len(filters) <= 5
    assert all(each.isascii() and 1 <= len(each) <= 128 and each.count("*") <= 2 for each in filters)
