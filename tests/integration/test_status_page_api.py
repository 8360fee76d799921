"""The API of the status page, checked against its own description with the password."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import settings
from schemathesis import Case

from tests.integration.conftest import REPOSITORY, TOKEN, bridge_settings
from tests.integration.deliveries import VALID, post
from tests.integration.test_openapi import CHECKS, api, description
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer

PASSWORD = "sentinel-password"
SIGNED_IN = {"Authorization": "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode()}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeServer]:
    folder = tmp_path_factory.mktemp("api")
    with LoopbackGitHub(repository=REPOSITORY, tree=folder, token=TOKEN, folder=folder) as github:
        env = bridge_settings(github) | {"ADMIN_PASSWORD": PASSWORD}
        with BridgeServer(env, folder / "bridge") as bridge:
            for event in VALID:
                assert post(bridge.url, event).status_code == 202
            yield bridge
        assert "Traceback" not in bridge.log.read_text()
        assert "sentinel" not in bridge.log.read_text()


@api.include(path_regex="^/api/").parametrize()
@settings(max_examples=50, deadline=None)
def test_every_answer_fits_the_description(case: Case[Any], running: BridgeServer) -> None:
    case.call_and_validate(running.url, checks=CHECKS, headers=SIGNED_IN)


def test_only_the_administrator_gets_the_description(running: BridgeServer) -> None:
    assert httpx2.get(f"{running.url}/openapi.json", trust_env=False).status_code == 401
    assert httpx2.get(f"{running.url}/openapi.json", headers=SIGNED_IN, trust_env=False).json() == description()


def test_deliveries_are_listed_and_replayed(running: BridgeServer) -> None:
    with httpx2.Client(base_url=running.url, headers=SIGNED_IN, trust_env=False) as client:
        deliveries = client.get("/api/deliveries").json()["deliveries"]
        assert {delivery["event"] for delivery in deliveries} == {
            "model_version.created",
            "model_version_alias.created",
        }
        (dispatch_id,) = client.post(f"/api/deliveries/{deliveries[0]['id']}/replay").json()["dispatch_ids"]
        again = client.get(f"/api/deliveries/{deliveries[0]['id']}").json()
        assert dispatch_id in [dispatch["id"] for dispatch in again["dispatches"]]
