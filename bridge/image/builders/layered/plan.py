"""What an image is made of, and what it is called by: all decided before anything is run."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.image.builders.layered.requirements import Requirements, left_to_mlflow
from bridge.image.builders.layered.requirements import read as read_requirements
from bridge.image.errors import InvalidInput
from bridge.image.metadata import MLMODEL, ModelMetadata, flavors_of, java_flavor
from bridge.image.model_yaml import mapping

RECIPE = "layered/4"
"""How images are made here; raised when the same model would give another image."""
REQUIREMENTS_LABEL = "bridge.requirements"
"""What stands below the model, as one hash: images with the same share those layers."""
USER = 10001
MODEL = "opt/ml/model"
PORT = 8080

_SYSTEM_PACKAGES = {"lightgbm": ("libgomp1",), "paddle": ("libgomp1",)}
"""By flavor; the same table as FLAVOR_SPECIFIC_APT_PACKAGES in mlflow.pyfunc.backend."""
_MODULE = re.compile(r"mlflow(\.[a-z_][a-z0-9_]*){1,4}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@\[\]-]{0,400}")
_MLFLOW_MODELS = (
    "import gc, os, sys\n"
    "gc.disable()\n"
    "try:\n"
    "    from mlflow.models.cli import commands\n"
    "except ImportError:\n"
    "    os.execvp('mlflow', ['mlflow', 'models', *sys.argv[1:]])\n"
    "commands(prog_name='mlflow models')"
)
"""The command `mlflow models`, loaded without MLflow's other commands: that saves a second and a half of each start.

