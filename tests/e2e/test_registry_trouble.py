"""What goes wrong with a registry, and what comes of it, by the real workflow: see `tests.e2e.workflow_stage`."""

import itertools
import json
import re
import subprocess
import time
from contextlib import ExitStack

from tests.e2e.workflow_stage import WorkflowStage, annotations, by_hand, ended, ended_in, has_built, steps
from tests.flaky_proxy import flaky_proxy
from tests.loopback.github.runs import Run
from tests.tiny_images import push_tiny_image

ALIASES = [f"alias-{number}" for number in range(10)]
VERSIONS = ("1", "2", "3")
OVERLAPPING = 3
"""Runs at once."""


def test_a_wrong_password_stops_the_run_before_anything_else_with_one_annotation(workflows: WorkflowStage) -> None:
    number = workflows.register("locked")
    with workflows.github(DOCKER_REGISTRY_PASSWORD="not-the-one") as github:
        run = ended(github, by_hand(github, model="locked", version=number))
    assert ended_in(run) == "Sign in to read"
    (message,) = annotations(run, "error")
    assert message.startswith(f"{workflows.registry.host}: the sign-in as demo failed: ")
    assert "not-the-one" not in run.log
    assert workflows.registry.tags(f"{workflows.registry.host}/demo/locked") == {}
    with workflows.api() as api:
        assert api.version("locked", number).tags["image.status"] == "failed"


def test_a_registry_that_fails_in_the_middle_of_a_push_fails_the_run_and_the_next_one_pushes_what_it_tested(
    workflows: WorkflowStage,
) -> None:
    number = workflows.register("cut-off", size=2_000_000)
    held = f"{workflows.registry.host}/demo/cut-off"
    with flaky_proxy(workflows.registry.host) as way, workflows.github(host=way.host) as github:
        way.layers, way.manifests = 1, True
        failed = ended(github, by_hand(github, model="cut-off", version=number))
        assert (way.layers_cut, way.manifests_cut > 0) == (1, True)
        assert "Retrying in" in failed.log
        assert steps(failed)["Push the image"] == "failure"
        said = annotations(failed, "error")
        assert len(said) == 1
        assert said[0].startswith(f"{way.host}/demo/cut-off:{number}: the push failed (")
        assert workflows.registry.tags(held) == {}
        way.manifests = False
        again = ended(github, by_hand(github, model="cut-off", version=number))
    assert again.conclusion == "success", again.failure
    tags = workflows.registry.tags(held)
    assert set(tags) == {number}
    assert _configuration(workflows, held, number) == _tested(again)
    with workflows.api() as api:
        assert api.version("cut-off", number).tags["image.uri"] == f"{way.host}/demo/cut-off@{tags[number]}"


def test_a_version_that_is_there_is_neither_built_nor_pushed_again(workflows: WorkflowStage) -> None:
    workflows.sign_in()
    name = f"{workflows.registry.host}/demo/there"
    number = workflows.new_version("there", "s3://bucket/m")
    push_tiny_image(name, "there", number, "s3://bucket/m")
    before = workflows.registry.tags(name)
    with workflows.github() as github:
        run = ended(github, by_hand(github, model="there", version=number))
    assert run.conclusion == "success", run.failure
    assert not has_built(run)
    assert workflows.registry.tags(name) == before


def test_a_dry_run_builds_and_tries_and_writes_nothing_anywhere(workflows: WorkflowStage) -> None:
    number = workflows.register("dry")
    with workflows.github() as github:
        run = ended(github, by_hand(github, model="dry", version=number, push=False))
    assert run.conclusion == "success", run.failure
    assert has_built(run)
    assert steps(run)["Sign in to write"] == steps(run)["Upload the result"] == "skipped"
    assert "Dry run: " in run.summary
    assert workflows.registry.tags(f"{workflows.registry.host}/demo/dry") == {}
    with workflows.api() as api:
        assert not [tag for tag in api.version("dry", number).tags if tag.startswith("image.")]


def test_ten_aliases_moved_in_a_burst_by_runs_that_overlap_end_where_mlflow_has_them(workflows: WorkflowStage) -> None:
    workflows.sign_in()
    name = f"{workflows.registry.host}/demo/burst"
    for number in VERSIONS:
        assert workflows.new_version("burst", f"s3://bucket/{number}") == number
        push_tiny_image(name, "burst", number, f"s3://bucket/{number}")
    held = workflows.registry.tags(name)
    runs = burst(workflows, "burst", OVERLAPPING)
    assert [run.conclusion for run in runs] == ["success"] * OVERLAPPING, runs[0].log[-3000:]
    assert overlap(runs)
    # One that meets a move at each look gives up; what it leaves is the next run's.
    assert all("changed" in notice for run in runs for notice in annotations(run, "notice"))
    wanted = workflows.client.get_registered_model("burst").aliases
    assert set(wanted) == set(ALIASES)
    assert workflows.registry.tags(name) == {**held, **{alias: held[number] for alias, number in wanted.items()}}


def burst(workflows: WorkflowStage, model: str, count: int) -> list[Run]:
    """Move aliases all the time while `count` GitHubs run the workflow, until the last one begins to promote.

    That one, as the run of the last move's own event would, reads MLflow after the last move.
    """
    with ExitStack() as stack:
        githubs = [stack.enter_context(workflows.github()) for _ in range(count)]
        runs = [by_hand(github, model=model, version="1") for github in githubs]
        for move in itertools.count():
            alias, number = ALIASES[move % len(ALIASES)], VERSIONS[move // 4 % len(VERSIONS)]
            workflows.client.set_registered_model_alias(model, alias, number)
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


def _configuration(workflows: WorkflowStage, name: str, tag: str) -> str:
    """Give the digest of the configuration that a tag leads to: the engine's id of that image."""
    registry = workflows.registry
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", "--creds", f"{registry.user}:{registry.password}"]
    done = subprocess.run([*command, f"docker://{name}:{tag}"], check=True, capture_output=True)
    return str(json.loads(done.stdout)["config"]["digest"])
