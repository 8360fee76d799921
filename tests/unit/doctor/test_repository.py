from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bridge.core.findings import Finding, FindingState
from bridge.core.routing import DispatchMethod, Route
from bridge.doctor import repository
from bridge.doctor.repository import RepositoryAnswers
from bridge.github.responses import Answer, NotSent, Unanswered

PATH = ".github/workflows/on-mlflow-event.yml"
OURS = (Path(__file__).parents[3] / PATH).read_text()
ROUTE = Route("r", "owner/models", "mlflow-model-version")
BY_FILE = replace(ROUTE, dispatch=DispatchMethod.WORKFLOW, workflow="on-mlflow-event.yml", ref="main")
NOW = 1767268800.0


def reply(status: int, body: Any = None, **headers: str) -> Answer:
    return Answer.read(
        httpx2.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()}, json=body)
    )


def refused(status: int, message: str, **headers: str) -> Answer:
    return reply(status, {"message": message}, **headers)


RIGHT = RepositoryAnswers(
    "owner/models",
    reply(200, {"default_branch": "main"}),
    "main",
    {"main": reply(200, [])},
    {"main": {PATH: OURS}},
    {(DispatchMethod.REPOSITORY, ""): refused(422, "Invalid request.")},
    reply(200, {}),
    reply(200, {"workflows": [{"path": PATH, "state": "active"}]}),
    reply(200, {"enabled": True, "allowed_actions": "all"}),
)


def check(route: Route = ROUTE, **changes: Any) -> list[Finding]:
    return repository.check(replace(RIGHT, **changes), (route,), is_app=False)


def problems(findings: list[Finding]) -> list[tuple[str, FindingState]]:
    return [(finding.check, finding.state) for finding in findings if finding.state is not FindingState.OK]


def test_a_valid_repository_has_no_problems() -> None:
    findings = check()
    assert problems(findings) == []
    assert [finding.check for finding in findings] == ["repository", "permission", "permission", "actions", "workflow"]


@pytest.mark.parametrize(
    ("about", "hint"),
    [
        (refused(404, "Not Found"), "GITHUB_REPOSITORY"),
        (refused(301, "Moved Permanently"), "its new name"),
        (refused(403, "Resource not accessible by integration"), "metadata=read"),
        (reply(200, {"default_branch": "main", "archived": True}), "unarchive it"),
        (NotSent("ConnectError"), "GITHUB_API_URL"),
    ],
)
def test_a_repository_that_cannot_be_used_fails(about: Answer | NotSent, hint: str) -> None:
    finding = check(about=about)[0]
    assert (finding.check, finding.subject, finding.state) == ("repository", "owner/models", FindingState.FAILED)
    assert hint in finding.hint


def test_the_permission_that_github_names_is_the_one_to_grant() -> None:
    answer = refused(403, "Resource not accessible by integration", x_accepted_github_permissions="contents=write")
    findings = check(rights={(DispatchMethod.REPOSITORY, ""): answer})
    assert problems(findings) == [("permission", FindingState.FAILED)]
    assert findings[1].hint.endswith("contents=write")


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_that_names_no_permission_gets_the_one_that_the_method_needs(status: int) -> None:
    rights = {(DispatchMethod.WORKFLOW, ""): refused(status, "Not Found")}
    assert check(rights=rights)[1].hint.endswith("actions=write")
    assert check(runs=refused(status, "Not Found"))[2].hint.endswith("actions=read")


def test_a_rate_limit_is_not_a_missing_permission() -> None:
    answer = refused(403, "You have exceeded a secondary rate limit.", retry_after="60")
    assert problems(check(rights={(DispatchMethod.REPOSITORY, ""): answer})) == [("permission", FindingState.UNKNOWN)]


def test_an_answer_that_shows_nothing_is_no_failure() -> None:
    findings = check(
        rights={
            (DispatchMethod.WORKFLOW, "x.yml"): refused(404, "Not Found"),
            (DispatchMethod.REPOSITORY, ""): Unanswered("ReadTimeout"),
        },
        runs=refused(502, ""),
        actions=refused(403, "Resource not accessible by personal access token"),
        folders={"main": refused(403, "Resource not accessible by personal access token")},
    )
    assert problems(findings) == [
        *[("permission", FindingState.UNKNOWN)] * 3,
        ("actions", FindingState.UNKNOWN),
        ("workflow", FindingState.UNKNOWN),
    ]


def test_disabled_actions_fail() -> None:
    assert problems(check(actions=reply(200, {"enabled": False}))) == [("actions", FindingState.FAILED)]
    local = reply(200, {"enabled": True, "allowed_actions": "local_only"})
    assert problems(check(actions=local)) == [("actions", FindingState.WARNING)]
    rights = {(DispatchMethod.WORKFLOW, "x.yml"): refused(422, "Actions has been disabled for this repository.")}
    assert problems(check(rights=rights)) == [("permission", FindingState.FAILED)]


@pytest.mark.parametrize("route", [ROUTE, BY_FILE], ids=lambda route: str(route.dispatch))
def test_a_disabled_workflow_fails(route: Route) -> None:
    off = reply(200, {"workflows": [{"path": PATH, "state": "disabled_inactivity"}, {"path": "x", "state": "deleted"}]})
    findings = check(route, workflows=off)
    assert problems(findings) == [("workflow", FindingState.FAILED)]
    assert PATH in findings[-1].message
    assert "disabled_inactivity" in findings[-1].message


def test_a_missing_folder_fails() -> None:
    findings = check(folders={"main": refused(404, "Not Found")}, files={})
    assert problems(findings) == [("workflow", FindingState.FAILED)]
    assert "mlflow-bridge workflow init" in findings[-1].hint


def test_a_token_that_expires_soon_is_a_warning() -> None:
    there = reply(200, {})
    day = 24 * 3600.0
    for expires_at, state in (
        (None, FindingState.OK),
        (NOW + 15 * day, FindingState.OK),
        (NOW + 13 * day, FindingState.WARNING),
    ):
        finding = repository.check_credential(there, expires_at, NOW, is_app=False)
        assert (finding.state, bool(finding.hint)) == (state, state is FindingState.WARNING)
    assert "until 2026-01-14 12:00 UTC" in finding.message


@pytest.mark.parametrize(("is_app", "hint"), [(False, "create a new token"), (True, "create a new key")])
def test_a_credential_that_github_rejects_fails(is_app: bool, hint: str) -> None:
    finding = repository.check_credential(refused(401, "Bad credentials"), None, NOW, is_app=is_app)
    assert finding.state is FindingState.FAILED
    assert "401 Bad credentials" in finding.message
    assert finding.hint.startswith(hint)
    assert repository.check_credential(Unanswered("x"), None, NOW, is_app=is_app).state is FindingState.UNKNOWN
