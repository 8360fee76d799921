"""The image's entry point, where nothing is started."""

import pytest

from tracking import __main__ as entry


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARTIFACTS_BUCKET", "MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_TRACKING_URI", "BRIDGE_WEBHOOK_URL", "MLFLOW_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)


def test_another_word_is_answered_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["serv"]) == 2
    assert "serve, create-bucket, create-webhook, example or health" in capsys.readouterr().err


def test_the_bucket_is_made_by_its_own_settings_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_WORKERS", "many")
    assert entry.main(["create-bucket"]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "- ARTIFACTS_BUCKET is not set: set it to the name of the S3 bucket for artifacts"
    ]


def test_a_webhook_names_all_that_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["create-webhook"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["MLFLOW_TRACKING_URI", "BRIDGE_WEBHOOK_URL", "MLFLOW_WEBHOOK_SECRET"]
