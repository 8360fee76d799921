import pytest

from bridge.image.labels import LAYERED_RECIPE, RECIPE, Match, classify

OURS = {
    "mlflow.model.name": "iris",
    "mlflow.model.version": "7",
    "mlflow.model.source": "models:/m-1",
    "bridge.recipe": RECIPE,
}


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (None, Match.ABSENT),
        (OURS, Match.SAME),
        ({**OURS, "bridge.recipe": LAYERED_RECIPE}, Match.SAME),
        ({**OURS, "bridge.recipe": "older/0"}, Match.OTHER_RECIPE),
        ({**OURS, "mlflow.model.source": "models:/m-2"}, Match.OTHER_SOURCE),
        ({**OURS, "mlflow.model.name": "Iris"}, Match.FOREIGN),
        ({**OURS, "mlflow.model.version": "8"}, Match.FOREIGN),
        ({"mlflow.model.name": "iris", "mlflow.model.version": "7"}, Match.FOREIGN),
        ({}, Match.FOREIGN),
    ],
)
def test_an_image_is_classified_by_its_labels(labels: dict[str, str] | None, match: Match) -> None:
    assert classify(labels, model="iris", version="7", source="models:/m-1") is match
