from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.core.findings import Finding, FindingState
from bridge.core.routing import DispatchMethod, Route
from bridge.doctor import repository
from bridge.doctor.repository import SeenRepository
from bridge.github.responses import Answer, NotSent, Unanswered

PATH = ".github/workflows/on-mlflow-event.yml"
OURS = (Path(__file__).parents[3] / PATH).read_text()
ROUTE = Route("r", "owner/models", "mlflow-model-version")
BY_FILE = replace(ROUTE, dispatch=DispatchMethod.WORKFLOW, workflow="on-mlflow-event.yml", ref="main")
NOW = 1767268800.0


def reply(status: int, body: Any = None, **headers: str) -> Answer:
    return Answer.read(
        httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()}, json=body)
    )


def refused(status: int, message: str, **headers: str) -> Answer:
    return reply(status, {"message": message}, **headers)


RIGHT = SeenRepository(
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


def judge(route: Route = ROUTE, **changes: Any) -> list[Finding]:
    return repository.judge(replace(RIGHT, **changes), (route,), is_app=False)


def bad(findings: list[Finding]) -> list[tuple[str, FindingState]]:
    return [(each.check, each.state) for each in findings if each.state is not FindingState.OK]


def test_a_right_repository_has_nothing_wrong() -> None:
    findings = judge()
    assert bad(findings) == []
    assert [each.check for each in findings] == ["repository", "permission", "permission", "actions", "workflow"]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (refused(404, "Not Found"), "GitHub shows no such repository"),
        (refused(301, "Moved Permanently"), "the repository has moved"),
        (refused(403, "Resource not accessible by integration"), "GitHub refuses (403 Resource not accessible"),
        (reply(200, {"default_branch": "main", "archived": True}), "it is archived or disabled"),
        (NotSent("ConnectError"), "GitHub can't be reached (ConnectError)"),
    ],
)
def test_a_repository_that_cannot_be_used_is_named(about: Answer | NotSent, said: str) -> None:
    finding = judge(about=about)[0]
    assert (finding.check, finding.state, finding.message[: len(said)]) == ("repository", FindingState.FAILED, said)
    assert finding.hint


def test_the_permission_that_github_names_is_the_one_to_give() -> None:
    answer = refused(403, "Resource not accessible by integration", x_accepted_github_permissions="contents=write")
    findings = judge(rights={(DispatchMethod.REPOSITORY, ""): answer})
    assert bad(findings) == [("permission", FindingState.FAILED)]
    assert findings[1].hint == "give the token or App the permission contents=write"


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_without_a_name_names_what_the_way_needs(status: int) -> None:
    rights = {(DispatchMethod.WORKFLOW, ""): refused(status, "Not Found")}
    assert judge(rights=rights)[1].hint == "give the token or App the permission actions=write"
    assert judge(runs=refused(status, "Not Found"))[2].hint == "give the token or App the permission actions=read"


def test_a_rate_limit_is_no_missing_permission() -> None:
    answer = refused(403, "You have exceeded a secondary rate limit.", retry_after="60")
    assert bad(judge(rights={(DispatchMethod.REPOSITORY, ""): answer})) == [("permission", FindingState.UNKNOWN)]


def test_what_is_not_known_is_not_called_wrong() -> None:
    findings = judge(
        rights={
            (DispatchMethod.WORKFLOW, "x.yml"): refused(404, "Not Found"),
            (DispatchMethod.REPOSITORY, ""): Unanswered("ReadTimeout"),
        },
        runs=refused(502, ""),
        actions=refused(403, "Resource not accessible by personal access token"),
        folders={"main": refused(403, "Resource not accessible by personal access token")},
    )
    assert bad(findings) == [
        *[("permission", FindingState.UNKNOWN)] * 3,
        ("actions", FindingState.UNKNOWN),
        ("workflow", FindingState.UNKNOWN),
    ]


def test_actions_that_are_off_are_named() -> None:
    assert bad(judge(actions=reply(200, {"enabled": False}))) == [("actions", FindingState.FAILED)]
    local = reply(200, {"enabled": True, "allowed_actions": "local_only"})
    assert bad(judge(actions=local)) == [("actions", FindingState.WARNING)]
    rights = {(DispatchMethod.WORKFLOW, "x.yml"): refused(422, "Actions has been disabled for this repository.")}
    assert bad(judge(rights=rights)) == [("permission", FindingState.FAILED)]


@pytest.mark.parametrize("route", [ROUTE, BY_FILE], ids=lambda route: str(route.dispatch))
def test_a_workflow_that_was_switched_off_is_named(route: Route) -> None:
    off = reply(200, {"workflows": [{"path": PATH, "state": "disabled_inactivity"}, {"path": "x", "state": "deleted"}]})
    findings = judge(route, workflows=off)
    assert bad(findings) == [("workflow", FindingState.FAILED)]
    assert findings[-1].message == f"{PATH} is switched off (disabled_inactivity)"


def test_a_folder_that_is_missing_is_named() -> None:
    findings = judge(folders={"main": refused(404, "Not Found")}, files={})
    assert bad(findings) == [("workflow", FindingState.FAILED)]
    assert "mlflow-bridge workflow init" in findings[-1].hint


def test_a_tokens_end_is_told_in_time() -> None:
    there = reply(200, {})
    day = 24 * 3600.0
    for expires_at, state in (
        (None, FindingState.OK),
        (NOW + 15 * day, FindingState.OK),
        (NOW + 13 * day, FindingState.WARNING),
    ):
        finding = repository.token(there, expires_at, NOW, is_app=False)
        assert (finding.state, bool(finding.hint)) == (state, state is FindingState.WARNING)
    assert "until 2026-01-14 12:00 UTC" in finding.message


@pytest.mark.parametrize(("is_app", "hint"), [(False, "make a new token"), (True, "make a new key")])
def test_a_credential_that_github_does_not_take_is_named(is_app: bool, hint: str) -> None:
    finding = repository.token(refused(401, "Bad credentials"), None, NOW, is_app=is_app)
    assert (finding.state, finding.message) == (FindingState.FAILED, "GitHub doesn't take it (401 Bad credentials)")
    assert finding.hint.startswith(hint)
    assert repository.token(Unanswered("x"), None, NOW, is_app=is_app).state is FindingState.UNKNOWN
