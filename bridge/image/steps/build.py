"""Step "build": build the downloaded model's image, with labels; and step "clean-up"."""

import shutil
from datetime import UTC, datetime

from bridge.image import actions, docker
from bridge.image import labels as names
from bridge.image.builders.choice import build_secrets, check_size, size_limit
from bridge.image.builders.layered import assemble as layered
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Plan, Workspace


def build(settings: ImageSettings, workspace: Workspace) -> None:
    """Build the image, and check its size. Docker then has it under its full name. Raises a `BridgeError`."""
    plan, now = workspace.plan(), datetime.now(UTC)
    build_image = _build_layered if plan.builder.layered else _build_with_mlflow
    image_id = build_image(plan, settings, workspace, now)
    check_size(plan.tag, docker.image_size(plan.tag), size_limit(settings.size_limit))
    workspace.write_image_id(image_id)
    actions.log(f"built {plan.tag}: {image_id}")


def _build_with_mlflow(plan: Plan, settings: ImageSettings, workspace: Workspace, now: datetime) -> str:
    unlabelled = _unlabelled(workspace)
    actions.log(f"mlflow models build-docker, MLflow {plan.metadata.mlflow_version}")
    docker.build_with_mlflow(
        workspace.model,
        unlabelled,
        mlflow_version=plan.metadata.mlflow_version,
        python_version=plan.metadata.python_version,
        options=plan.builder.mlflow_options(),
    )
    docker.add_labels(unlabelled, labels(plan, settings, now), tag=plan.tag)
    return docker.image_id(plan.tag)


def _build_layered(plan: Plan, settings: ImageSettings, workspace: Workspace, now: datetime) -> str:
    image = layered.build(
        workspace.model,
        layered.plan(
            workspace.model, plan.metadata, base_image=plan.builder.base_image, wheels_only=plan.builder.wheels_only
        ),
        workspace.image,
        labels(plan, settings, now),
        created=now.isoformat(timespec="seconds"),
        previous=workspace.previous(),
        secrets=build_secrets(settings),
    )
    actions.log(f"requirements: {f'layers of {image.reused}' if image.reused else 'installed'}")
    image_id = image.load()
    docker.tag(image_id, plan.tag)
    return image_id


def _unlabelled(workspace: Workspace) -> str:
    """Return the name of MLflow's image, unique to this job because MLflow can't label it."""
    return f"mlflow-bridge-{workspace.run}:unlabelled"


def clean_up(workspace: Workspace) -> None:
    """Remove everything that this job's steps left on the runner, and nothing from another job."""
    docker.remove_all_of(workspace.run)
    for image in (_unlabelled(workspace), workspace.pulled()):
        docker.remove(image)
    shutil.rmtree(workspace.folder, ignore_errors=True)


def labels(plan: Plan, settings: ImageSettings, now: datetime) -> dict[str, str]:
    """Return the image's labels. The first four are from the OCI image specification, "Annotations"."""
    return {
        "org.opencontainers.image.title": plan.model,
        "org.opencontainers.image.version": plan.version,
        "org.opencontainers.image.created": now.isoformat(timespec="seconds"),
        "org.opencontainers.image.source": f"{settings.github_server_url}/{settings.github_repository}",
        names.MODEL: plan.model,
        names.VERSION: plan.version,
        names.RUN_ID: plan.run_id,
        names.SOURCE: plan.source,
        names.MLFLOW: plan.metadata.mlflow_version,
        **docker.run_label(docker.IMAGE_LABEL),
        names.RECIPE_LABEL: names.LAYERED_RECIPE if plan.builder.layered else names.RECIPE,
    }
