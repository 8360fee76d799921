"""One stage for all tests: MLflow, bridge and registry, the real workflow with act, a loopback GitHub."""

from collections.abc import Iterator

import pytest

from tests.e2e.containers import images as images
from tests.e2e.workflow_stage import workflows as workflows
from tests.loopback.stage import Stage, checkout, missing_for_images, remove_images, stage


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if missing := missing_for_images():
        pytest.skip(missing)
    with stage(checkout(), tmp_path_factory.mktemp("stage"), images=True) as running:
        yield running
        if running.registry:
            remove_images(running.registry.host)
