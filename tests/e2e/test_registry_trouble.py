"""What goes wrong with a registry, and what comes of it, by the real workflow: see `tests.e2e.workshop`."""

import itertools
import json
import re
import subprocess
import time
from contextlib import ExitStack

from tests.e2e.workshop import Workshop, annotations, by_hand, ended, jobs, steps
from tests.labelled import put
from tests.loopback.github.runs import Run
from tests.relay import relay

ALIASES = [f"alias-{number}" for number in range(10)]
VERSIONS = ("1", "2", "3")
OVERLAPPING = 3
"""Runs at once: each is three jobs' worth of processes."""


def test_a_wrong_password_stops_the_run_in_resolve_with_one_annotation(workshop: Workshop) -> None:
    number = workshop.register("locked")
    with workshop.github(DOCKER_REGISTRY_PASSWORD="not-the-one") as github:
        run = ended(github, by_hand(github, model="locked", version=number))
    assert jobs(run) == {"resolve": "failure", "build": "skipped", "promote": "skipped"}
    (message,) = annotations(run, "error")
    assert message.startswith(f"{workshop.registry.host}: the sign-in as demo failed: ")
    assert "not-the-one" not in run.log
    assert workshop.registry.tags(f"{workshop.registry.host}/demo/locked") == {}
    with workshop.api() as api:
        assert api.version("locked", number).tags["image.status"] == "failed"


def test_a_registry_that_fails_in_the_middle_of_a_push_fails_the_run_and_the_next_one_pushes_what_it_tested(
    workshop: Workshop,
) -> None:
    number = workshop.register("cut-off", size=2_000_000)
    held = f"{workshop.registry.host}/demo/cut-off"
    with relay(workshop.registry.host) as way, workshop.github(host=way.host) as github:
        way.layers, way.manifests = 1, True
        failed = ended(github, by_hand(github, model="cut-off", version=number))
        assert (way.layers_cut, way.manifests_cut > 0) == (1, True)
        assert "Retrying in" in failed.log
        assert steps(failed, "build")["Push the image"] == "failure"
        said = annotations(failed, "error")
        assert len(said) == 1
        assert said[0].startswith(f"{way.host}/demo/cut-off:{number}: the push failed (")
        assert workshop.registry.tags(held) == {}
        way.manifests = False
        again = ended(github, by_hand(github, model="cut-off", version=number))
    assert again.conclusion == "success", again.log[-3000:]
    tags = workshop.registry.tags(held)
    assert set(tags) == {number}
    assert _configuration(workshop, held, number) == _tested(again)
    with workshop.api() as api:
        assert api.version("cut-off", number).tags["image.uri"] == f"{way.host}/demo/cut-off@{tags[number]}"


def test_a_version_that_is_there_is_neither_built_nor_pushed_again(workshop: Workshop) -> None:
    workshop.sign_in()
    name = f"{workshop.registry.host}/demo/there"
    number = workshop.new_version("there", "s3://bucket/m")
    put(name, "there", number, "s3://bucket/m")
    before = workshop.registry.tags(name)
    with workshop.github() as github:
        run = ended(github, by_hand(github, model="there", version=number))
    assert jobs(run) == {"resolve": "success", "build": "skipped", "promote": "success"}
    assert workshop.registry.tags(name) == before


def test_a_dry_run_builds_and_tries_and_writes_nothing_anywhere(workshop: Workshop) -> None:
    number = workshop.register("dry")
    with workshop.github() as github:
        run = ended(github, by_hand(github, model="dry", version=number, push=False))
    assert jobs(run) == {"resolve": "success", "build": "success", "promote": "skipped"}, run.log[-3000:]
    assert steps(run, "build")["Smoke-test the image"] == "success"
    assert steps(run, "build")["Sign in to push"] == "skipped"
    assert "Dry run: " in run.summary
    assert workshop.registry.tags(f"{workshop.registry.host}/demo/dry") == {}
    with workshop.api() as api:
        assert not [tag for tag in api.version("dry", number).tags if tag.startswith("image.")]


def test_ten_aliases_moved_in_a_burst_by_runs_that_overlap_end_where_mlflow_has_them(workshop: Workshop) -> None:
    workshop.sign_in()
    name = f"{workshop.registry.host}/demo/burst"
    for number in VERSIONS:
        assert workshop.new_version("burst", f"s3://bucket/{number}") == number
        put(name, "burst", number, f"s3://bucket/{number}")
    held = workshop.registry.tags(name)
    runs = burst(workshop, "burst", OVERLAPPING)
    assert [run.conclusion for run in runs] == ["success"] * OVERLAPPING, runs[0].log[-3000:]
    assert overlap(runs)
    # One that meets a move at each look gives up; what it leaves is the next run's.
    assert all("changed" in notice for run in runs for notice in annotations(run, "notice"))
    wanted = workshop.client.get_registered_model("burst").aliases
    assert set(wanted) == set(ALIASES)
    assert workshop.registry.tags(name) == {**held, **{alias: held[number] for alias, number in wanted.items()}}


def burst(workshop: Workshop, model: str, count: int) -> list[Run]:
    """Move aliases all the time while `count` GitHubs run the workflow, until the last one begins to promote.

    That one, as the run of the last move's own event would, reads MLflow after the last move.
    """
    with ExitStack() as stack:
        githubs = [stack.enter_context(workshop.github()) for _ in range(count)]
        runs = [by_hand(github, model=model, version="1") for github in githubs]
        for move in itertools.count():
            alias, number = ALIASES[move % len(ALIASES)], VERSIONS[move // 4 % len(VERSIONS)]
            workshop.client.set_registered_model_alias(model, alias, number)
            if move >= len(ALIASES) and all(promotes(github.runs[0]) for github in githubs):
                return [ended(github, run) for github, run in zip(githubs, runs, strict=True)]
            time.sleep(0.05)
    raise AssertionError("not reached")


def promotes(run: Run) -> bool:
    """Tell whether a run has begun to move tags, or will no more."""
    begun = [step for job in run.jobs for step in job.steps if step.name == "Promote aliases" and step.started_at]
    return bool(begun) or run.status == "completed"


def overlap(runs: list[Run]) -> bool:
    """Tell whether there was a moment at which all of them executed."""
    begun = [run.started_at for run in runs if run.started_at]
    return len(begun) == len(runs) and max(begun) < min(run.updated_at for run in runs)


def _tested(run: Run) -> str:
    """Give the id of the image that a run built, and tried after that."""
    built = re.findall(r"built \S+: (sha256:[0-9a-f]{64})", run.log)
    assert len(built) == 1
    return str(built[0])


def _configuration(workshop: Workshop, name: str, tag: str) -> str:
    """Give the digest of the configuration that a tag leads to: the engine's id of that image."""
    registry = workshop.registry
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", "--creds", f"{registry.user}:{registry.password}"]
    done = subprocess.run([*command, f"docker://{name}:{tag}"], check=True, capture_output=True)
    return str(json.loads(done.stdout)["config"]["digest"])
