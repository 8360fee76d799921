"""The labels of an image, and how an existing image relates to a model version."""

from collections.abc import Mapping
from enum import Enum

from bridge.image.builders.layered import plan as layered

RECIPE = "mlflow-build-docker/1"
"""How MLflow's own builder makes images; the number is raised when the same model would become another image."""
LAYERED_RECIPE = layered.RECIPE
RECIPES = (RECIPE, LAYERED_RECIPE)

MODEL = "mlflow.model.name"
VERSION = "mlflow.model.version"
RUN_ID = "mlflow.model.run_id"
SOURCE = "mlflow.model.source"
MLFLOW = "mlflow.version"
RECIPE_LABEL = "bridge.recipe"


class Match(Enum):
    """How the image at a version's tag relates to that version."""

    ABSENT = "absent"
    SAME = "same"
    OTHER_RECIPE = "same source, other recipe"
    OTHER_SOURCE = "other source"
    FOREIGN = "not ours, or another model's"


def classify(labels: Mapping[str, str] | None, *, model: str, version: str, source: str) -> Match:
    """Compare an image's labels with the version; None stands for no image."""
    if labels is None:
        return Match.ABSENT
    if (labels.get(MODEL), labels.get(VERSION)) != (model, version) or SOURCE not in labels:
        return Match.FOREIGN
    if labels[SOURCE] != source:
        return Match.OTHER_SOURCE
    return Match.SAME if labels.get(RECIPE_LABEL) in RECIPES else Match.OTHER_RECIPE
