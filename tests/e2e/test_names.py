"""One model, one repository, by the real workflow: no model's name leads to another model's repository."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.e2e.workshop import Workshop, annotations, by_hand, ended, jobs
from tests.labelled import put
from tests.loopback.github.server import LoopbackGitHub

SOURCE = "s3://bucket/m"


@pytest.fixture(scope="module")
def github(workshop: Workshop) -> Iterator[LoopbackGitHub]:
    with workshop.github() as github:
        yield github


def named(workshop: Workshop, model: str, remainder: str) -> str:
    """Give the repository that earlier releases named after the model."""
    return f"{workshop.registry.host}/demo/{remainder}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def victim(workshop: Workshop, model: str, repository: str) -> dict[str, str]:
    """Have version 1 of the model with its image in the repository; give the tags there."""
    workshop.sign_in()
    assert workshop.new_version(model, SOURCE) == "1"
    put(repository, model, "1", SOURCE)
    return workshop.registry.tags(repository)


def attack(workshop: Workshop, github: LoopbackGitHub, model: str) -> str:
    """Have a version of the model built that the victim has not, with its aliases; give its repository."""
    workshop.register(model)
    number = workshop.register(model)
    for alias in ("champion", "stable"):
        workshop.client.set_registered_model_alias(model, alias, number)
    run = ended(github, by_hand(github, model=model, version=number))
    assert run.conclusion == "success", run.log[-3000:]
    with workshop.api() as api:
        return api.version(model, number).tags["image.uri"].partition("@")[0]


def test_a_model_that_is_named_as_anothers_slug_gets_a_repository_of_its_own(
    workshop: Workshop, github: LoopbackGitHub
) -> None:
    name = "Fraud (EU)"
    repository = named(workshop, name, "fraud-eu")
    before = victim(workshop, name, repository)
    theirs = attack(workshop, github, repository.rpartition("/")[2])
    assert theirs != repository
    assert set(workshop.registry.tags(theirs)) == {"2", "champion", "stable"}
    assert workshop.registry.tags(repository) == before
    # The victim's next version goes where the others are.
    number = workshop.register(name)
    workshop.client.set_registered_model_alias(name, "champion", number)
    run = ended(github, by_hand(github, model=name, version=number))
    assert run.conclusion == "success", run.log[-3000:]
    tags = workshop.registry.tags(repository)
    assert tags == {**before, number: tags[number], "champion": tags[number]}


def test_an_alias_and_a_version_of_another_model_fail_the_run_when_all_other_aliases_are_set(
    workshop: Workshop, github: LoopbackGitHub
) -> None:
    repository = f"{workshop.registry.host}/demo/taken"
    victim(workshop, "taken", repository)
    workshop.new_version("taken", SOURCE)
    for tag in ("champion", "2"):
        put(repository, "another", tag, SOURCE)
    before = workshop.registry.tags(repository)
    for alias, number in {"champion": "1", "next": "2", "stable": "1"}.items():
        workshop.client.set_registered_model_alias("taken", alias, number)
    run = ended(github, by_hand(github, model="taken", version="1"))
    assert jobs(run) == {"resolve": "success", "build": "skipped", "promote": "failure"}
    assert len(annotations(run, "error")) == 1
    assert workshop.registry.tags(repository) == {**before, "stable": before["1"]}
    with workshop.api() as api:
        assert api.version("taken", "1").tags["image.uri"] == f"{repository}@{before['1']}"
