"""A model whose code looks for the run's secrets, while it is installed and while it is asked; its SBOM as well."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from bridge.demo.checkout import copy
from bridge.demo.registry import Registry
from bridge.demo.runs import Run
from bridge.demo.stage import REPOSITORY, Stage, checkout, missing_for_images, remove_images, stage

pytestmark = pytest.mark.filterwarnings("default")  # MLflow warns of its own dependencies

MARK = "sentinel-of-this-run"
SECRETS = {
    "MLFLOW_TRACKING_TOKEN": f"{MARK}-token",
    "MLFLOW_TRACKING_PASSWORD": f"{MARK}-password",
    "AWS_ACCESS_KEY_ID": f"{MARK}-key",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}-secret",
}
SEEK = '''
import os, pathlib

def seek():
    """Look into every environment, and every small file that may be read, but this one."""
    mark = "sentinel-of-" + "this-run"
    found = []
    files = [each for place in ("/run", "/root", "/tmp", "/etc") for each in pathlib.Path(place).rglob("*")]
    for path in [*pathlib.Path("/proc").glob("*/environ"), *files]:
        try:
            if path.is_file() and path.stat().st_size < 1_000_000 and mark.encode() in path.read_bytes():
                found.append(str(path))
        except OSError:
            pass
    names = ("TOKEN", "PASSWORD", "SECRET", "AWS_", "DOCKER_", "GITHUB_", "ACTIONS_", "MLFLOW_TRACKING", "AZURE")
    found += [name for name in os.environ if name.upper().startswith(names) or name.upper().endswith(names)]
    return found
'''  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if lacking := missing_for_images():
        pytest.skip(lacking)
    tree = tmp_path_factory.mktemp("checkout") / "tree"
    copy(checkout(), tree, REPOSITORY)
    caller = tree / ".github/workflows/on-mlflow-event.yml"
    asked = "    with:\n      sbom: true\n      attest: true\n      latest: true\n"
    caller.write_text(caller.read_text().replace("    with:\n", asked))
    with stage(tree, tmp_path_factory.mktemp("stage"), images=True, more_secrets=SECRETS) as running:
        yield running
        if running.registry:
            remove_images(running.registry.host)


@pytest.fixture(scope="module")
def registry(parts: Stage) -> Registry:
    assert parts.registry is not None
    return parts.registry


@pytest.fixture(scope="module")
def seeker(parts: Stage, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Register version 1 of a model that looks for secrets, without a word to the bridge; give its name."""
    mlflow.set_tracking_uri(parts.mlflow.url)
    client = mlflow.MlflowClient()
    for webhook in parts.webhooks:
        client.delete_webhook(webhook)
    package = tmp_path_factory.mktemp("package") / "seeker"
    package.mkdir()
    (package / "seeker.py").write_text(SEEK)
    (package / "setup.py").write_text(
        SEEK + "\nfrom setuptools import setup\n"
        "print('FOUND AT BUILD:', seek())\nopen('/found-at-build', 'w').write(repr(seek()))\n"
        "setup(name='seeker', version='1.0', py_modules=['seeker'])\n"
    )
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model", python_model=_model(), artifacts={"seeker": str(package)}, input_example=["x"],
            pip_requirements=["cloudpickle", "setuptools", "/opt/ml/model/artifacts/seeker"],
            registered_model_name="seeker",
        )  # fmt: skip
    return "seeker"


