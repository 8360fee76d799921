"""The files by which the steps of a job pass on their results."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bridge.image.builders.choice import Builder
from bridge.image.builders.layered.plan import Previous
from bridge.image.errors import MissingSetting
from bridge.image.metadata import ModelMetadata


@dataclass(frozen=True)
class VersionImage:
    """The model version that this run is for, and the repository of its image."""

    model: str
    version: str
    source: str
    run_id: str
    repository: str

    @property
    def tag(self) -> str:
        """The image's full name, `<repository>:<version>`."""
        return f"{self.repository}:{self.version}"


@dataclass(frozen=True)
class Resolved(VersionImage):
    """What `resolve` found and decided."""

    digest: str
    """Digest of the version's image; empty if there is none, so that one is built."""
    smoke_test: str
    builder: Builder = field(default_factory=Builder)
    previous: str = ""
    """Digest of an earlier version's layered image whose layers may be reused; empty if there is none."""


@dataclass(frozen=True)
class Plan(VersionImage):
    """The image that this job builds."""

    smoke_test: str
    metadata: ModelMetadata
    builder: Builder = field(default_factory=Builder)


@dataclass(frozen=True)
class Workspace:
    """The job's folder on the runner, which `clean-up` removes."""

    folder: Path

    @property
    def model(self) -> Path:
        """The folder with the downloaded model."""
        return self.folder / "model"

    @property
    def image(self) -> Path:
        """The folder with a layered image."""
        return self.folder / "image"

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of the steps and their programs."""
        return self.folder / "tmp"

    @property
    def run(self) -> str:
        """A name for this job, unique on the machine and the same in all of its steps."""
        try:
            return str(self._read("run.json")["name"])
        except MissingSetting:
            name = secrets.token_hex(16)
            self._write("run.json", {"name": name})
            return name

    def write_resolved(self, resolved: Resolved) -> None:
        """Store what `resolve` found for the next steps."""
        self._write("resolved.json", asdict(resolved))

    def resolved(self) -> Resolved:
        """Return what `resolve` found. Raises `MissingSetting` if that step did not end well."""
        fields = self._read("resolved.json")
        return Resolved(**fields | {"builder": _builder(fields["builder"])})

    def is_resolved(self) -> bool:
        """Whether `resolve` ended well."""
        return (self.folder / "resolved.json").exists()

    def write_plan(self, plan: Plan) -> None:
        """Store the plan for the next steps."""
        self._write("plan.json", asdict(plan))

    def plan(self) -> Plan:
        """Return the plan of the download step. Raises `MissingSetting` if that step did not run."""
        fields = self._read("plan.json")
        return Plan(
            **fields | {"metadata": ModelMetadata(**fields["metadata"]), "builder": _builder(fields["builder"])}
        )

    def write_previous(self, previous: Previous) -> None:
        """Store the description of the earlier version's image whose layers are reused."""
        self._write("previous.json", asdict(previous))

    def previous(self) -> Previous | None:
        """Return that description; None if no layers are reused."""
        if not (self.folder / "previous.json").exists():
            return None
        fields = self._read("previous.json")
        return Previous(**{**fields, "diff_ids": tuple(fields["diff_ids"]), "layers": tuple(fields["layers"])})

    def write_pulled(self, image: str) -> None:
        """Store the name of an image that is about to be pulled as the base of the build."""
        self._write("pulled.json", {"image": image})

    def pulled(self) -> str:
        """Return that name; empty if there is none."""
        return str(self._read("pulled.json")["image"]) if (self.folder / "pulled.json").exists() else ""

    def write_image_id(self, image_id: str) -> None:
        """Store Docker's id of the image that was built."""
        self._write("image.json", {"id": image_id})

    def image_id(self) -> str:
        """Return that id. Raises `MissingSetting` if the build step did not run."""
        return str(self._read("image.json")["id"])

    def write_digest(self, digest: str) -> None:
        """Store the digest of the image in the registry."""
        self._write("digest.json", {"digest": digest})

    def digest(self) -> str:
        """Return the digest of the image that this run pushed, or that `resolve` found; empty if there is neither."""
        return str(self._read("digest.json")["digest"]) if self.has_pushed() else self.resolved().digest

    def reference(self) -> str:
        """Return the name of that image with its digest; empty if there is none."""
        digest = self.digest()
        return f"{self.resolved().repository}@{digest}" if digest else ""

    def has_pushed(self) -> bool:
        """Whether this run has pushed its image."""
        return (self.folder / "digest.json").exists()

    def write_gate(self, failure: str) -> None:
        """Store why the gate holds the aliases; empty if it let them pass."""
        self._write("gate.json", {"failure": failure})

    def gate(self) -> str | None:
        """Return why the gate holds the aliases, empty if it let them pass; None if no gate has run."""
        return str(self._read("gate.json")["failure"]) if (self.folder / "gate.json").exists() else None

    @property
    def result(self) -> Path:
        """The file that says what this run pushed and promoted; the workflow uploads it."""
        return self.folder / "mlflow-image.json"

    @property
    def sbom(self) -> Path:
        """The image's SBOM."""
        return self.folder / "sbom.cdx.json"

    def add_seconds(self, step: str, seconds: float) -> None:
        """Record how long a step took; does nothing once the folder has been cleaned up."""
        if self.folder.exists():
            self._write("seconds.json", self.seconds() | {step: round(seconds, 1)})

    def seconds(self) -> dict[str, float]:
        """Return the seconds of the steps so far, in their order."""
        file = self.folder / "seconds.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}

    def _write(self, name: str, value: object) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(json.dumps(value), encoding="utf-8")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / name).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise MissingSetting(f"{name} is missing in {self.folder}", "run the previous steps first") from error


def _builder(fields: dict[str, Any]) -> Builder:
    return Builder(**fields | {"layered_only": tuple(fields["layered_only"])})
