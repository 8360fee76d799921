"""Answers that a real server doesn't give on request; the rest is in tests/integration/test_mlflow_api.py."""

import base64
import json
from collections.abc import Iterable
from itertools import count

import httpx
import httpx2
import pytest
import respx

from bridge.core.limits import MAX_ANSWER
from bridge.mlflow.client import (
    MlflowAnswerTooLarge,
    MlflowAnswerUnreadable,
    MlflowApi,
    MlflowBusy,
    MlflowError,
    MlflowNotFound,
    MlflowRefused,
    MlflowUnreachable,
    RecentVersion,
    RegisteredModel,
    Skipped,
)

URI = "https://mlflow.example:5000/prefix"
VERSION = "/prefix/api/2.0/mlflow/model-versions/get"


@pytest.fixture
def server() -> respx.MockRouter:
    return respx.mock(using="httpcore2", base_url="https://mlflow.example:5000", assert_all_called=False)


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
def test_credentials_are_sent_like_by_mlflows_own_client(
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


@pytest.mark.parametrize("failure", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.RemoteProtocolError])
def test_without_an_answer_mlflow_is_unreachable_and_the_hint_names_hosted_runners(
    server: respx.MockRouter, failure: type[httpx2.HTTPError]
) -> None:
    server.get(VERSION).mock(side_effect=failure("no"))
    with server, MlflowApi(URI) as api, pytest.raises(MlflowUnreachable, match="self-hosted") as refused:
        api.version("a", "1")
    assert isinstance(refused.value.__cause__, failure)


@pytest.mark.parametrize(
    ("status", "body", "kind", "part"),
    [
        (401, "", MlflowRefused, "MLFLOW_TRACKING_TOKEN"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}', MlflowRefused, "permissions"),
        (403, "Invalid Host header - possible DNS rebinding attack detected", MlflowRefused, "--allowed-hosts"),
        (404, '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}', MlflowNotFound, "check the name"),
        (404, "<html>", MlflowError, "any proxy"),
        (302, "", MlflowError, "any proxy"),
        (502, "[]", MlflowBusy, "any proxy"),
        (500, '{"error_code": "INTERNAL_ERROR", "message": "a\\nb"}', MlflowBusy, "a b"),
        (200, "<html>sign in</html>", MlflowAnswerUnreadable, "sign-in"),
        (200, '{"model_version": {"name": 1}}', MlflowAnswerUnreadable, "sign-in"),
    ],
)
def test_every_failed_answer_is_an_error_of_ours_in_one_line(
    server: respx.MockRouter, status: int, body: str, kind: type[MlflowError], part: str
) -> None:
    server.get(VERSION).respond(status, text=body)
    with server, MlflowApi(URI) as api, pytest.raises(MlflowError) as refused:
        api.version("a\nb", "1")
    assert type(refused.value) is kind
    assert part in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_name_that_is_not_unicode_is_not_found() -> None:
    with MlflowApi(URI) as api, pytest.raises(MlflowNotFound, match="Unicode"):
        api.version("\ud800", "1")
    with MlflowApi(URI) as api, pytest.raises(MlflowNotFound, match="Unicode"):
        api.set_version_tag("a", "1", "key", "\ud800")


@pytest.mark.parametrize("uri", ["", "databricks", "mlflow.example:5000", "file:///mlruns", "http://", "\x00"])
def test_an_invalid_address_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(MlflowError, match=r"^MLFLOW_TRACKING_URI is not"):
        MlflowApi(uri)


def test_certificates_that_cannot_be_read_are_named() -> None:
    with pytest.raises(MlflowError, match="MLFLOW_TRACKING_SERVER_CERT_PATH"):
        MlflowApi(URI, cert_path="/nowhere/ca.pem")


def test_a_webhook_is_created_with_the_event_names_of_the_api(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        asked = server.post("/prefix/api/2.0/mlflow/webhooks").respond(json={"webhook": {"webhook_id": "w1"}})
        assert api.create_webhook("hook", "https://b", ["model_version_alias.created"], "s") == "w1"
    sent = json.loads(asked.calls.last.request.content)
    assert sent["events"] == [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}]


def test_a_source_that_only_looks_like_a_logged_model_is_returned_unchanged(server: respx.MockRouter) -> None:
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


def test_an_update_sends_only_the_changes(server: respx.MockRouter) -> None:
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


