"""Step "download": the model's files, checked again, and the plan of what to make of them."""

import shutil
from concurrent.futures import ThreadPoolExecutor

from bridge.image import actions
from bridge.image.artifacts import ModelArtifacts, metadata_in
from bridge.image.builders.choice import Builder
from bridge.image.builders.layered.engine import holds
from bridge.image.builders.layered.remote import LayeredRepository
from bridge.image.mlflow_tags import BUILDING, write_status
from bridge.image.repository import image_to_keep, repository_of
from bridge.image.settings import ImageSettings
from bridge.image.steps.fetch import fetch
from bridge.image.steps.resolve import check_disk
from bridge.image.target import Target
from bridge.image.workspace import Plan, Workspace


def download(settings: ImageSettings, workspace: Workspace) -> None:
    """Download the model and set the output `build`: false where another run has pushed the image meanwhile."""
    target = Target.read(settings)
    builder = Builder.read(settings, target.inputs)
    with settings.mlflow() as mlflow:
        version = target.find(mlflow)
        repository = repository_of(settings, version.name)
        held = image_to_keep(
            repository,
            model=version.name,
            version=version.version,
            source=version.source or "",
            force=settings.force,
        )
        actions.output("build", str(held is None).lower())
        if held:
            actions.notice("Nothing to build", f"another run has already pushed {repository.name}:{version.version}")
            return
        if settings.push:
            write_status(mlflow, version, BUILDING, [repository.name], settings.run_url)
        artifacts = ModelArtifacts(mlflow.artifact_uri(version.name, version.version), mlflow)
        _download(artifacts, settings, workspace, builder, repository.name)
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
    actions.say(f"{version.name!r} version {version.version} lies on the runner's disk")


def _download(
    artifacts: ModelArtifacts, settings: ImageSettings, workspace: Workspace, builder: Builder, repository: str
) -> None:
    """Download the model; for a build in layers, let the engine pull meanwhile."""
    sizes = artifacts.sizes()
    workspace.folder.mkdir(parents=True, exist_ok=True)
    check_disk(sum(sizes.values()), shutil.disk_usage(workspace.folder).free)
    if not builder.layered:
        artifacts.download(workspace.model, sizes)
        return
    if settings.previous and not holds(f"{repository}@{settings.previous}"):
        # What was there before is not this job's, so its clean-up leaves it.
        workspace.write_pulled(f"{repository}@{settings.previous}")
    images, java = LayeredRepository(repository, settings.docker_config), settings.install_java
    with ThreadPoolExecutor(1) as pool:
        pulled = pool.submit(fetch, artifacts, builder, images, settings.previous, java=java)
        artifacts.download(workspace.model, sizes)
        if previous := pulled.result():
            workspace.write_previous(previous)
