"""Names of images, tags and concurrency groups, derived from the names of models and aliases.

Source: OCI distribution specification 1.1, "Pulling manifests", for path components and tags.
"""

import hashlib
import re

from bridge.core import limits
from bridge.core.errors import BridgeError

_PATH_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REGISTRY = re.compile(r"(?=.*[.:]|localhost$)(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
"""Without a dot or a port, a name such as `harbor` would mean an account at Docker Hub."""
_HASHED = re.compile(r".*-[0-9a-f]{6,64}")
"""How a slug with a hash ends, in this release or an earlier one. No model's own name may be used as such a slug."""
_HASH_LENGTH, _FORMER_HASH_LENGTH = 16, 6
"""Hexadecimal digits of SHA-256. A collision of six digits takes seconds to find."""


class InvalidImageName(BridgeError):
    """The operator's registry or namespace can't be part of an image's name."""


def slug(model: str) -> str:
    """Return the path component that stands for `model` in its image's name and in names of concurrency groups.

    A name that already is a valid component stays unchanged, unless it ends like a slug with a hash. Any other name is
    reduced to its ASCII letters and digits (or `model`), followed by 16 hexadecimal digits of the name's SHA-256. So
    nobody can choose a name to get another model's slug. All lower case, because group names ignore case.
    """
    return model if _is_plain(model) and not _HASHED.fullmatch(model) else _hashed(model, _HASH_LENGTH)


def former_slug(model: str) -> str | None:
    """Return the slug of earlier releases, which two models can share; None if it is the same as today's."""
    former = model if _is_plain(model) else _hashed(model, _FORMER_HASH_LENGTH)
    return former if former != slug(model) else None


def repository(registry: str, namespace: str, slug: str) -> str:
    """Return `<registry>/<namespace>/<slug>`, all lower case; `namespace` may have several components or none.

    Raises `InvalidImageName` if the registry or namespace can't be part of an image's name.
    """
    path = namespace.strip().lower().strip("/")
    if not _REGISTRY.fullmatch(registry):
        raise InvalidImageName(
            f"DOCKER_REGISTRY {registry!r} is not a registry's host",
            "use a host name in lower case with a dot or a port, such as ghcr.io or harbor:443",
        )
    if path and not all(_PATH_COMPONENT.fullmatch(component) for component in path.split("/")):
        raise InvalidImageName(
            f"DOCKER_NAMESPACE {namespace!r} can't be part of an image's name",
            "use lower-case letters and digits, separated by single . _ - or /",
        )
    return "/".join(component for component in (registry, path, slug) if component)


def alias_tag(alias: str) -> str | None:
    """Return the tag for an alias; None if the alias can't be a tag.

    An alias of digits would look like a version, one that begins with `sha256-` like a signature's tag.
    """
    if alias.isdecimal() or alias.startswith("sha256-") or not _TAG.fullmatch(alias):
        return None
    return alias


def _is_plain(model: str) -> bool:
    return bool(_PATH_COMPONENT.fullmatch(model)) and len(model) <= limits.MAX_SLUG


def _hashed(model: str, digits: int) -> str:
    remainder = re.sub(r"[^a-z0-9]+", "-", model.lower())[: limits.MAX_SLUG].strip("-")
    return f"{remainder or 'model'}-{hashlib.sha256(model.encode('utf-8', 'surrogatepass')).hexdigest()[:digits]}"
