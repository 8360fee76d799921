"""Step "download": the model's files, the layers to build on, and the plan for the next steps."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bridge.core.errors import BridgeError
from bridge.image import actions
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.builders.layered import assemble as layered
from bridge.image.builders.layered import engine
from bridge.image.builders.layered.plan import Previous
from bridge.image.builders.layered.remote import LayeredRepository
from bridge.image.mlflow_tags import BUILDING, write_status
from bridge.image.settings import ImageSettings
from bridge.image.steps.resolve import check_disk
from bridge.image.workspace import Plan, Resolved, Workspace


def download(settings: ImageSettings, workspace: Workspace) -> None:
    """Download the model, and store the plan for the next steps."""
    resolved = workspace.resolved()
    builder = resolved.builder
    with settings.mlflow() as mlflow:
        if settings.push:
            version = mlflow.version(resolved.model, resolved.version)
            write_status(mlflow, version, BUILDING, [resolved.repository], settings.run_url)
        # 1. Download the model if the disk is large enough.
        artifacts = ModelArtifacts(mlflow.artifact_uri(resolved.model, resolved.version), mlflow)
        sizes = artifacts.sizes()
        check_disk(sum(sizes.values()), shutil.disk_usage(workspace.folder).free)
        with ThreadPoolExecutor(1) as pool:
            # 2. Meanwhile, pull what a layered build needs.
            pulled = pool.submit(pull_layers, artifacts, resolved, settings, workspace) if builder.layered else None
            artifacts.download(workspace.model, sizes)
            if pulled:
                pulled.result()
    # 3. Pass on the plan to the next steps.
    metadata = metadata_in(workspace.model, java=settings.install_java)
    workspace.write_plan(
        Plan(
            model=resolved.model,
            version=resolved.version,
            source=resolved.source,
            run_id=resolved.run_id,
            repository=resolved.repository,
            smoke_test=resolved.smoke_test or ("invoke" if metadata.has_serving_example else "ping"),
            metadata=metadata,
            builder=builder,
        )
    )
    actions.log(f"downloaded {resolved.model!r} version {resolved.version}")


def pull_layers(artifacts: ModelArtifacts, resolved: Resolved, settings: ImageSettings, workspace: Workspace) -> None:
    """Pull the base image, and the image of an earlier version if the new one can reuse its layers.

    Failures are only logged: the build then pulls the base itself, and installs the requirements.
    """
    image = f"{resolved.repository}@{resolved.previous}" if resolved.previous else ""
    if image and not engine.holds(image):
        # An image that was on the runner before this job must stay after it.
        workspace.write_pulled(image)
    try:
        previous = _reusable(artifacts, resolved, settings)
        if previous:
            engine.pull(image)
            workspace.write_previous(previous)
    except BridgeError as error:
        actions.log(f"no layers are reused: {error}")


def _reusable(artifacts: ModelArtifacts, resolved: Resolved, settings: ImageSettings) -> Previous | None:
    builder, repository = resolved.builder, LayeredRepository(resolved.repository, settings.docker_config)
    with tempfile.TemporaryDirectory() as folder:
        artifacts.describe(Path(folder))
        metadata = metadata_in(Path(folder), java=settings.install_java)
        plan = layered.plan(Path(folder), metadata, base_image=builder.base_image, wheels_only=builder.wheels_only)
    base = engine.base(plan.base)
    previous = repository.previous(resolved.previous) if resolved.previous else None
    if previous is None:
        actions.log("no layers are reused: no earlier version has a layered image")
        return None
    if not previous.below_the_model(base, plan.key(base)):
        actions.log(f"no layers are reused: {repository.name}@{resolved.previous} has another base or requirements")
        return None
    return previous
