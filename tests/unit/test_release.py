"""What a tag must be to be released, and that a pre-release such as v0.2.0rc1 comes as far as any other."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from bridge import __version__

from .test_workflows import ROOT, read

JOBS = read(ROOT / ".github/workflows/release.yml")["jobs"]


@pytest.mark.parametrize(
    ("version", "tag", "is_released"),
    [
        ("0.2.0", "v0.2.0", True),
        ("0.2.0rc1", "v0.2.0rc1", True),
        ("0.2.0rc1", "v0.2.0", False),
        ("0.2.0", "v0.2.0rc1", False),
        ("0.2.0rc1", "v0.2.0-rc.1", False),
    ],
)
def test_the_tag_is_the_packages_version(version: str, tag: str, is_released: bool, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "{version}"\n')
    script = next(step["run"] for step in JOBS["package"]["steps"] if step["name"].startswith("Check that the tag"))
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TAG": tag}
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=env, capture_output=True, check=False)
    assert (done.returncode == 0) is is_released, done.stderr


def test_the_package_has_one_version_in_its_normal_form() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert __version__ == version == str(Version(version))


def test_the_versions_of_images_are_read_as_those_of_packages() -> None:
    """type=semver makes no tag for v0.2.0rc1; without `tags`, the label has the v of the tag."""
    steps = [step for job in JOBS.values() for step in job["steps"]]
    tags = [step["with"]["tags"] for step in steps if str(step.get("uses")).startswith("docker/metadata-action@")]
    version, series = "type=pep440,pattern={{version}}", "type=pep440,pattern={{major}}.{{minor}}"
    assert [lines.split() for lines in tags] == [[version], [version, series]]
