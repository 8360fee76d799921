"""Failures of GitHub: late runs, lost answers, cut connections, errors and rate limits, repeatable by a seed.

Sources: GitHub's documents "Create a repository dispatch event" (an answer over 10 s is cut off and may have worked),
"Rate limits for the REST API" and "Best practices for using the REST API".
"""

import asyncio
import math
import random
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fastapi import Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.loopback.github.runs import Clock, Run

_RATE_SECONDS = 60
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends a reset rather than an orderly end."""

_UNICORN = "<!DOCTYPE html><title>Unicorn! · GitHub</title><p>We had issues producing the response to your request."


class Fault(StrEnum):
    """The failure of one request."""

    RESET = "reset"
    """The connection is cut before the request is processed."""
    LOST = "lost answer"
    """The request is processed, and the connection is cut before its answer."""
    ERROR = "error"
    """A 5xx; the request isn't processed."""
    ERROR_TAKEN = "error, taken"
    """A 5xx, although the request is processed."""
    LIMITED = "rate limit"
    """A primary or secondary rate limit; the request isn't processed."""


class ConnectionCut(ConnectionResetError):
    """A cut connection, for a client that calls the app without a network."""


@dataclass(frozen=True)
class Faults:
    """How often requests fail, and how slow GitHub is.

    `shares`: each fault's share of the API's requests, from 0 to 1, together at most 1; `reads`: the factor on it for
    GET requests. `late`: a run is listed up to that many seconds after it was created. `slow`: a request waits up to
    that many seconds before it is processed, and again after. `scale`: the length here of one of GitHub's seconds, for
    `late`, `slow` and the wait that a rate limit asks for (at least 1 s).
    """

    seed: int = 0
    shares: Mapping[Fault, float] = field(default_factory=dict)
    reads: float = 1.0
    late: float = 0.0
    slow: float = 0.0
    scale: float = 1.0

    def lists(self, run: Run, clock: Clock) -> bool:
        """Return whether the list of runs shows this run by now."""
        seconds = random.Random(f"{self.seed}:{run.number}").uniform(0, self.late * self.scale)
        return (clock() - run.created_at).total_seconds() >= seconds


NO_FAULTS = Faults()


class FaultyApp:
    """The API with faults; the seed decides which one the n-th request meets. Pages have none."""

    def __init__(self, app: ASGIApp, faults: Faults, clock: Clock) -> None:
        self.met = Counter[Fault]()
        self._app = app
        self._faults = faults
        self._clock = clock
        self._chance = random.Random(faults.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or fail."""
        if scope["type"] != "http" or not scope["path"].startswith("/repos/"):
            await self._app(scope, receive, send)
            return
        fault, before, after, number = self._draw(self._faults.reads if scope["method"] == "GET" else 1.0)
        arrived = await _arrived(receive)
        if arrived is None:
            return
        await asyncio.sleep(before)
        if fault in (None, Fault.LOST, Fault.ERROR_TAKEN):
            await self._app(scope, arrived, _nowhere if fault else _delayed(send, after))
        match fault:
            case Fault.RESET:
                await _cut(scope, receive)
            case Fault.LOST:
                await asyncio.sleep(after)
                await _cut(scope, receive)
            case Fault.ERROR | Fault.ERROR_TAKEN:
                await _error(number)(scope, receive, send)
            case Fault.LIMITED:
                await self._limited(number)(scope, receive, send)

    def _draw(self, weight: float) -> tuple[Fault | None, float, float, int]:
        """Return the next request's fault, its seconds before and after processing, and a number to vary the answer.

        Every request draws the same number of times, so that the n-th one depends on the seed alone.
        """
        dice, number = self._chance.random(), self._chance.randrange(3)
        before, after = (self._chance.uniform(0, self._faults.slow * self._faults.scale) for _ in range(2))
        for fault, share in self._faults.shares.items():
            dice -= share * weight
            if dice < 0:
                self.met[fault] += 1
                return fault, before, after, number
        return None, before, after, number

    def _limited(self, number: int) -> Response:
        """Return one of the three forms of a rate limit."""
        wait = max(1, math.ceil(_RATE_SECONDS * self._faults.scale))
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        if number == 0:
            return JSONResponse({"message": message}, 403, {"Retry-After": str(wait)})
        if number == 1:
            return JSONResponse({"message": message}, 429, {"Retry-After": str(wait)})
        reset = math.ceil(self._clock().timestamp()) + wait
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}
        return JSONResponse({"message": "API rate limit exceeded for user ID 1."}, 403, headers)


class CuttableProtocol(H11Protocol):
    """uvicorn's protocol, with which the app can reset the connection of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Add a function `cut` to the state of each request."""
        super().connection_made(transport)

        def cut() -> None:
            connection = transport.get_extra_info("socket")
            if connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()

        self.app_state = {**self.app_state, "cut": cut}


async def _arrived(receive: Receive) -> Receive | None:
    """Read the whole request, and return a `receive` that reads it again; None if the sender left before its end.

    So a request that has arrived is processed, even if its sender has gone.
    """
    arrived = [await receive()]
    while arrived[-1].get("more_body"):
        arrived.append(await receive())
    if arrived[-1]["type"] == "http.disconnect":
        return None
    waiting = iter(arrived)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return again


async def _cut(scope: Scope, receive: Receive) -> None:
    """Cut the connection and wait until the server knows; before that, it would answer in the app's place."""
    cut = scope.get("state", {}).get("cut")
    if cut is None:
        raise ConnectionCut
    cut()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nowhere(_: Message) -> None:
    """Lose the answer."""


def _delayed(send: Send, seconds: float) -> Send:
    async def delayed(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return delayed


def _error(number: int) -> Response:
    """Return a 5xx: GitHub's JSON, or the page of a proxy in front of it."""
    if number == 0:
        return JSONResponse({"message": "Server Error"}, 500)
    return HTMLResponse(_UNICORN, 502 if number == 1 else 503)
