"""The runners that the input `runs-on` of model-image.yml selects: a label, a JSON list of labels, or a JSON object.

Sources: GitHub's documents "Choosing the runner for a job", "GitHub-hosted runners reference" and "Reuse workflows".
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from bridge.core.errors import BridgeError
from bridge.core.text import read_json

_HOSTED: Final = re.compile(r"ubuntu-(?:latest|slim|\d\d\.\d\d)(?:-arm)?")
_EXAMPLES: Final = (
    'use a label, a list such as ["self-hosted", "linux"], '
    'or an object such as {"group": "models", "labels": ["linux"]}'
)


class RunsOnInvalid(BridgeError):
    """GitHub can't select a runner by this text."""


class RunnerUnavailable(BridgeError):
    """GitHub gives the called workflow no self-hosted runner of the caller, unless one enterprise has both owners."""


@dataclass(frozen=True)
class RunsOn:
    """What a runner must have: all of the labels, and the group if one is named."""

    labels: tuple[str, ...]
    group: str = ""

    @property
    def is_hosted(self) -> bool:
        """Whether a standard runner of GitHub is meant; a larger one has a name that its organization chose."""
        return not self.group and len(self.labels) == 1 and _HOSTED.fullmatch(self.labels[0]) is not None


def read_runs_on(text: str) -> RunsOn:
    """Return what the input's text selects; raises `RunsOnInvalid`."""
    if not text.startswith(("[", "{")):
        if not text or text != text.strip():
            raise RunsOnInvalid(f"runs-on is not a label: {text!r}", _EXAMPLES)
        return RunsOn((text,))
    try:
        content = read_json(text)
    except ValueError as error:
        raise RunsOnInvalid(f"runs-on begins like JSON, but can't be parsed: {error}", _EXAMPLES) from error
    if isinstance(content, list):
        return RunsOn(_labels(content))
    if unknown := set(content) - {"group", "labels"}:
        raise RunsOnInvalid(f"runs-on has unknown keys: {', '.join(sorted(unknown))}", _EXAMPLES)
    group = content.get("group", "")
    if not isinstance(group, str) or ("group" in content and not group):
        raise RunsOnInvalid("the group in runs-on is not a name", _EXAMPLES)
    if group and "labels" not in content:
        return RunsOn((), group)
    labels = content.get("labels")
    return RunsOn(_labels([labels] if isinstance(labels, str) else labels), group)


def check_owners(runs_on: RunsOn, called: str, caller: str) -> None:
    """Raise `RunnerUnavailable` if a workflow in `called` may get no such runner in a run of `caller`.

    Both are owner/name; `caller` is empty if it isn't known.
    """
    owner, _, name = called.partition("/")
    caller_owner = caller.partition("/")[0]
    if runs_on.is_hosted or owner.lower() == caller_owner.lower():
        return
    message = f"runs-on doesn't name a standard runner of GitHub, and the called workflow belongs to {owner}"
    if caller:
        message += f", not to {caller_owner}"
    raise RunnerUnavailable(
        f"{message}: GitHub gives it a self-hosted runner only if both repositories have the same owner or enterprise",
        f"let a copy of {called} build the images itself, with `--bridge .`, or call a public copy of it: "
        f"{caller_owner or 'your-organization'}/{name}; larger runners of GitHub need neither",
    )


def _labels(labels: Any) -> tuple[str, ...]:
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) and label for label in labels):
        raise RunsOnInvalid("runs-on has no labels, or one that is not a text", _EXAMPLES)
    return tuple(labels)
