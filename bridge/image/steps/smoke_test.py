"""Step "smoke test": the image serves its model, before anybody else can pull it."""

import time
from pathlib import Path

from bridge.image import actions
from bridge.image.docker import Container
from bridge.image.errors import SmokeTestFailed
from bridge.image.metadata import SERVING_EXAMPLE
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Workspace

_START = 300.0
"""Seconds that a container may take until it answers /ping: large models load slowly."""
_ANSWER = 120.0
"""Seconds for one answer of /invocations."""

# Both scripts run inside the container, for it has no network that the runner could reach it by. Docker may have given
# it the runner's proxy.
_PING = """
import sys, time, urllib.request
server = urllib.request.build_opener(urllib.request.ProxyHandler({}))
until = time.monotonic() + float(sys.argv[1])
while True:
    try:
        status = server.open("http://127.0.0.1:8080/ping", timeout=5).status
        sys.exit(status != 200 and f"/ping: {status}")
    except OSError as error:
        if time.monotonic() > until:
            sys.exit(f"/ping: {error}")
        time.sleep(0.05)
"""
_INVOKE = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(
    "http://127.0.0.1:8080/invocations", sys.stdin.buffer.read(), {"Content-Type": "application/json"}
)
try:
    server = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    print(server.open(request).read(1000).decode(errors="replace"))
except urllib.error.HTTPError as error:
    sys.exit(f"/invocations: {error.code} {error.read(1000).decode(errors='replace')}")
"""


def smoke_test(settings: ImageSettings, workspace: Workspace) -> None:
    """Start the image and try it as the plan says. Raises `SmokeTestFailed`, with the container's log shown."""
    plan = workspace.plan()
    if plan.smoke_test == "off":
        actions.notice("Smoke test is off", f"{plan.tag} is pushed untried")
        return
    container = Container.start(
        workspace.image_id(),
        network=settings.smoke_test_network,
        root=plan.builder.needs_root,
    )
    try:
        _ping(container, plan.tag)
        if plan.smoke_test == "invoke":
            _invoke(container, plan.tag, workspace.model / SERVING_EXAMPLE)
    except SmokeTestFailed:
        container.show_log()
        raise
    finally:
        container.remove()


def _ping(container: Container, tag: str) -> None:
    started = time.monotonic()
    status, said = container.python(_PING, str(_START), timeout=_START + 30)
    if status:
        raise SmokeTestFailed(
            f"{tag} does not answer /ping ({_short(said) or f'the container ended; status {status}'}): "
            "the container's log above shows how far the model's loading came"
        )
    actions.say(f"/ping answers after {time.monotonic() - started:.1f} s")


def _invoke(container: Container, tag: str, example: Path) -> None:
    if not example.is_file():
        raise SmokeTestFailed(
            f"{tag}: the model has no {example.name} to ask it with: log it with an input example, "
            "or set the input smoke-test to ping"
        )
    status, said = container.python(_INVOKE, given=example.read_bytes(), timeout=_ANSWER)
    if status:
        raise SmokeTestFailed(
            f"{tag} does not answer its own serving example ({_short(said)}): the container's log above says why"
        )
    actions.say(f"/invocations answers {_short(said)}")


def _short(said: str) -> str:
    return " ".join(said.split())[:200]
