import asyncio
import subprocess
import sys
import threading

import pytest

from bridge.mlflow.threads import run_in_daemon_thread
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def test_the_result_or_error_of_the_work_is_returned() -> None:
    assert await run_in_daemon_thread(divmod, 7, 2) == (3, 1)
    results: list[str] = []
    await run_in_daemon_thread(results.append, "nothing to give")
    assert results == ["nothing to give"]
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon_thread(divmod, 1, 0)


async def test_the_event_loop_continues_meanwhile() -> None:
    go_on = threading.Event()
    waiting = asyncio.create_task(run_in_daemon_thread(go_on.wait, PATIENCE))
    await asyncio.sleep(0.01)
    go_on.set()
    assert await waiting


async def test_a_cancelled_caller_does_not_wait_and_a_later_result_is_dropped() -> None:
    go_on = threading.Event()
    waiting = asyncio.create_task(run_in_daemon_thread(go_on.wait, PATIENCE))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await asyncio.sleep(0.1)


def test_work_that_hangs_does_not_delay_the_end_of_the_process() -> None:
    code = (
        "import asyncio, time; from bridge.mlflow.threads import run_in_daemon_thread\n"
        "async def main():\n"
        "    task = asyncio.create_task(run_in_daemon_thread(time.sleep, 3600))\n"
        "    await asyncio.sleep(0.1); task.cancel()\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE).returncode == 0
