"""The status page of a real bridge in a real browser: what people see, press, hear and copy."""

import asyncio
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from bridge.ledger import Ledger
from tests.integration import sample_ledger
from tests.integration.conftest import REPOSITORY, TOKEN
from tests.integration.deliveries import body, post, rows
from tests.integration.fast_bridge import WORKFLOW, FakeRunner, QuickBridge
from tests.loopback.github.server import LoopbackGitHub
from tests.loopback.servers import BridgeServer
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "status-page.png"
PASSWORD = "sentinel-pässword"
expect.set_options(timeout=PATIENCE * 1000)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """A browser of somebody with the password; any error in its console fails the test."""
    opened: list[BrowserContext] = []
    errors: list[str] = []

    def make(**options: Any) -> BrowserContext:
        chosen: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}} | options
        context = browser.new_context(http_credentials={"username": "admin", "password": PASSWORD}, **chosen)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        opened.append(context)
        return context

    yield make
    for made in opened:
        made.close()
    assert errors == []


@pytest.fixture
def page(context: Callable[..., BrowserContext]) -> Page:
    return context().new_page()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeServer]:
    """A bridge whose ledger is the sample; nothing in it changes while the tests run."""
    folder = tmp_path_factory.mktemp("sample-ledger")
    ledger = Ledger(f"sqlite:///{folder}/mlflow-bridge.db")

    async def write() -> None:
        await sample_ledger.write(ledger, time.time())
        await ledger.close()

    with ThreadPoolExecutor() as aside:  # this thread may have the browser's event loop already
        aside.submit(asyncio.run, write()).result()
    with LoopbackGitHub(repository=REPOSITORY, tree=folder, token=TOKEN, folder=folder / "github") as github:
        env = {
            "MLFLOW_WEBHOOK_SECRET": "x",
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": github.url,
            "ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
            "RECONCILE_INTERVAL": "0",
            "GITHUB_POLL_INTERVAL": str(sample_ledger.SECONDS),
        }
        with BridgeServer(env, folder) as bridge:
            yield bridge
        assert "sentinel" not in bridge.log.read_text()


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def quick(tmp_path: Path, settings: dict[str, str], folder: Path, runner: FakeRunner) -> Iterator[QuickBridge]:
    """A bridge with short waits, and a GitHub whose runs end as `runner` says."""
    workflows = tmp_path / "tree" / ".github" / "workflows"
    workflows.mkdir(parents=True)
    (workflows / "on-mlflow-event.yml").write_text(WORKFLOW)
    with LoopbackGitHub(
        repository=REPOSITORY, tree=tmp_path / "tree", token=TOKEN, folder=tmp_path / "runs", runner=runner
    ) as github:
        env = settings | {"ADMIN_PASSWORD": PASSWORD, "GITHUB_API_URL": github.url, "GITHUB_POLL_INTERVAL": "0.1"}
        with QuickBridge(env, folder) as bridge:
            yield bridge


def register(bridge: BridgeServer, model: str, version: str = "1") -> None:
    event = body("model_version.created", {"name": model, "version": version, "source": "models:/m-1", "run_id": None})
    assert post(bridge.url, event).status_code == 202


def names(page: Page) -> list[str]:
    """Return the versions that the list shows, as a screen reader reads them."""
    return [" ".join(text.split()) for text in page.get_by_role("rowheader").all_inner_texts()]


