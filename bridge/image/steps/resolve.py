"""Step "resolve": which version, is its image there, and may one be built."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from bridge.core.errors import BridgeError
from bridge.image import actions, docker
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.builders.choice import MLFLOW, Builder, size_limit
from bridge.image.builders.layered.assemble import plan as plan_in_layers
from bridge.image.errors import DiskTooSmall, UnsupportedModel
from bridge.image.labels import LAYERED_RECIPE, MODEL, RECIPE_LABEL
from bridge.image.metadata import ModelMetadata
from bridge.image.naming import slug
from bridge.image.registry.client import Repository
from bridge.image.repository import image_to_keep, repository_of
from bridge.image.settings import ImageSettings
from bridge.image.target import Target
from bridge.mlflow.client import MlflowApi, ModelVersion

_EARLIER = 5
"""How many versions before this one may lack an image in layers until it is made without one."""
_DISK_FACTOR = 3
"""The model lies on the disk as downloaded, in the build's context, and in the image."""


def resolve(settings: ImageSettings) -> None:
    """Set the outputs, or say why there is nothing to build from.

    They are `version`, `group`, `former_name`, `build`, `digest` of the existing image if none is built,
    and for the build `layered` and `previous`.
    """
    target = Target.read(settings)
    size_limit(settings.size_limit)
    builder = Builder.read(settings, target.inputs)
    with settings.mlflow() as mlflow:
        version = target.find(mlflow)
        actions.say(f"model {version.name!r} version {version.version} from {version.source}")
        repository = repository_of(settings, version.name)
        held = image_to_keep(
            repository,
            model=version.name,
            version=version.version,
            source=version.source or "",
            force=settings.force,
        )
        if held is None:
            builder = _check_source(mlflow, version, settings, builder)
    actions.say(f"{repository.name}:{version.version} {'already exists' if held else 'will be built'}")
    actions.output("version", version.version)
    actions.output("group", slug(version.name))
    # Not the name itself: GitHub drops an output that contains a secret's value, such as the registry's user.
    actions.output("former_name", str(not repository.name.endswith(f"/{slug(version.name)}")).lower())
    actions.output("build", str(held is None).lower())
    actions.output("digest", held.digest if held else "")
    # An attestation says that this run built the image, so no layer may come from an image that only has labels.
    reuse = held is None and builder.layered and not settings.force and not settings.attested
    actions.output("layered", str(builder.layered).lower())
    actions.output("previous", earlier_image(repository, version) if reuse else "")


def earlier_image(repository: Repository, version: ModelVersion) -> str:
    """Give the digest of the last image before this version's that was built in layers; empty where there is none.

    Its layers may do for this version too. A registry that fails here costs time, and no more.
    """
    number = int(version.version)
    for each in range(number - 1, max(number - 1 - _EARLIER, 0), -1):
        try:
            found = repository.inspect(str(each))
        except BridgeError as error:
            actions.say(f"no earlier image is built upon: {error}")
            return ""
        if found and (found.labels.get(MODEL), found.labels.get(RECIPE_LABEL)) == (version.name, LAYERED_RECIPE):
            return found.digest
    return ""


def _check_source(mlflow: MlflowApi, version: ModelVersion, settings: ImageSettings, builder: Builder) -> Builder:
    """Refuse now what can't be built later: stores without a proxy, unsafe metadata, too much for the disk.

    Gives the builder that can.
    """
    artifacts = ModelArtifacts(mlflow.artifact_uri(version.name, version.version), mlflow)
    with tempfile.TemporaryDirectory() as folder:
        sizes = artifacts.describe(Path(folder))
        found = metadata_in(Path(folder), java=settings.install_java)
        builder = able(builder, Path(folder), found)
    if not builder.layered:
        docker.check_mlflow(found.mlflow_version, found.python_version)
    actions.say(f"MLflow {found.mlflow_version}, Python {found.python_version}, {sum(sizes.values()):,} bytes")
    check_disk(sum(sizes.values()), shutil.disk_usage(Path.cwd()).free)
    return builder


def able(builder: Builder, folder: Path, metadata: ModelMetadata) -> Builder:
    """Give the builder that can make an image of the model in `folder`: MLflow's own where ours names that as the mend.

    Raises `UnsupportedModel` where more was asked for than that one knows, and what the planning of the layers raises.
    """
    if not builder.layered:
        return builder
    try:
        plan_in_layers(folder, metadata, base_image=builder.base_image, wheels_only=builder.wheels_only)
    except UnsupportedModel as error:
        reason = error.message
        if not error.mlflow_can_build:
            raise
        if builder.asked:
            raise UnsupportedModel(
                f"{reason}, which `builder: layered` does without, and {' and '.join(builder.asked)} only that one "
                "knows: leave that out, so that MLflow's own builder makes this image, or log the model without"
            ) from error
        actions.notice("Built by MLflow's own builder", f"{reason}, which builder layered does without")
        return replace(builder, name=MLFLOW)
    return builder


def check_disk(model: int, free: int) -> None:
    """Raise `DiskTooSmall` unless `free` bytes hold a model of `model` bytes three times."""
    if model * _DISK_FACTOR > free:
        raise DiskTooSmall(
            f"the model has {model / 1e9:.1f} GB and its build needs {_DISK_FACTOR} times that, but the runner has "
            f"{free / 1e9:.1f} GB free: use a larger runner by the input runs-on"
        )
