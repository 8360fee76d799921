"""A client of the container registry, by the program `skopeo`."""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bridge.core.addresses import is_loopback
from bridge.core.text import read_json
from bridge.image.errors import RegistryError
from bridge.image.registry.credentials import ecr_host
from bridge.image.registry.diagnosis import Diagnosis, diagnose, is_immutable

_ABSENT = re.compile(
    r"manifest unknown|name unknown|(artifact|repository) \S+ not found|is not found|does not exist"
    r"|status code 404|registry 404",
    re.I,
)
_REFUSED = re.compile(r"unauthorized|authentication required|denied|forbidden|status code 40[13]|registry 40[13]", re.I)
_TRANSIENT = re.compile(
    r"(?:status|status code|registry) 5[0-9]{2}\b|unexpected HTTP status: 5[0-9]{2}\b|toomanyrequests|\bEOF\b"
    r"|connection re(?:set|fused)|broken pipe|i/o timeout|handshake timeout|temporary failure",
    re.I,
)
"""Failures after which a retry may succeed."""
_ADDRESS = re.compile(r"https?://[^\s\"\\]+")
"""A requested URL, as skopeo quotes it: the model's name is in it, as a path or encoded in a query."""
_DOCKER_HUB = "https://index.docker.io/v1/"
"""The key under which Docker stores a sign-in to docker.io."""
_FAILED = Diagnosis("the registry returned an error", "re-run the job later")
_DENIED = Diagnosis(
    "the registry denied access", "check the registry's user and password, and the user's access to this repository"
)


class TagImmutable(RegistryError):
    """The registry doesn't allow this tag to be moved."""


@dataclass(frozen=True)
class RegistryImage:
    """The image of a tag: the manifest's digest, and the labels."""

    digest: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The manifest of a digest: its configuration's digest (of an index, its own), and the bytes to pull."""

    config: str
    size: int


