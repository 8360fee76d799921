"""MLflow's side of the proof: signed deliveries, sent and sent again as MLflow does it, and who was answered what."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from uuid import UUID

import httpx2

from tests.integration.deliveries import body, signed

THREADS = 10
"""As many deliveries as MLflow sends at a time."""

WAITS = (0.0, 0.0, 2.0, 4.0)
"""Seconds before each try, as with MLflow; after the last it gives up."""

_TIMEOUT = 3.0
"""Seconds that MLflow waits for an answer; a frozen bridge gives none."""


@dataclass(frozen=True)
class Event:
    """A change in MLflow, and its delivery."""

    delivery_id: str
    model: str
    version: str
    alias: str | None = None

    @property
    def content(self) -> bytes:
        """Return the body."""
        data = {"name": self.model, "version": self.version}
        if self.alias:
            return body("model_version_alias.created", data | {"alias": self.alias})
        more: dict[str, object] = {"source": f"models:/m-{self.version}", "run_id": None, "tags": {}, "description": ""}
        return body("model_version.created", data | more)


class Mlflow:
    """Delivers to the bridges at `urls`, each try to another one, as a load balancer would."""

    def __init__(self, urls: Sequence[str], chance: Random) -> None:
        self.accepted: set[str] = set()
        """The ids that were answered 202."""
        self.sent: dict[str, Event] = {}
        self._urls = urls
        self._chance = chance
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, "mlflow")
        self._client = httpx2.Client(trust_env=False, timeout=_TIMEOUT)
        self._futures: list[Future[None]] = []
        self._versions = 0

    def burst(self, count: int, seconds: float) -> None:
        """Begin to deliver `count` events within that many seconds, some of them at the same moment."""
        moments = sorted(self._chance.choices([self._chance.uniform(0, seconds) for _ in range(count)], k=count))
        began = time.monotonic()
        for moment in moments:
            event, first = self._event(), self._chance.randrange(len(self._urls))
            self.sent[event.delivery_id] = event
            self._futures.append(self._pool.submit(self._deliver, event, began + moment, first))

    def finish(self) -> None:
        """Wait until every delivery is answered or given up."""
        for future in self._futures:
            future.result()
        self._pool.shutdown()
        self._client.close()

    def _event(self) -> Event:
        """Return the event of a new version, or of an alias for the newest version."""
        delivery_id = str(UUID(int=self._chance.getrandbits(128), version=4))
        alias = self._chance.choice((None, None, "champion")) if self._versions else None
        self._versions += alias is None
        return Event(delivery_id, f"model {self._versions % 7}", str(self._versions), alias)

    def _deliver(self, event: Event, at: float, first: int) -> None:
        """Try as often as MLflow does; id, time and signature stay the same."""
        time.sleep(max(0.0, at - time.monotonic()))
        headers = signed(event.content, event.delivery_id)
        for number, wait in enumerate(WAITS):
            time.sleep(wait)
            url = self._urls[(first + number) % len(self._urls)]
            try:
                answer = self._client.post(f"{url}/webhook", content=event.content, headers=headers)
            except httpx2.HTTPError:
                continue
            if answer.status_code == 202:
                with self._lock:
                    self.accepted.add(event.delivery_id)
                return
