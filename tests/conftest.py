"""For all tests: a failure shows the logs of the servers, and with CI=true a skip is a failure."""

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.loopback.servers import started
from tests.postgres import Postgres, PostgresMissing

# No test is timed: the machines that run them are shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_runtest_setup() -> None:
    started[:] = [server for server in started if server.running]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; with CI=true, a skip is a failure: {report.longrepr}"
    if report.failed:
        for server in started:
            if server.log.exists():
                report.sections.append((f"end of {server.log}", "\n".join(server.last_lines(30))))
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests; each creates its own databases in it."""
    try:
        server = Postgres(durable=False)
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server
