"""What holds for every test: on the machines that must have everything, a skip is a failure."""

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.postgres import Postgres, PostgresMissing

# No test is timed: the machines that run them are shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and with CI=true nothing may be: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests; each makes databases of its own in it."""
    try:
        server = Postgres(durable=False)
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server
