"""Step "resolve": which version, is its image there, and may one be built."""

import shutil
import tempfile
from pathlib import Path

from bridge.image import workflow
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.errors import DiskTooSmall, ImageConflict
from bridge.image.identity import SOURCE, Verdict, judge
from bridge.image.metadata import MLMODEL, PYTHON_ENV
from bridge.image.registry import Repository
from bridge.image.settings import ImageSettings
from bridge.image.size import size_limit
from bridge.image.target import Target
from bridge.image.writeback import is_pushed
from bridge.mlflow_api import MlflowApi, ModelVersion
from bridge.naming import group

_DISK_FACTOR = 3
"""The model lies on the disk as downloaded, in the build's context, and in the image."""


def resolve(settings: ImageSettings) -> None:
    """Set the outputs `version`, `group`, `build` and `replace`, or say why there is nothing to build from."""
    target = Target.read(settings)
    size_limit(settings.size_limit)
    settings.environment()
    repository = Repository(settings.repository(target.model), settings.docker_config)
    with settings.mlflow() as mlflow:
        version = target.find(mlflow)
        workflow.say(f"model {version.name!r} version {version.version} from {version.source}")
        build = must_build(repository, version, force=settings.force)
        if build:
            _check_source(mlflow, version, settings)
    workflow.say(f"{repository.name}:{version.version} {'is to be built' if build else 'is there'}")
    workflow.output("version", version.version)
    workflow.output("group", group(version.name))
    workflow.output("build", str(build).lower())
    # MLflow says "pushed" and still there is something to build: the build job must not take that for an answer.
    workflow.output("replace", str(build and is_pushed(version, repository.name)).lower())


def must_build(repository: Repository, version: ModelVersion, *, force: bool) -> bool:
    """Tell whether this version needs a build; raises `ImageConflict` where its tag must be left alone."""
    found = repository.look(version.version)
    verdict = judge(
        found.labels if found else None, model=version.name, version=version.version, source=version.source or ""
    )
    image = f"{repository.name}:{version.version}"
    if verdict is Verdict.FOREIGN:
        raise ImageConflict(
            f"{image} is there and carries no labels of ours for this model, so it is never overwritten: "
            "delete it, or set another DOCKER_NAMESPACE"
        )
    if verdict is Verdict.OTHER_SOURCE and found and not force:
        raise ImageConflict(
            f"{image} was made from {found.labels[SOURCE]}, and MLflow now says {version.source} "
            "(the model was deleted and made again?): start the workflow by hand with force to overwrite it"
        )
    if verdict is Verdict.OTHER_RECIPE and not force:
        workflow.notice(
            "Image made another way", f"{image} is from an older recipe; start by hand with force to renew it"
        )
    return force or verdict is Verdict.ABSENT


def _check_source(mlflow: MlflowApi, version: ModelVersion, settings: ImageSettings) -> None:
    """Refuse now what can't be built later: stores without a proxy, unsafe metadata, too much for the disk."""
    artifacts = ModelArtifacts(mlflow.artifact_uri(version.name, version.version), settings.mlflow_tracking_uri)
    sizes = artifacts.sizes()
    with tempfile.TemporaryDirectory() as folder:
        for name in (MLMODEL, PYTHON_ENV):
            if name in sizes:
                artifacts.download(Path(folder), name)
        found = metadata_in(Path(folder), java=settings.environment().install_java)
    workflow.say(f"MLflow {found.mlflow_version}, Python {found.python_version}, {sum(sizes.values()):,} bytes")
    check_disk(sum(sizes.values()), shutil.disk_usage(Path.cwd()).free)


def check_disk(model: int, free: int) -> None:
    """Raise `DiskTooSmall` unless `free` bytes hold a model of `model` bytes three times."""
    if model * _DISK_FACTOR > free:
        raise DiskTooSmall(
            f"the model has {model / 1e9:.1f} GB and its build needs {_DISK_FACTOR} times that, but the runner has "
            f"{free / 1e9:.1f} GB free: use a larger runner by the input runs-on"
        )
