"""Every command of the README is run by the test that `RUN_IN` names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RUN_IN = {
    "make demo": "tests/e2e/test_demo.py",
    "make demo KEEP=1": "tests/integration/test_demo.py",
    ".venv/bin/mlflow-bridge workflow init": "tests/integration/test_setup.py",
    ".venv/bin/mlflow-bridge serve": "tests/integration/test_setup.py",
    ".venv/bin/mlflow-bridge webhook create": "tests/integration/test_setup.py",
    ".venv/bin/mlflow-bridge doctor": "tests/integration/test_setup.py",
    ".venv/bin/mlflow-bridge deliveries list": "tests/integration/test_commands.py",
    "make test": "what runs this test",
}


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    text = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    commands = set(re.findall(r"^    (\S.*)$", text, re.MULTILINE))
    commands |= set(re.findall(r"`((?:make|\.venv/bin/mlflow-bridge) [^`]+)`", text))
    assert commands == set(RUN_IN)
    assert all((ROOT / test).is_file() for test in RUN_IN.values() if test.endswith(".py"))


def test_make_setup_succeeds() -> None:
    result = subprocess.run(["make", "setup"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_no_file_names_a_package_registry_or_a_path_of_this_machine() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hosts = ("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "deb.debian" + ".org")
    forbidden = re.compile("|".join([*map(re.escape, hosts), r"(?<![\w.])/(?:work|root)/"]))
    assert [
        name
        for name in names.split("\0")
        if name and (ROOT / name).is_file() and forbidden.search((ROOT / name).read_text(errors="replace"))
    ] == []


def test_the_command_is_installed_where_the_readme_runs_it() -> None:
    assert Path(sys.executable).with_name("mlflow-bridge").is_file()
    assert os.access(Path(sys.executable).with_name("mlflow-bridge"), os.X_OK)
