"""The registry's part: what an image there is made of, and an image's new parts on their way to it."""

import hashlib
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bridge.image import actions
from bridge.image.builders.layered import engine
from bridge.image.builders.layered.plan import Base, Previous
from bridge.image.errors import RegistryError
from bridge.image.registry.client import Repository

_PATIENCE = 60.0
"""Seconds in which the base must come from its registry; it can be compressed anew in less."""


class LayeredRepository(Repository):
    """A repository whose images are read and written part by part."""

    def previous(self, digest: str) -> Previous | None:
        """Describe the image behind a digest; None if it is an index or anything else that we don't create.

        Raises `RegistryError`, also where there is no such image.
        """
        manifest = self._raw(digest)
        try:
            if "layers" not in manifest:
                return None
            config = self._raw(digest, "--config")
            return Previous(
                name=self.name,
                digest=digest,
                labels=dict(config["config"]["Labels"]),
                diff_ids=tuple(config["rootfs"]["diff_ids"]),
                layers=tuple(manifest["layers"]),
            )
        except (KeyError, TypeError, ValueError):  # anyone who can push can put anything there
            return None

    def push_parts(self, folder: Path, tag: str) -> str:
        """Push the image in `folder` (skopeo's `dir:`); parts that the repository holds need not be there.

        Gives the manifest's digest, which is the one in the folder. Raises `RegistryError`.
        """
        self._skopeo(
            "copy", "--quiet", "--preserve-digests", *self._tls("--dest-tls-verify"),
            f"dir:{folder}", f"docker://{self.name}:{tag}",
        )  # fmt: skip
        return manifest_digest(folder)


def manifest_digest(folder: Path) -> str:
    """Give the digest of the image in `folder` (skopeo's `dir:`), as a registry computes it."""
    return f"sha256:{hashlib.sha256((folder / 'manifest.json').read_bytes()).hexdigest()}"


class _Source(Repository):
    """What the base image is copied from."""

    def fetch(self, to: Path) -> None:
        self._skopeo("copy", "--quiet", *self._tls("--src-tls-verify"), f"docker://{self.name}", f"dir:{to}")

    def unpack(self, archive: Path, to: Path) -> None:
        self._skopeo(
            "copy", "--quiet", "--dest-compress", "--dest-compress-format", "gzip", "--dest-compress-level", "1",
            f"docker-archive:{archive}", f"dir:{to}",
        )  # fmt: skip


def base_layers(base: Base, to: Path) -> list[dict[str, Any]]:
    """Write the base's compressed layers into the folder; give their manifest entries.

    From where the engine has the base, where that can be: an engine knows the layers that it has pulled by their
    compressed bytes, and would pull and unpack others beside them although they hold the same. Else by Docker's own
    client, for older releases of skopeo speak a version of the engine's API that Docker 29 refuses.
    Raises `BuildFailed`, `RegistryError`.
    """
    if base.origin:
        try:
            _Source(base.origin, pauses=(), architecture=base.architecture, timeout=_PATIENCE).fetch(to)
            if _is_of(base, to):
                return _layers(to)
            actions.log(
                f"{base.image}: compressing its layers, because {base.origin} has different ones or does not use gzip"
            )
        except RegistryError as error:
            actions.log(f"{base.image}: compressing its layers, because they can't be read from its registry ({error})")
        shutil.rmtree(to, ignore_errors=True)
    with TemporaryDirectory(dir=to.parent) as folder:
        archive = Path(folder) / "base.tar"
        engine.save(base.image, archive)
        _Source(base.image).unpack(archive, to)
    return _layers(to)


def _is_of(base: Base, folder: Path) -> bool:
    """Tell whether what was fetched is the image that the engine holds, compressed as every engine can read it."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if "config" not in manifest:  # schema 1, which old registries give
        return False
    config = json.loads((folder / manifest["config"]["digest"].removeprefix("sha256:")).read_text(encoding="utf-8"))
    readable = all(layer["mediaType"].endswith("gzip") for layer in manifest["layers"])
    return readable and tuple(config["rootfs"]["diff_ids"]) == base.diff_ids


def _layers(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["layers"])
