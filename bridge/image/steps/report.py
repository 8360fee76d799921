"""Step "report": write the image, or the failure, into MLflow; and the text of the run's summary."""

import json

from bridge.core.errors import BridgeError
from bridge.image import actions
from bridge.image.mlflow_tags import FAILED, write_image, write_status
from bridge.image.settings import ImageSettings
from bridge.image.target import Target
from bridge.image.workspace import Workspace
from bridge.mlflow.client import ModelVersion


def report_pushed(settings: ImageSettings, workspace: Workspace) -> None:
    """Write the image's name with its digest onto the version."""
    plan, digest = workspace.plan(), workspace.digest()
    with settings.mlflow() as mlflow:
        write_image(mlflow, mlflow.version(plan.model, plan.version), f"{plan.repository}@{digest}", settings.run_url)


def report_failed(settings: ImageSettings, workspace: Workspace) -> None:
    """Write the job's result onto the version, if MLflow can be reached. The failed step has reported its error."""
    pushed = workspace.has_digest()
    if not settings.push:
        actions.summary("The dry run failed. Nothing was pushed or written.")
        return
    try:
        if pushed:
            report_pushed(settings, workspace)
        else:
            target = Target.read(settings)
            repositories = settings.repositories(target.model)
            with settings.mlflow() as mlflow:
                write_status(mlflow, target.find(mlflow), FAILED, repositories, settings.run_url)
    except BridgeError as error:
        actions.log(f"could not write the status into MLflow: {error}")
    if pushed:
        actions.summary(
            "The image was pushed, but a later step failed. To repeat all steps, run the workflow manually with force."
        )
    else:
        actions.summary("No image was pushed.")


def summarise(
    version: ModelVersion,
    reference: str,
    size: int,
    tags: list[str],
    seconds_of_steps: str,
    *,
    recipe: str = "",
    attestation: str = "",
) -> str:
    """Return the summary in Markdown.

    `reference` is the image's name with its digest, `size` the bytes to pull, `seconds_of_steps` a JSON object that is
    empty if nothing was built, `recipe` the image's label, `attestation` the options for `gh attestation verify`, empty
    if the image isn't attested.
    """
    repository, digest = reference.split("@")
    seconds: dict[str, float] = json.loads(seconds_of_steps)
    rows = {
        "Model": f"<code>{actions.escape(version.name)}</code> version {_code(version.version)}",
        "Image": _code(f"{repository}:{version.version}"),
        "Digest": _code(digest),
        "Size": f"{size / 1e6:,.1f} MB (compressed)",
        "Recipe": f"<code>{actions.escape(recipe)}</code>",
        "Aliases": ", ".join(_code(tag) for tag in tags) or "none",
        "Seconds": ", ".join(f"{step} {duration}" for step, duration in seconds.items()) or "nothing was built",
        "Pull": _code(f"docker pull {reference}"),
        "Run": _code(f"docker run --rm -p 8080:8080 {reference}"),
        "Verify": _code(f"skopeo inspect --no-tags docker://{repository}:{version.version}") + " prints the digest",
    }
    if attestation:
        command = f"gh attestation verify oci://{reference} {attestation}"
        rows["Verify the build"] = _code(command) + " (an image from an earlier run may not be attested)"
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def _code(text: str) -> str:
    """Format a name that can't contain Markdown or HTML."""
    return f"<code>{text}</code>"
