"""Step "report": write the image, or the failure, into MLflow; and the texts of the run's result and summary."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from bridge.core.errors import BridgeError
from bridge.image import actions
from bridge.image.mlflow_tags import FAILED, write_gate, write_image, write_status
from bridge.image.settings import ImageSettings
from bridge.image.target import Target
from bridge.image.workspace import Workspace
from bridge.mlflow.client import MlflowApi, ModelVersion


@dataclass(frozen=True)
class MovedTag:
    """An alias tag (or `latest`) that this run set; `previous` is the digest that it had before, None if it is new."""

    tag: str
    version: str
    digest: str
    previous: str | None


@dataclass(frozen=True)
class HeldAlias:
    """An alias whose tag this run did not set."""

    alias: str
    version: str
    reason: str


def report_pushed(settings: ImageSettings, workspace: Workspace) -> None:
    """Write the image's name with its digest onto the version."""
    resolved = workspace.resolved()
    with settings.mlflow() as mlflow:
        version = mlflow.version(resolved.model, resolved.version)
        write_image(mlflow, version, workspace.reference(), settings.run_url)


def report_failed(settings: ImageSettings, workspace: Workspace) -> None:
    """Write the job's result onto the version, if MLflow can be reached. The failed step has reported its error."""
    if not settings.push:
        actions.summary("The dry run failed. Nothing was pushed or written.")
        return
    try:
        with settings.mlflow() as mlflow:
            if not workspace.is_resolved():
                target = Target.read(settings)
                repositories = settings.repositories(target.model)
                write_status(mlflow, target.find(mlflow), FAILED, repositories, settings.run_url)
            elif workspace.digest():
                _write_unpromoted(mlflow, settings, workspace)
            else:
                # The run's own version: the alias that it was started for may point to another one by now.
                resolved = workspace.resolved()
                version = mlflow.version(resolved.model, resolved.version)
                write_status(mlflow, version, FAILED, [resolved.repository], settings.run_url)
    except BridgeError as error:
        actions.log(f"could not write the status into MLflow: {error}")
    if workspace.gate():
        actions.summary(
            f"<b>The gate failed</b>: {actions.escape(workspace.gate() or '')}. The aliases of this version stay where "
            "they are. To run the gate again, re-run the workflow."
        )
    elif workspace.has_pushed():
        actions.summary(
            "The image was pushed, but a later step failed. To repeat all steps, run the workflow manually with force."
        )
    else:
        actions.summary("No image was pushed.")


def _write_unpromoted(mlflow: MlflowApi, settings: ImageSettings, workspace: Workspace) -> None:
    """Write an image whose aliases may not be promoted: its name if this run pushed it, and the gate's result."""
    resolved, failure = workspace.resolved(), workspace.gate()
    version = mlflow.version(resolved.model, resolved.version)
    if workspace.has_pushed():
        write_image(mlflow, version, workspace.reference(), settings.run_url, failure)
    else:
        write_gate(mlflow, version, failure)
    if failure:
        aliases = [alias for alias, points_to in mlflow.aliases(resolved.model).items() if points_to == version.version]
        write_result(workspace, held=[HeldAlias(alias, version.version, failure) for alias in sorted(aliases)])


def write_result(workspace: Workspace, moved: Iterable[MovedTag] = (), held: Iterable[HeldAlias] = ()) -> None:
    """Write the file `mlflow-image.json`, which only this run can write; anybody can set MLflow's tags."""
    resolved = workspace.resolved()
    result = {
        "schema": 1,
        "model": resolved.model,
        "version": resolved.version,
        "source": resolved.source,
        "image": workspace.reference() or None,
        "digest": workspace.digest() or None,
        "built": workspace.has_pushed(),
        "moved": [asdict(tag) for tag in moved],
        "held": [asdict(alias) for alias in held],
    }
    workspace.result.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def summarise(
    version: ModelVersion,
    reference: str,
    size: int,
    tags: list[str],
    seconds: Mapping[str, float],
    *,
    recipe: str = "",
    attestation: str = "",
) -> str:
    """Return the summary in Markdown.

    `reference` is the image's name with its digest, `size` the bytes to pull, `seconds` the time of each step, empty if
    nothing was built, `recipe` the image's label, `attestation` the options for `gh attestation verify`, empty if the
    image isn't attested.
    """
    repository, digest = reference.split("@")
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