It starts the server, another process, and then waits: its garbage is 1 MB, and not collecting it saves 0.2 s.
"""
_SERVE = (
    f'exec python -c "{_MLFLOW_MODELS}" serve --model-uri /opt/ml/model --host 0.0.0.0 --port 8080 --env-manager local '
    '--workers "${MLFLOW_MODELS_WORKERS:-$(nproc)}"'
)
_HEALTHY = (
    "import urllib.request as r;"
    "r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8080/health', timeout=4).read()"
)
_SECOND = 10**9


@dataclass(frozen=True)
class Base:
    """The image below everything: its layers' digests (unpacked), its environment, and what it runs on.

    `origin` is where the engine says that it has it from, as `repository@digest`; empty where it names no registry.
    """

    image: str
    diff_ids: tuple[str, ...]
    env: tuple[str, ...] = ()
    architecture: str = "amd64"
    variant: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Layer:
    """One layer: the digest of its tar, and digest and bytes of the tar compressed."""

    diff_id: str
    digest: str
    size: int


@dataclass(frozen=True)
class LayeredPlan:
    """What has to be installed for a model."""

    metadata: ModelMetadata
    requirements: Requirements
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    base_image: str = ""
    wheels_only: bool = False

    @property
    def base(self) -> str:
        """The name of the base image."""
        return self.base_image or f"python:{self.metadata.python_version}-slim"

    def key(self, base: Base) -> str:
        """Give one hash of all that decides the layers below the model. Secrets are no part of it."""
        said = {
            "recipe": RECIPE,
            "base": [base.diff_ids, base.env, base.architecture, base.variant],
            "requirements": [self.requirements.lines, self.requirements.constraints],
            "system": [self.packages, self.modules],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def plan(
    texts: Mapping[str, str], metadata: ModelMetadata, *, base_image: str = "", wheels_only: bool = False
) -> LayeredPlan:
    """Plan the image from the model's own files, texts by name.

    Raises `UnsafeMetadata`, `InvalidInput`, and `UnsupportedModel`, which says whether MLflow's builder can.
    """
    if base_image and not _IMAGE.fullmatch(base_image):
        raise InvalidInput(
            f"base-image {base_image[:80]!r} is not an image name", "use a name such as python:3.12-slim"
        )
    flavors = flavors_of(mapping(MLMODEL, texts.get(MLMODEL, "")))
    if flavor := java_flavor(flavors):
        raise left_to_mlflow(f"{MLMODEL} has the flavor {flavor}, which needs Java")
    packages = {package for flavor in flavors for package in _SYSTEM_PACKAGES.get(str(flavor), ())}
    loader = flavors["python_function"].get("loader_module")
    return LayeredPlan(
        metadata=metadata,
        requirements=read_requirements(texts, metadata.mlflow_version),
        packages=tuple(sorted(packages)),
        modules=(loader,) if isinstance(loader, str) and _MODULE.fullmatch(loader) else (),
        base_image=base_image,
        wheels_only=wheels_only,
    )


def config(base: Base, layers: Sequence[Layer], labels: Mapping[str, str], created: str) -> bytes:
    """Give the image's configuration (OCI image specification, with Docker's `Healthcheck` besides)."""
    env = dict(entry.partition("=")[::2] for entry in base.env)
    env |= {"PATH": f"/opt/venv/bin:{env.get('PATH', '/usr/local/bin:/usr/bin:/bin')}", "HOME": "/home/model"}
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    said = {
        "architecture": base.architecture,
        **({"variant": base.variant} if base.variant else {}),
        "os": "linux",
        "created": created,
        "config": {
            "User": f"{USER}:{USER}",
            "ExposedPorts": {f"{PORT}/tcp": {}},
            "Env": [f"{name}={value}" for name, value in sorted(env.items())],
            "Entrypoint": ["sh", "-c", _SERVE],
            "WorkingDir": "/home/model",
            "Labels": dict(sorted(labels.items())),
            "Healthcheck": {
                "Test": ["CMD", "python", "-I", "-c", _HEALTHY],
                "Interval": 30 * _SECOND,
                "Timeout": 5 * _SECOND,
                "StartPeriod": 120 * _SECOND,
                "Retries": 3,
            },
            # The first process has no handler for SIGTERM, and the kernel passes it none without; Python knows SIGINT.
            "StopSignal": "SIGINT",
        },
        "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, *(layer.diff_id for layer in layers)]},
        "history": [
            *({"created_by": f"FROM {base.image}", "created": created} for _ in base.diff_ids),
            *({"created_by": RECIPE, "created": created} for _ in layers),
        ],
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


_TYPES = "application/vnd.docker"


def manifest(config: bytes, layers: Sequence[Mapping[str, Any]]) -> bytes:
    """Give the manifest (Docker image manifest, version 2 schema 2, which keeps the health check)."""
    said = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPES}.distribution.manifest.v2+json",
        "config": {
            "mediaType": f"{_TYPES}.container.image.v1+json",
            "digest": f"sha256:{hashlib.sha256(config).hexdigest()}",
            "size": len(config),
        },
        "layers": list(layers),
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def descriptor(digest: str, size: int) -> dict[str, Any]:
    """Give a compressed layer's entry in a manifest."""
    return {"mediaType": f"{_TYPES}.image.rootfs.diff.tar.gzip", "digest": digest, "size": size}


def _is_ours(entry: object) -> bool:
    """Tell whether a manifest's entry is as `descriptor` creates it, with no URL to fetch it from and no other type."""
    if not isinstance(entry, dict) or not _DIGEST.fullmatch(str(entry.get("digest"))):
        return False
    return entry == descriptor(entry["digest"], entry.get("size", 0)) and type(entry["size"]) is int


@dataclass(frozen=True)
class Previous:
    """An image of another version of the model, in the registry: where it is, and what it is made of."""

    name: str
    digest: str
    labels: Mapping[str, str] = field(default_factory=dict)
    diff_ids: tuple[str, ...] = ()
    layers: tuple[Mapping[str, Any], ...] = ()

    def below_the_model(self, base: Base, key: str) -> tuple[list[str], list[Mapping[str, Any]]] | None:
        """Give the layers below its model (digests unpacked, and manifest entries), or None where they are others."""
        at, below = len(base.diff_ids), len(self.diff_ids) - 1
        same = self.labels.get(REQUIREMENTS_LABEL) == key and self.diff_ids[:at] == base.diff_ids
        if not same or below <= at or len(self.layers) != len(self.diff_ids):
            return None
        if not all(_is_ours(layer) for layer in self.layers):
            return None
        return list(self.diff_ids[:below]), list(self.layers[:below])
