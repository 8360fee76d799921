"""Step "smoke-test": start the image, and send it requests, before anybody else can pull it."""

import time

from bridge.image import actions, docker
from bridge.image.docker import Container
from bridge.image.errors import SmokeTestFailed
from bridge.image.metadata import SERVING_EXAMPLE
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Workspace

_START = 300.0
"""Seconds until the container must answer /ping. Large models load slowly."""
_ANSWER = 120.0
"""Seconds until /invocations must answer."""

# Both scripts run inside the container, which the runner can't reach: it has no network. They ignore proxy variables,
# because Docker may pass on the runner's.
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
    """Start the image, and send it the requests that the plan names. Raises `SmokeTestFailed`."""
    # What the build may have left running must not live on until the job signs in to write.
    docker.kill_programs_of(workspace.run)
    plan = workspace.plan()
    if plan.smoke_test == "off":
        actions.notice("Smoke test is off", f"{plan.tag} is pushed without a smoke test")
        return
    example = workspace.model / SERVING_EXAMPLE
    if plan.smoke_test == "invoke" and not example.is_file():
        raise SmokeTestFailed(
            f"{plan.tag}: the model has no {example.name}, so no request can be sent",
            "log the model with an input example, or set the input smoke-test to ping",
        )
    container = Container.start(workspace.image_id(), network=settings.smoke_test_network, root=plan.builder.needs_root)
    try:
        ping(container, plan.tag)
        if plan.smoke_test == "invoke":
            status, output = container.python(_INVOKE, stdin=example.read_bytes(), timeout=_ANSWER)
            if status:
                raise _failure(container, f"{plan.tag} did not answer the model's serving example", output)
            actions.log(f"/invocations answered {_short(output)}")
    except SmokeTestFailed:
        actions.log("last lines of the container's log:")
        container.show_log()
        raise
    finally:
        container.remove()


def ping(container: Container, name: str) -> None:
    """Wait until the container answers /ping. Raises `SmokeTestFailed`, which says how the container ended."""
    started = time.monotonic()
    status, output = container.python(_PING, str(_START), timeout=_START + 30)
    if status:
        raise _failure(container, f"{name} did not answer /ping", output)
    actions.log(f"/ping answered after {time.monotonic() - started:.1f} s")


def _failure(container: Container, message: str, output: str) -> SmokeTestFailed:
    state = container.state()
    # Once the container has ended, the output is only Docker's complaint that it isn't running.
    details = [] if state and not state.running else [_short(output) or "no response"]
    details += [state.describe()] if state else []
    hint = "see the container's log above"
    if state and state.needs_memory:
        hint += ", and use a runner with more memory (input runs-on)"
    return SmokeTestFailed(f"{message} ({'; '.join(details)})", hint)


def _short(output: str) -> str:
    return " ".join(output.split())[:200]
