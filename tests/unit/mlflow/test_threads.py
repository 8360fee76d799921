import asyncio
import subprocess
import sys
import threading

import pytest

from bridge.mlflow.threads import run_in_daemon_thread
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def test_what_the_work_gives_or_raises_comes_back() -> None:
    assert await run_in_daemon_thread(divmod, 7, 2) == (3, 1)
    said: list[str] = []
    await run_in_daemon_thread(said.append, "nothing to give")
    assert said == ["nothing to give"]
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon_thread(divmod, 1, 0)


async def test_the_event_loop_goes_on_meanwhile() -> None:
    go_on = threading.Event()
    waiting = asyncio.create_task(run_in_daemon_thread(go_on.wait, PATIENCE))
    await asyncio.sleep(0.01)
    go_on.set()
    assert await waiting


async def test_a_caller_that_is_cancelled_does_not_wait_and_what_comes_later_is_dropped() -> None:
    go_on = threading.Event()
    waiting = asyncio.create_task(run_in_daemon_thread(go_on.wait, PATIENCE))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await asyncio.sleep(0.1)


def test_work_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    code = (
        "import asyncio, time; from bridge.mlflow.threads import run_in_daemon_thread\n"
        "async def main():\n"
        "    task = asyncio.create_task(run_in_daemon_thread(time.sleep, 3600))\n"
        "    await asyncio.sleep(0.1); task.cancel()\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE).returncode == 0
