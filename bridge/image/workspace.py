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
class Plan:
    """The image that this job builds."""

    model: str
    version: str
    source: str
    run_id: str
    repository: str
    smoke_test: str
    metadata: ModelMetadata
    builder: Builder = field(default_factory=Builder)

    @property
    def tag(self) -> str:
        """The image's full name, `<repository>:<version>`."""
        return f"{self.repository}:{self.version}"


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

    def write_plan(self, plan: Plan) -> None:
        """Store the plan for the next steps."""
        self._write("plan.json", asdict(plan))

    def plan(self) -> Plan:
        """Return the plan of the download step. Raises `MissingSetting` if that step did not run."""
        fields = self._read("plan.json")
        fields["builder"]["layered_only"] = tuple(fields["builder"]["layered_only"])
        fields |= {"metadata": ModelMetadata(**fields["metadata"]), "builder": Builder(**fields["builder"])}
        return Plan(**fields)

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
        """Return that digest. Raises `MissingSetting` if the push step did not run."""
        return str(self._read("digest.json")["digest"])

    def has_digest(self) -> bool:
        """Whether the push step has finished."""
        return (self.folder / "digest.json").exists()

    def add_seconds(self, step: str, seconds: float) -> None:
        """Record how long a step took."""
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
