"""Logs: one JSON object a line, or coloured lines for people; the same form for the bridge and its libraries."""

import logging
import sys
from typing import Literal

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

_QUIET = ("httpx2", "httpcore2", "alembic")
"""They log every request and step; the bridge logs what matters of them."""


def configure(form: Literal["json", "console"]) -> None:
    """Write every log line to standard error in that form."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "console":
        rendering: list[Processor] = [_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    else:
        rendering = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    structlog.configure(
        processors=[*shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=shared, processors=[ProcessorFormatter.remove_processors_meta, *rendering])
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _printable(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Escape what would move a terminal's cursor or end the line: anyone who can register a model chooses names."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in line.items()}


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
