"""500 payloads of somebody who has the webhook secret, with a real MLflow that has models and aliases of those names.

Each goes through resolve and promote as the runner runs them. Everything that they do outside is checked: programs that
are started, references that are read and written, outputs, and lines that the runner could read as commands.
"""

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bridge.core.errors import BridgeError
from bridge.image.labels import MODEL, RECIPE, RECIPE_LABEL, SOURCE, VERSION
from bridge.image.naming import former_slug, slug
from bridge.image.settings import ImageSettings
from bridge.image.steps.promote import promote
from bridge.image.steps.resolve import resolve
from bridge.image.workspace import Workspace
from tests.loopback.servers import MlflowServer

from .conftest import Create

HOST = "registry.example"
TRICKS = [
    "$(touch owned)", "`touch owned`", "; touch owned #", "&& touch owned", "| tee owned", "> owned", "$IFS$9touch",
    "'\"; touch owned; '", "\ntouch owned\n", "\\\ntouch owned", "${{ secrets.DOCKER_REGISTRY_PASSWORD }}",
    "${{ toJSON(env) }}", "${{ github.token }}", "}}${{ 1 }}", "::set-output name=build::true", "\n::add-mask::x",
    "\n::stop-commands::x", "##[set-env name=PATH]owned", "%0A::error::owned", "build<<E\ntrue\nE", "EOF\nbuild=true",
    "../../other", "..", "/etc/passwd", "iris/../../other", "..%2f..%2fother", "other/iris", "evil.example/iris",
    "ghcr.io/other/iris:1", "iris@sha256:" + "0" * 64, "iris:latest", "docker://evil.example/iris", "--all",
    "--authfile=/etc/passwd", "-v/:/host", "@/etc/passwd", "sha256-abc", "7", "1.0", "latest", "latest ",
    "- !!python/object/apply:os.system ['touch owned']", "&a [*a]", "a: {b: c", "{{7*7}}", "\r\nX-Injected: 1",
    "' OR 1=1 --", "<script>alert(1)</script>", "\u202eirис\u0000", "x" * 4000,
]  # fmt: skip


def payload(inputs: object = None, more: dict[str, Any] | None = None, **model: object) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": 1, "dispatch_id": "01J", "model": model, "inputs": inputs or {}}
    return content | (more or {})


SHAPES: list[Callable[[str], dict[str, Any]]] = [
    lambda trick: payload(name=trick, version="1"),
    lambda trick: payload(name=f"iris{trick}", version="1"),
    lambda trick: payload(name="iris", version=trick),
    lambda trick: payload(name="iris", version="1", alias=trick),
    lambda trick: payload(name="iris", version=None, alias=trick),
    lambda trick: payload(name=trick, version=None, alias=trick),
    lambda trick: payload({"builder": trick}, name="iris", version="1"),
    lambda trick: payload({trick: "x"}, name="iris", version="1"),
    lambda trick: payload({"smoke-test": trick}, name="iris", version="1"),
    lambda trick: payload(
        None, {"registry": trick, "namespace": trick, "force": True, "runs-on": trick}, name="iris", version="1"
    ),
]


