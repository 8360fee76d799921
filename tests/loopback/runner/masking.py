"""The secrets of a run: the texts that reveal them, and private files.

Source: actions/runner, `ValueEncoders` (what counts as a secret's value besides itself).
"""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote


def masks(secrets: Iterable[str]) -> list[str]:
    """Return every text that reveals a secret, longest first: itself, its lines, and its usual encodings."""
    texts: set[str] = set()
    for secret in secrets:
        for value in (secret, *secret.splitlines()):
            raw = value.encode()
            texts.update((value, value.strip(), quote(value, safe=""), json.dumps(value)[1:-1]))
            texts.update(base64.b64encode(raw[shift:]).decode() for shift in range(min(3, len(raw))))
    return sorted(texts - {""}, key=len, reverse=True)


class Masking:
    """The secrets of a run, with their masks in `file`."""

    def __init__(self, secrets: Mapping[str, str], file: Path) -> None:
        self.secrets = secrets
        self.file = file
        self._values = [value for value in secrets.values() if value]
        self._masks = masks(self._values)
        write_private(file, self._masks)

    def add(self, value: str) -> None:
        """Add a value from a step's `::add-mask::`."""
        self._values.append(value)
        self._masks = masks(self._values)
        write_private(self.file, self._masks)

    def masked(self, text: str) -> str:
        """Return `text` with each mask replaced by three stars."""
        for mask in self._masks:
            text = text.replace(mask, "***")
        return text


def write_private(file: Path, content: object) -> Path:
    """Write JSON with mode 0600, atomically; returns `file`."""
    draft = file.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return draft.replace(file)
