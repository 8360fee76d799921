import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from bridge.core.errors import Problem
from bridge.core.routing import DispatchMethod, Route
from bridge.settings import Settings, SettingsInvalid, load, load_routes

REQUIRED = {
    "MLFLOW_WEBHOOK_SECRET": "sentinel-secret",
    "GITHUB_REPOSITORY": "owner/models",
    "GITHUB_TOKEN": "ghp_sentinel",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **more: str) -> Settings:
    for name, value in (REQUIRED | more).items():
        monkeypatch.setenv(name, value)
    return load()


def problems(monkeypatch: pytest.MonkeyPatch, **more: str) -> tuple[Problem, ...]:
    with pytest.raises(SettingsInvalid) as refused:
        loaded(monkeypatch, **more)
    return refused.value.problems


def test_three_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert settings.webhook_secrets == ("sentinel-secret",)
    assert settings.routes == (Route("environment", "owner/models", "mlflow-model-version"),)
    assert (settings.host, settings.port, settings.max_timestamp_age) == ("0.0.0.0", 8000, 300)  # noqa: S104  the promised default
    assert (settings.github_api_url, settings.github_dispatch_interval) == ("https://api.github.com", 1.0)
    assert (settings.dispatch_settle, settings.log_format) == (120, "json")
    assert settings.database_url == "sqlite:///mlflow-bridge.db"
    assert (settings.github_poll_interval, settings.github_api_version) == (15, "2022-11-28")
    assert (settings.reconciles, settings.reconcile_interval) == (False, 300)


def test_all_missing_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load()
    assert [problem.message for problem in refused.value.problems] == [
        "GITHUB_REPOSITORY is not set",
        "MLFLOW_WEBHOOK_SECRET is not set",
        "GITHUB_TOKEN is not set",
    ]
    assert str(refused.value).count("\n") == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "sentinel"),
        ("PORT", "65536"),
        ("MAX_TIMESTAMP_AGE", "0"),
        ("MAX_TIMESTAMP_AGE", "nan"),
        ("GITHUB_DISPATCH_INTERVAL", "-1"),
        ("DISPATCH_SETTLE", "inf"),
        ("GITHUB_REPOSITORY", "sentinel"),
        ("GITHUB_REPOSITORY", "owner/../sentinel"),
        ("GITHUB_REPOSITORY", "owner/sentinel/dispatches?x"),
        ("GITHUB_TOKEN", "ghp_sentinel\nX: y"),
        ("GITHUB_TOKEN", "ghp sentinel"),
        ("GITHUB_TOKEN", "ghp_sentinelü"),
        ("GITHUB_API_URL", "sentinel"),
        ("GITHUB_API_URL", "https://user:sentinel@github.example"),
        ("GITHUB_API_URL", "https://github.example?sentinel"),
        ("GITHUB_EVENT_TYPE", "sentinel" * 13),
        ("DATABASE_URL", "mysql://bridge:sentinel@db/bridge"),
        ("DATABASE_URL", "postgresql://bridge:sentinel@db"),
        ("DATABASE_URL", "postgresql:///sentinel"),
        ("DATABASE_URL", "postgresql://bridge:sentinel@db:port/bridge"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite:///sentinel.db?mode=memory"),
        ("LOG_FORMAT", "sentinel"),
        ("GITHUB_POLL_INTERVAL", "0"),
        ("GITHUB_API_VERSION", "sentinel"),
        ("MLFLOW_TRACKING_URI", "sentinel.example.com"),
        ("MLFLOW_TRACKING_URI", "sqlite:///sentinel.db"),
        ("MLFLOW_TRACKING_URI", "https://user:sentinel@"),
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", "/nowhere/sentinel.pem"),
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", __file__),
        ("RECONCILE_INTERVAL", "-1"),
    ],
)
def test_an_invalid_value_is_a_problem_with_a_hint_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (problem,) = problems(monkeypatch, **{name: value})
    assert problem.message.startswith(f"{name} is invalid (")
    assert problem.hint.startswith("set it to the ")
    assert "\n" not in str(problem)
    assert "sentinel" not in str(problem)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described_by_a_noun_phrase_that_a_hint_can_use(name: str) -> None:
    field = Settings.model_fields[name]
    assert re.match(r"[A-Z][a-z]+ [^.]+\.( .+)?$", str(field.description))
    assert field.default is None or isinstance(field.default, bool) or field.examples or "Literal" in str(field)


def test_the_hint_for_a_setting_that_is_true_or_false_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = problems(monkeypatch, ALLOW_PLAIN_HTTP="perhaps")
    assert problem.hint == "set it to true or false"