class TestList:
    def test_every_version_has_its_state_in_words_its_image_and_its_links(
        self, finished: BridgeServer, page: Page
    ) -> None:
        page.goto(finished.url)
        expect(page).to_have_title("Model images")
        shown = {(entry.model, entry.version) for entry in sample_ledger.SAMPLES}
        assert page.locator("tbody tr").count() == len(shown)
        row = page.get_by_role("row", name="iris-clf version 42")
        expect(row.get_by_role("cell").first).to_have_text("✓ succeeded")
        expect(row).to_contain_text("ghcr.io/owner/models/iris-clf:42@")
        expect(row).to_contain_text(re.compile(r"[67] min ago"))
        expect(row.get_by_role("link", name="MLflow page of iris-clf 42")).to_have_attribute(
            "href", "https://mlflow.example.com/#/models/iris-clf/versions/42"
        )
        expect(row.get_by_role("link", name="Run log of iris-clf 42")).to_have_attribute(
            "href", re.compile(r"https://github\.com/owner/models/actions/runs/\d+")
        )

    def test_the_copy_button_copies_the_whole_image(
        self, finished: BridgeServer, context: Callable[..., BrowserContext]
    ) -> None:
        page = context(permissions=["clipboard-read", "clipboard-write"]).new_page()
        page.goto(finished.url)
        button = page.get_by_role("button", name="Copy the image of iris-clf 42")
        button.click()
        expect(button).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert re.fullmatch(r"ghcr\.io/owner/models/iris-clf:42@sha256:[0-9a-f]{64}", copied)

    def test_a_search_and_a_state_choose_what_is_shown(self, finished: BridgeServer, page: Page) -> None:
        page.goto(finished.url)
        page.get_by_role("searchbox", name="Model").fill("CHURN")
        page.get_by_role("button", name="Show").click()
        assert names(page) == ["churn version 9", "churn version 8"]
        page.get_by_role("combobox", name="State").select_option("succeeded")
        page.get_by_role("button", name="Show").click()
        assert names(page) == ["churn version 8"]
        expect(page.get_by_role("searchbox", name="Model")).to_have_value("CHURN")
        page.get_by_role("link", name="Show all").click()
        assert len(names(page)) > 10

    def test_without_javascript_all_is_there_but_the_copy_buttons(
        self, finished: BridgeServer, context: Callable[..., BrowserContext]
    ) -> None:
        page = context(java_script_enabled=False).new_page()
        page.goto(f"{finished.url}/?search=churn")
        assert names(page) == ["churn version 9", "churn version 8"]
        assert page.get_by_role("button", name="Copy the image of churn 9").count() == 0
        page.get_by_role("link", name="churn version 8").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("churn version 8")
        assert page.get_by_role("button", name="Replay").count() == 2

    def test_without_the_password_nothing_is_shown(self, finished: BridgeServer, browser: Browser) -> None:
        stranger = browser.new_context(http_credentials={"username": "admin", "password": "guess"})
        answer = stranger.new_page().goto(finished.url)
        assert answer is not None
        assert answer.status == 401
        stranger.close()


class TestVersion:
    def test_the_timeline_shows_each_step_and_how_long_it_took(self, finished: BridgeServer, page: Page) -> None:
        page.goto(finished.url)
        page.get_by_role("link", name="iris-clf version 42").click()
        steps = page.locator(".steps li")
        assert [text.split("\n")[0].split("  ")[0] for text in steps.locator(".step").all_inner_texts()] == [
            "Received",
            "Dispatched",
            "Run started",
            "Image pushed",
        ]
        assert steps.locator(".took").all_inner_texts() == ["+1.2 s", "+14 s", "+2 min 11 s"]
        widths = page.locator("svg.bar rect").evaluate_all("all => all.map(each => each.getBBox().width)")
        assert widths == sorted(widths)
        assert widths[-1] > 5 * widths[1]

    def test_a_failure_shows_what_to_do_and_every_answer_of_github(self, finished: BridgeServer, page: Page) -> None:
        page.goto(finished.url)
        page.get_by_role("link", name="fraud/scoring-eu version 18").click()
        expect(page.locator(".help")).to_contain_text("The run failed")
        expect(page.locator(".help").get_by_role("button", name="Replay")).to_be_visible()
        cells = page.locator("table.attempts tr td:last-child").all_inner_texts()
        assert len(cells) == 2
        assert "502 Bad Gateway" in cells[0]


class TestLive:
    def test_a_new_version_appears_and_goes_on_without_a_reload(
        self, quick: QuickBridge, runner: FakeRunner, page: Page
    ) -> None:
        runner.go_on.clear()
        page.goto(quick.url)
        expect(page.get_by_text("No model versions yet")).to_be_visible()
        page.evaluate("window.mark = 'the same page'")
        register(quick, "iris")
        row = page.get_by_role("row", name="iris version 1")
        expect(row).to_contain_text("running")
        runner.go_on.set()
        expect(row).to_contain_text("succeeded")
        expect(page.get_by_role("status").first).to_have_text("iris 1: succeeded")
        assert page.evaluate("window.mark") == "the same page"

    def test_an_update_leaves_the_keyboard_where_it_is(
        self, quick: QuickBridge, runner: FakeRunner, page: Page
    ) -> None:
        runner.go_on.clear()
        register(quick, "iris")
        page.goto(quick.url)
        link = page.get_by_role("link", name="iris version 1")
        expect(page.get_by_role("row", name="iris version 1")).to_contain_text("running")
        link.focus()
        runner.go_on.set()
        register(quick, "churn")
        expect(page.get_by_role("row", name="iris version 1")).to_contain_text("succeeded")
        expect(page.get_by_role("row", name="churn version 1")).to_be_visible()
        expect(link).to_be_focused()

    def test_the_page_shows_that_the_bridge_is_gone_and_that_it_is_back(
        self, quick: QuickBridge, browser: Browser
    ) -> None:
        register(quick, "iris")
        until(lambda: rows(quick.folder, "select state from dispatches") == [("succeeded",)])
        context = browser.new_context(http_credentials={"username": "admin", "password": PASSWORD})
        page = context.new_page()
        page.goto(quick.url)
        context.set_offline(True)
        expect(page.get_by_role("status").first).to_contain_text("Updates paused")
        context.set_offline(False)
        expect(page.get_by_role("status").first).to_have_text("Updates resumed")
        context.close()


