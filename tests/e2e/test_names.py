"""One model, one repository, by the real workflow: no model's name leads to another model's repository."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.e2e.workflow_stage import WorkflowStage, annotations, by_hand, ended, ended_in, has_built
from tests.loopback.github.server import LoopbackGitHub
from tests.tiny_images import push_tiny_image

SOURCE = "s3://bucket/m"


@pytest.fixture(scope="module")
def github(workflows: WorkflowStage) -> Iterator[LoopbackGitHub]:
    with workflows.github() as github:
        yield github


def named(workflows: WorkflowStage, model: str, remainder: str) -> str:
    """Give the repository that earlier releases named after the model."""
    return f"{workflows.registry.host}/demo/{remainder}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def victim(workflows: WorkflowStage, model: str, repository: str) -> dict[str, str]:
    """Have version 1 of the model with its image in the repository; give the tags there."""
    workflows.sign_in()
    assert workflows.new_version(model, SOURCE) == "1"
    push_tiny_image(repository, model, "1", SOURCE)
    return workflows.registry.tags(repository)


def attack(workflows: WorkflowStage, github: LoopbackGitHub, model: str) -> str:
    """Have a version of the model built that the victim has not, with its aliases; give its repository."""
    workflows.register(model)
    number = workflows.register(model)
    for alias in ("champion", "stable"):
        workflows.client.set_registered_model_alias(model, alias, number)
    run = ended(github, by_hand(github, model=model, version=number))
    assert run.conclusion == "success", run.failure
    with workflows.api() as api:
        return api.version(model, number).tags["image.uri"].partition("@")[0]


def test_a_model_that_is_named_as_anothers_slug_gets_a_repository_of_its_own(
    workflows: WorkflowStage, github: LoopbackGitHub
) -> None:
    name = "Fraud (EU)"
    repository = named(workflows, name, "fraud-eu")
    before = victim(workflows, name, repository)
    theirs = attack(workflows, github, repository.rpartition("/")[2])
    assert theirs != repository
    assert set(workflows.registry.tags(theirs)) == {"2", "champion", "stable"}
    assert workflows.registry.tags(repository) == before
    # The victim's next version goes where the others are.
    number = workflows.register(name)
    workflows.client.set_registered_model_alias(name, "champion", number)
    run = ended(github, by_hand(github, model=name, version=number))
    assert run.conclusion == "success", run.failure
    tags = workflows.registry.tags(repository)
    assert tags == {**before, number: tags[number], "champion": tags[number]}


def test_an_alias_and_a_version_of_another_model_fail_the_run_when_all_other_aliases_are_set(
    workflows: WorkflowStage, github: LoopbackGitHub
) -> None:
    repository = f"{workflows.registry.host}/demo/taken"
    victim(workflows, "taken", repository)
    workflows.new_version("taken", SOURCE)
    for tag in ("champion", "2"):
        push_tiny_image(repository, "another", tag, SOURCE)
    before = workflows.registry.tags(repository)
    for alias, number in {"champion": "1", "next": "2", "stable": "1"}.items():
        workflows.client.set_registered_model_alias("taken", alias, number)
    run = ended(github, by_hand(github, model="taken", version="1"))
    assert ended_in(run) == "Promote aliases"
    assert not has_built(run)
    assert len(annotations(run, "error")) == 1
    assert workflows.registry.tags(repository) == {**before, "stable": before["1"]}
    with workflows.api() as api:
        assert api.version("taken", "1").tags["image.uri"] == f"{repository}@{before['1']}"