@dataclass(frozen=True)
class Repository:
    """One repository (`registry/namespace/name`), with the sign-in in Docker's config.json."""

    name: str
    docker_config: Path | None = None
    pauses: tuple[float, ...] = (1.0, 4.0)
    """Seconds before each retry. Only failures are retried, never refusals."""
    architecture: str = "amd64"
    """Which image of an index is read, wherever this runs; MLflow builds only for amd64."""
    timeout: float = 300.0
    """Seconds for one call of skopeo."""

    def inspect(self, tag: str) -> RegistryImage | None:
        """Return the image of `tag`, or None if there is none. Raises `RegistryError`.

        GHCR and Docker Hub answer "denied" for a repository that nobody has pushed to yet. So with a sign-in, a refusal
        means that nothing is there, but only if the registry also refuses to list the repository's tags: if they can be
        listed, the repository exists, and the tag could hold another model's image. If nothing can be read, no other
        model is at risk, because no other model's name leads to this repository.
        """
        try:
            answer = self._skopeo("inspect", "--no-tags", *self._tls("--tls-verify"), f"docker://{self.name}:{tag}")
        except _RepositoryRefused:
            if self._list() is not None:
                raise
            return None
        except _Absent:
            return None
        image = json.loads(answer)
        return RegistryImage(digest=image["Digest"], labels=image.get("Labels") or {})

    def manifest(self, digest: str) -> Manifest:
        """Read the manifest of a digest; of an index, such as an image with attestations, its first image.

        Raises `RegistryError`, also if that isn't the manifest of an image: anyone who can push can put anything there.
        """
        try:
            manifest = self._raw(digest)
            if "manifests" not in manifest:
                return _manifest(manifest)
            entries = manifest["manifests"]
            first = next(entry for entry in entries if entry.get("platform", {}).get("os") != "unknown")
            return replace(_manifest(self._raw(first["digest"])), config=digest)
        except (KeyError, TypeError, AttributeError, StopIteration) as error:
            raise self._no_manifest(digest) from error

    def _raw(self, digest: str, *options: str) -> Any:
        options = ("--raw", *options, *self._tls("--tls-verify"))
        answer = self._skopeo("inspect", *options, f"docker://{self.name}@{digest}")
        try:
            return read_json(answer)
        except ValueError as error:
            raise self._no_manifest(digest) from error

    def _no_manifest(self, digest: str) -> RegistryError:
        return RegistryError(f"{self.name}@{digest} is not an image manifest", "delete it, then re-run the workflow")

    def tag(self, digest: str, tag: str) -> None:
        """Set `tag` to the image `digest`, unchanged. Raises `TagImmutable`, else `RegistryError`."""
        self._skopeo(
            "copy", "--quiet", "--all", "--preserve-digests",
            *self._tls("--src-tls-verify", "--dest-tls-verify"),
            f"docker://{self.name}@{digest}", f"docker://{self.name}:{tag}",
        )  # fmt: skip

    def tags(self) -> list[str]:
        """Return the repository's tags, none if there is no repository. Raises `RegistryError`.

        With a sign-in, a refusal means that there is no repository, as for `inspect`.
        """
        return self._list() or []

    def _list(self) -> list[str] | None:
        try:
            answer = self._skopeo("list-tags", *self._tls("--tls-verify"), f"docker://{self.name}")
        except (_Absent, _RepositoryRefused):
            return None
        return list(json.loads(answer).get("Tags") or [])

    def _skopeo(self, verb: str, *arguments: str) -> str:
        for pause in self.pauses:
            try:
                return self._once(verb, *arguments)
            except _Transient:
                time.sleep(pause)
        return self._once(verb, *arguments)

    def _once(self, verb: str, *arguments: str) -> str:
        platform = ["--override-os", "linux", "--override-arch", self.architecture]
        # Docker's own file is named, because older releases of skopeo don't read DOCKER_CONFIG.
        authfile = ["--authfile", str(self._config())] if self._config().is_file() else []
        command = ["skopeo", *platform, verb, *authfile, *arguments]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout, check=False)
        except FileNotFoundError as error:
            raise RegistryError("skopeo is not installed on this runner", "install skopeo") from error
        except subprocess.TimeoutExpired as error:
            raise RegistryError(
                f"{self.name}: the registry did not respond within {self.timeout:.0f} s", "re-run the job"
            ) from error
        if result.returncode:
            raise self._error(verb, result.stderr)
        return result.stdout

    def _error(self, verb: str, stderr: str) -> RegistryError:
        # Without the name, which may contain any of the words that are searched for: a model can be called "denied".
        answer = " ".join(stderr.split()).replace(self.name, "the repository")
        answer = _ADDRESS.sub("its address", answer)[-400:]
        host = self.name.split("/")[0]
        diagnosis = diagnose(answer, host)
        if verb != "copy" and _ABSENT.search(answer):
            return _Absent(f"{self.name}: not found ({answer})")
        if is_immutable(answer):
            return TagImmutable(
                f"{self.name}: the registry doesn't allow tags to be moved ({answer})",
                "exclude the tags of aliases from tag immutability",
            )
        if _TRANSIENT.search(answer):
            return _Transient(*self._text(diagnosis or _FAILED, answer))
        refused = _REFUSED.search(answer)
        if not refused:
            return RegistryError(*self._text(diagnosis or _FAILED, answer))
        # ECR has words of its own for what doesn't exist, so its refusals are refusals.
        may_be_absent = verb != "copy" and self.sign_in() is not None and not ecr_host(host)
        return (_RepositoryRefused if may_be_absent else RegistryError)(*self._text(diagnosis or _DENIED, answer))

    def _text(self, diagnosis: Diagnosis, answer: str) -> tuple[str, str]:
        return f"{self.name}: {diagnosis.message} ({answer})", diagnosis.hint

    def _config(self) -> Path:
        default = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")  # noqa: PTH111, PTH118  no error without HOME
        return (self.docker_config or Path(default)) / "config.json"

    def sign_in(self) -> dict[str, str] | None:
        """Return the sign-in to the registry in Docker's config.json; None if there is none.

        It has the keys `auth` and perhaps `identitytoken`, or none if a credential helper has them.
        """
        file, host = self._config(), self.name.split("/")[0]
        sign_ins = json.loads(file.read_text(encoding="utf-8")).get("auths", {}) if file.is_file() else {}
        found: dict[str, str] | None = sign_ins.get(host)
        return sign_ins.get(_DOCKER_HUB) if found is None and host == "docker.io" else found

    def _tls(self, *flags: str) -> list[str]:
        """Use plain HTTP for a registry on this machine, as Docker does, and for no other."""
        return [f"{flag}=false" for flag in flags] if is_loopback(f"//{self.name}") else []


def _manifest(manifest: Any) -> Manifest:
    blobs = [manifest["config"], *manifest["layers"]]
    return Manifest(config=blobs[0]["digest"], size=sum(blob["size"] for blob in blobs))


class _Transient(RegistryError):
    """The registry failed in a way that is usually short."""


class _Absent(RegistryError):
    """The registry has no such repository or tag."""


class _RepositoryRefused(RegistryError):
    """The registry refused a request with a sign-in, as some registries do if there is no repository."""