class TestReplay:
    def test_a_failed_run_is_replayed_to_its_end_by_the_keyboard_alone(
        self, quick: QuickBridge, runner: FakeRunner, page: Page
    ) -> None:
        runner.conclusions["模型/a b"] = "failure"
        register(quick, "模型/a b", "7")
        until(lambda: rows(quick.folder, "select state from dispatches") == [("failed",)])
        page.goto(quick.url)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        to_version = page.get_by_role("link", name="模型/a b version 7")
        _tab_to(page, to_version)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("模型/a b version 7")
        runner.conclusions.clear()
        _tab_to(page, page.locator(".help").get_by_role("button", name="Replay"))
        page.keyboard.press("Enter")
        expect(page.locator("#summary .badge")).to_have_text("✓ succeeded")
        found = rows(quick.folder, "select state, delivery_id from dispatches order by id")
        assert [state for state, _ in found] == ["failed", "succeeded"]
        assert len({delivery_id for _, delivery_id in found}) == 1
        assert page.locator("article").count() == 1
        assert page.locator(".dispatch").count() == 2

    def test_another_sites_form_sends_nothing(self, quick: QuickBridge, browser: Browser, tmp_path: Path) -> None:
        context = browser.new_context(http_credentials={"username": "admin", "password": PASSWORD})
        page = context.new_page()
        register(quick, "iris")
        ((delivery_id,),) = rows(quick.folder, "select id from deliveries")
        page.goto(quick.url)  # the browser now knows the password, and sends it along
        trap = f'<form method="post" action="{quick.url}/deliveries/{delivery_id}/replay"><button>Win</button></form>'
        (tmp_path / "trap.html").write_text(trap)
        page.goto((tmp_path / "trap.html").as_uri())
        with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
            page.get_by_role("button", name="Win").click()
        assert answered.value.status == 403
        assert rows(quick.folder, "select count(*) from dispatches") == [(1,)]
        context.close()


class TestLooks:
    @pytest.mark.parametrize(
        "path", ["/", "/version?model=churn&version=8", "/version?model=fraud%2Fscoring-eu&version=18"]
    )
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_all_text_has_enough_contrast(
        self, finished: BridgeServer, context: Callable[..., BrowserContext], scheme: str, path: str
    ) -> None:
        """WCAG 2.2, 1.4.3: 4.5 to 1."""
        page = context(color_scheme=scheme).new_page()
        page.goto(finished.url + path)
        ratios = page.evaluate(CONTRASTS)
        assert len(ratios) > 20
        assert {text: ratio for text, ratio in ratios if ratio < 4.5} == {}
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")

    @pytest.mark.parametrize("path", ["/", "/version?model=churn&version=8"])
    def test_every_element_has_a_name_and_a_place(self, finished: BridgeServer, page: Page, path: str) -> None:
        page.goto(finished.url + path)
        assert page.get_by_role("main").count() == page.get_by_role("heading", level=1).count() == 1
        assert page.get_by_role("banner").count() == 1
        nameless = page.evaluate(NAMELESS)
        assert nameless == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
        assert len(ids) == len(set(ids))

    @pytest.mark.parametrize("path", ["/", "/version?model=fraud%2Fscoring-eu&version=18"])
    def test_a_narrow_screen_needs_no_scrolling_sideways(
        self, finished: BridgeServer, context: Callable[..., BrowserContext], path: str
    ) -> None:
        page = context(viewport={"width": 360, "height": 700}).new_page()
        page.goto(finished.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

    def test_the_picture_in_the_docs_is_of_this_page(self, finished: BridgeServer, page: Page) -> None:
        """Taken again with TAKE_PICTURES=1; otherwise only its size is compared, because fonts differ by machine."""
        page.goto(finished.url)
        taken = page.screenshot()
        if os.environ.get("TAKE_PICTURES"):
            PICTURE.write_bytes(taken)
        kept = PICTURE.read_bytes()
        size = slice(16, 24)  # width and height, by the PNG specification
        assert kept[:8] == taken[:8] == b"\x89PNG\r\n\x1a\n"
        assert kept[size] == taken[size]


def _tab_to(page: Page, target: Locator) -> None:
    for _ in range(30):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError("the keyboard does not get there")


CONTRASTS = """() => {
  const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parts(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((each) =>
    [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && each.offsetParent);
  return texts.map((each) => {
    const [one, other] = [light(parts(getComputedStyle(each).color)), light(ground(each))].sort((a, b) => b - a);
    return [each.textContent.trim(), (one + 0.05) / (other + 0.05)];
  });
}"""
NAMELESS = """() => [...document.querySelectorAll("a, button, input, select, img, table")].filter((each) => {
  const labels = each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim();
  return each.tagName === "IMG" ? !each.hasAttribute("alt") : each.tagName === "TABLE" ? !each.caption : !labels;
}).map((each) => each.outerHTML)"""
