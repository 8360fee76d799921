"""The worst payloads of somebody who has the webhook's secret, by the real workflow: nothing of them is obeyed.

`tests/integration/test_hostile_payloads.py` has some hundreds more, past act.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bridge.image.labels import MODEL
from bridge.image.naming import slug
from bridge.image.registry.client import Repository
from tests.e2e.workflow_stage import WorkflowStage, annotations, dispatch, ended, ended_in
from tests.loopback.github.runs import Run
from tests.loopback.github.server import LoopbackGitHub
from tests.tiny_images import push_tiny_image

OWNED = "owned-by-a-payload"
"""A file that a command would make; MLflow takes no slash in a model's name, so commands go to HOME first."""
SHELL = f"$(cd;touch {OWNED}) `cd;touch {OWNED}` ;cd;touch {OWNED} # && cd && touch {OWNED} | '\"\\"
EXPRESSION = "${{ secrets.DOCKER_REGISTRY_PASSWORD }} ${{ toJSON(secrets) }} ${{ github.token }} }}"
COMMANDS = (
    f"\n::error title={OWNED}::{OWNED}\n::set-output name=build::true\n::set-env name=VERSION::2\n"
    f"::add-path::/tmp\n::add-mask::image\n##[error]{OWNED}\n::stop-commands::{OWNED}\r\n%0A::error::{OWNED}"
)
REFERENCE = "../../other/iris:latest@sha256:" + "0" * 64
NAME = f"{SHELL}{EXPRESSION} .. \nRUN cd;touch {OWNED}\n##[error]{OWNED}\n%0A --all @ latest"
"""What MLflow takes as a model's name: neither slash nor colon."""
ALIASES = ("champion", "--all", "-v", "7", "sha256-abc")
EVERYTHING = SHELL + EXPRESSION + REFERENCE + COMMANDS


@pytest.fixture(scope="module")
def github(workflows: WorkflowStage) -> Iterator[LoopbackGitHub]:
    with workflows.github() as github:
        yield github


@pytest.fixture(scope="module")
def there(workflows: WorkflowStage) -> str:
    """A model whose version 1 has its image already."""
    workflows.sign_in()
    workflows.new_version("target", "s3://bucket/m")
    push_tiny_image(f"{workflows.registry.host}/demo/target", "target", "1", "s3://bucket/m")
    return "target"


@pytest.fixture(autouse=True)
def nothing_else(workflows: WorkflowStage, there: str) -> Iterator[None]:
    """After each test, no command has run, and there is nothing in the registry but what the test may make."""
    before = held(workflows)
    yield
    assert [path for path in workflows.folder.rglob(f"*{OWNED}*") if path.is_file()] == []
    assert not Path(OWNED).exists()
    hostile = f"demo/{slug(NAME)}"
    assert {name: tags for name, tags in held(workflows).items() if name != hostile} == {
        name: tags for name, tags in before.items() if name != hostile
    }


def held(workflows: WorkflowStage) -> dict[str, dict[str, str]]:
    """Give the tags of every repository in the registry, with their digests."""
    registry = workflows.registry
    login = (registry.user, registry.password)
    said = httpx2.get(f"{registry.url}/v2/_catalog?n=1000", auth=login, trust_env=False).json()
    return {name: registry.tags(name) for name in said["repositories"]}


def check_shown(workflows: WorkflowStage, run: Run) -> None:
    """Nothing that the run shows is a secret, or was said by the payload instead of by us."""
    shown = "\n".join([run.log, run.summary, run.title, run.name, *(str(job.annotations) for job in run.jobs)])
    assert workflows.registry.password not in shown
    for level in ("error", "notice", "warning"):
        assert OWNED not in annotations(run, level)
    # act splits a command at its last ::, where GitHub's runner does at the first: to act, some have no title.
    titles = {each.title for job in run.jobs for each in job.annotations}
    assert titles <= {"resolve failed", "Aliases not tagged", ""}


def test_a_model_of_the_worst_name_becomes_one_image_of_its_own_and_no_more(
    workflows: WorkflowStage, github: LoopbackGitHub
) -> None:
    number = workflows.register(NAME)
    for alias in ALIASES:
        workflows.client.set_registered_model_alias(NAME, alias, number)
    run = ended(github, dispatch(github, {"name": NAME, "version": number, "alias": "champion"}))
    assert run.conclusion == "success", run.failure
    check_shown(workflows, run)
    name = f"{workflows.registry.host}/demo/{slug(NAME)}"
    tags = workflows.registry.tags(name)
    assert tags == dict.fromkeys(["1", "champion"], tags["1"])
    image = Repository(name, workflows.docker_config).inspect("1")
    assert image
    assert image.labels[MODEL] == NAME
    (notice,) = annotations(run, "notice")
    assert len(notice.splitlines()) == len(ALIASES) - 1


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        ({"name": EVERYTHING, "version": "1"}, {}, "MLflow at"),
        ({"name": "target", "version": f"1{EVERYTHING}"}, {}, "version '1$(cd"),
        ({"name": "target", "version": None, "alias": EVERYTHING}, {}, "MLflow at"),
        ({"name": "target", "version": "1"}, {"smoke-test": EVERYTHING}, "smoke-test '$(cd"),
    ],
    ids=["name", "version", "alias", "inputs"],
)
def test_a_payload_that_names_nothing_is_refused_with_a_reason(
    workflows: WorkflowStage,
    github: LoopbackGitHub,
    model: Mapping[str, Any],
    inputs: Mapping[str, Any],
    said: str,
) -> None:
    run = ended(github, dispatch(github, model, inputs))
    assert ended_in(run) == "Resolve the version"
    check_shown(workflows, run)
    assert len(annotations(run, "error")) == 1
    assert f"::error title=resolve failed::{said}" in run.log
