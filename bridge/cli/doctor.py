"""`mlflow-bridge doctor`: the findings as a table or as JSON, and the exit status."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.cli.output import print_json, without_logs
from bridge.core.findings import Finding, FindingState
from bridge.doctor.checks import examine
from bridge.settings import Settings

_SIGNS: Final = {
    FindingState.OK: ("✓", "green"),
    FindingState.WARNING: ("!", "yellow"),
    FindingState.FAILED: ("✕", "red"),
    FindingState.UNKNOWN: ("?", "cyan"),
}


def run(url: str | None, *, as_json: bool) -> int:
    """Examine, print, and give the exit status: 1 where something fails, else 0."""
    with without_logs():
        settings, findings = asyncio.run(examine(url))
    findings = [_without_secrets(finding, settings) for finding in findings]
    fails = any(finding.state is FindingState.FAILED for finding in findings)
    if as_json:
        print_json({"ok": not fails, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    return int(fails)


def _print(findings: Sequence[Finding]) -> None:
    console = Console(markup=False, emoji=False, highlight=False)
    table = Table("state", "check", "about", "what was seen, and → its mend")
    for finding in findings:
        sign, colour = _SIGNS[finding.state]
        seen = Text(finding.message)
        if finding.hint:
            seen.append(f"\n→ {finding.hint}", style="bold")
        table.add_row(Text(f"{sign} {finding.state}", style=colour), finding.check, Text(finding.subject), seen)
    console.print(table)
    counted = [(state, sum(finding.state is state for finding in findings)) for state in FindingState]
    console.print(", ".join(f"{count} {state}" for state, count in counted if count))


def _without_secrets(finding: Finding, settings: Settings | None) -> Finding:
    """Take out whatever secret an error of some server may have repeated, and what would move a terminal's cursor."""
    hidden = _secrets(settings) if settings else ()
    texts = {name: _masked(getattr(finding, name), hidden) for name in ("subject", "message", "hint")}
    return Finding(finding.state, finding.check, **texts)


def _masked(text: str, hidden: Sequence[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "…")
    return "".join(character if character.isprintable() else " " for character in text)


def _secrets(settings: Settings) -> Sequence[str]:
    every = (
        settings.mlflow_webhook_secret,
        settings.mlflow_webhook_secret_previous,
        settings.mlflow_tracking_password,
        settings.mlflow_tracking_token,
        settings.github_token,
        settings.github_app_private_key,
        settings.admin_password,
    )
    return [text for secret in every if secret and (text := secret.get_secret_value())]
