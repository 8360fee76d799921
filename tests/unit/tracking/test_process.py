"""A process under ours, with real processes and signals."""

import signal
import subprocess
import sys
import time

import pytest

from tracking import process

PARENT = "import sys; from tracking import process; process.listen(); sys.exit(process.run(sys.argv[1:], 1.0))"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = "import time; print('up', flush=True); time.sleep(60)"


@pytest.mark.parametrize("child", [DEAF, POLITE])
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_any_server_in_time_with_status_0(
    request: pytest.FixtureRequest, child: str, sign: signal.Signals
) -> None:
    command = [sys.executable, "-c", PARENT, sys.executable, "-c", child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=request.config.rootpath) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        began = time.monotonic()
        parent.send_signal(sign)
        assert parent.wait(20) == 0
        assert parent.stdout.read() == b""  # the child, which had it too, is gone
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("code", "status"), [("import sys; sys.exit(3)", 3), ("pass", 1)])
def test_a_server_that_ends_by_itself_has_failed(code: str, status: int) -> None:
    assert process.run([sys.executable, "-c", code]) == status
