"""The OpenAPI description, checked against a running bridge by schemathesis."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import settings
from pydantic import SecretStr
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bridge.server.app import create_app
from bridge.settings import Settings
from tests.integration.conftest import REPOSITORY, SECRET, TOKEN, bridge_settings
from tests.integration.deliveries import signed
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeServer]:
    folder = tmp_path_factory.mktemp("openapi")
    with (
        LoopbackGitHub(repository=REPOSITORY, tree=folder, token=TOKEN, folder=folder) as github,
        BridgeServer(bridge_settings(github), folder / "bridge") as bridge,
    ):
        yield bridge


@pytest.fixture(scope="module")
def mlflow(running: BridgeServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=running.url, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def answered(running: BridgeServer) -> Iterator[Counter[int]]:
    counted = Counter[int]()
    yield counted
    print(f"signed: {dict(counted)}")
    assert {202, 422} <= set(counted) <= {200, 202, 413, 422}
    assert "Traceback" not in running.log.read_text()


def description() -> dict[str, Any]:
    """Return the description that `GET /openapi.json` answers; no bridge has to run for it."""
    secret, token = SecretStr(SECRET), SecretStr(TOKEN)
    return create_app(
        Settings(mlflow_webhook_secret=secret, github_repository=REPOSITORY, github_token=token)
    ).openapi()


api = schemathesis.openapi.from_dict(description())


@api.parametrize()
@settings(max_examples=100, deadline=None)
def test_every_answer_fits_the_description(case: Case[Any], running: BridgeServer) -> None:
    case.call_and_validate(running.url, checks=CHECKS)


@api.include(path="/webhook").parametrize()
@settings(max_examples=150, deadline=None)
def test_signed_deliveries_are_accepted_or_refused_and_never_answered_5xx(
    case: Case[Any], mlflow: httpx2.Client, answered: Counter[int]
) -> None:
    sent = case.as_transport_kwargs()
    body = json.dumps(sent["json"]).encode() if "json" in sent else sent.get("data", b"")
    content = body.encode() if isinstance(body, str) else body
    answer = mlflow.post("/webhook", content=content, headers=signed(content))
    answered[answer.status_code] += 1
    assert answer.status_code < 500
