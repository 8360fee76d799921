"""Output that all commands share: JSON, and errors as one line and an exit status."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def print_json(content: Any) -> None:
    """Print it as JSON, indented so that people can read it, too."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def console(*, stderr: bool = False) -> "Console":
    """Return a console that prints text as it is: names of models are no markup."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, stderr=stderr)


@contextmanager
def without_logs() -> Iterator[None]:
    """Silence the log, which is meant for the serving process."""
    import structlog

    configured = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**configured)


@contextmanager
def report_errors() -> Iterator[None]:
    """Print our errors and exit with status 1, with status 2 for wrong settings; nothing is logged."""
    from bridge.core.errors import BridgeError
    from bridge.settings import SettingsInvalid

    try:
        with without_logs():
            yield
    except SettingsInvalid as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    except BridgeError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