def test_missing_and_invalid_settings_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = problems(monkeypatch, PORT="x", LOG_FORMAT="y", GITHUB_TOKEN="", MLFLOW_TRACKING_USERNAME="u")
    assert sorted(problem.message.split(" is ")[0] for problem in reported) == [
        "GITHUB_TOKEN",
        "LOG_FORMAT",
        "PORT",
        "only one of MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ]


def test_a_line_feed_after_the_token_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    token = loaded(monkeypatch, GITHUB_TOKEN="ghp_x\n").github_token
    assert token is not None
    assert token.get_secret_value() == "ghp_x"


@pytest.mark.parametrize("url", ["https://ghes.example.com/api/v3", "http://127.0.0.1:8080", "http://[::1]:80/"])
def test_addresses_of_other_githubs_are_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert loaded(monkeypatch, GITHUB_API_URL=url).github_api_url == url


def test_both_secrets_count_during_a_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, MLFLOW_WEBHOOK_SECRET_PREVIOUS="older")
    assert settings.webhook_secrets == ("sentinel-secret", "older")


def test_an_empty_previous_secret_is_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, MLFLOW_WEBHOOK_SECRET_PREVIOUS="").webhook_secrets == ("sentinel-secret",)


def test_a_dot_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [f"{name}={value}" for name, value in REQUIRED.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "PORT=1", "HOST=127.0.0.1", "SOMETHING_ELSE=x"]))
    monkeypatch.setenv("PORT", "2")
    assert (load().host, load().port) == ("127.0.0.1", 2)


def test_a_dot_env_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid, match=r"^\.env can't be read"):
        load()


def test_settings_never_show_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, MLFLOW_WEBHOOK_SECRET_PREVIOUS="sentinel")
    assert "sentinel" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_are_never_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def pem(encryption: KeySerializationEncryption | None = None, *, elliptic: bool = False) -> str:
    key = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


@pytest.fixture(scope="module")
def key() -> str:
    return pem()


def app(**more: str) -> dict[str, str]:
    """The environment that signs in as an App, without its key."""
    return {"GITHUB_TOKEN": "", "GITHUB_APP_ID": "Iv23sentinel", **more}


def test_an_app_signs_in_by_a_key_in_the_environment(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    settings = loaded(monkeypatch, **app(GITHUB_APP_PRIVATE_KEY=key))
    assert (settings.github_app_id, settings.github_token) == ("Iv23sentinel", None)
    assert settings.github_app_private_key is not None
    assert settings.github_app_private_key.get_secret_value() == key


def test_a_key_may_have_its_line_feeds_written_as_two_characters(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    settings = loaded(monkeypatch, **app(GITHUB_APP_PRIVATE_KEY=key.replace("\n", "\\n")))
    assert settings.github_app_private_key is not None
    assert settings.github_app_private_key.get_secret_value() == key


def test_an_app_signs_in_by_a_key_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    (tmp_path / "app.pem").write_text(key)
    settings = loaded(monkeypatch, **app(GITHUB_APP_PRIVATE_KEY_FILE=f"{tmp_path}/app.pem"))
    assert settings.github_app_private_key is not None
    assert settings.github_app_private_key.get_secret_value() == key


def test_a_wrong_key_in_a_file_is_a_problem_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "app.pem").write_text("no key")
    with pytest.raises(SettingsInvalid) as refused:
        loaded(monkeypatch, **app(GITHUB_APP_PRIVATE_KEY_FILE=f"{tmp_path}/app.pem"))
    (problem,) = refused.value.problems
    assert problem.message.startswith("GITHUB_APP_PRIVATE_KEY_FILE is invalid")


def test_the_apps_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    settings = loaded(monkeypatch, **app(GITHUB_APP_PRIVATE_KEY=key))
    body = key.splitlines()[1]
    assert body not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("env", "start"),
    [
        ({"GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY": "KEY"}, "both GITHUB_TOKEN and a GitHub App are set"),
        ({"GITHUB_APP_PRIVATE_KEY": "KEY"}, "both GITHUB_TOKEN and a GitHub App are set"),
        ({"GITHUB_TOKEN": "", "GITHUB_APP_ID": "7"}, "GITHUB_APP_PRIVATE_KEY is not set"),
        ({"GITHUB_TOKEN": "", "GITHUB_APP_PRIVATE_KEY": "KEY"}, "GITHUB_APP_ID is not set"),
        ({"GITHUB_TOKEN": "", "GITHUB_APP_ID": "a/b", "GITHUB_APP_PRIVATE_KEY": "KEY"}, "GITHUB_APP_ID is invalid ("),
        (
            {
                "GITHUB_TOKEN": "",
                "GITHUB_APP_ID": "7",
                "GITHUB_APP_PRIVATE_KEY": "KEY",
                "GITHUB_APP_PRIVATE_KEY_FILE": "x",
            },
            "GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_FILE are both set",
        ),
        (
            {"GITHUB_TOKEN": "", "GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY_FILE": "sentinel.pem"},
            "GITHUB_APP_PRIVATE_KEY_FILE is invalid (it can't be read: FileNotFoundError)",
        ),
        ({"MLFLOW_WEBHOOK_SECRET": "", "MLFLOW_WEBHOOK_SECRET_PREVIOUS": "x"}, "MLFLOW_WEBHOOK_SECRET is not set"),
        ({"MLFLOW_TRACKING_USERNAME": "sentinel"}, "only one of MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ({"MLFLOW_TRACKING_PASSWORD": "sentinel"}, "only one of MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ({"ROUTES_FILE": "routes.toml"}, "GITHUB_REPOSITORY and ROUTES_FILE are both set"),
        (
            {"GITHUB_REPOSITORY": "", "ROUTES_FILE": "sentinel"},
            "ROUTES_FILE is invalid (it can't be read: FileNotFound",
        ),
    ],
)
def test_a_contradiction_is_one_problem_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, env: dict[str, str], start: str
) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nrepository = "owner/models"\n')
    (problem,) = problems(monkeypatch, **{name: key if value == "KEY" else value for name, value in env.items()})
    assert problem.message.startswith(start)
    assert problem.hint
    assert "\n" not in str(problem)
    assert "sentinel" not in str(problem)


