"""Logs: one JSON object a line, or coloured lines for people; ours and those of the libraries alike."""

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor

_ENCODER: Final = json.JSONEncoder(default=repr)

_QUIET = ("httpx", "httpcore", "alembic")
"""They tell of every request and step; we tell of what matters in them."""


def configure(form: Literal["json", "console"]) -> None:
    """Send every log line to standard error in that form."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *_rendering(form)],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=processors))
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _rendering(form: Literal["json", "console"]) -> list[Processor]:
    if form == "console":
        return [_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]


def _printable(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Escape what would move a terminal's cursor or end the line: anyone who can register a model chooses names."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in line.items()}


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _json(line: Mapping[str, Any], **_kwargs: object) -> str:
    """Give the line as JSON, by one encoder: `json.dumps` makes one for each line."""
    return _ENCODER.encode(line)


class _Lines:
    """Writes our own lines straight to standard error: by way of `logging` one took a third of a delivery's time."""

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """Write the line at once; where that fails (a full disk, say) the work goes on without it."""
        with suppress(OSError):
            sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg
