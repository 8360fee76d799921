"""Which programs a runner must have."""

import pytest

from bridge.image import programs as module
from bridge.image.errors import ProgramUnusable
from bridge.image.programs import check_programs
from tests.unit.image.fake_programs import Programs


def have(programs: Programs, skopeo: str = "skopeo version 1.13.3", engine: str = "28.0.4") -> None:
    programs.say("skopeo", f"{skopeo}\n")
    programs.say("docker", f"{engine}\n")


@pytest.mark.parametrize("skopeo", ["1.6.0", "1.13.3 commit: 0f2ab08", "1.21.0-dev", "2.0.0", "unknown"])
def test_a_runner_with_docker_and_a_recent_skopeo_will_do(
    programs: Programs, capsys: pytest.CaptureFixture[str], skopeo: str
) -> None:
    have(programs, f"skopeo version {skopeo}")
    check_programs()
    assert capsys.readouterr().out == f"  skopeo version {skopeo}, Docker 28.0.4\n"


@pytest.mark.parametrize("skopeo", ["0.1.41", "1.4.1", "1.5.2"])
def test_a_skopeo_that_cannot_preserve_digests_is_refused(programs: Programs, skopeo: str) -> None:
    have(programs, f"skopeo version {skopeo}")
    with pytest.raises(ProgramUnusable, match=skopeo) as error:
        check_programs()
    assert "1.6" in error.value.hint


@pytest.mark.parametrize("missing", ["docker", "skopeo"])
def test_a_missing_program_is_named_with_what_to_do(programs: Programs, missing: str) -> None:
    have(programs)
    (programs.folder / missing).unlink()
    with pytest.raises(ProgramUnusable, match=f"^{missing} ") as error:
        check_programs()
    assert error.value.hint


def test_an_engine_that_does_not_respond_is_an_error_of_one_line(programs: Programs) -> None:
    have(programs)
    programs.say("docker", "\n", status=1, err="Cannot connect to the Docker daemon.\nIs it running?\n")
    with pytest.raises(ProgramUnusable) as error:
        check_programs()
    assert "Cannot connect to the Docker daemon. Is it running?" in error.value.message


def test_a_program_that_hangs_is_an_error(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    have(programs)
    program = programs.folder / "docker"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr(module, "_SECONDS", 0.5)
    with pytest.raises(ProgramUnusable, match="docker"):
        check_programs()


def test_no_secret_of_the_step_reaches_them(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    have(programs)
    check_programs()
    assert [env for _, _, env, _ in programs.calls if "secret" in env.values()] == []
    assert len(programs.calls) == 2