class Skopeo:
    """Replaces the program: every version of every model has its image; records all calls."""

    def __init__(self) -> None:
        self.models: dict[str, str] = {}
        self.calls: list[list[str]] = []

    def run(self, command: list[str], **_options: object) -> "subprocess.CompletedProcess[str]":
        self.calls.append(command)
        name, _, tag = command[-1].removeprefix(f"docker://{HOST}/demo/").partition(":")
        if "list-tags" in command:
            return self._answer({"Tags": ["1"] if name in self.models else []})
        if "--raw" in command:
            return self._answer({"config": {"digest": "sha256:c", "size": 1}, "layers": []})
        if "inspect" in command and tag != "1":
            return subprocess.CompletedProcess(command, 1, "", "manifest unknown")
        labels = {MODEL: self.models.get(name, ""), VERSION: "1", SOURCE: "s3://bucket/m", RECIPE_LABEL: RECIPE}
        return self._answer({"Digest": "sha256:1", "Labels": labels})

    def _answer(self, value: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess([], 0, json.dumps(value), "")


@pytest.fixture(scope="module")
def models(create: Create) -> dict[str, str]:
    """Register the tricks that MLflow accepts as models and as aliases; return the models by slug."""
    registered = {}
    for name in ["iris", *TRICKS, *(f"iris{trick}" for trick in TRICKS)]:
        with suppress(httpx2.HTTPStatusError):  # MLflow refuses some
            create("registered-models/create", name=name)
            create("model-versions/create", name=name, source="s3://bucket/m")
            registered[slug(name)] = name
    for trick in TRICKS:
        with suppress(httpx2.HTTPStatusError):
            create("registered-models/alias", name="iris", alias=trick, version="1")
    return registered


@pytest.fixture
def skopeo(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Skopeo:
    skopeo = Skopeo()
    skopeo.models = models
    monkeypatch.setattr("bridge.image.steps.resolve.check_programs", lambda: None)
    monkeypatch.setattr(subprocess, "run", skopeo.run)  # the steps start nothing else by it
    return skopeo


def settings(mlflow: MlflowServer, content: dict[str, Any], folder: Path) -> ImageSettings:
    return ImageSettings(
        payload=json.dumps(content),
        docker_registry=HOST,
        docker_namespace="demo",
        docker_config=folder,
        mlflow_tracking_uri=mlflow.url,
        github_repository="owner/name",
        runner_temp=folder,
    )


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_no_payload_runs_a_command_or_reaches_another_repository_or_tag(
    shape: int,
    mlflow_server: MlflowServer,
    skopeo: Skopeo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    passed, reasons = 0, []
    for trick in TRICKS:
        content = SHAPES[shape](trick)
        outputs.unlink(missing_ok=True)
        skopeo.calls.clear()
        workspace = Workspace(tmp_path / "mlflow-bridge")
        for step in (resolve, promote):
            try:
                step(settings(mlflow_server, content, tmp_path), workspace)
            except BridgeError as error:
                reasons.append(str(error))
                break
            passed += 1
        _check_references(skopeo.calls, content)
        _check_outputs(outputs, content)
        _check_log(capsys.readouterr().out, content)
    assert {path.name for path in tmp_path.iterdir()} <= {"outputs", "summary", "mlflow-bridge"}
    assert not [reason for reason in reasons if len(reason.splitlines()) != 1]
    assert passed or shape in (2, 6, 7, 8), "no payload was accepted, so nothing was tested"


def _check_references(calls: list[list[str]], content: dict[str, Any]) -> None:
    """Only skopeo was called, only on the repository of the model, and without options from names.

    The model's repository of earlier releases is listed and read, and never written.
    """
    name = content["model"]["name"]
    repository = re.escape(f"docker://{HOST}/demo/{slug(name)}")
    former = re.escape(f"docker://{HOST}/demo/{former_slug(name)}")
    for command in calls:
        program, *arguments = command
        assert program == "skopeo", content
        if "copy" not in command and re.fullmatch(rf"{former}(:[0-9]+)?", command[-1]):
            continue
        for reference in [argument for argument in arguments if argument.startswith("docker:")]:
            assert re.fullmatch(rf"{repository}(:[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}|@sha256:[0-9a-f]+)", reference), (
                content
            )
        options = {argument for argument in arguments if argument.startswith("-")}
        assert options <= {
            "--override-os", "--override-arch", "--no-tags", "--raw", "--quiet", "--all", "--preserve-digests"
        }, content  # fmt: skip
        if "copy" in command:
            tag = command[-1].rpartition(":")[2]
            assert not tag.isdecimal(), content
            assert not tag.startswith("sha256-"), content


def _check_outputs(file: Path, content: dict[str, Any]) -> None:
    if not file.exists():
        return
    lines = file.read_text().splitlines()
    names, values = [line.partition("<<")[0] for line in lines[::3]], lines[1::3]
    assert names[:6] == ["version", "slug", "build", "layered", "image", "digest"], content
    reference = rf"{HOST}/demo/[a-z0-9._-]{{1,120}}@sha256:1"
    assert re.fullmatch(rf"1 [a-z0-9._-]{{1,120}} false false {reference} sha256:1", " ".join(values[:6])), content
    assert names[6:] in ([], ["aliases"]), content


def _check_log(log: str, content: dict[str, Any]) -> None:
    for line in log.split("\n"):
        assert re.match(r"::(notice|error) title=[A-Za-z ]+::", line) or not line.startswith("::"), content
        assert "##[" not in line or line.startswith("::"), content
