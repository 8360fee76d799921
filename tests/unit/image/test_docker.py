import json
import sys
from pathlib import Path

import pytest

from bridge.image import docker
from bridge.image.docker import ContainerState
from bridge.image.errors import BuildFailed, RegistryError, SmokeTestFailed
from tests.unit.image.fake_programs import Programs

MACHINE = "8000000000 4\n"
SECRETS = {
    "MLFLOW_TRACKING_URI": "https://user:pass@mlflow.example",
    "MLFLOW_TRACKING_PASSWORD": "p1",
    "DOCKER_REGISTRY_PASSWORD": "p2",
    "GITHUB_TOKEN": "p3",
    "ACTIONS_RUNTIME_TOKEN": "p4",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "p5",
    "AWS_SECRET_ACCESS_KEY": "p6",
    "PAYLOAD": "{}",
    "SOME_NEW_SECRET": "p7",
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("secrets")
def test_nothing_of_mlflow_the_registry_or_github_reaches_a_program_that_comes_near_model_code(
    programs: Programs,
) -> None:
    programs.say("uvx")
    programs.say("docker", "0123abc\ndigest: sha256:1 size: 1\n")
    programs.say("docker info", MACHINE)
    docker.build_with_mlflow(Path("model"), "r/iris:7-unlabelled", mlflow_version="3.17.2", python_version="3.11.7")
    docker.add_labels("r/iris:7-unlabelled", {"a": "b"}, tag="r/iris:7")
    container = docker.Container.start("r/iris:7", network=False)
    container.python("pass", timeout=5)
    container.show_log()
    container.remove()
    docker.push("r/iris:7")
    docker.remove("r/iris:7")
    assert len(programs.calls) == 10
    for name, arguments, env, stdin in programs.calls:
        assert not SECRETS.keys() & env.keys(), (name, arguments)
        assert not [value for value in SECRETS.values() if value in " ".join([*arguments, stdin]) and value != "{}"]


def test_the_model_is_built_by_its_own_mlflow_under_its_own_python(programs: Programs) -> None:
    programs.say("uvx")
    docker.build_with_mlflow(Path("/m"), "r/iris:7", mlflow_version="3.17.2", python_version="3.11.7")
    assert programs.calls[0][1] == [
        *("--quiet", "--isolated", "--no-config", "--no-build", "--exclude-newer", docker.PACKAGES_UNTIL),
        *("--python", "3.11", "--from", "mlflow==3.17.2", "mlflow"),
        *("models", "build-docker", "-m", "/m", "-n", "r/iris:7", "--env-manager", "local"),
    ]


def test_labels_are_given_by_arguments_and_never_by_a_script(programs: Programs) -> None:
    programs.say("docker")
    docker.add_labels("r/iris:7-unlabelled", {"mlflow.model.name": 'a"\nRUN x'}, tag="r/iris:7")
    _, arguments, _, stdin = programs.calls[0]
    assert arguments[arguments.index("--label") + 1] == 'mlflow.model.name=a"\nRUN x'
    assert stdin == "FROM r/iris:7-unlabelled\n"


def test_a_failed_build_names_the_program_and_its_status(programs: Programs) -> None:
    programs.say("uvx", status=3)
    with pytest.raises(BuildFailed, match="status 3"):
        docker.build_with_mlflow(Path("/m"), "r/iris:7", mlflow_version="3.17.2", python_version="3.11.7")


@pytest.mark.usefixtures("programs")
def test_a_missing_program_is_named() -> None:
    with pytest.raises(BuildFailed, match="uvx"):
        docker.build_with_mlflow(Path("/m"), "r/iris:7", mlflow_version="3.17.2", python_version="3.11.7")
    with pytest.raises(BuildFailed, match="uv "):
        docker.check_mlflow("3.17.2", "3.11.7")


def test_a_smoke_test_has_no_network_and_one_worker_unless_it_is_let(programs: Programs) -> None:
    programs.say("docker", "0123abc\n")
    programs.say("docker info", MACHINE)
    docker.Container.start("r/iris:7", network=False)
    docker.Container.start("r/iris:7", network=True)
    alone, connected = (call[1] for call in programs.calls if call[1][0] == "run")
    assert alone[alone.index("--network") + 1] == "none"
    assert "--network" not in connected
    for arguments in (alone, connected):
        assert arguments[-3:] == ["--env", "MLFLOW_MODELS_WORKERS=1", "r/iris:7"]
        assert not {"--volume", "-v", "--mount", "--env-file", "--privileged"} & set(arguments)


def test_what_a_job_starts_is_known_by_the_job(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(docker.RUN, "5f")
    programs.say("docker", "0123abc\n")
    programs.say("docker info", MACHINE)
    docker.Container.start("r/iris:7", network=False)
    arguments, environment = next((call[1], call[2]) for call in programs.calls if call[1][0] == "run")
    assert arguments[arguments.index("--label") + 1] == f"{docker.CONTAINER_LABEL}=5f"
    assert environment[docker.RUN] == "5f"


def test_an_engine_that_does_not_answer_fails_the_smoke_test(programs: Programs) -> None:
    programs.say("docker info", "0 0\n", status=1, err="Cannot connect to the Docker daemon")
    with pytest.raises(SmokeTestFailed, match="Cannot connect"):
        docker.Container.start("r/iris:7", network=False)


def test_a_container_that_does_not_start_says_why(programs: Programs) -> None:
    programs.say("docker info", MACHINE)
    programs.say("docker", status=125, err="no space left on device")
    with pytest.raises(SmokeTestFailed, match="no space left on device"):
        docker.Container.start("r/iris:7", network=False)


def test_a_container_that_was_made_and_does_not_start_is_removed(programs: Programs) -> None:
    programs.say("docker info", MACHINE)
    programs.say("docker", "0123abc\n", status=125, err="no such runtime")
    with pytest.raises(SmokeTestFailed, match="no such runtime"):
        docker.Container.start("r/iris:7", network=False)
    assert programs.calls[-1][1] == ["rm", "--force", "--volumes", "0123abc"]


def test_what_a_push_made_is_known_by_its_digest(programs: Programs) -> None:
    programs.say("docker", "abc: Pushed\n7: digest: sha256:5f size: 1234\n")
    assert docker.push("r/iris:7") == "sha256:5f"


def test_a_push_that_fails_is_reported_with_the_registrys_answer(programs: Programs) -> None:
    programs.say("docker", "denied: permission_denied: write_package\n", status=1)
    with pytest.raises(RegistryError, match="write_package"):
        docker.push("r/iris:7")


def test_a_push_without_a_digest_is_no_push(programs: Programs) -> None:
    programs.say("docker", "abc: Pushed\n")
    with pytest.raises(RegistryError):
        docker.push("r/iris:7")


@pytest.mark.parametrize(
    ("state", "words", "memory"),
    [
        (ContainerState(running=False, exit_code=3), ["exit code 3"], False),
        (ContainerState(running=False, exit_code=139), ["SIGSEGV", "exit code 139"], False),
        (ContainerState(running=False, exit_code=255), ["exit code 255"], False),
        (ContainerState(running=False, exit_code=137), ["SIGKILL", "memory"], True),
        (ContainerState(False, 137, out_of_memory=True, memory_limit=2 * 10**9), ["2.0 GB", "exit code 137"], True),
        (ContainerState(running=True, out_of_memory=True), ["memory"], True),
        (ContainerState(running=True), ["running"], False),
    ],
)
def test_the_end_of_a_container_is_described_by_its_exit_code_signal_or_memory(
    state: ContainerState, words: list[str], memory: bool
) -> None:
    assert [word for word in words if word not in state.describe()] == []
    assert state.needs_memory is memory


def test_the_state_is_what_docker_inspect_reports(programs: Programs) -> None:
    state = {"Running": False, "ExitCode": 137, "OOMKilled": True, "Status": "exited"}
    programs.say("docker wait", "137\n")
    programs.say("docker container", json.dumps({"state": state, "memory": 2_000_000_000}))
    assert docker.Container("0123abc").state() == ContainerState(False, 137, True, 2_000_000_000)


def test_a_container_that_is_gone_has_no_state(programs: Programs) -> None:
    programs.say("docker", status=1, err="no such container")
    assert docker.Container("0123abc").state() is None


def test_the_output_of_a_container_is_read_up_to_a_limit(programs: Programs) -> None:
    programs.say("docker", "0123abc\n")
    programs.say("docker info", MACHINE)
    container = docker.Container.start("r/iris:7", network=False)
    programs.say("docker", "x" * 1_000_000)
    _, output = container.python("pass", timeout=30)
    assert len(output) == 65_536


def test_a_container_that_never_answers_is_given_up(programs: Programs) -> None:
    programs.say("docker", "0123abc\n")
    programs.say("docker info", MACHINE)
    container = docker.Container.start("r/iris:7", network=False)
    (programs.folder / "docker").write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n")
    assert container.python("pass", timeout=0.5) == (124, "no response within 0 s")