def _model() -> Any:
    class Seeks(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not followed
        def load_context(self, context: Any) -> None:
            try:
                import seeker  # type: ignore[import-not-found]  # is installed in the image alone
            except ImportError:  # where the model is logged
                return
            print("FOUND WHILE LOADING:", seeker.seek(), flush=True)

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # hints mean inputs
            try:
                import seeker
            except ImportError:
                return ["not in the image"]
            return [json.dumps(seeker.seek())]

    return Seeks()


def by_hand(parts: Stage, **inputs: Any) -> Run:
    workflow = next(each for each in parts.github.workflows if each.path.endswith("on-mlflow-event.yml"))
    before = len(parts.github.runs)
    parts.github.workflow_dispatch(workflow, {"ref": "main", "inputs": inputs})
    return parts.github.wait(parts.github.wait_for_runs(before + 1, 60.0)[0], 900.0)


def steps(run: Run, job: str) -> dict[str, str | None]:
    return {step.name: step.conclusion for each in run.jobs if each.name.endswith(job) for step in each.steps}


def tags(parts: Stage, name: str) -> dict[str, str]:
    with parts.api() as api:
        return dict(api.version(name, "1").tags)


def test_a_dry_run_builds_and_tries_and_writes_nothing_anywhere(parts: Stage, registry: Registry, seeker: str) -> None:
    run = by_hand(parts, model=seeker, version="1", push=False)
    assert run.conclusion == "success", run.log[-3000:]
    assert steps(run, "build")["Smoke-test the image"] == "success"
    assert steps(run, "build")["Sign in to the registry, to push"] == "skipped"
    assert "Dry run: " in run.summary
    assert registry.tags(f"{registry.host}/demo/{seeker}") == {}
    assert not [tag for tag in tags(parts, seeker) if tag.startswith("image.")]


def test_the_image_comes_with_an_sbom_and_attestations_by_its_digest_and_with_latest(
    parts: Stage, registry: Registry, seeker: str
) -> None:
    run = by_hand(parts, model=seeker, version="1", push=True)
    assert run.conclusion == "success", run.log[-3000:]
    name = f"{registry.host}/demo/{seeker}"
    held = registry.tags(name)
    assert held == {"1": held["1"], "latest": held["1"]}
    assert tags(parts, seeker)["image.uri"] == f"{name}@{held['1']}"
    assert run.log.count(f"attested {name}@{held['1']}") == 2
    assert steps(run, "build")["Keep the SBOM"] == "success"
    assert f"gh attestation verify oci://{name}@{held['1']} --repo {REPOSITORY}" in run.summary


def test_what_the_models_code_finds_is_nothing(parts: Stage, seeker: str) -> None:
    log = "".join(run.log for run in parts.github.runs)
    assert "/invocations answers" in log
    for line in log.splitlines():
        if "FOUND " in line or "/invocations answers" in line:
            assert line.rstrip().endswith("[]") or '"[]"' in line, line
    assert "FOUND WHILE LOADING: []" in log or '"[]"' in log


def test_no_secret_is_in_any_layer_label_variable_log_or_summary(
    parts: Stage, registry: Registry, seeker: str, tmp_path: Path
) -> None:
    secrets = [registry.password, *SECRETS.values()]
    for run in parts.github.runs:
        for text in (run.log, run.summary, json.dumps([str(each) for job in run.jobs for each in job.annotations])):
            assert not [secret for secret in secrets if secret in text]
    with parts.api() as api:
        assert not [secret for secret in secrets if secret in json.dumps(api.version(seeker, "1").tags)]
    name = f"{registry.host}/demo/{seeker}:1"
    login = f"{registry.user}:{registry.password}"
    target = f"dir:{tmp_path / 'image'}"
    command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--src-creds", login, f"docker://{name}", target]
    subprocess.run(command, check=True)
    at_build = []
    for blob in (tmp_path / "image").iterdir():
        data = blob.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in data], blob.name
        for member, content in _files(data):
            assert not [secret for secret in secrets if secret.encode() in content], member
            if member.endswith("found-at-build"):
                at_build.append(content)
    assert at_build == [b"[]"]


def _files(blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Give the files in a layer, none where the blob is no layer."""
    try:
        archive = tarfile.open(fileobj=io.BytesIO(blob), mode="r:*")  # noqa: SIM115  closed below
    except tarfile.TarError:
        return
    with archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file:
                yield member.name, file.read()
