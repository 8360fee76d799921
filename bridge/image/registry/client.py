"""The container registry, asked and told through `skopeo`."""

import ipaddress
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bridge.core.text import read_json
from bridge.image.errors import RegistryError
from bridge.image.registry.credentials import ecr_host
from bridge.image.registry.diagnosis import hint, is_immutable

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
"""What the next try may not meet."""
_ADDRESS = re.compile(r"https?://[^\s\"\\]+")
"""An address that was asked, as skopeo quotes it: the model's name is in it, as a path or encoded in a query."""
_DOCKER_HUB = "https://index.docker.io/v1/"
"""The key under which Docker keeps a sign-in to docker.io."""


class TagImmutable(RegistryError):
    """The registry doesn't let this tag be moved."""


@dataclass(frozen=True)
class RegistryImage:
    """What a tag holds: the manifest's digest, and the labels."""

    digest: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What stands behind a digest: the configuration's digest (of an index, its own), and the bytes to pull."""

    config: str
    size: int


@dataclass(frozen=True)
class Repository:
    """One repository (`registry/namespace/name`); signed in to as Docker's config.json says."""

    name: str
    docker_config: Path | None = None
    pauses: tuple[float, ...] = (1.0, 4.0)
    """Seconds before each further try, where the registry failed; never where it refused."""
    architecture: str = "amd64"
    """Which image of an index is meant, wherever this runs; MLflow builds for amd64 alone."""
    timeout: float = 300.0
    """Seconds for one call of skopeo."""

    def look(self, tag: str) -> RegistryImage | None:
        """Give what `tag` holds, or None where it holds nothing. Raises `RegistryError`.

        GHCR and Docker Hub answer "denied" for a repository that nobody has pushed to yet. So with a sign-in, a refusal
        means that nothing is there, but only if the registry also refuses to list the repository's tags: if they can be
        listed, the repository exists, and the tag could hold another model's image. If nothing can be read, no other
        model is at risk, because no other model's name leads to this repository.
        """
        try:
            said = self._skopeo("inspect", "--no-tags", *self._tls("--tls-verify"), f"docker://{self.name}:{tag}")
        except _RepositoryRefused:
            if self._can_be_listed():
                raise
            return None
        except _Absent:
            return None
        found = json.loads(said)
        return RegistryImage(digest=found["Digest"], labels=found.get("Labels") or {})

    def manifest(self, digest: str) -> Manifest:
        """Read what stands behind a digest; of an index, such as an image with attestations, its first image.

        Raises `RegistryError`, also if that isn't the manifest of an image: anyone who can push can put anything there.
        """
        try:
            said = self._raw(digest)
            if "manifests" not in said:
                return _manifest(said)
            first = next(each for each in said["manifests"] if each.get("platform", {}).get("os") != "unknown")
            return replace(_manifest(self._raw(first["digest"])), config=digest)
        except (KeyError, TypeError, AttributeError, StopIteration) as error:
            raise self._no_manifest(digest) from error

    def _raw(self, digest: str, *which: str) -> Any:
        said = self._skopeo("inspect", "--raw", *which, *self._tls("--tls-verify"), f"docker://{self.name}@{digest}")
        try:
            return read_json(said)
        except ValueError as error:
            raise self._no_manifest(digest) from error

    def _no_manifest(self, digest: str) -> RegistryError:
        return RegistryError(
            f"{self.name}@{digest} is not the manifest of an image: delete it, then run the workflow again"
        )

    def tag(self, digest: str, tag: str) -> None:
        """Make `tag` hold the image `digest`, unchanged. Raises `TagImmutable`, and `RegistryError` for all else."""
        self._skopeo(
            "copy", "--quiet", "--all", "--preserve-digests",
            *self._tls("--src-tls-verify", "--dest-tls-verify"),
            f"docker://{self.name}@{digest}", f"docker://{self.name}:{tag}",
        )  # fmt: skip

    def tags(self) -> list[str]:
        """Give the repository's tags, none if there is no repository. Raises `RegistryError`.

        With a sign-in, a refusal means that there is no repository, as for `look`.
        """
        try:
            said = self._skopeo("list-tags", *self._tls("--tls-verify"), f"docker://{self.name}")
        except (_Absent, _RepositoryRefused):
            return []
        return list(json.loads(said).get("Tags") or [])

    def _can_be_listed(self) -> bool:
        try:
            self._skopeo("list-tags", *self._tls("--tls-verify"), f"docker://{self.name}")
        except (_Absent, _RepositoryRefused):
            return False
        return True

    def _skopeo(self, verb: str, *arguments: str) -> str:
        for pause in self.pauses:
            try:
                return self._once(verb, *arguments)
            except _Transient:
                time.sleep(pause)
        return self._once(verb, *arguments)

    def _once(self, verb: str, *arguments: str) -> str:
        platform = ["--override-os", "linux", "--override-arch", self.architecture]
        command = ["skopeo", *platform, verb, *self._authfile(), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout, check=False)
        except FileNotFoundError as error:
            raise RegistryError(
                "skopeo is not on this runner, so the registry can't be asked: install skopeo there"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise RegistryError(
                f"{self.name}: the registry did not answer within {self.timeout:.0f} s: run the job again"
            ) from error
        if done.returncode:
            raise self._failure(verb, done.stderr)
        return done.stdout

    def _failure(self, verb: str, stderr: str) -> RegistryError:
        # Without the name, which may contain any of the words that are searched for: a model can be called "denied".
        said = " ".join(stderr.split()).replace(self.name, "the repository")
        said = _ADDRESS.sub("its address", said)[-400:]
        host = self.name.split("/")[0]
        if verb != "copy" and _ABSENT.search(said):
            return _Absent(f"{self.name}: nothing there ({said})")
        if is_immutable(said):
            return TagImmutable(f"{self.name}: the registry lets no tag be moved ({said}): allow it for aliases there")
        if _TRANSIENT.search(said):
            advice = hint(said, host) or "run the job again when it is well"
            return _Transient(f"{self.name}: the registry failed ({said}): {advice}")
        advice = hint(said, host) or _CHECK
        if _REFUSED.search(said) or advice is not _CHECK:
            kind = _RepositoryRefused if verb != "copy" and self._means_absent(said, host) else RegistryError
            return kind(f"{self.name}: the registry refused ({said}): {advice}")
        return RegistryError(f"{self.name}: the registry failed ({said}): run the job again when it is well")

    def _means_absent(self, said: str, host: str) -> bool:
        """Tell whether a refusal is the answer for what nobody has pushed yet; ECR has words of its own for that."""
        return bool(_REFUSED.search(said)) and self._signed_in() and not ecr_host(host)

    def _config(self) -> Path:
        named = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")  # noqa: PTH111, PTH118  no error without HOME
        return (self.docker_config or Path(named)) / "config.json"

    def _signed_in(self) -> bool:
        file, host = self._config(), self.name.split("/")[0]
        held = json.loads(file.read_text(encoding="utf-8")).get("auths", {}) if file.is_file() else {}
        return host in held or (host == "docker.io" and _DOCKER_HUB in held)

    def _authfile(self) -> list[str]:
        """Name Docker's own file, for older releases of skopeo don't know DOCKER_CONFIG."""
        file = self._config()
        return ["--authfile", str(file)] if file.is_file() else []

    def _tls(self, *flags: str) -> list[str]:
        """Speak plain HTTP to a registry on this machine, as Docker does, and to no other."""
        return [f"{flag}=false" for flag in flags] if _is_local(self.name.split("/")[0]) else []


def _manifest(said: Any) -> Manifest:
    parts = [said["config"], *said["layers"]]
    return Manifest(config=parts[0]["digest"], size=sum(part["size"] for part in parts))


_CHECK = "check the registry's user and password, and that they may read and write this repository"


def _is_local(host: str) -> bool:
    name = re.sub(r":[0-9]+$", "", host)
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


class _Transient(RegistryError):
    """The registry failed in a way that may be over at once."""


class _Absent(RegistryError):
    """The registry holds nothing of that name."""


class _RepositoryRefused(RegistryError):
    """The registry refused a request with a sign-in, as some registries do if there is no repository."""
