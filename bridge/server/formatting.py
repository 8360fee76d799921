"""Formats states, times, names and addresses for the status page. Pure; times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode

from bridge.core.addresses import redact
from bridge.core.limits import MAX_LINK, MAX_SHOWN_NAME
from bridge.ledger import DispatchState

_CONTROLS: Final = {**{code: 0x2400 + code for code in range(32)}, 127: 0x2421}
"""The symbols of control characters, so that a line feed in a name is visible."""


@dataclass(frozen=True)
class Meaning:
    """A state as a sign that needs no colour, as a family of colours, and as a sentence."""

    sign: str
    family: str
    sentence: str


MEANINGS: Final[Mapping[DispatchState, Meaning]] = {
    DispatchState.PENDING: Meaning("○", "waiting", "Waiting to be dispatched."),
    DispatchState.SENT: Meaning("◔", "going", "Dispatched; waiting for the run to appear."),
    DispatchState.RUNNING: Meaning("◑", "going", "Run in progress."),
    DispatchState.SUCCEEDED: Meaning("✓", "good", "Run succeeded."),
    DispatchState.FAILED: Meaning("✕", "bad", "Run failed."),
    DispatchState.CANCELLED: Meaning("–", "warning", "Run cancelled."),
    DispatchState.SUPERSEDED: Meaning("»", "quiet", "Replaced by a newer dispatch for the same model."),
    DispatchState.REJECTED: Meaning("✕", "bad", "GitHub rejected the dispatch."),
    DispatchState.UNSEEN: Meaning("?", "warning", "Dispatched, but no run appeared."),
    DispatchState.WITHDRAWN: Meaning("–", "quiet", "Withdrawn because the delivery was replayed."),
}


def ago(at: float, now: float) -> str:
    """Return how long ago that is, in one unit; it changes at most once a minute."""
    minutes = int(max(now - at, 0.0) // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if minutes < 48 * 60:
        return f"{minutes // 60} h ago"
    return f"{minutes // (24 * 60)} days ago"


def took(seconds: float) -> str:
    """Return a duration in its one or two largest units."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, smaller, size, factor in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            remainder = whole % size // factor
            return f"{whole // size} {unit}" + (f" {remainder} {smaller}" if remainder else "")
    return f"{whole} s"


def moment(at: float) -> str:
    """Return the time for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at: float) -> str:
    """Return the time in ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def name(text: str) -> str:
    """Return the name shortened to fit the page, with control characters made visible."""
    shown = text.translate(_CONTROLS)
    return shown if len(shown) <= MAX_SHOWN_NAME else f"{shown[:MAX_SHOWN_NAME]}…"


def image(uri: str) -> tuple[str, str]:
    """Return the image's name with its tag, and the start of its digest."""
    tagged, _, digest = uri.partition("@")
    return tagged, f"@{digest.partition(':')[2][:12]}" if digest else ""


def page(model: str, version: str, delivery_id: str) -> str:
    """Return the address of a version's page, by its name, or by one of its deliveries if that is too long."""
    address = f"/version?{urlencode({'model': model, 'version': version}, quote_via=quote)}"
    return address if len(address) <= MAX_LINK else f"/version?delivery={quote(delivery_id, safe='')}"


def mlflow_page(tracking_uri: str | None, model: str, version: str) -> str | None:
    """Return the address of the version's page in MLflow, without a password that `tracking_uri` may contain."""
    if tracking_uri is None:
        return None
    address = f"{redact(tracking_uri).rstrip('/')}/#/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"
    return address if len(address) <= MAX_LINK else None


def link(url: str | None) -> str | None:
    """Return the address if it may be a link: http and https only."""
    return url if url and url.startswith(("https://", "http://")) else None
