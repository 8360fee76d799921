"""Job outputs as on GitHub, where `act` differs: without secrets, and empty if the job was skipped.

Source: actions/runner, `JobExtension.FinalizeJob` ("Skip output … since it may contain secret"); GitHub's document
"Contexts reference" for `needs`.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bridge.github.expressions import EXPRESSION
from bridge.github.workflow_file import FOLDER, read_yaml

GUARD = "loopback-outputs"
"""The id of the step that is added to each job with outputs."""

_NEEDED = re.compile(r"\bneeds\.([\w-]+)\.outputs\.([\w-]+)")
_UNLESS_SKIPPED = r"(needs.\1.result != 'skipped' && needs.\1.outputs.\2 || '')"
_SCRIPT = """\
import json, os, secrets
masks = json.load(open({masks!r}, encoding="utf-8"))
with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as outputs:
    for number, name in enumerate({names!r}):
        value = os.environ.get(f"LOOPBACK_OUTPUT_{{number}}", "")
        if any(mask in value for mask in masks):
            print(f"::warning::Skip output '{{name}}' since it may contain secret.")
        elif value:
            end = secrets.token_hex()
            outputs.write(f"{{name}}<<{{end}}\\n{{value}}\\n{{end}}\\n")
"""


def guard(tree: Path, masks_file: Path) -> None:
    """Rewrite the workflows in `tree`, a private copy, so that `act` passes outputs on as GitHub does.

    A last step of each job drops outputs that contain a mask; it reads the JSON list in `masks_file` then, so that it
    knows masks that a step added. `needs.<job>.outputs.<name>` of a skipped job is empty (in act, it is the text of the
    expression).
    """
    for file in sorted((tree / FOLDER).glob("*.y*ml")):
        document = read_yaml(file.read_text(encoding="utf-8"))
        jobs = {name: _guarded(job, masks_file) for name, job in (document.get("jobs") or {}).items()}
        if jobs != document.get("jobs"):
            changed = yaml.safe_dump({**document, "jobs": jobs}, sort_keys=False, allow_unicode=True)
            file.write_text(changed, encoding="utf-8")


def _guarded(job: Mapping[str, Any], masks_file: Path) -> dict[str, Any]:
    guarded: dict[str, Any] = _from_done_jobs(job)
    if guarded.get("outputs") and guarded.get("steps"):
        guarded["steps"].append(_step(guarded["outputs"], masks_file))
        guarded["outputs"] = {name: f"${{{{ steps.{GUARD}.outputs.{name} }}}}" for name in guarded["outputs"]}
    return guarded


def _from_done_jobs(part: Any, is_expression: bool = False) -> Any:
    """Return a part of a job whose expressions read no outputs of skipped jobs."""
    if isinstance(part, Mapping):
        return {name: _from_done_jobs(value, name == "if") for name, value in part.items()}
    if isinstance(part, list):
        return [_from_done_jobs(value) for value in part]
    if not isinstance(part, str):
        return part
    if is_expression and "${{" not in part:
        return _NEEDED.sub(_UNLESS_SKIPPED, part)
    return EXPRESSION.sub(lambda match: _NEEDED.sub(_UNLESS_SKIPPED, match[0]), part)


def _step(outputs: Mapping[str, Any], masks_file: Path) -> dict[str, Any]:
    return {
        "id": GUARD,
        "name": "Hand over outputs",
        "if": "always()",
        "shell": f"{sys.executable} {{0}}",
        "env": {f"LOOPBACK_OUTPUT_{number}": value for number, value in enumerate(outputs.values())},
        "run": _SCRIPT.format(masks=str(masks_file), names=list(outputs)),
    }
