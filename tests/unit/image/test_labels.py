import pytest

from bridge.image.labels import LAYERED_RECIPE, RECIPE, Verdict, judge

OURS = {
    "mlflow.model.name": "iris",
    "mlflow.model.version": "7",
    "mlflow.model.source": "models:/m-1",
    "bridge.recipe": RECIPE,
}


@pytest.mark.parametrize(
    ("labels", "verdict"),
    [
        (None, Verdict.ABSENT),
        (OURS, Verdict.SAME),
        ({**OURS, "bridge.recipe": LAYERED_RECIPE}, Verdict.SAME),
        ({**OURS, "bridge.recipe": "older/0"}, Verdict.OTHER_RECIPE),
        ({**OURS, "mlflow.model.source": "models:/m-2"}, Verdict.OTHER_SOURCE),
        ({**OURS, "mlflow.model.name": "Iris"}, Verdict.FOREIGN),
        ({**OURS, "mlflow.model.version": "8"}, Verdict.FOREIGN),
        ({"mlflow.model.name": "iris", "mlflow.model.version": "7"}, Verdict.FOREIGN),
        ({}, Verdict.FOREIGN),
    ],
)
def test_an_image_is_judged_by_its_labels(labels: dict[str, str] | None, verdict: Verdict) -> None:
    assert judge(labels, model="iris", version="7", source="models:/m-1") is verdict
