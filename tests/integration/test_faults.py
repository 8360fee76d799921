"""The loopback GitHub's faults as a client on the network meets them."""

from pathlib import Path

import httpx2
import pytest

from tests.loopback.github.faults import Fault, Faults
from tests.loopback.github.server import LoopbackGitHub
from tests.waiting import until

DISPATCH = {"event_type": "mlflow-model-version", "client_payload": {"dispatch_id": "01J"}}


@pytest.mark.parametrize(("fault", "taken"), [(Fault.RESET, 0), (Fault.LOST, 1)])
def test_a_cut_connection_leaves_no_answer_and_the_next_request_is_served(
    tmp_path: Path, fault: Fault, taken: int
) -> None:
    headers = {"Authorization": "Bearer t"}
    with (
        LoopbackGitHub(
            repository="octo/models", tree=tmp_path, token="t", folder=tmp_path, faults=Faults(shares={fault: 1})
        ) as github,
        httpx2.Client(base_url=github.url, headers=headers, trust_env=False) as client,
    ):
        for _ in range(3):
            with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):  # while it reads, or still sends
                client.post("/repos/octo/models/dispatches", json=DISPATCH)
        assert len(github.dispatches) == taken * 3
        assert client.get("/rate_limit").status_code == 200
        assert github.faults_met == {fault: 3}


def test_a_request_that_has_arrived_is_processed_although_its_sender_is_gone(tmp_path: Path) -> None:
    with LoopbackGitHub(
        repository="octo/models", tree=tmp_path, token="t", folder=tmp_path, faults=Faults(slow=0.5)
    ) as github:
        for _ in range(3):
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.post(
                    f"{github.url}/repos/octo/models/dispatches",
                    json=DISPATCH,
                    headers={"Authorization": "Bearer t"},
                    timeout=httpx2.Timeout(5, read=0.01),
                    trust_env=False,
                )
        until(lambda: len(github.dispatches) == 3)
