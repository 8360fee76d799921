"""MLflow's deliveries: correct ones, hostile ones and mutated ones."""

import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import sqlalchemy as sa

from bridge.mlflow.signature import sign
from tests.integration.conftest import SECRET

VERSION: dict[str, object] = {
    "name": "模型 (EU)",
    "version": "7",
    "source": "models:/m-1",
    "run_id": None,
    "tags": {},
    "description": "",
}
ALIAS = {"name": "模型 (EU)", "version": "7", "alias": "champion"}
TAG = {"name": "模型 (EU)", "version": "7", "key": "stage", "value": "gold"}


def body(kind: str, data: object, **more: object) -> bytes:
    entity, _, action = kind.partition(".")
    return json.dumps({"entity": entity, "action": action, "timestamp": "2026-01-01", "data": data, **more}).encode()


VALID = (
    body("model_version.created", VERSION),
    body("model_version_alias.created", ALIAS),
    body("model_version_tag.set", TAG),
)


def signed(sent: bytes, delivery_id: str | None = None) -> dict[str, str]:
    """Return the headers that MLflow sends with this body."""
    delivery_id, now = delivery_id or str(uuid4()), int(time.time())
    return {
        "X-MLflow-Delivery-Id": delivery_id,
        "X-MLflow-Timestamp": str(now),
        "X-MLflow-Signature": sign(SECRET, delivery_id, now, sent),
    }


def post(url: str, sent: bytes) -> httpx2.Response:
    return httpx2.post(f"{url}/webhook", content=sent, headers=signed(sent), trust_env=False, timeout=30)


def hostile(chance: random.Random) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request without a valid signature."""
    sent = chance.choice(
        [*VALID, b"", chance.randbytes(chance.randrange(2_000)), b"[" * 50_000, b"x" * (1024 * 1024 + 1)]
    )
    headers = signed(sent)
    forged = [
        "",
        "v1,",
        "v1",
        "v2," + "A" * 44,
        "v1," + "A" * 43 + "=",
        chance.randbytes(32).hex(),
        headers["X-MLflow-Signature"][:-1],
        headers["X-MLflow-Signature"].swapcase(),
        sign("", headers["X-MLflow-Delivery-Id"], int(headers["X-MLflow-Timestamp"]), sent),
        sign(SECRET, headers["X-MLflow-Delivery-Id"], 0, sent),
    ]
    headers["X-MLflow-Signature"] = chance.choice(forged)
    for name, values in (
        ("X-MLflow-Delivery-Id", ["", "1", "../../x", "x" * 4_000, str(uuid4()).upper()]),
        ("X-MLflow-Timestamp", ["", "-1", "1e9", "9" * 30, "NaN", "0"]),
    ):
        if chance.random() < 0.3:
            headers[name] = chance.choice(values)
        if chance.random() < 0.1:
            del headers[name]
    if chance.random() < 0.3:
        del headers["X-MLflow-Signature"]
    return sent, headers


def mutated(chance: random.Random) -> bytes:
    """Return one of MLflow's bodies with a mutation."""
    sent = chance.choice(VALID)
    change: Callable[[random.Random, bytes], bytes] = chance.choice([_bytes, _cut, _value, _value, _kind, _field])
    return change(chance, sent)


def _bytes(chance: random.Random, sent: bytes) -> bytes:
    changed = bytearray(sent)
    for _ in range(chance.randrange(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _cut(chance: random.Random, sent: bytes) -> bytes:
    at = chance.randrange(len(sent))
    return sent[:at] + sent[at + chance.randrange(1, 20) :]


def _value(chance: random.Random, sent: bytes) -> bytes:
    event = json.loads(sent)
    values: list[Any] = [
        None,
        "",
        "1",
        "0",
        "01",
        1,
        1.5,
        [],
        {},
        "a\nb",
        "a\x00b",
        "()",
        "模",
        "x" * 70_000,
        "image.uri",
        True,
    ]
    event["data"][chance.choice(list(event["data"]))] = chance.choice(values)
    return json.dumps(event).encode()


def _kind(chance: random.Random, sent: bytes) -> bytes:
    event = json.loads(sent)
    event["entity"] = chance.choice(
        ["model_version", "model_version_alias", "model_version_tag", "prompt", "", None, 1]
    )
    event["action"] = chance.choice(["created", "set", "deleted", "exceeded", "", None, []])
    return json.dumps(event).encode()


def _field(chance: random.Random, sent: bytes) -> bytes:
    event = json.loads(sent)
    change = chance.choice(["drop", "add", "workspace", "data"])
    if change == "drop":
        del event["data"][chance.choice(list(event["data"]))]
    elif change == "add":
        event["data"]["__class__"] = event["more"] = {"a": [None]}
    elif change == "workspace":
        event["workspace"] = chance.choice(["default", "team-a", "", None, 7])
    else:
        event["data"] = chance.choice([None, [], "x", {}])
    return json.dumps(event).encode()


def is_to_be_dispatched(sent: bytes) -> bool:
    """Return, without the bridge's code, whether the one route matches this body's event."""
    try:
        event = json.loads(sent)
        data = event["data"]
        kind = f"{event['entity']}.{event['action']}"
        texts = [data["name"], data["version"]] + ([data["alias"]] if kind == "model_version_alias.created" else [])
        return (
            kind in ("model_version.created", "model_version_alias.created")
            and all(isinstance(text, str) and text and "\x00" not in text for text in texts)
            and data["version"].isdecimal()
            and not data["version"].startswith("0")
            and event.get("workspace") in (None, "", "default")
            and len(data["name"]) < 65_000
        )
    except (ValueError, TypeError, KeyError):
        return False


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Query the ledger of the bridge with that folder."""
    with closing(sqlite3.connect(folder / "mlflow-bridge.db")) as connection:
        return connection.execute(query).fetchall()


def rows_of(database: str, query: str) -> list[tuple[Any, ...]]:
    """Query the ledger at that DATABASE_URL."""
    engine = sa.create_engine(database.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]
