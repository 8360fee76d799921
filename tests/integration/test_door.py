"""The door of a real bridge process: what a stranger can hold, smuggle or guess there."""

import asyncio
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from bridge.demo.processes import BridgeServer
from tests.integration.deliveries import VALID, rows, signed

SENDERS = 1_000
BODY = 1024 * 1024
LIMIT = 200 * 1024
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
    """Give the most memory that the process has had resident, in KiB."""
    return int(Path(f"/proc/{bridge.pid}/status").read_text().split("VmHWM:")[1].split()[0])


def head(path: str = "/webhook", **headers: str) -> bytes:
    """Give a request's head, whose delivery headers are those that a delivery of MLflow's may have."""
    lines = {"Host": "x", **signed(b""), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]).encode()


async def hold(port: int, sent: bytes, rest: bytes, go_on: asyncio.Event) -> bytes:
    """Send that, and the rest once told; give what came back."""
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


async def deliver(url: str, number: int) -> list[httpx.Response]:
    """Deliver as MLflow does: what is answered 503 is sent again after `Retry-After`, three times at most."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

        async def one(body: bytes) -> httpx.Response:
            headers = signed(body, str(uuid4()))
            for _ in range(4):
                answer = await client.post(f"{url}/webhook", content=body, headers=headers)
                if answer.status_code != 503:
                    break
                await asyncio.sleep(float(answer.headers["Retry-After"]))
            return answer

        return [await one(VALID[each % 2]) for each in range(number)]


@pytest.mark.parametrize("length", [{"Content_Length": str(BODY)}, {"Transfer_Encoding": "chunked"}], ids=["length", "chunks"])
def test_unfinished_bodies_of_a_thousand_strangers_cost_little_and_keep_no_delivery_out(
    bridge: BridgeServer, length: dict[str, str]
) -> None:
    start, body = head(**length), b"x" * (BODY - 1)
    sent = start + (b"%x\r\n" % BODY if "Transfer_Encoding" in length else b"") + body
    port = int(bridge.url.rpartition(":")[2])

    async def attack() -> list[httpx.Response]:
        go_on = asyncio.Event()
        flood = [asyncio.create_task(hold(port, sent, b"", go_on)) for _ in range(SENDERS)]
        await asyncio.sleep(3)
        answers = await deliver(bridge.url, 20)
        go_on.set()
        for each in flood:
            each.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        return answers

    answers = asyncio.run(attack())
    print(f"peak: {peak(bridge)} KiB")
    assert {answer.status_code for answer in answers} == {202}
    assert len(answers) == 20 == rows(bridge.folder, "select count(*) from deliveries")[0][0]
    assert peak(bridge) < LIMIT
    assert "Traceback" not in bridge.log.read_text()
