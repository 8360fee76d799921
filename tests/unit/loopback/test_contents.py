"""The loopback GitHub's answers about files, Actions and time."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.loopback.github.contents import Contents
from tests.loopback.github.gate import ApiError
from tests.loopback.github.server import PERMISSIONS, LoopbackGitHub
from tests.unit.loopback.test_server import DISPATCHES, Client, Clock

FOLDER = "/repos/octo/models/contents/.github/workflows"
RAW = {"Accept": "application/vnd.github.raw+json"}


def make(tmp_path: Path, **changes: Any) -> Client:
    folder = tmp_path / "tree/.github/workflows"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text("on: push # ü")
    (tmp_path / "secret").write_text("sentinel")
    standard = {"repository": "octo/models", "token": "t0ken", "tree": tmp_path / "tree", "folder": tmp_path / "g"}
    return Client(LoopbackGitHub(**{**standard, "clock": Clock(), **changes}))


def test_a_folder_lists_what_it_holds_and_a_file_is_given_raw_or_in_base64(tmp_path: Path) -> None:
    client = make(tmp_path)
    (entry,) = client.get(FOLDER).json()
    assert (entry["name"], entry["path"], entry["type"]) == ("a.yml", ".github/workflows/a.yml", "file")
    assert client.get(f"{FOLDER}/a.yml", headers=RAW).text == "on: push # ü"
    assert base64.b64decode(client.get(f"{FOLDER}/a.yml").json()["content"]).decode() == "on: push # ü"


@pytest.mark.parametrize("path", ["/x.yml", "?ref=other", "/a.yml?ref=other"])
def test_what_is_not_on_the_branch_is_not_found(path: str, tmp_path: Path) -> None:
    assert make(tmp_path).get(FOLDER + path).status_code == 404


def test_nothing_outside_the_tree_is_given(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(ApiError, match="Not Found"):
        Contents(tmp_path / "tree").raw("../secret", "main")


@pytest.mark.parametrize(
    ("path", "held", "needed"),
    [
        ("/contents/.github/workflows", {"metadata": "read"}, "contents=read"),
        ("/actions/permissions", PERMISSIONS, "administration=read"),
        ("/actions/workflows", {"metadata": "read"}, "actions=read"),
    ],
)
def test_a_missing_permission_is_named_in_the_header(
    path: str, held: Mapping[str, str], needed: str, tmp_path: Path
) -> None:
    answer = make(tmp_path, permissions=held).get(f"/repos/octo/models{path}")
    assert (answer.status_code, answer.headers["x-accepted-github-permissions"]) == (403, needed)


def test_without_actions_events_are_taken_and_start_nothing(tmp_path: Path) -> None:
    client = make(tmp_path, actions_enabled=False, permissions=PERMISSIONS | {"administration": "read"})
    (tmp_path / "tree/.github/workflows/a.yml").write_text("on: [repository_dispatch, workflow_dispatch]")
    assert client.get("/repos/octo/models/actions/permissions").json() == {"enabled": False}
    assert client.post(DISPATCHES, json={"event_type": "x"}).status_code == 204
    refused = client.post("/repos/octo/models/actions/workflows/a.yml/dispatches", json={"ref": "main"})
    assert (refused.status_code, "disabled" in refused.json()["message"]) == (422, True)
    assert client.get("/repos/octo/models/actions/runs").json()["total_count"] == 0


def test_an_invalid_dispatch_is_422_only_where_a_valid_one_is_allowed(tmp_path: Path) -> None:
    assert make(tmp_path).post(DISPATCHES, json={}).status_code == 422
    answer: httpx2.Response = make(tmp_path / "other", permissions={"contents": "read"}).post(DISPATCHES, json={})
    assert answer.status_code == 403


def test_each_answer_tells_the_time_of_the_clock(tmp_path: Path) -> None:
    assert make(tmp_path).get("/repos/octo/models").headers["date"] == "Thu, 01 Jan 2026 12:00:00 GMT"
