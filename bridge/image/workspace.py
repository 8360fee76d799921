"""What the steps of one job hand each other on the runner's disk."""

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
    """The image that this job makes."""

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
        """The image's whole name."""
        return f"{self.repository}:{self.version}"


@dataclass(frozen=True)
class Workspace:
    """A folder that lives as long as the job."""

    folder: Path

    @property
    def model(self) -> Path:
        """The folder with the downloaded model."""
        return self.folder / "model"

    @property
    def image(self) -> Path:
        """The folder with an image that was built in layers."""
        return self.folder / "image"

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of the steps and of the programs that they start."""
        return self.folder / "tmp"

    @property
    def run(self) -> str:
        """The name of this job, the same in each of its steps and unique on the machine."""
        try:
            return str(self._read("run.json")["name"])
        except MissingSetting:
            name = secrets.token_hex(16)
            self._write("run.json", {"name": name})
            return name

    def write_plan(self, plan: Plan) -> None:
        """Keep the plan for the next steps."""
        self._write("plan.json", asdict(plan))

    def plan(self) -> Plan:
        """Give the plan of the download step. Raises `MissingSetting` where that step did not run."""
        said = self._read("plan.json")
        said["builder"]["asked"] = tuple(said["builder"]["asked"])
        said |= {"metadata": ModelMetadata(**said["metadata"]), "builder": Builder(**said["builder"])}
        return Plan(**said)

    def write_previous(self, previous: Previous) -> None:
        """Keep what the image of an earlier version is made of."""
        self._write("previous.json", asdict(previous))

    def previous(self) -> Previous | None:
        """Give that; None where there is no image to build upon."""
        if not (self.folder / "previous.json").exists():
            return None
        said = self._read("previous.json")
        return Previous(**{**said, "diff_ids": tuple(said["diff_ids"]), "layers": tuple(said["layers"])})

    def write_pulled(self, image: str) -> None:
        """Store the name of an image that is about to be pulled as the base of the build."""
        self._write("pulled.json", {"image": image})

    def pulled(self) -> str:
        """Give that name; empty if there is none."""
        return str(self._read("pulled.json")["image"]) if (self.folder / "pulled.json").exists() else ""

    def write_image_id(self, image_id: str) -> None:
        """Keep the engine's id of the image that was built."""
        self._write("image.json", {"id": image_id})

    def image_id(self) -> str:
        """Give that id. Raises `MissingSetting` where the build step did not run."""
        return str(self._read("image.json")["id"])

    def write_digest(self, digest: str) -> None:
        """Keep the digest of what stands in the registry."""
        self._write("digest.json", {"digest": digest})

    def digest(self) -> str:
        """Give that digest. Raises `MissingSetting` where the push step did not run."""
        return str(self._read("digest.json")["digest"])

    def has_digest(self) -> bool:
        """Tell whether the push step came to its end."""
        return (self.folder / "digest.json").exists()

    def add_seconds(self, step: str, seconds: float) -> None:
        """Note how long a step took."""
        self._write("seconds.json", self.seconds() | {step: round(seconds, 1)})

    def seconds(self) -> dict[str, float]:
        """Give the seconds of the steps so far, in their order."""
        file = self.folder / "seconds.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}

    def _write(self, name: str, value: object) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(json.dumps(value), encoding="utf-8")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / name).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise MissingSetting(f"{name} is missing: the steps before this one must run first") from error
