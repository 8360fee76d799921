"""Step "report": MLflow hears where the image is, or that there is none; and the text of the run's summary."""

import json

from bridge.core.errors import BridgeError
from bridge.image import actions
from bridge.image.mlflow_tags import FAILED, write_image, write_status
from bridge.image.settings import ImageSettings
from bridge.image.target import Target
from bridge.image.workspace import Workspace
from bridge.mlflow.client import ModelVersion


def report_pushed(settings: ImageSettings, workspace: Workspace) -> None:
    """Write the image's name by digest onto the version."""
    plan, digest = workspace.plan(), workspace.digest()
    with settings.mlflow() as mlflow:
        write_image(mlflow, mlflow.version(plan.model, plan.version), f"{plan.repository}@{digest}", settings.run_url)


def report_failed(settings: ImageSettings, workspace: Workspace) -> None:
    """Write onto the version how far the job came, where MLflow can be reached; the step that failed has said why."""
    pushed = workspace.has_digest()
    if not settings.push:
        actions.summary("Dry run: it failed. The failed step's log and the annotation above say why.")
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
        actions.say(f"MLflow was not told: {error}")
    said = "No image was pushed."
    if pushed:
        said = (
            "The image was pushed, but the job failed after that; to have what is missing of it, start it with force."
        )
    actions.summary(f"{said} The failed step's log and the annotation above say why.")


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
    """Give the summary in Markdown.

    `reference` is the image's name with its digest, `size` the bytes to pull, `seconds_of_steps` a JSON object that is
    empty where nothing was built, `recipe` how the image says that it was made, `attestation` the options by which
    GitHub's own program verifies where the image was built; without them, it isn't attested.
    """
    repository, digest = reference.split("@")
    seconds: dict[str, float] = json.loads(seconds_of_steps)
    rows = {
        "Model": f"<code>{_shown(version.name)}</code> version {_code(version.version)}",
        "Image": _code(f"{repository}:{version.version}"),
        "Digest": _code(digest),
        "Size": f"{size / 1e6:,.1f} MB to pull",
        "Made by": f"<code>{_shown(recipe)}</code>",
        "Aliases": ", ".join(_code(tag) for tag in tags) or "none",
        "Seconds": ", ".join(f"{step} {taken}" for step, taken in seconds.items()) or "nothing was built",
        "Pull": _code(f"docker pull {reference}"),
        "Run": _code(f"docker run --rm -p 8080:8080 {reference}"),
        "Verify": _code(f"skopeo inspect --no-tags docker://{repository}:{version.version}") + " shows the digest",
    }
    if attestation:
        command = f"gh attestation verify oci://{reference} {attestation}"
        rows["Verify where it was built"] = _code(command) + " if it was attested then"
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def _code(text: str) -> str:
    """Show one of our own names, which hold nothing that Markdown or HTML knows."""
    return f"<code>{text}</code>"


def _shown(text: str) -> str:
    """Show `text` as it is, whatever it holds: no Markdown, no HTML, no new row."""
    return "".join(char if char.isalnum() or char == " " else f"&#{ord(char)};" for char in text)
