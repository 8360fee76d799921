"""How the status page says things: states, times, names, addresses. Pure; times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from bridge.ledger import DispatchState

_LONGEST_NAME: Final = 200
"""Characters of a name that are shown; MLflow lets it have any number."""

_LONGEST_LINK: Final = 2000
"""Characters of an address that every browser and proxy takes."""

_CONTROLS: Final = {**{code: 0x2400 + code for code in range(32)}, 127: 0x2421}
"""The pictures of control characters: a name that holds a line feed shows it."""


@dataclass(frozen=True)
class Meaning:
    """A state in a sign that needs no colour, the colour's family, and a sentence."""

    sign: str
    family: str
    sentence: str


MEANINGS: Final[Mapping[DispatchState, Meaning]] = {
    DispatchState.PENDING: Meaning("○", "waiting", "It waits to be sent to GitHub."),
    DispatchState.SENT: Meaning("◔", "going", "GitHub took it. Its run has not been seen yet."),
    DispatchState.RUNNING: Meaning("◑", "going", "The workflow is running."),
    DispatchState.SUCCEEDED: Meaning("✓", "good", "The run ended well."),
    DispatchState.FAILED: Meaning("✕", "bad", "The run failed."),
    DispatchState.CANCELLED: Meaning("–", "warning", "The run was cancelled."),
    DispatchState.SUPERSEDED: Meaning("»", "quiet", "A newer dispatch for the same model took its place."),
    DispatchState.REJECTED: Meaning("✕", "bad", "GitHub does not take the dispatch."),
    DispatchState.UNSEEN: Meaning("?", "warning", "GitHub took it, and no run appeared."),
    DispatchState.WITHDRAWN: Meaning("–", "quiet", "Somebody withdrew it."),
}


def ago(at: float, now: float) -> str:
    """Give how long ago that is, in one unit; it changes once a minute at most."""
    minutes = int(max(now - at, 0.0) // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if minutes < 48 * 60:
        return f"{minutes // 60} h ago"
    return f"{minutes // (24 * 60)} days ago"


def took(seconds: float) -> str:
    """Give a duration in the one or two units that matter."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, smaller, size, factor in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // factor
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def moment(at: float) -> str:
    """Give the time as people write it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at: float) -> str:
    """Give the time as machines read it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def name(text: str) -> str:
    """Give a name that fits the page, and hides no character that has no shape."""
    shown = text.translate(_CONTROLS)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"


def image(uri: str) -> tuple[str, str]:
    """Give the image's name with its tag, and its digest as short as people tell digests apart."""
    tagged, _, digest = uri.partition("@")
    return tagged, f"@{digest.partition(':')[2][:12]}" if digest else ""


def page(model: str, version: str, delivery_id: str) -> str:
    """Give the address of a version's page, by its name, or by a delivery of it where that is too long."""
    address = f"/version?{urlencode({'model': model, 'version': version}, quote_via=quote)}"
    return address if len(address) <= _LONGEST_LINK else f"/version?delivery={quote(delivery_id, safe='')}"


def mlflow_page(tracking_uri: str | None, model: str, version: str) -> str | None:
    """Give the address of the version in MLflow's own pages, without any password that ours may hold."""
    if tracking_uri is None:
        return None
    parts = urlsplit(tracking_uri)
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    address = f"{server}/#/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"
    return address if len(address) <= _LONGEST_LINK else None


def link(url: str | None) -> str | None:
    """Give an address that may be a link: nothing but http and https."""
    return url if url and url.startswith(("https://", "http://")) else None
