"""The tags on a model version in MLflow: its image, the state of its build, and the run."""

from collections.abc import Sequence

from bridge.mlflow.client import MlflowApi, MlflowError, ModelVersion

URI, STATUS, RUN_URL, GATE = "image.uri", "image.status", "image.run_url", "image.gate"
BUILDING, PUSHED, FAILED = "building", "pushed", "failed"
PASSED, UNCHECKED = "passed", "unchecked"


def write_status(
    mlflow: MlflowApi, version: ModelVersion, status: str, repositories: Sequence[str], run_url: str
) -> None:
    """Write `building` or `failed`; a version whose image was pushed to one of the repositories stays `pushed`.

    A version that was copied from another model has that model's tags, which don't describe its own image. Anyone can
    set these tags, so nothing else depends on them.
    """
    uri = version.tags.get(URI, "").partition("@")[0]
    if version.tags.get(STATUS) != PUSHED or uri not in repositories:
        _write(mlflow, version, {STATUS: status, RUN_URL: run_url})


def write_image(
    mlflow: MlflowApi, version: ModelVersion, uri: str, run_url: str, gate_failure: str | None = None
) -> None:
    """Write the image's name with its digest, and `pushed`, unless both are there already; and the gate's result.

    A result of the gate for another image, or one that was copied from another version, first becomes `unchecked`.
    """
    if GATE in version.tags and version.tags.get(URI) != uri:
        _write(mlflow, version, {GATE: UNCHECKED})
        version = version.model_copy(update={"tags": version.tags | {GATE: UNCHECKED}})
    if (version.tags.get(URI), version.tags.get(STATUS)) != (uri, PUSHED):
        _write(mlflow, version, {URI: uri, STATUS: PUSHED, RUN_URL: run_url})
    write_gate(mlflow, version, gate_failure)


def write_gate(mlflow: MlflowApi, version: ModelVersion, failure: str | None) -> None:
    """Write why the gate holds the version's aliases, or `passed` if that is empty; None if no gate has run."""
    if failure is not None and version.tags.get(GATE) != (failure or PASSED):
        _write(mlflow, version, {GATE: failure or PASSED})


def _write(mlflow: MlflowApi, version: ModelVersion, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        try:
            mlflow.set_version_tag(version.name, version.version, key, value)
        except MlflowError:
            # If two runs create the same tag at once, MLflow's database refuses one of them. Now the tag exists.
            mlflow.set_version_tag(version.name, version.version, key, value)
