"""Weak settings are found, and samples of the documentation are refused."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.settings import PASSWORD_LENGTH, SECRET_LENGTH, Settings, SettingsInvalid, find_weaknesses

ROOT = Path(__file__).parents[2]
STRONG = "kT9-fe2p_QxL7wZ0aB4m"
SECRET_SETTINGS = (
    "mlflow_webhook_secret",
    "mlflow_webhook_secret_previous",
    "admin_password",
    "mlflow_tracking_password",
    "mlflow_tracking_token",
)


def settings(**more: object) -> Settings:
    """Return settings that are strong except for `more`."""
    strong = {
        "mlflow_webhook_secret": STRONG,
        "admin_password": STRONG,
        "github_repository": "owner/models",
        "github_token": "ghp_sentinel",
    }
    return Settings(**{**strong, **more})  # type: ignore[arg-type]  # as the environment gives them


def weak(**more: object) -> list[str]:
    return [weakness.setting for weakness in find_weaknesses(settings(**more))]


def test_strong_settings_have_no_weakness() -> None:
    assert weak() == weak(mlflow_tracking_uri="https://mlflow.example.com", mlflow_tracking_token="t") == []


@pytest.mark.parametrize(
    ("setting", "length"),
    [
        ("mlflow_webhook_secret", SECRET_LENGTH),
        ("mlflow_webhook_secret_previous", SECRET_LENGTH),
        ("admin_password", PASSWORD_LENGTH),
    ],
)
def test_a_secret_that_is_short_or_repeats_itself_is_weak(setting: str, length: int) -> None:
    assert weak(**{setting: STRONG[: length - 1]}) == weak(**{setting: "abcd" * 10}) == [setting.upper()]
    assert weak(**{setting: STRONG[:length]}) == []


@pytest.mark.parametrize("host", ["mlflow.example.com", "10.0.0.7:5000", "tracking:5000", "[fd00::1]:5000"])
@pytest.mark.parametrize(
    "credentials",
    [
        {"mlflow_tracking_token": "t"},
        {"mlflow_tracking_username": "u", "mlflow_tracking_password": "p"},
        {"mlflow_tracking_uri": "http://u:p@{host}"},
    ],
)
def test_credentials_over_http_are_weak_unless_the_network_is_private(host: str, credentials: dict[str, str]) -> None:
    values = {"mlflow_tracking_uri": "http://{host}"} | credentials
    values["mlflow_tracking_uri"] = values["mlflow_tracking_uri"].format(host=host)
    assert weak(**values) == ["MLFLOW_TRACKING_URI"]
    assert weak(**values, allow_plain_http=True) == []
    for safe in ("https://mlflow.example.com", "http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"):
        assert weak(**values | {"mlflow_tracking_uri": safe, "mlflow_tracking_token": "t"}) == []


def test_http_to_mlflow_without_credentials_is_not_weak_and_to_github_it_always_is() -> None:
    assert weak(mlflow_tracking_uri="http://mlflow.example.com") == []
    assert weak(github_api_url="http://ghes.example.com/api/v3") == ["GITHUB_API_URL"]
    assert weak(github_api_url="http://127.0.0.1:9000") == []
    assert weak(github_api_url="http://[") == ["GITHUB_API_URL"]  # which is no address at all


@pytest.mark.parametrize(("mode", "is_weak"), [(0o644, True), (0o602, True), (0o640, False), (0o600, False)])
def test_a_file_of_secrets_that_others_can_read_or_change_is_weak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_weak: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"GITHUB_APP_PRIVATE_KEY_FILE": tmp_path / "app.pem", ".env": tmp_path / ".env"}
    for file in files.values():
        file.write_text("")
        file.chmod(mode)
    values = settings().model_copy(update={"github_app_private_key_file": files["GITHUB_APP_PRIVATE_KEY_FILE"]})
    assert [weakness.setting for weakness in find_weaknesses(values)] == (list(files) if is_weak else [])


def test_no_text_about_a_weakness_holds_a_value() -> None:
    values = settings(
        mlflow_webhook_secret="sentinel", admin_password="sentinel", mlflow_tracking_uri="http://u:sentinel@h"
    )
    weaknesses = list(find_weaknesses(values))
    assert len(weaknesses) == 3
    assert "sentinel" not in "".join(map(str, weaknesses))


def shown() -> set[str]:
    """Return every secret in the documentation and in files that people copy."""
    files = [ROOT / name for name in ("README.md", ".env.example", "compose.yaml", "Dockerfile", "tracking/Dockerfile")]
    secrets: set[str] = set()
    for file in (*files, *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.yml")):
        text = file.read_text()
        secrets |= set(_GIVEN.findall(text)) | set(_DEFAULT.findall(text)) | set(_IN_ADDRESS.findall(text))
    return secrets


_NAME = r"[A-Z_]*(?:SECRET|PASSWORD|TOKEN|PRIVATE_KEY|SECRET_ACCESS_KEY)[A-Z_]*"
_GIVEN = re.compile(rf"\b(?!GITHUB_TOKEN){_NAME}(?:=|: )['\"]?([A-Za-z0-9][^\s'\"`|{{}}$]*)")
_DEFAULT = re.compile(rf"\$\{{{_NAME}:?-([^}}]+)\}}")
_IN_ADDRESS = re.compile(r"://[a-z]+:([A-Za-z0-9-]+)@")


def test_every_sample_of_the_documentation_is_refused_wherever_it_would_protect_something() -> None:
    samples = shown() | {"for-this-network-alone", "demo"}  # an earlier release's
    assert {"a-long-random-text", "another-one", "password"} <= samples
    for sample in samples:
        for setting in SECRET_SETTINGS:
            more = {"mlflow_tracking_username": "u"} if setting == "mlflow_tracking_password" else {}
            with pytest.raises(SettingsInvalid) as refused:
                settings(**{setting: sample}, **more)
            assert [problem.message.split()[0] for problem in refused.value.problems] == [setting.upper()], sample
        for setting, url in (
            ("database_url", f"postgresql://user:{sample}@db.example.com/name"),
            ("mlflow_tracking_uri", f"https://user:{sample}@mlflow.example.com"),
        ):
            with pytest.raises(SettingsInvalid):
                settings(**{setting: url})


def test_a_database_of_this_machine_may_have_any_password() -> None:
    assert settings(database_url="postgresql://user:password@127.0.0.1/name").database_url.endswith("/name")


def test_a_sample_is_never_shown() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        settings(mlflow_webhook_secret=SecretStr("another-one"))
    assert "another-one" not in str(refused.value)
