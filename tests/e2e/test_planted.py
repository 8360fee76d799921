"""Images that somebody else pushes while a run is on its way, by the real workflow: labels can be copied.

Such an image is neither attested nor written into MLflow; nor does a tag that somebody sets in MLflow stop a build.
"""

import json
import re
import time
from pathlib import Path

from bridge.demo.runs import Run
from tests.e2e.workshop import Workshop, by_hand, ended, jobs, steps, tree_with
from tests.labelled import put


def tree_where(folder: Path, step: str, script: str) -> Path:
    """Give a checkout with SBOM and attestation, in which somebody runs the script just before that step."""
    tree = tree_with(folder, sbom="true", attest="true")
    called = tree / ".github/workflows/model-image.yml"
    before, name, after = called.read_text().partition(f"      - name: {step}\n")
    assert name
    called.write_text(f"{before}      - name: Meanwhile\n        run: {script}\n{name}{after}")
    return tree


def plant(workshop: Workshop, name: str, number: str) -> tuple[str, str]:
    """Make an image with a version's labels; give its digest, and the command that puts it at the version's tag."""
    workshop.sign_in()
    registry = workshop.registry
    elsewhere = f"{registry.host}/elsewhere/{name}"
    with workshop.api() as api:
        put(elsewhere, name, number, api.version(name, number).source or "")
    login = f"{registry.user}:{registry.password}"
    command = f"skopeo copy --src-tls-verify=false --dest-tls-verify=false --src-creds {login} --dest-creds {login}"
    return (
        registry.tags(elsewhere)[number],
        f"{command} docker://{elsewhere}:{number} docker://{registry.host}/demo/{name}:{number}",
    )


def attested(run: Run) -> set[str]:
    return set(re.findall(r"attested \S+@(sha256:[0-9a-f]{64})", run.log))


def tags(workshop: Workshop, name: str, number: str) -> dict[str, str]:
    with workshop.api() as api:
        return dict(api.version(name, number).tags)


def test_an_image_that_is_pushed_between_build_and_push_is_neither_attested_nor_written_into_mlflow(
    workshop: Workshop, tmp_path: Path
) -> None:
    number = workshop.register("planted-before")
    digest, script = plant(workshop, "planted-before", number)
    with workshop.github(tree=tree_where(tmp_path / "tree", "Push the image", script)) as github:
        run = ended(github, by_hand(github, model="planted-before", version=number))
    assert run.conclusion == "success", run.log[-3000:]
    assert workshop.registry.tags(f"{workshop.registry.host}/demo/planted-before") == {number: digest}
    assert attested(run) == set()
    ran = steps(run, "build")
    assert (ran["Write the SBOM"], ran["Write the image into MLflow"]) == ("skipped", "skipped")
    said = tags(workshop, "planted-before", number)
    assert said["image.status"] != "pushed"
    assert digest not in json.dumps(said)


def test_an_image_that_is_pushed_between_push_and_promotion_is_neither_attested_nor_written_into_mlflow(
    workshop: Workshop, tmp_path: Path
) -> None:
    number = workshop.register("planted-after")
    digest, script = plant(workshop, "planted-after", number)
    with workshop.github(tree=tree_where(tmp_path / "tree", "Promote the aliases", script)) as github:
        run = ended(github, by_hand(github, model="planted-after", version=number))
    assert run.conclusion == "success", run.log[-3000:]
    name = f"{workshop.registry.host}/demo/planted-after"
    assert workshop.registry.tags(name) == {number: digest}
    (ours,) = attested(run)
    assert ours != digest
    assert tags(workshop, "planted-after", number)["image.uri"] == f"{name}@{ours}"


def test_a_version_whose_tags_in_mlflow_claim_an_image_meanwhile_is_built_all_the_same(
    workshop: Workshop, tmp_path: Path
) -> None:
    number = workshop.register("claimed")
    name = f"{workshop.registry.host}/demo/claimed"
    said = {"image.status": "pushed", "image.uri": f"{name}@sha256:{'0' * 64}"}
    tag = f"curl -fsS {workshop.mlflow.url}/api/2.0/mlflow/model-versions/set-tag --json"
    values = [{"name": "claimed", "version": number, "key": key, "value": value} for key, value in said.items()]
    script = " && ".join(f"{tag} '{json.dumps(each)}'" for each in values)
    tree = tree_where(tmp_path / "tree", "Download the model", f"|\n          {script}")
    with workshop.github(tree=tree) as github:
        run = ended(github, by_hand(github, model="claimed", version=number))
    assert run.conclusion == "success", run.log[-3000:]
    assert steps(run, "build")["Meanwhile"] == "success"
    held = workshop.registry.tags(name)
    assert tags(workshop, "claimed", number)["image.uri"] == f"{name}@{held[number]}"


def test_two_runs_of_one_version_side_by_side_end_well_and_only_the_first_vouches_for_its_image(
    workshop: Workshop, tmp_path: Path
) -> None:
    number = workshop.register("twice")
    workshop.client.set_registered_model_alias("twice", "champion", number)
    reached, go = tmp_path / "reached", tmp_path / "go"
    waits = tree_where(tmp_path / "waits", "Push the image", f"touch {reached}; until [ -e {go} ]; do sleep 0.1; done")
    with workshop.github(tree=waits) as late, workshop.github(tree=tree_with(tmp_path / "tree", attest="true")) as soon:
        second = by_hand(late, model="twice", version=number)
        while not reached.exists() and late.runs[0].status != "completed":
            time.sleep(0.1)
        first = ended(soon, by_hand(soon, model="twice", version=number))
        go.touch()
        second = ended(late, second)
    for run in (first, second):
        assert jobs(run) == {"resolve": "success", "build": "success", "promote": "success"}, run.log[-3000:]
    name = f"{workshop.registry.host}/demo/twice"
    held = workshop.registry.tags(name)
    assert held == dict.fromkeys([number, "champion"], held[number])
    assert tags(workshop, "twice", number)["image.uri"] == f"{name}@{held[number]}"
    assert (attested(first), attested(second)) == ({held[number]}, set())
