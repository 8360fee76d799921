"""Step "download": the model's files, the layers to build on, and the plan for the next steps."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bridge.core.errors import BridgeError
from bridge.image import actions
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.builders.choice import Builder
from bridge.image.builders.layered import assemble as layered
from bridge.image.builders.layered import engine
from bridge.image.builders.layered.plan import Previous
from bridge.image.builders.layered.remote import LayeredRepository
from bridge.image.mlflow_tags import BUILDING, write_status
from bridge.image.repository import image_to_keep, repository_of
from bridge.image.settings import ImageSettings
from bridge.image.steps.resolve import check_disk
from bridge.image.target import Target
from bridge.image.workspace import Plan, Workspace


def download(settings: ImageSettings, workspace: Workspace) -> None:
    """Download the model, and set the output `build`: false if another run has pushed the image since `resolve`."""
    target = Target.read(settings)
    builder = Builder.read(settings, target.inputs)
    with settings.mlflow() as mlflow:
        # 1. Check again whether the image exists: this job may have waited for another build of the version.
        version = target.find(mlflow)
        repository = repository_of(settings, version.name)
        existing = image_to_keep(
            repository, model=version.name, version=version.version, source=version.source or "", force=settings.force
        )
        actions.output("build", str(existing is None).lower())
        if existing:
            actions.notice("Nothing to build", f"another run has already pushed {repository.name}:{version.version}")
            return
        if settings.push:
            write_status(mlflow, version, BUILDING, [repository.name], settings.run_url)
        # 2. Download the model if the disk is large enough.
        artifacts = ModelArtifacts(mlflow.artifact_uri(version.name, version.version), mlflow)
        sizes = artifacts.sizes()
        workspace.folder.mkdir(parents=True, exist_ok=True)
        check_disk(sum(sizes.values()), shutil.disk_usage(workspace.folder).free)
        with ThreadPoolExecutor(1) as pool:
            # 3. Meanwhile, pull what a layered build needs.
            pulled = (
                pool.submit(pull_layers, artifacts, builder, repository.name, settings, workspace)
                if builder.layered
                else None
            )
            artifacts.download(workspace.model, sizes)
            if pulled:
                pulled.result()
    # 4. Pass on the plan to the next steps.
    metadata = metadata_in(workspace.model, java=settings.install_java)
    workspace.write_plan(
        Plan(
            model=version.name,
            version=version.version,
            source=version.source or "",
            run_id=version.run_id or "",
            repository=repository.name,
            smoke_test=target.smoke_test or ("invoke" if metadata.has_serving_example else "ping"),
            metadata=metadata,
            builder=builder,
        )
    )
    actions.log(f"downloaded {version.name!r} version {version.version}")


def pull_layers(
    artifacts: ModelArtifacts, builder: Builder, repository: str, settings: ImageSettings, workspace: Workspace
) -> None:
    """Pull the base image, and the image of an earlier version if the new one can reuse its layers.

    Failures are only logged: the build then pulls the base itself, and installs the requirements.
    """
    image = f"{repository}@{settings.previous}" if settings.previous else ""
    if image and not engine.holds(image):
        # An image that was on the runner before this job must stay after it.
        workspace.write_pulled(image)
    try:
        previous = _reusable(artifacts, builder, LayeredRepository(repository, settings.docker_config), settings)
        if previous:
            engine.pull(image)
            workspace.write_previous(previous)
    except BridgeError as error:
        actions.log(f"no layers are reused: {error}")


def _reusable(
    artifacts: ModelArtifacts, builder: Builder, repository: LayeredRepository, settings: ImageSettings
) -> Previous | None:
    with tempfile.TemporaryDirectory() as folder:
        artifacts.describe(Path(folder))
        metadata = metadata_in(Path(folder), java=settings.install_java)
        plan = layered.plan(Path(folder), metadata, base_image=builder.base_image, wheels_only=builder.wheels_only)
    base = engine.base(plan.base)
    previous = repository.previous(settings.previous) if settings.previous else None
    if previous is None:
        actions.log("no layers are reused: no earlier version has a layered image")
        return None
    if not previous.below_the_model(base, plan.key(base)):
        actions.log(f"no layers are reused: {repository.name}@{settings.previous} has another base or requirements")
        return None
    return previous
