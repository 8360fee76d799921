"""docs/stack.md describes everything that the tracking server's image reads, and nothing else."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/stack.md").read_text()
VARIABLE = r"(?:MLFLOW|AWS|ARTIFACTS)_[A-Z0-9_]*[A-Z0-9]"


def test_every_variable_that_the_image_reads_is_on_the_page_and_the_reverse() -> None:
    code = "".join((ROOT / "tracking" / name).read_text() for name in ("settings.py", "__main__.py", "bucket.py"))
    read = set(re.findall(rf'"({VARIABLE})"', code))
    read -= {"AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"}
    table = PAGE.partition("| variable |")[2].partition("\n\n")[0]
    assert set(re.findall(rf"`({VARIABLE})`", table)) == read


def test_every_build_argument_is_on_the_page_with_its_default() -> None:
    given = dict(re.findall(r"^ARG (\w+)=(\S+)$", (ROOT / "tracking/Dockerfile").read_text(), re.MULTILINE))
    table = PAGE.partition("| build argument |")[2].partition("\n\n")[0]
    for name, default in given.items():
        assert f"`{name}`" in table
        assert name == "BASE_IMAGE" or f"`{default}`" in table
    assert "ghcr.io/mlflow/mlflow" in given["BASE_IMAGE"]


def test_every_profile_is_on_the_page() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    there = {profile for service in services.values() for profile in service.get("profiles", [])}
    table = PAGE.partition("| profile |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == there
