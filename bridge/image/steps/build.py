"""Step "build": an image of the downloaded model, labelled."""

import shutil
from datetime import UTC, datetime

from bridge.image import actions, docker
from bridge.image import labels as identity
from bridge.image.builders.choice import build_secrets, check_size, size_limit
from bridge.image.builders.layered import assemble as layered
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Plan, Workspace


def build(settings: ImageSettings, workspace: Workspace) -> None:
    """Build and label the image; it is known to the engine by its whole name then."""
    plan, now = workspace.plan(), datetime.now(UTC)
    image_id = (
        _in_layers(plan, settings, workspace, now)
        if plan.builder.layered
        else _by_mlflow(plan, settings, workspace, now)
    )
    check_size(plan.tag, docker.image_size(plan.tag), size_limit(settings.size_limit))
    workspace.write_image_id(image_id)
    actions.say(f"{plan.tag} is built: {image_id}")


def _by_mlflow(plan: Plan, settings: ImageSettings, workspace: Workspace, now: datetime) -> str:
    unlabelled = _unlabelled(workspace)
    actions.say(f"mlflow models build-docker, MLflow {plan.metadata.mlflow_version}")
    docker.build_with_mlflow(
        workspace.model,
        unlabelled,
        mlflow_version=plan.metadata.mlflow_version,
        python_version=plan.metadata.python_version,
        options=plan.builder.mlflow_options(),
    )
    docker.add_labels(unlabelled, labels(plan, settings, now), tag=plan.tag)
    return docker.image_id(plan.tag)


def _in_layers(plan: Plan, settings: ImageSettings, workspace: Workspace, now: datetime) -> str:
    secrets = build_secrets(settings)
    image = layered.build(
        workspace.model,
        layered.plan(
            workspace.model, plan.metadata, base_image=plan.builder.base_image, wheels_only=plan.builder.wheels_only
        ),
        workspace.image,
        labels(plan, settings, now),
        created=now.isoformat(timespec="seconds"),
        previous=workspace.previous(),
        secrets=secrets,
    )
    actions.say(f"requirements: {f'the layers of {image.reused}' if image.reused else 'installed'}")
    held = image.load()
    docker.tag(held, plan.tag)
    return held


def _unlabelled(workspace: Workspace) -> str:
    """Give the name of the image that MLflow builds, which is unique to this job because MLflow sets no label."""
    return f"mlflow-bridge-{workspace.run}:unlabelled"


def clean_up(workspace: Workspace) -> None:
    """Remove what this job's steps left on the runner, which may live on, and nothing that belongs to another job."""
    docker.remove_all_of(workspace.run)
    for image in (_unlabelled(workspace), workspace.pulled()):
        docker.remove(image)
    shutil.rmtree(workspace.folder, ignore_errors=True)


def labels(plan: Plan, settings: ImageSettings, now: datetime) -> dict[str, str]:
    """Give the image's labels (OCI image specification, "Annotations", for the first four)."""
    return {
        "org.opencontainers.image.title": plan.model,
        "org.opencontainers.image.version": plan.version,
        "org.opencontainers.image.created": now.isoformat(timespec="seconds"),
        "org.opencontainers.image.source": f"{settings.github_server_url}/{settings.github_repository}",
        identity.MODEL: plan.model,
        identity.VERSION: plan.version,
        identity.RUN_ID: plan.run_id,
        identity.SOURCE: plan.source,
        identity.MLFLOW: plan.metadata.mlflow_version,
        **docker.run_label(docker.IMAGE_LABEL),
        identity.RECIPE_LABEL: identity.LAYERED_RECIPE if plan.builder.layered else identity.RECIPE,
    }
