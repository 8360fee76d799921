import asyncio
import subprocess
import sys
import threading
import time

import pytest

from bridge.mlflow.threads import run_in_daemon_thread

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
    waiting = asyncio.create_task(run_in_daemon_thread(go_on.wait, 5))
    await asyncio.sleep(0.01)
    go_on.set()
    assert await waiting


async def test_a_cancelled_caller_does_not_wait_and_a_later_result_is_dropped() -> None:
    waiting = asyncio.create_task(run_in_daemon_thread(time.sleep, 0.1))
    await asyncio.sleep(0.01)
    waiting.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert time.monotonic() - began < 0.05
    await asyncio.sleep(0.15)


def test_work_that_hangs_does_not_delay_the_end_of_the_process() -> None:
    code = (
        "import asyncio, time; from bridge.mlflow.threads import run_in_daemon_thread\n"
        "async def main():\n"
        "    task = asyncio.create_task(run_in_daemon_thread(time.sleep, 60))\n"
        "    await asyncio.sleep(0.1); task.cancel()\n"
        "asyncio.run(main())"
    )
    began = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
    assert time.monotonic() - began < 20
