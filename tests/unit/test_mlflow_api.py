"""What a real server can't be made to answer; the rest is in tests/integration/test_mlflow_api.py."""

import json

import httpx
import pytest
import respx

from bridge.mlflow_api import MlflowApi, MlflowError, MlflowNotFound, MlflowRefused, MlflowUnreachable

URI = "https://mlflow.example:5000/prefix"
VERSION = "/prefix/api/2.0/mlflow/model-versions/get"


@pytest.fixture
def server() -> respx.MockRouter:
    return respx.mock(base_url="https://mlflow.example:5000", assert_all_called=False)


def test_a_prefix_in_the_address_is_kept_and_names_are_encoded(server: respx.MockRouter) -> None:
    with server, MlflowApi(f"{URI}/") as api:
        asked = server.get(VERSION).respond(json={"model_version": {"name": "a&b=c 模", "version": "1"}})
        assert api.version("a&b=c 模", "1").name == "a&b=c 模"
    assert dict(asked.calls.last.request.url.params) == {"name": "a&b=c 模", "version": "1"}


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({}, None),
        ({"token": "t"}, "Bearer t"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({"username": "u", "password": "p", "token": "t"}, "Basic dTpw"),
        ({"username": "u", "token": "t"}, "Bearer t"),
    ],
)
def test_credentials_are_sent_as_mlflows_own_client_does(
    server: respx.MockRouter, credentials: dict[str, str], header: str | None
) -> None:
    with server, MlflowApi(URI, **credentials) as api:
        asked = server.get(VERSION).respond(json={"model_version": {"name": "a", "version": "1"}})
        api.version("a", "1")
    assert asked.calls.last.request.headers.get("authorization") == header


def test_credentials_in_the_address_are_used_and_never_shown(
    server: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with server, MlflowApi("https://u:sentinel@mlflow.example:5000/prefix") as api:
        asked = server.get(VERSION).respond(401)
        with pytest.raises(MlflowRefused) as refused:
            api.version("a", "1")
    assert asked.calls.last.request.headers["authorization"].startswith("Basic ")
    assert "https://mlflow.example:5000/prefix" in caplog.text
    assert "sentinel" not in str(refused.value) + caplog.text


@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_no_answer_is_unreachable_and_says_that_hosted_runners_cannot(
    server: respx.MockRouter, failure: type[httpx.HTTPError]
) -> None:
    server.get(VERSION).mock(side_effect=failure)
    with server, MlflowApi(URI) as api, pytest.raises(MlflowUnreachable, match="self-hosted") as refused:
        api.version("a", "1")
    assert isinstance(refused.value.__cause__, failure)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, "", MlflowRefused, "MLFLOW_TRACKING_TOKEN"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}', MlflowRefused, "permissions"),
        (403, "Invalid Host header - possible DNS rebinding attack detected", MlflowRefused, "--allowed-hosts"),
        (404, '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}', MlflowNotFound, "check the name"),
        (404, "<html>", MlflowError, "any proxy"),
        (302, "", MlflowError, "any proxy"),
        (502, "[]", MlflowError, "any proxy"),
        (500, '{"error_code": "INTERNAL_ERROR", "message": "a\\nb"}', MlflowError, "a b"),
        (200, "<html>sign in</html>", MlflowError, "sign-in"),
        (200, '{"model_version": {"name": 1}}', MlflowError, "sign-in"),
    ],
)
def test_every_foreign_answer_becomes_an_error_of_ours_in_one_line(
    server: respx.MockRouter, status: int, body: str, kind: type[MlflowError], said: str
) -> None:
    server.get(VERSION).respond(status, text=body)
    with server, MlflowApi(URI) as api, pytest.raises(MlflowError) as refused:
        api.version("a\nb", "1")
    assert type(refused.value) is kind
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_name_that_is_no_unicode_is_not_found() -> None:
    with MlflowApi(URI) as api, pytest.raises(MlflowNotFound, match="Unicode"):
        api.version("\ud800", "1")
    with MlflowApi(URI) as api, pytest.raises(MlflowNotFound, match="Unicode"):
        api.set_version_tag("a", "1", "key", "\ud800")


@pytest.mark.parametrize("uri", ["", "databricks", "mlflow.example:5000", "file:///mlruns", "http://", "\x00"])
def test_what_is_no_servers_address_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(MlflowError, match=r"^MLFLOW_TRACKING_URI is no address"):
        MlflowApi(uri)


def test_certificates_that_cannot_be_read_are_named() -> None:
    with pytest.raises(MlflowError, match="MLFLOW_TRACKING_SERVER_CERT_PATH"):
        MlflowApi(URI, cert_path="/nowhere/ca.pem")


def test_a_webhook_is_made_with_the_apis_names_of_events(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        asked = server.post("/prefix/api/2.0/mlflow/webhooks").respond(json={"webhook": {"webhook_id": "w1"}})
        assert api.create_webhook("hook", "https://b", ["model_version_alias.created"], "s") == "w1"
    sent = json.loads(asked.calls.last.request.content)
    assert sent["events"] == [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}]


def test_a_source_that_only_looks_like_a_logged_model_is_left_alone(server: respx.MockRouter) -> None:
    uri = "models:/m-1/../../x"
    with server, MlflowApi(URI) as api:
        server.get("/prefix/api/2.0/mlflow/model-versions/get-download-uri").respond(json={"artifact_uri": uri})
        assert api.artifact_uri("a", "1") == uri


WEBHOOKS = "/prefix/api/2.0/mlflow/webhooks"


def test_all_webhooks_are_listed_over_pages_with_events_as_words(server: respx.MockRouter) -> None:
    events = [{"entity": "MODEL_VERSION", "action": "CREATED"}]
    with server, MlflowApi(URI) as api:
        pages = [
            httpx.Response(200, json={"webhooks": [{"webhook_id": "1", "name": "a", "url": "u", "events": events}]}),
            httpx.Response(
                200, json={"webhooks": [{"webhook_id": "2", "name": "b", "url": "u", "status": "DISABLED"}]}
            ),
        ]
        pages[0] = httpx.Response(200, json=pages[0].json() | {"next_page_token": "next"}, headers={"Date": "today"})
        asked = server.get(WEBHOOKS).mock(side_effect=pages)
        first, second = api.webhooks()
    assert (first.events, first.active, second.active) == (("model_version.created",), True, False)
    assert asked.calls.last.request.url.params["page_token"] == "next"


def test_an_update_sends_what_is_to_change_alone(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        webhook = {"webhook": {"webhook_id": "1", "name": "a", "url": "u"}}
        asked = server.patch(f"{WEBHOOKS}/1").respond(json=webhook, headers={"Date": "today"})
        api.update_webhook("1", secret="s")
        api.update_webhook("1", active=True, events=["model_version.created"])
        assert api.date == "today"
    sent = [json.loads(call.request.content) for call in asked.calls]
    assert sent == [
        {"secret": "s"},
        {"status": "ACTIVE", "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}]},
    ]


def test_secrets_that_mlflow_cannot_read_any_more_are_named_with_the_mend(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        server.get(WEBHOOKS).respond(500, json={"error_code": "INTERNAL_ERROR", "message": ""})
        with pytest.raises(MlflowError, match="MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"):
            list(api.webhooks())
