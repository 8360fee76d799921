"""Step "build": an image of the downloaded model, labelled."""

from datetime import UTC, datetime

from bridge.image import engine, identity, workflow
from bridge.image.settings import ImageSettings
from bridge.image.size import check_size, size_limit
from bridge.image.workspace import Plan, Workspace


def build(settings: ImageSettings, workspace: Workspace) -> None:
    """Build and label the image; it is known to the engine by its whole name then."""
    plan = workspace.plan()
    unlabelled = f"{plan.tag}-unlabelled"
    workflow.say(f"mlflow models build-docker, MLflow {plan.metadata.mlflow_version}")
    engine.build_with_mlflow(
        workspace.model,
        unlabelled,
        mlflow_version=plan.metadata.mlflow_version,
        python_version=plan.metadata.python_version,
        options=settings.environment().options(),
    )
    engine.add_labels(unlabelled, labels(plan, settings, datetime.now(UTC)), tag=plan.tag)
    check_size(plan.tag, engine.image_size(plan.tag), size_limit(settings.size_limit))
    image_id = engine.image_id(plan.tag)
    workspace.write_image_id(image_id)
    workflow.say(f"{plan.tag} is built: {image_id}")


def clean_up(workspace: Workspace) -> None:
    """Take the image, where there is one, out of the engine: a runner's disk may have to last."""
    if not workspace.has_plan():
        return
    plan = workspace.plan()
    for image in (plan.tag, f"{plan.tag}-unlabelled"):
        engine.remove(image)


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
        identity.RECIPE_LABEL: identity.RECIPE,
    }
