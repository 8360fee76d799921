"""The HTTP server of a real bridge process: what a stranger can block, smuggle or guess."""

import asyncio
import itertools
import json
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.integration.deliveries import VALID, post, rows, signed
from tests.loopback.servers import BridgeServer
from tests.waiting import PATIENCE, until

SENDERS = 1_000
BODY = 1024 * 1024
LIMIT = 300 * 1024
"""KiB that the process may have resident whatever strangers send: 32 MiB of bodies, and what 1,000 connections cost."""
PASSWORD = "sentinel-password"


@pytest.fixture
def settings(settings: dict[str, str]) -> dict[str, str]:
    return settings | {"ADMIN_PASSWORD": PASSWORD}


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Let this process open a connection for each sender."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def peak(bridge: BridgeServer) -> int:
    """Return the largest resident memory of the process so far, in KiB."""
    return int(Path(f"/proc/{bridge.pid}/status").read_text().split("VmHWM:")[1].split()[0])


def head(path: str = "/webhook", **headers: str) -> bytes:
    """Return a request's head with the headers of a delivery from MLflow."""
    lines = {"Host": "x", **signed(b""), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
    ).encode()


async def hold(port: int, sent: bytes, rest: bytes, go_on: asyncio.Event) -> bytes:
    """Send `sent`, and `rest` once `go_on` is set; return the answer."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            await writer.drain()
            await go_on.wait()
            writer.write(rest)
            await writer.drain()
            return await reader.read(65_536)
        finally:
            writer.close()
    return b""


async def deliver(url: str, number: int) -> list[httpx2.Response]:
    """Deliver as MLflow does: retry what is answered 503 after `Retry-After`, at most three times."""
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:

        async def send(body: bytes) -> httpx2.Response:
            headers = signed(body, str(uuid4()))
            for _ in range(4):
                answer = await client.post(f"{url}/webhook", content=body, headers=headers)
                if answer.status_code != 503:
                    break
                await asyncio.sleep(float(answer.headers["Retry-After"]))
            return answer

        return [await send(VALID[index % 2]) for index in range(number)]


@pytest.mark.parametrize(
    "length", [{"Content_Length": str(BODY)}, {"Transfer_Encoding": "chunked"}], ids=["length", "chunks"]
)
def test_unfinished_bodies_of_a_thousand_strangers_cost_little_and_keep_no_delivery_out(
    bridge: BridgeServer, length: dict[str, str]
) -> None:
    start, body = head(**length), b"x" * (BODY - 1)
    sent = start + (b"%x\r\n" % BODY if "Transfer_Encoding" in length else b"") + body
    port = int(bridge.url.rpartition(":")[2])

    async def attack() -> list[httpx2.Response]:
        go_on = asyncio.Event()
        flood = [asyncio.create_task(hold(port, sent, b"", go_on)) for _ in range(SENDERS)]
        await asyncio.sleep(3)
        answers = await deliver(bridge.url, 20)
        go_on.set()
        for sender in flood:
            sender.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        return answers

    answers = asyncio.run(attack())
    print(f"peak: {peak(bridge)} KiB")
    assert {answer.status_code for answer in answers} == {202}
    assert len(answers) == 20 == rows(bridge.folder, "select count(*) from deliveries")[0][0]
    assert peak(bridge) < LIMIT
    assert "Traceback" not in bridge.log.read_text()


def answered(port: int, sent: bytes) -> tuple[int, bool]:
    """Return the status of the first answer, and whether the server then closed the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        received = connection.recv(65_536)
        try:
            while part := connection.recv(65_536):
                received += part
        except TimeoutError:
            return int(received.split()[1]), False
        except OSError:
            pass
        assert received.count(b"HTTP/1.1 ") == 1, received
        return int(received.split()[1]), True


SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


