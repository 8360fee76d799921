"""What the OpenAPI description says of the webhook, whose body and headers are read by hand.

Source: MLflow's document "Webhooks". It shows what MLflow sends; members that aren't named here are passed over.
"""

from typing import Any, Final

from bridge.core.events import EventKind
from bridge.mlflow.signature import DELIVERY_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from bridge.server.webhook_answers import REFUSALS, TAKEN, Word

_TEXT: Final = {"type": "string", "minLength": 1}
_OPTIONAL: Final = {"type": ["string", "null"]}
_VERSION: Final = {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}

_DATA: Final[dict[EventKind, dict[str, Any]]] = {
    EventKind.VERSION_CREATED: {"name": _TEXT, "version": _VERSION, "source": _OPTIONAL, "run_id": _OPTIONAL},
    EventKind.ALIAS_CREATED: {"name": _TEXT, "version": _VERSION, "alias": _TEXT},
    EventKind.TAG_SET: {"name": _TEXT, "version": _VERSION, "key": _TEXT, "value": {"type": "string"}},
}

_HEADERS: Final[dict[bytes, dict[str, Any]]] = {
    DELIVERY_ID_HEADER: {"type": "string", "format": "uuid"},
    TIMESTAMP_HEADER: {"type": "string", "pattern": "^[0-9]{1,12}$"},
    SIGNATURE_HEADER: {"type": "string", "pattern": "^v1,[A-Za-z0-9+/]{43}=$"},
}


def _object(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members)}


def _event(kind: EventKind) -> dict[str, Any]:
    entity, _, action = kind.partition(".")
    return _object({"entity": {"const": entity}, "action": {"const": action}, "data": _object(_DATA[kind])})


def _answer(description: str, word: dict[str, Any], **more: Any) -> dict[str, Any]:
    shape = _object({"status": word, "delivery_id": _OPTIONAL, **more})
    return {"description": description, "content": {"application/json": {"schema": shape}}}


def _answers() -> dict[str, Any]:
    """Give all answers, from the one table that there is of them."""
    taken = {code: _answer("The delivery is ours", {"enum": list(TAKEN)}) for code in TAKEN.values()}
    words = {"enum": [Word.REFUSED, Word.UNAVAILABLE]}
    refused = {code: _answer("Not taken; `detail` says why", words, detail=_TEXT) for code in REFUSALS.values()}
    return {str(code): answer for code, answer in sorted({**taken, **refused}.items())}


WEBHOOK: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name.decode(), "in": "header", "required": True, "schema": schema} for name, schema in _HEADERS.items()
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"oneOf": [_event(kind) for kind in EventKind]}}},
    },
    "responses": _answers(),
}
"""The operation, for `openapi_extra`."""