@pytest.mark.parametrize("wrong", ["sentinel", pem(BestAvailableEncryption(b"x")), pem(elliptic=True)])
def test_a_key_that_is_not_rsa_is_refused_and_never_shown(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    (problem,) = problems(monkeypatch, **app(GITHUB_APP_PRIVATE_KEY=wrong))
    assert problem.message.startswith("GITHUB_APP_PRIVATE_KEY is invalid (")
    assert wrong.splitlines()[-1] not in str(problem)


@pytest.mark.parametrize(
    "url", ["postgres://u:sentinel@db/bridge", "postgresql://u:sentinel@db:5432/b?sslmode=require"]
)
def test_postgresql_is_accepted_and_its_password_never_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    settings = loaded(monkeypatch, DATABASE_URL=url)
    assert settings.database_url == url
    assert "sentinel" not in settings.model_dump_json() + repr(settings).replace("sentinel-secret", "")


def test_without_a_webhook_secret_only_the_reconciler_works(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, MLFLOW_WEBHOOK_SECRET="", MLFLOW_TRACKING_URI="https://u:p@mlflow.example.com/x")
    assert settings.reconciles
    assert settings.webhook_secrets == ()
    assert settings.mlflow_tracking_uri == "https://u:p@mlflow.example.com/x"
    assert "u:p" not in settings.model_dump_json() + repr(settings)


@pytest.mark.parametrize("more", [{}, {"MLFLOW_TRACKING_URI": "https://mlflow.example.com", "RECONCILE_INTERVAL": "0"}])
def test_with_neither_a_secret_nor_a_reconciler_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    (problem,) = problems(monkeypatch, MLFLOW_WEBHOOK_SECRET="", **more)
    assert problem.message == "MLFLOW_WEBHOOK_SECRET is not set"


def test_an_interval_of_0_turns_the_reconciler_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not loaded(monkeypatch, MLFLOW_TRACKING_URI="https://mlflow.example.com", RECONCILE_INTERVAL="0").reconciles


def test_the_routes_come_from_the_file_with_the_event_type_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "routes.toml").write_text(
        '[[route]]\nrepository = "o/b"\n[[route]]\nrepository = "o/a"\nevent_type = "own"\n'
    )
    settings = loaded(monkeypatch, GITHUB_REPOSITORY="", ROUTES_FILE="routes.toml", GITHUB_EVENT_TYPE="model")
    assert settings.routes == (Route("route 1", "o/b", "model"), Route("route 2", "o/a", "own"))
    assert settings.routes[0].dispatch is DispatchMethod.REPOSITORY
    assert settings.repositories == ("o/a", "o/b")


def test_problems_of_the_routes_file_are_reported_together_with_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "routes.toml").write_text("[[route]]\nmodel = 7\n")
    reported = problems(monkeypatch, GITHUB_REPOSITORY="", ROUTES_FILE="routes.toml", PORT="x")
    assert [problem.message.split(" is ")[0] for problem in reported] == [
        "routes.toml, route 1: model",
        "routes.toml, route 1: repository",
        "PORT",
    ]


def test_the_routes_can_be_read_without_other_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/models")
    assert load_routes() == (Route("environment", "owner/models", "mlflow-model-version"),)
    (tmp_path / "mine.toml").write_text('[[route]]\nrepository = "o/a"\n')
    assert load_routes(tmp_path / "mine.toml") == (Route("route 1", "o/a", "mlflow-model-version"),)
