import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli import app

ALIAS = {"entity": "model_version_alias", "action": "created", "data": {"name": "iris", "version": "7", "alias": "a"}}
TAG = {"entity": "model_version_tag", "action": "set", "data": {"name": "iris", "version": "7", "key": "image.uri"}}
ROUTES = """
[[route]]
name = "all"
repository = "owner/models"
inputs = {base-image = "python:3.12-slim", smoke-test = "ping"}

[[route]]
name = "by hand"
repository = "owner/other"
alias = "*"
dispatch = "workflow_dispatch"
workflow = "on-mlflow-event.yml"
ref = "main"

[[route]]
name = "wine"
repository = "owner/wine"
model = "wine"

[[route]]
name = "tags"
events = ["model_version_tag.set"]
repository = "owner/tags"
"""


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "routes.toml").write_text(ROUTES)


def check(event: object, *options: str) -> tuple[int, str, str]:
    sent = event if isinstance(event, str) else json.dumps(event)
    done = CliRunner().invoke(app, ["routes", "check", "-", *options], input=sent)
    return done.exit_code, done.stdout, done.stderr


def test_the_table_has_each_route_that_matches_the_event() -> None:
    code, out, _ = check(ALIAS, "--routes", "routes.toml")
    assert code == 0
    assert out.splitlines()[0] == "model_version_alias.created: model 'iris' version 7, alias 'a'"
    assert "repository_dispatch mlflow-model-version" in out
    assert "base-image=python:3.12-slim" in out
    assert "workflow_dispatch on-mlflow-event.yml on main" in out
    assert "owner/wine" not in out
    assert "owner/tags" not in out


def test_json_has_the_requests_that_would_be_sent() -> None:
    code, out, _ = check(ALIAS, "--routes", "routes.toml", "--json")
    assert code == 0
    first, second = json.loads(out)
    assert (first["route"], first["method"], first["path"]) == ("all", "POST", "/repos/owner/models/dispatches")
    assert first["body"]["event_type"] == "mlflow-model-version"
    assert first["body"]["client_payload"]["model"]["alias"] == "a"
    assert first["body"]["client_payload"]["inputs"] == {"base-image": "python:3.12-slim", "smoke-test": "ping"}
    assert second["path"] == "/repos/owner/other/actions/workflows/on-mlflow-event.yml/dispatches"
    assert second["body"]["ref"] == "main"
    assert json.loads(second["body"]["inputs"]["payload"])["schema"] == 1
    assert {name: second["body"]["inputs"][name] for name in ("model", "version", "alias")} == {
        "model": "iris",
        "version": "7",
        "alias": "a",
    }


def test_tags_that_the_runs_write_are_not_dispatched() -> None:
    code, out, _ = check(TAG, "--routes", "routes.toml")
    assert code == 1
    assert "nothing is dispatched" in out
    assert check(TAG, "--routes", "routes.toml", "--json")[:2] == (1, "[]\n")


def test_an_event_that_no_route_matches_is_reported() -> None:
    (Path("routes.toml")).write_text('[[route]]\nrepository = "owner/wine"\nmodel = "wine"\n')
    code, out, _ = check(ALIAS, "--routes", "routes.toml")
    assert code == 1
    assert "no route matches" in out


def test_without_a_file_the_routes_are_those_of_the_settings_and_nothing_else_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/from-environment")
    assert "owner/from-environment" in check(ALIAS)[1]
    monkeypatch.setenv("GITHUB_REPOSITORY", "")
    monkeypatch.setenv("ROUTES_FILE", "routes.toml")
    assert "owner/other" in check(ALIAS)[1]


@pytest.mark.parametrize(
    ("event", "options", "start"),
    [
        ("{}", ("--routes", "routes.toml"), "the body is not an MLflow event"),
        (ALIAS, (), "GITHUB_REPOSITORY is not set: "),
        (ALIAS, ("--routes", "nowhere.toml"), "ROUTES_FILE is invalid"),
    ],
)
def test_invalid_events_and_routes_end_with_status_2(event: object, options: tuple[str, ...], start: str) -> None:
    code, out, err = check(event, *options)
    assert (code, out) == (2, "")
    assert err.startswith(start)


def test_names_in_the_event_cannot_write_to_the_terminal() -> None:
    event = json.loads(json.dumps(ALIAS))
    event["data"]["name"] = "\x1b[31m[red]x"
    assert "model '\\x1b[31m[red]x' version 7" in check(event, "--routes", "routes.toml")[1]
