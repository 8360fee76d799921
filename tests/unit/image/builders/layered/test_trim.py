from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from bridge.image.builders.layered.trim import left_out, trim

COMPILED = {"pkg/fast"}


@pytest.mark.parametrize(
    "path",
    [
        "mlflow/server/js/build/static/main.js", "pandas/tests/frame/test_query.py", "tests/test_it.py",
        "pkg/fast.c", "pkg/fast.cpp", "pkg/fast.pyx",
    ],
)  # fmt: skip
def test_what_serving_reads_nowhere_is_left_out(path: str) -> None:
    assert left_out(path, COMPILED)


@pytest.mark.parametrize(
    "path",
    [
        "astropy/tests/runner.py", "pkg/tests/__init__.py", "pkg/tests/data/test_iris.csv", "pkg/test_suite.py",
        "pkg/testing/test_base.py", "mlflow/server/handlers.py", "pkg/slow.c", "other/fast.c", "other/fast.pyx",
        "pkg/fast.h", "../../../tests/test_escape.py", "/tests/test_absolute.py",
    ],
)  # fmt: skip
def test_what_a_package_may_read_stays(path: str) -> None:
    assert not left_out(path, COMPILED)


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    files = {
        "pkg/__init__.py": "",
        "pkg/fast.cpython-311-x86_64-linux-gnu.so": "compiled",
        "pkg/fast.c": "generated",
        "pkg/tests/test_a.py": "",
        'pkg/sub/tests/test_"quoted".py': "",
        "pkg-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\nRequires-Dist: numpy\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    lines = ['"pkg/sub/tests/test_""quoted"".py",sha256=x,0' if '"' in name else f"{name},sha256=x,0" for name in files]
    record = "\r\n".join([*lines, "pkg-1.0.dist-info/RECORD,,", ""])
    (tmp_path / "pkg-1.0.dist-info" / "RECORD").write_text(record, encoding="utf-8", newline="")
    return tmp_path


def test_the_record_names_just_the_files_that_are_there_and_the_package_is_still_known(site_packages: Path) -> None:
    trim(str(site_packages))
    there = PathDistribution(site_packages / "pkg-1.0.dist-info")
    assert (there.version, there.requires) == ("1.0", ["numpy"])
    assert {str(file) for file in there.files or ()} == {
        "pkg/__init__.py", "pkg/fast.cpython-311-x86_64-linux-gnu.so",
        "pkg-1.0.dist-info/METADATA", "pkg-1.0.dist-info/RECORD",
    }  # fmt: skip
    assert all(Path(str(file.locate())).is_file() for file in there.files or ())


def test_no_empty_folder_is_left_behind(site_packages: Path) -> None:
    trim(str(site_packages))
    assert sorted(path.name for path in (site_packages / "pkg").iterdir()) == [
        "__init__.py", "fast.cpython-311-x86_64-linux-gnu.so",
    ]  # fmt: skip


def test_a_record_that_names_a_file_that_is_gone_is_no_hindrance(site_packages: Path) -> None:
    (site_packages / "pkg" / "fast.c").unlink()
    trim(str(site_packages))
    assert "fast.c," not in (site_packages / "pkg-1.0.dist-info" / "RECORD").read_text(encoding="utf-8")
