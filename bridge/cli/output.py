"""What the commands have in common: JSON for machines, one line and a status for what goes wrong."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


def print_json(content: Any) -> None:
    """Print it as JSON, in lines that people can read too."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


@contextmanager
def without_logs() -> Iterator[None]:
    """Keep what the parts log for the serving process out of what a command says."""
    import structlog

    configured = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**configured)


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn our errors into their message and exit status 1, wrong settings into status 2; nothing is logged."""
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
