"""One model, one repository, by the real workflow: nobody gets into another model's by what a model is called."""

import hashlib
from collections.abc import Iterator

import pytest

from bridge.demo.github import LoopbackGitHub
from tests.e2e.workshop import Workshop, by_hand, ended, jobs
from tests.labelled import put
from tests.unit.test_naming import SAME_SIX_DIGITS

SOURCE = "s3://bucket/m"


@pytest.fixture(scope="module")
def github(workshop: Workshop) -> Iterator[LoopbackGitHub]:
    with workshop.github() as github:
        yield github


def named(workshop: Workshop, model: str, remainder: str, digits: int) -> str:
    """Give the repository that has so many digits of the name's hash."""
    return f"{workshop.registry.host}/demo/{remainder}-{hashlib.sha256(model.encode()).hexdigest()[:digits]}"


def victim(workshop: Workshop, github: LoopbackGitHub, model: str, repository: str) -> dict[str, str]:
    """Have version 1 of the model with its image in the repository, promoted; give the tags there."""
    workshop.sign_in()
    assert workshop.new_version(model, SOURCE) == "1"
    put(repository, model, "1", SOURCE)
    workshop.client.set_registered_model_alias(model, "champion", "1")
    run = ended(github, by_hand(github, model=model, version="1"))
    assert jobs(run) == {"resolve": "success", "build": "skipped", "promote": "success"}, run.log[-3000:]
    tags = workshop.registry.tags(repository)
    assert tags == dict.fromkeys(["1", "champion"], tags["1"])
    return tags


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


@pytest.mark.parametrize(
    ("name", "remainder", "digits"), [("Fraud (EU)", "fraud-eu", 6), ("Churn (EU)", "churn-eu", 16)]
)
def test_a_model_that_is_named_as_anothers_slug_gets_a_repository_of_its_own(
    workshop: Workshop, github: LoopbackGitHub, name: str, remainder: str, digits: int
) -> None:
    repository = named(workshop, name, remainder, digits)
    before = victim(workshop, github, name, repository)
    theirs = attack(workshop, github, repository.rpartition("/")[2])
    assert theirs != repository
    assert set(workshop.registry.tags(theirs)) == {"2", "champion", "stable"}
    assert workshop.registry.tags(repository) == before
    # The victim's next version goes where the others are.
    number = workshop.register(name)
    run = ended(github, by_hand(github, model=name, version=number))
    assert run.conclusion == "success", run.log[-3000:]
    assert set(workshop.registry.tags(repository)) == {*before, number}


def test_a_model_whose_hash_begins_like_anothers_gets_a_repository_of_its_own(
    workshop: Workshop, github: LoopbackGitHub
) -> None:
    model, attacker = SAME_SIX_DIGITS
    repository = named(workshop, model, "churn-model-eu-weekly", 6)
    assert repository == named(workshop, attacker, "churn-model-eu-weekly", 6)
    before = victim(workshop, github, model, repository)
    assert attack(workshop, github, attacker) != repository
    assert workshop.registry.tags(repository) == before


def test_where_two_models_are_in_one_repository_neither_goes_on_there(
    workshop: Workshop, github: LoopbackGitHub
) -> None:
    name = "Shared (EU)"
    repository = named(workshop, name, "shared-eu", 6)
    number = workshop.register(name)
    workshop.sign_in()
    put(repository, name, "7", SOURCE)
    put(repository, "another", "8", SOURCE)
    before = workshop.registry.tags(repository)
    run = ended(github, by_hand(github, model=name, version=number))
    assert run.conclusion == "success", run.log[-3000:]
    assert set(workshop.registry.tags(named(workshop, name, "shared-eu", 16))) == {number}
    assert workshop.registry.tags(repository) == before


@pytest.mark.parametrize("tag", ["champion", "2"])
def test_an_alias_or_a_version_of_another_model_fails_the_run_when_all_other_aliases_are_set(
    workshop: Workshop, github: LoopbackGitHub, tag: str
) -> None:
    name = f"taken-{tag}"
    repository = f"{workshop.registry.host}/demo/{name}"
    workshop.sign_in()
    assert [workshop.new_version(name, SOURCE) for _ in range(2)] == ["1", "2"]
    put(repository, name, "1", SOURCE)
    put(repository, "another", tag, SOURCE)
    before = workshop.registry.tags(repository)
    workshop.client.set_registered_model_alias(name, "champion", "2" if tag == "2" else "1")
    workshop.client.set_registered_model_alias(name, "stable", "1")
    run = ended(github, by_hand(github, model=name, version="1"))
    assert jobs(run) == {"resolve": "success", "build": "skipped", "promote": "failure"}
    assert workshop.registry.tags(repository) == {**before, "stable": before["1"]}
    with workshop.api() as api:
        assert api.version(name, "1").tags["image.uri"] == f"{repository}@{before['1']}"