PATHS = ("/webhook", "/health", "/ready", "/", "/api/deliveries/x/replay", "/nowhere")
MISFRAMED = (
    ("1.1", "Content-Length: 0\r\nTransfer-Encoding: chunked"),
    ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 0"),
    ("1.1", "transfer-encoding:\r\n chunked\r\nContent-Length: 0"),
    ("1.0", "Transfer-Encoding: chunked"),
    ("1.1", f"Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}"),
    ("1.1", f"Content-Length: 0, {len(SMUGGLED)}"),
    ("1.1", "Content-Length: +0"),
    ("1.1", "Content-Length : 0"),
    ("1.1", "Host: y"),
)


def test_a_request_that_a_proxy_may_read_differently_is_refused_and_what_follows_it_is_not_read(
    bridge: BridgeServer,
) -> None:
    answers = {}
    for path, (version, framing) in itertools.product(PATHS, MISFRAMED):
        start = f"POST {path} HTTP/{version}\r\nHost: x\r\n{framing}\r\n\r\n"
        sent = start.encode() + b"0\r\n\r\n" + SMUGGLED
        answers[start] = answered(int(bridge.url.rpartition(":")[2]), sent)
    assert answers == dict.fromkeys(answers, (400, True))


def test_what_the_headers_rule_out_is_answered_before_any_of_the_body_is_there(bridge: BridgeServer) -> None:
    for status, wrong in (
        (400, {"X_MLflow_Timestamp": "soon"}),
        (400, {"X_MLflow_Delivery_Id": "x"}),
        (401, {"X_MLflow_Signature": ""}),
        (401, {"X_MLflow_Signature": "v1,x"}),
        (413, {"Content_Length": str(BODY + 1)}),
    ):
        sent = head(**({"Content_Length": str(BODY)} | wrong))
        assert answered(int(bridge.url.rpartition(":")[2]), sent) == (status, True)


def test_heads_of_very_many_headers_cost_little(bridge: BridgeServer) -> None:
    sent = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 60_000
    port = int(bridge.url.rpartition(":")[2])

    async def attack() -> None:
        go_on = asyncio.Event()
        flood = [asyncio.create_task(hold(port, sent, b"\r\n", go_on)) for _ in range(SENDERS)]
        await asyncio.sleep(1)
        go_on.set()
        await asyncio.gather(*flood)

    asyncio.run(attack())
    print(f"peak: {peak(bridge)} KiB")
    assert peak(bridge) < LIMIT
    assert httpx2.get(f"{bridge.url}/health", trust_env=False, timeout=30).status_code == 200


def test_strangers_learn_no_repository_no_word_of_githubs_and_no_interface(
    settings: dict[str, str], folder: Path
) -> None:
    with BridgeServer(settings | {"GITHUB_REPOSITORY": "owner/sentinel"}, folder) as bridge:
        assert post(bridge.url, VALID[0]).status_code == 202

        def get(path: str, password: str = "") -> httpx2.Response:
            auth = ("admin", password) if password else None
            return httpx2.get(f"{bridge.url}{path}", auth=auth, trust_env=False, timeout=30)

        until(lambda: get("/ready").json()["degraded"] != [])
        assert get("/ready").json() == {"degraded": ["repository-paused"]}
        (reason,) = get("/ready", PASSWORD).json()["degraded"]
        assert "owner/sentinel" in reason
        assert 'mlflow_bridge_lane_paused{route="environment"} 1.0' in get("/metrics").text
        for path in ("/ready", "/metrics"):
            assert not [word for word in ("sentinel", "owner/", "Not Found", "404") if word in get(path).text]
        assert [get(path).status_code for path in ("/openapi.json", "/docs", "/redoc")] == [401, 404, 404]
        for path in ("/", "/ready", "/openapi.json"):
            assert get(path, "wrong").status_code == 401
        peers = [line.get("peer") for line in map(json.loads, bridge.log.read_text().splitlines())]
        assert peers.count("127.0.0.1") == 3
