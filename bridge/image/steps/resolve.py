"""Step "resolve": find the version, its existing image, and whether one can be built."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from bridge.core.errors import BridgeError
from bridge.image import actions, docker
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.builders.choice import MLFLOW, Builder, size_limit
from bridge.image.builders.layered.assemble import plan as plan_layers
from bridge.image.errors import DiskTooSmall, InvalidInput, UnsupportedModel
from bridge.image.labels import LAYERED_RECIPE, MODEL, RECIPE_LABEL
from bridge.image.metadata import ModelMetadata
from bridge.image.naming import slug
from bridge.image.programs import check_programs
from bridge.image.registry.client import Repository
from bridge.image.registry.credentials import AccessSettings
from bridge.image.registry.push_access import check_push
from bridge.image.repository import image_to_keep, repository_of
from bridge.image.settings import ImageSettings
from bridge.image.target import Target
from bridge.image.workspace import Resolved, Workspace
from bridge.mlflow.client import MlflowApi, ModelVersion

_EARLIER_VERSIONS = 5
"""How many earlier versions are checked for a layered image to reuse."""
_DISK_FACTOR = 3
"""The model is on the disk as downloaded, in the build's context, and in the image."""


def resolve(settings: ImageSettings, workspace: Workspace) -> None:
    """Store what the next steps need, and set the outputs listed below.

    Raises a `BridgeError` if the image can't be built.
    """
    # 1. Check all programs and inputs first, so that a wrong one fails the run before anything else happens.
    check_programs()
    target = Target.read(settings)
    size_limit(settings.size_limit)
    builder = Builder.read(settings, target.inputs)
    _check_server(settings)
    with settings.mlflow() as mlflow:
        # 2. Find the version in MLflow, and its image in the registry.
        version = target.find(mlflow)
        actions.log(f"model {version.name!r} version {version.version} from {version.source}")
        repository = repository_of(settings, version.name)
        existing = image_to_keep(
            repository, model=version.name, version=version.version, source=version.source or "", force=settings.force
        )
        # 3. Without an image, refuse now what can't be built later.
        if existing is None:
            builder = _check_model(mlflow, version, settings, builder)
            if settings.push:
                check_push(repository, AccessSettings())
    actions.log(f"{repository.name}:{version.version} {'already exists' if existing else 'will be built'}")
    # 4. Pass on the result to the next steps.
    # An attestation says that this run built the image, so no layer may come from an image that only has labels.
    reuse = existing is None and builder.layered and not settings.force and not settings.attested
    workspace.write_resolved(
        Resolved(
            model=version.name,
            version=version.version,
            source=version.source or "",
            run_id=version.run_id or "",
            repository=repository.name,
            digest=existing.digest if existing else "",
            smoke_test=target.smoke_test,
            builder=builder,
            previous=previous_image(repository, version) if reuse else "",
        )
    )
    actions.output("version", version.version)
    actions.output("slug", slug(version.name))
    actions.output("build", str(existing is None).lower())
    actions.output("layered", str(builder.layered).lower())
    if existing:
        output_image(repository.name, existing.digest)
    _check_output(settings, repository.name)


def output_image(repository: str, digest: str) -> None:
    """Set the outputs `image` and `digest`."""
    actions.output("image", f"{repository}@{digest}")
    actions.output("digest", digest)


def _check_output(settings: ImageSettings, repository: str) -> None:
    """Notice if GitHub will drop the workflow's output `image` because a secret is a part of it."""
    if any(secret in repository for secret in settings.secrets()):
        actions.notice(
            "No output image",
            "GitHub drops the workflow's output `image`, because the value of a secret is a part of it. If a later job "
            "needs this output, set DOCKER_USERNAME as a variable instead of a secret, or change MLflow's user",
        )


def _check_server(settings: ImageSettings) -> None:
    if settings.enterprise_server and (settings.has_sbom or settings.attested):
        raise InvalidInput(
            "the inputs sbom and attest don't work on GitHub Enterprise Server, which has no attestations and doesn't "
            "support this release of actions/upload-artifact",
            "set both to false",
        )
    if settings.require_attestations and not settings.attested:
        raise InvalidInput("require-attestations is true, but attest is not", "set attest to true, too")


def previous_image(repository: Repository, version: ModelVersion) -> str:
    """Return the digest of the newest layered image of an earlier version; empty if there is none.

    Its layers may be reused. If the registry fails here, the build takes longer, but doesn't fail.
    """
    number = int(version.version)
    for earlier in range(number - 1, max(number - 1 - _EARLIER_VERSIONS, 0), -1):
        try:
            image = repository.inspect(str(earlier))
        except BridgeError as error:
            actions.log(f"no layers are reused: {error}")
            return ""
        if image and (image.labels.get(MODEL), image.labels.get(RECIPE_LABEL)) == (version.name, LAYERED_RECIPE):
            return image.digest
    return ""


def _check_model(mlflow: MlflowApi, version: ModelVersion, settings: ImageSettings, builder: Builder) -> Builder:
    """Check the model's storage, metadata and size; return the builder that can make its image."""
    artifacts = ModelArtifacts(mlflow.artifact_uri(version.name, version.version), mlflow)
    with tempfile.TemporaryDirectory() as folder:
        sizes = artifacts.describe(Path(folder))
        metadata = metadata_in(Path(folder), java=settings.install_java)
        builder = choose_builder(builder, Path(folder), metadata)
    if not builder.layered:
        docker.check_mlflow(metadata.mlflow_version, metadata.python_version)
    actions.log(f"MLflow {metadata.mlflow_version}, Python {metadata.python_version}, {sum(sizes.values()):,} bytes")
    check_disk(sum(sizes.values()), shutil.disk_usage(Path.cwd()).free)
    return builder


def choose_builder(builder: Builder, folder: Path, metadata: ModelMetadata) -> Builder:
    """Return `builder`, or MLflow's own if the layered one can't make an image of the model in `folder`.

    Raises `UnsafeMetadata`, and `UnsupportedModel` if MLflow's builder can't do it either, or doesn't support an input
    that is set.
    """
    if not builder.layered:
        return builder
    try:
        plan_layers(folder, metadata, base_image=builder.base_image, wheels_only=builder.wheels_only)
    except UnsupportedModel as error:
        if not error.mlflow_can_build:
            raise
        if builder.layered_only:
            raise UnsupportedModel(
                f"{error.message}; the layered builder doesn't support this, and MLflow's builder doesn't support "
                f"{' and '.join(builder.layered_only)}",
                "remove these settings, so that MLflow's builder can build the image, or change the model",
            ) from error
        actions.notice("Built with MLflow's builder", f"{error.message}; the layered builder doesn't support this")
        return replace(builder, name=MLFLOW)
    return builder


def check_disk(model: int, free: int) -> None:
    """Raise `DiskTooSmall` unless `free` bytes are enough for three copies of a model of `model` bytes."""
    if model * _DISK_FACTOR > free:
        raise DiskTooSmall(
            f"the model has {model / 1e9:.1f} GB and its build needs {_DISK_FACTOR} times that, but the runner has "
            f"{free / 1e9:.1f} GB free",
            "use a larger runner (input runs-on)",
        )