def test_secrets_that_mlflow_cannot_read_are_named_with_a_hint(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        server.get(WEBHOOKS).respond(500, json={"error_code": "INTERNAL_ERROR", "message": ""})
        with pytest.raises(MlflowError, match="MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"):
            list(api.webhooks())


VERSIONS = "/prefix/api/2.0/mlflow/model-versions/search"
MODELS = "/prefix/api/2.0/mlflow/registered-models/search"


def listed(number: int, **more: object) -> dict[str, object]:
    return {"name": f"m{number}", "version": "1", "creation_timestamp": 1_700_000_000_000 - number} | more


def names(entries: Iterable[RecentVersion | Skipped]) -> list[str | None]:
    return [None if isinstance(entry, Skipped) else entry.name for entry in entries]


class Registry:
    """Lists `count` versions; those of `large` make an answer that is larger than any that is read."""

    def __init__(self, count: int, large: set[int]) -> None:
        self.count, self.large, self.asked = count, large, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        query = request.url.params
        begin = json.loads(base64.b64decode(query["page_token"]))["offset"] if "page_token" in query else 0
        end = min(begin + int(query["max_results"]), self.count)
        if self.large & set(range(begin, end)):
            return httpx.Response(200, content=b" " * (MAX_ANSWER + 1))
        page: dict[str, object] = {"model_versions": [listed(number) for number in range(begin, end)]}
        if end < self.count:
            page["next_page_token"] = base64.b64encode(json.dumps({"offset": end}).encode()).decode()
        return httpx.Response(200, json=page)


@pytest.mark.parametrize("large", [set[int](), {0}, {250}, {250, 251}, {449}, {0, 449}])
def test_only_the_version_that_is_too_large_is_skipped(server: respx.MockRouter, large: set[int]) -> None:
    registry = Registry(450, large)
    with server, MlflowApi(URI) as api:
        server.get(VERSIONS).mock(side_effect=registry)
        read = names(api.recent_versions(0))
    assert read == [None if number in large else f"m{number}" for number in range(450)]
    assert registry.asked < 60


def test_a_list_of_only_oversized_answers_ends(server: respx.MockRouter) -> None:
    registry = Registry(10**9, set(range(10**5)))
    with server, MlflowApi(URI) as api:
        server.get(VERSIONS).mock(side_effect=registry)
        with pytest.raises(MlflowAnswerTooLarge):
            list(api.recent_versions(0))
    assert registry.asked < 200


def test_an_endless_list_ends_with_an_error(server: respx.MockRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.mlflow.client.MAX_MLFLOW_PAGES", 5)
    with server, MlflowApi(URI) as api:
        tokens = (httpx.Response(200, json={"next_page_token": str(number)}) for number in count())
        asked = server.get(MODELS).mock(side_effect=tokens)
        with pytest.raises(MlflowError):
            list(api.registered_models())
        assert asked.call_count == 5


@pytest.mark.parametrize(
    "bad",
    [
        '{"name": "m", "version": "1"}',
        '{"name": "m", "version": "1", "creation_timestamp": %s}' % ("9" * 6_000),
        '{"name": "m", "version": "1", "creation_timestamp": 9223372036854775807}',
        '{"name": "m", "version": "1", "creation_timestamp": -1}',
        '{"name": "m", "version": "1", "creation_timestamp": NaN}',
        '{"name": "m", "version": "1", "creation_timestamp": 1e999}',
        '{"name": "m", "version": 1, "creation_timestamp": 1}',
        '{"name": ["m"], "version": "1", "creation_timestamp": 1}',
        '{"name": "m", "version": "1", "creation_timestamp": 1, "source": {"a": 1}}',
        '"m"',
        "null",
        "[]",
    ],
)
def test_only_the_version_that_cannot_be_read_is_skipped(server: respx.MockRouter, bad: str) -> None:
    first, last = json.dumps(listed(1)), json.dumps(listed(2))
    with server, MlflowApi(URI) as api:
        server.get(VERSIONS).respond(content=f'{{"model_versions": [{first}, {bad}, {last}]}}'.encode())
        assert names(api.recent_versions(0)) == ["m1", None, "m2"]


def test_only_the_entry_whose_name_is_too_long_is_skipped(server: respx.MockRouter) -> None:
    long = "x" * 100_000
    with server, MlflowApi(URI) as api:
        server.get(VERSIONS).respond(json={"model_versions": [listed(1), listed(2, name=long), listed(3)]})
        server.get(MODELS).respond(json={"registered_models": [{"name": long}, {"name": "iris"}]})
        assert names(api.recent_versions(0)) == ["m1", None, "m3"]
        skipped, model = api.registered_models()
    assert isinstance(skipped, Skipped)
    assert len(str(skipped)) < 1_000
    assert model == RegisteredModel(name="iris")


def test_a_page_that_names_itself_as_the_next_ends_the_list(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        asked = server.get(MODELS).respond(json={"registered_models": [{"name": "a"}], "next_page_token": "again"})
        with pytest.raises(MlflowError):
            list(api.registered_models())
        assert asked.call_count == 2


def test_names_are_unchanged_and_other_texts_are_cleaned(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        content = json.dumps({"model_versions": [listed(1, name="a\0\ud800", source="a\0\ud800", run_id="\x1b")]})
        server.get(VERSIONS).respond(content=content.encode())
        models = {"registered_models": [{"name": "a\0\ud800", "aliases": [{"alias": "\0\ud800", "version": "1"}]}]}
        server.get(MODELS).respond(content=json.dumps(models).encode())
        tags = [{"key": "image.uri\0", "value": "\ud800"}, {"key": "k", "value": "a\0b"}]
        one = {"model_version": {"name": "a", "version": "1", "tags": tags, "source": "\0"}}
        server.get(VERSION).respond(content=json.dumps(one).encode())
        (version,), (model,), read = api.recent_versions(0), api.registered_models(), api.version("a", "1")
    assert isinstance(version, RecentVersion)
    assert isinstance(model, RegisteredModel)
    assert (version.name, version.source, version.run_id) == ("a\0\ud800", "a\ufffd\ufffd", "\ufffd")
    assert (model.name, model.aliases) == ("a\0\ud800", {"\0\ud800": "1"})
    assert (read.tags, read.source) == ({"image.uri\ufffd": "\ufffd", "k": "a\ufffdb"}, "\ufffd")


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"model_version": ' + b"[" * 100_000, b'{"model_version": 1' + b"0" * 6_000 + b"}"]
)
@pytest.mark.parametrize("status", [200, 500])
def test_json_that_python_cannot_parse_is_an_error_of_ours(
    server: respx.MockRouter, content: bytes, status: int
) -> None:
    with server, MlflowApi(URI) as api:
        server.get(VERSION).respond(status, content=content)
        with pytest.raises(MlflowError):
            api.version("a", "1")


def test_a_tag_with_an_invalid_key_is_an_error_of_ours(server: respx.MockRouter) -> None:
    with server, MlflowApi(URI) as api:
        server.get(VERSION).respond(json={"model_version": {"name": "a", "version": "1", "tags": [{"key": [1]}]}})
        with pytest.raises(MlflowError):
            api.version("a", "1")
