"""The status page and its API in this process: who may see it, what it shows, what hostile names do."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import httpx2
import pytest
import respx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import SecretStr

from bridge.ledger import DispatchState
from bridge.server import auth, formatting
from bridge.server.auth import CrossSite, NotSignedIn
from bridge.settings import Settings
from tests.integration.deliveries import body
from tests.unit.server.conftest import SECRET, Bridge, opened, settings
from tests.unit.server.test_webhook import CREATED

PASSWORD = "sentinel pässword: 密"
AUTH = ("admin", PASSWORD.encode())
PATHS = (
    "/",
    "/version?model=a&version=1",
    "/static/page.css",
    "/api/versions",
    "/api/deliveries",
    "/api/deliveries/x",
    "/openapi.json",
)
CSP = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'"


class Page(Bridge):
    """A bridge, asked by somebody with the password."""

    def ask(self, path: str, method: str = "GET", signed_in: bool = True, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def send() -> httpx2.Response:
            return await self.client.request(method, path, headers=named, auth=AUTH if signed_in else None)

        return self.portal.call(send)

    def register(self, model: str, version: str = "1") -> str:
        """Deliver a version's event; return the delivery's id."""
        delivery_id = str(uuid4())
        event = body("model_version.created", {"name": model, "version": version, "source": None, "run_id": None})
        assert self.post(event, delivery_id=delivery_id).status_code == 202
        return delivery_id


@contextmanager
def page_of(portal: BlockingPortal, chosen: Settings, database: Path) -> Iterator[Page]:
    with opened(portal, chosen, database) as bridge:
        yield Page(portal, bridge.client, database, bridge.app)


@pytest.fixture
def page(tmp_path: Path, github: respx.Route) -> Iterator[Page]:
    database = tmp_path / "ledger.db"
    chosen = settings(database).model_copy(update={"admin_password": SecretStr(PASSWORD), "mlflow_tracking_uri": None})
    with start_blocking_portal() as portal, page_of(portal, chosen, database) as page:
        yield page


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that answers were delayed; nothing really waits."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr("bridge.server.auth.asyncio", SimpleNamespace(sleep=sleep))
    return delays


def links(answer: httpx2.Response) -> list[str]:
    return [unescape(link) for link in re.findall(r'<a href="([^"]*)"', answer.text)]


class TestSignIn:
    @pytest.mark.parametrize("path", PATHS)
    def test_without_a_password_there_is_no_page(self, bridge: Bridge, path: str) -> None:
        answer = bridge.get(path)
        assert answer.status_code == 404
        assert "www-authenticate" not in answer.headers

    @pytest.mark.parametrize("path", PATHS)
    def test_nobody_gets_in_without_the_password(self, page: Page, path: str) -> None:
        answer = page.ask(path, signed_in=False)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="mlflow-actions-bridge", charset="UTF-8"'
        assert answer.headers["cache-control"] == "no-store"

    def test_the_right_one_opens_every_page(self, page: Page) -> None:
        assert [page.ask(path).status_code for path in ("/", "/api/versions", "/api/deliveries")] == [200] * 3

    @pytest.mark.parametrize(
        "authorization",
        [
            "",
            "Basic",
            "Basic !",
            "Basic " + base64.b64encode(b"admin").decode(),
            "Basic " + base64.b64encode(b"admin:").decode(),
            "Basic " + base64.b64encode(b"root:" + PASSWORD.encode()).decode(),
            "Basic " + base64.b64encode(b"admin:" + PASSWORD[:-1].encode()).decode(),
            "Basic " + base64.b64encode(b"admin:\xff").decode(),
            "Bearer " + base64.b64encode(b"admin:" + PASSWORD.encode()).decode(),
            "Basic ü",
        ],
    )
    def test_wrong_credentials_are_refused(self, authorization: str) -> None:
        with pytest.raises(NotSignedIn) as refused:
            auth.check(authorization, PASSWORD)
        assert "sentinel" not in str(refused.value)

    @pytest.mark.parametrize("path", ["/", "/ready", "/api/versions", "/openapi.json"])
    def test_a_wrong_password_waits_for_its_answer_and_is_logged_with_its_peer(
        self, page: Page, path: str, waits: list[float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert page.get(path, auth=("admin", f"{PASSWORD}?")).status_code == 401
        assert waits == [auth.DELAY]
        assert "127.0.0.1" in "".join(capsys.readouterr())

    def test_nobody_else_waits_and_nobody_is_locked_out(self, page: Page, waits: list[float]) -> None:
        for _ in range(20):
            page.get("/", auth=("admin", "wrong"))
        del waits[:]
        assert page.ask("/").status_code == 200
        assert page.ask("/", signed_in=False).status_code == 401
        assert page.ask("/ready", signed_in=False).status_code == 200
        assert waits == []

    def test_a_password_may_hold_colons_and_any_letter(self) -> None:
        auth.check("basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode(), PASSWORD)

    def test_the_other_endpoints_need_no_password(self, page: Page) -> None:
        assert [page.ask(path, signed_in=False).status_code for path in ("/health", "/ready", "/metrics")] == [200] * 3
        assert page.post(CREATED).status_code == 202


class TestHeaders:
    @pytest.mark.parametrize("path", ["/", "/version?model=a&version=1", "/?before=x&state=nonsense"])
    def test_pages_load_nothing_from_elsewhere_run_nothing_inline_and_are_not_kept(self, page: Page, path: str) -> None:
        answer = page.ask(path)
        assert answer.headers["content-security-policy"] == f"{CSP}; base-uri 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<style|<script(?! src=\"/static/)|\son\w+=|\sstyle=|javascript:", answer.text)

    @pytest.mark.parametrize(
        ("name", "kind"), [("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")]
    )
    def test_only_its_own_files_are_served(self, page: Page, name: str, kind: str) -> None:
        answer = page.ask(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert f"/static/{name}?" in page.ask("/").text
        assert page.ask("/static/..%2Fpages.py").status_code == 404


class TestCrossSite:
    @pytest.mark.parametrize(
        "headers",
        [
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "cross-site", "origin": "http://bridge", "host": "bridge"},
            {"origin": "http://evil", "host": "bridge"},
            {"origin": "null", "host": "bridge"},
            {"origin": "http://bridge:81", "host": "bridge"},
            {"origin": "http://[", "host": "bridge"},
        ],
    )
    def test_what_another_site_asks_for_is_refused(self, headers: dict[str, str]) -> None:
        with pytest.raises(CrossSite):
            auth.check_origin(headers)

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"host": "bridge"},
            {"sec-fetch-site": "same-origin", "origin": "https://bridge", "host": "inside:8000"},
            {"sec-fetch-site": "none"},
            {"origin": "https://Bridge:8443", "host": "bridge:8443"},
        ],
    )
    def test_our_own_pages_and_programs_are_let_through(self, headers: dict[str, str]) -> None:
        auth.check_origin(headers)
        assert headers is not None

    @pytest.mark.parametrize("path", ["/deliveries/{}/replay", "/api/deliveries/{}/replay"])
    def test_a_replay_by_another_site_sends_nothing(self, page: Page, path: str) -> None:
        delivery_id = page.register("iris")
        answer = page.ask(path.format(delivery_id), "POST", sec_fetch_site="cross-site")
        assert answer.status_code == 403
        assert page.rows("select count(*) from dispatches") == [(1,)]

    @pytest.mark.parametrize("path", ["/deliveries/{}/replay", "/api/deliveries/{}/replay"])
    def test_nothing_is_replayed_by_a_get_or_without_the_password(self, page: Page, path: str) -> None:
        delivery_id = page.register("iris")
        assert page.ask(path.format(delivery_id)).status_code == 405
        assert page.ask(path.format(delivery_id), "POST", signed_in=False).status_code == 401
        assert page.rows("select count(*) from dispatches") == [(1,)]


class TestPages:
    def test_an_empty_list_says_what_to_do(self, page: Page) -> None:
        assert "Register one in MLflow" in page.ask("/").text
        assert "No model versions match" in page.ask("/?search=x").text

    @pytest.mark.parametrize(
        "model",
        [
            "模型 (EU)",
            "a/b/../c",
            "..",
            "?&=#%2F+",
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "'\"\\`${7*7}{{7*7}}",
            "line\nfeed\ttab",
            "\u202eright to left",
            "x" * 300,
            "é" * 600,
            " ",
        ],
    )
    def test_a_name_may_hold_anything_and_its_page_is_found(self, page: Page, model: str) -> None:
        delivery_id = page.register(model, "7")
        listed = page.ask("/")
        address = next(link for link in links(listed) if link.startswith("/version"))
        shown = page.ask(address)
        assert shown.status_code == 200
        assert delivery_id in shown.text
        for answer in (listed, shown):
            assert formatting.name(model) in unescape(answer.text)
            assert not re.search(r"<script>|<img src=x|onerror=alert\(1\)>", answer.text)
            assert len(answer.content) < 20_000
        assert page.ask("/api/versions").json()["versions"][0]["model"] == model

    def test_lists_are_read_part_by_part_with_search_and_state_kept(self, page: Page) -> None:
        for number in range(1, 54):
            page.register("iris & co", str(number))
        first = page.ask("/?search=IRIS %26&state=pending")
        assert first.text.count("<tr id=") == 50
        older = next(link for link in links(first) if "before=" in link)
        last = page.ask(older)
        assert last.text.count("<tr id=") == 3
        assert "/?search=iris+%26+co&state=pending".replace("iris+%26+co", "IRIS+%26") in links(last)

    @pytest.mark.parametrize(
        "path", ["/?state=nonsense", "/?before=%00", "/?search=%00", "/?search=%ED%A0%80", "/?before=~"]
    )
    def test_parameters_that_make_no_sense_do_no_harm(self, page: Page, path: str) -> None:
        assert page.ask(path).status_code == 200

    @pytest.mark.parametrize(
        "path", ["/version", "/version?model=x&version=1", "/version?model=%00", "/version?delivery=%00"]
    )
    def test_a_version_without_a_delivery_is_not_found(self, page: Page, path: str) -> None:
        answer = page.ask(path)
        assert answer.status_code == 404
        assert "Request failed" in answer.text

    def test_a_replay_leads_back_to_the_version_with_a_new_dispatch(self, page: Page) -> None:
        delivery_id = page.register("a/b ü")
        answer = page.ask(f"/deliveries/{delivery_id}/replay", "POST", sec_fetch_site="same-origin")
        assert (answer.status_code, answer.headers["location"]) == (303, "/version?model=a%2Fb%20%C3%BC&version=1")
        assert page.rows("select count(distinct id), count(distinct payload) from dispatches") == [(2, 2)]

    def test_problems_of_the_bridge_are_shown(self, page: Page) -> None:
        page.stop(page.state.follower)
        assert re.search(r'role="alert".*follower', page.ask("/").text)


class TestApi:
    def test_a_version_has_its_state_and_its_delivery(self, page: Page) -> None:
        delivery_id = page.register("iris", "3")
        (version,) = page.ask("/api/versions").json()["versions"]
        assert (version["model"], version["version"], version["state"]) == ("iris", "3", "pending")
        assert (version["delivery_id"], version["image"]) == (delivery_id, {"uri": None, "status": None})
        assert version["told_at"].endswith("Z")

    def test_both_lists_have_a_cursor_and_the_same_filters(self, page: Page) -> None:
        for number in range(1, 6):
            page.register("iris" if number % 2 else "churn", str(number))
        for path, key in (("/api/versions", "versions"), ("/api/deliveries", "deliveries")):
            versions, before = [], ""
            while True:
                part = page.ask(f"{path}?limit=2{before}").json()
                versions += [entry["version"] for entry in part[key]]
                if part["next"] is None:
                    break
                before = f"&before={part['next']}"
            assert versions == ["5", "4", "3", "2", "1"]
            for query, expected in (
                ("search=IRI", ["5", "3", "1"]),
                ("model=churn", ["4", "2"]),
                ("model=churn&version=2", ["2"]),
                ("state=rejected", []),
                ("state=pending&search=churn", ["4", "2"]),
            ):
                answer = page.ask(f"{path}?{query}").json()
                assert [entry["version"] for entry in answer[key]] == expected, (path, query)

    def test_a_delivery_has_all_its_dispatches(self, page: Page) -> None:
        delivery_id = page.register("iris")
        delivery = page.ask(f"/api/deliveries/{delivery_id}").json()
        assert (delivery["id"], delivery["event"], delivery["model"]) == (delivery_id, "model_version.created", "iris")
        assert [dispatch["route"] for dispatch in delivery["dispatches"]] == ["environment"]

    def test_a_replay_returns_the_new_dispatches(self, page: Page) -> None:
        delivery_id = page.register("iris")
        answer = page.ask(f"/api/deliveries/{delivery_id}/replay", "POST")
        assert answer.status_code == 202
        (new,) = answer.json()["dispatch_ids"]
        assert answer.json() == {"status": "submitted", "delivery_id": delivery_id, "dispatch_ids": [new]}
        delivery = page.ask(f"/api/deliveries/{delivery_id}").json()
        assert delivery["dispatches"][0]["id"] == new
        (payload,) = page.rows(f"select payload from dispatches where id = '{new}'")  # noqa: S608  our own id
        assert json.loads(payload[0])["dispatch_id"] == new

    @pytest.mark.parametrize(
        ("method", "path", "status", "named"),
        [
            ("GET", "/api/deliveries/x", 404, "delivery"),
            ("POST", "/api/deliveries/%00/replay", 404, "delivery"),
            ("GET", "/api/versions?state=x", 422, "state"),
            ("GET", "/api/versions?limit=0", 422, "limit"),
            ("GET", "/api/versions?limit=1000", 422, "limit"),
            ("GET", "/api/versions?search=%00", 422, "search"),
            ("GET", "/api/deliveries?before=%00", 422, "before"),
        ],
    )
    def test_an_error_has_the_form_of_all_errors(
        self, page: Page, method: str, path: str, status: int, named: str
    ) -> None:
        answer = page.ask(path, method)
        assert answer.status_code == status
        assert set(answer.json()) == {"status", "delivery_id", "detail"}
        assert named in answer.json()["detail"]

    def test_a_delivery_that_no_route_matches_any_more_is_not_replayed(
        self, tmp_path: Path, github: respx.Route
    ) -> None:
        database = tmp_path / "ledger.db"
        chosen = settings(database).model_copy(update={"admin_password": SecretStr(PASSWORD)})
        with start_blocking_portal() as portal:
            with page_of(portal, chosen, database) as first:
                delivery_id = first.register("iris")
            with page_of(portal, chosen.model_copy(update={"routes_file": ()}), database) as second:
                answer = second.ask(f"/api/deliveries/{delivery_id}/replay", "POST")
                assert answer.status_code == 409
                assert second.rows("select count(*) from dispatches") == [(1,)]

    def test_the_password_is_in_no_answer(self, page: Page) -> None:
        for path in PATHS:
            assert "sentinel" not in page.ask(path).text
            assert SECRET not in page.ask(path).text


class TestFormatting:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (-5, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (3599, "59 min ago"),
            (3600, "1 h ago"),
            (47 * 3600, "47 h ago"),
            (48 * 3600, "2 days ago"),
        ],
    )
    def test_a_time_has_one_unit(self, seconds: float, text: str) -> None:
        assert formatting.ago(1_000_000.0 - seconds, 1_000_000.0) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0.0 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.6, "1 min"),
            (95, "1 min 35 s"),
            (3600, "1 h"),
            (3 * 3600 + 125, "3 h 2 min"),
            (90_000, "1 d 1 h"),
        ],
    )
    def test_a_duration_has_its_largest_units(self, seconds: float, text: str) -> None:
        assert formatting.took(seconds) == text

    def test_an_image_shows_its_tag_and_the_start_of_its_digest(self) -> None:
        assert formatting.image("ghcr.io:443/o/m:7@sha256:" + "ab" * 32) == ("ghcr.io:443/o/m:7", "@abababababab")
        assert formatting.image("ghcr.io/o/m:7") == ("ghcr.io/o/m:7", "")

    def test_the_address_in_mlflow_has_the_whole_name_and_no_password(self) -> None:
        address = formatting.mlflow_page("https://me:sentinel@mlflow.example:5000/sub/", "a/b ü#?", "7")
        assert address == "https://mlflow.example:5000/sub/#/models/a%2Fb%20%C3%BC%23%3F/versions/7"
        assert formatting.mlflow_page(None, "a", "7") is None

    def test_only_http_makes_a_link(self) -> None:
        assert [formatting.link(url) for url in ("https://x", "http://x", "javascript:x", "", None)] == [
            "https://x",
            "http://x",
            None,
            None,
            None,
        ]

    def test_every_state_has_a_sign_and_a_sentence_of_its_own(self) -> None:
        assert set(formatting.MEANINGS) == set(DispatchState)
        assert len({meaning.sentence for meaning in formatting.MEANINGS.values()}) == len(DispatchState)
