"""Who an image says it is: the labels that we give it, and what an image that is there already means for a build."""

from collections.abc import Mapping
from enum import Enum

from bridge.image.builders.layered import plan as layered

RECIPE = "mlflow-build-docker/1"
"""How images are made by MLflow's own builder; raised when the same model would give another image."""
LAYERED_RECIPE = layered.RECIPE
RECIPES = (RECIPE, LAYERED_RECIPE)

MODEL = "mlflow.model.name"
VERSION = "mlflow.model.version"
RUN_ID = "mlflow.model.run_id"
SOURCE = "mlflow.model.source"
MLFLOW = "mlflow.version"
RECIPE_LABEL = "bridge.recipe"


class Verdict(Enum):
    """What the image at a version's tag is to that version."""

    ABSENT = "absent"
    SAME = "same"
    OTHER_RECIPE = "same source, made another way"
    OTHER_SOURCE = "of another source"
    FOREIGN = "not ours, or of another model"


def judge(labels: Mapping[str, str] | None, *, model: str, version: str, source: str) -> Verdict:
    """Tell what an image with these labels is to the version; None stands for no image."""
    if labels is None:
        return Verdict.ABSENT
    if (labels.get(MODEL), labels.get(VERSION)) != (model, version) or SOURCE not in labels:
        return Verdict.FOREIGN
    if labels[SOURCE] != source:
        return Verdict.OTHER_SOURCE
    return Verdict.SAME if labels.get(RECIPE_LABEL) in RECIPES else Verdict.OTHER_RECIPE
