import gzip
import hashlib
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from bridge.image.builders.layered import assemble, engine, remote
from bridge.image.builders.layered.plan import Base, Layer, LayeredPlan
from bridge.image.builders.layered.requirements import Requirements
from bridge.image.errors import BuildFailed
from bridge.image.metadata import ModelMetadata
from tests.unit.image.fake_programs import Programs

METADATA = ModelMetadata("3.17.2", "3.11.7", has_serving_example=True)
PLAN = LayeredPlan(
    METADATA, Requirements(("mlflow==3.17.2", "numpy"), ("numpy<3",)), packages=("libgomp1",), wheels_only=True
)


def test_a_plan_is_read_from_the_models_folder(tmp_path: Path) -> None:
    mlmodel = {"flavors": {"python_function": {"loader_module": "mlflow.sklearn"}}}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(mlmodel), encoding="utf-8")
    env = {"dependencies": ["-r requirements.txt"]}
    (tmp_path / "python_env.yaml").write_text(yaml.safe_dump(env), encoding="utf-8")
    (tmp_path / "requirements.txt").write_text("numpy==2.4.6\n", encoding="utf-8")
    said = assemble.plan(tmp_path, METADATA)
    assert said.requirements.lines == ("mlflow==3.17.2", "numpy==2.4.6")
    assert said.modules == ("mlflow.sklearn",)


def _hand_out(monkeypatch: pytest.MonkeyPatch, folder: Path, fill: Callable[[Path], object]) -> list[Layer]:
    """Take what `fill` writes for what a build has handed out."""

    def install(_plan: object, made: Path, _secrets: object) -> None:
        made.mkdir()
        fill(made)

    monkeypatch.setattr(engine, "install", install)
    monkeypatch.setattr(remote, "base_layers", lambda *_: [])
    return assemble._requirements(PLAN, Base("python", ()), folder, None)


def test_the_digests_of_a_layer_are_read_from_it_whatever_the_build_wrote_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b"lay") + gzip.compress(b"er")

    def fill(made: Path) -> None:
        (made / "layer-0.tar.gz").write_bytes(packed)
        (made / "layer-0.json").write_text('{"diff_id": "sha256:of-the-base", "digest": "sha256:other"}')

    (layer,) = _hand_out(monkeypatch, tmp_path, fill)
    assert layer == Layer(_sha256(b"layer"), _sha256(packed), len(packed))
    assert (tmp_path / layer.digest.removeprefix("sha256:")).read_bytes() == packed


@pytest.mark.parametrize(
    "content", [b"layer", gzip.compress(b"layer", mtime=0)[:-4], gzip.compress(b"layer", mtime=0) + b"more"]
)
def test_what_is_no_layer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with pytest.raises(BuildFailed):
        _hand_out(monkeypatch, tmp_path, lambda made: (made / "layer-0.tar.gz").write_bytes(content))


def test_no_link_that_the_build_hands_out_is_followed_on_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "of-the-runner"
    target.write_bytes(gzip.compress(b"layer"))
    with pytest.raises(BuildFailed):
        _hand_out(monkeypatch, tmp_path, lambda made: (made / "layer-0.tar.gz").symlink_to(target))
    assert target.exists()


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_build_sees_the_recipe_the_plan_and_uv_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    context = tmp_path / "context"
    context.mkdir()
    engine._fill(context, PLAN)
    assert {each.name for each in context.iterdir()} == {
        "Dockerfile", "install.sh", "pack.sh", "trim.py", "compile.py", "layers.py", "uv", "requirements.txt",
        "constraints.txt", "packages", "compile.json", "wheels-only",
    }  # fmt: skip
    assert (context / "requirements.txt").read_text(encoding="utf-8") == "mlflow==3.17.2\nnumpy\n"
    assert (context / "constraints.txt").read_text(encoding="utf-8") == "numpy<3\n"
    assert (context / "uv").stat().st_mode & stat.S_IXUSR


def test_a_runner_without_uv_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildFailed, match="uv is not installed"):
        engine._fill(tmp_path, PLAN)


def test_a_secret_reaches_docker_by_its_environment_and_neither_by_its_command_nor_by_a_file(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("uv", "docker"):
        programs.say(name)
    engine.install(PLAN, tmp_path / "made", {"index-url": "https://user:hush@private", "ca": "certificate"})
    ((_, arguments, environment, _),) = programs.calls
    assert "hush" not in " ".join(arguments)
    secrets = [word for before, word in pairwise(arguments) if before == "--secret"]
    given = {word.partition(",env=")[0]: environment[word.partition(",env=")[2]] for word in secrets}
    assert given == {"id=index-url": "https://user:hush@private", "id=ca": "certificate"}


def test_a_secret_that_no_build_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="secret named"):
        engine.install(PLAN, tmp_path / "made", {"token": "x"})


def test_no_step_of_the_dockerfile_takes_a_secret_as_an_argument() -> None:
    lines = (Path(engine.__file__).parent / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("ARG", "ENV"))] == ["ARG BASE"]
