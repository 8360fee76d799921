"""`mlflow-bridge doctor`: the findings as a table or as JSON, and the exit status."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bridge.cli.output import console, print_json, without_logs
from bridge.core.findings import Finding, FindingState

if TYPE_CHECKING:
    from bridge.settings import Settings

_SIGNS: Final = {
    FindingState.OK: ("✓", "green"),
    FindingState.WARNING: ("!", "yellow"),
    FindingState.FAILED: ("✕", "red"),
    FindingState.UNKNOWN: ("?", "cyan"),
}


def doctor(
    url: Annotated[
        str | None, typer.Option(help="Address of the webhook; required if MLflow has webhooks to several bridges.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check everything between MLflow and a workflow run, and suggest fixes.

    Changes nothing. Run it with the bridge's settings, if possible on the machine where the bridge runs.

    Exits with status 1 if a check fails.
    """
    import asyncio

    from bridge.doctor.checks import run_checks

    with without_logs():
        settings, findings = asyncio.run(run_checks(url))
    findings = [_clean(finding, settings) for finding in findings]
    fails = any(finding.state is FindingState.FAILED for finding in findings)
    if as_json:
        print_json({"ok": not fails, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    raise typer.Exit(int(fails))


def _print(findings: Sequence[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table("state", "check", "subject", "result → fix")
    for finding in findings:
        sign, colour = _SIGNS[finding.state]
        result = Text(finding.message)
        if finding.hint:
            result.append(f"\n→ {finding.hint}", style="bold")
        table.add_row(Text(f"{sign} {finding.state}", style=colour), finding.check, Text(finding.subject), result)
    out.print(table)
    counts = [(state, sum(finding.state is state for finding in findings)) for state in FindingState]
    out.print(", ".join(f"{count} {state}" for state, count in counts if count))


def _clean(finding: Finding, settings: "Settings | None") -> Finding:
    """Remove secrets that a server's error may have repeated, and characters that would move the terminal's cursor."""
    secrets = settings and (
        settings.mlflow_webhook_secret,
        settings.mlflow_webhook_secret_previous,
        settings.mlflow_tracking_password,
        settings.mlflow_tracking_token,
        settings.github_token,
        settings.github_app_private_key,
        settings.admin_password,
    )
    texts = {"subject": finding.subject, "message": finding.message, "hint": finding.hint}
    for name in texts:
        for secret in secrets or ():
            if secret and (value := secret.get_secret_value()):
                texts[name] = texts[name].replace(value, "…")
        texts[name] = "".join(character if character.isprintable() else " " for character in texts[name])
    return Finding(finding.state, finding.check, **texts)
