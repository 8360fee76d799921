"""What is read of an image's files, and that the document is one by CycloneDX's schema."""

import io
import json
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st

from bridge.image.errors import BuildFailed
from bridge.image.metadata import ModelMetadata
from bridge.image.steps.sbom import Package, contents, document, sbom
from bridge.image.workspace import Plan, Workspace
from tests.unit.image.fake_programs import Programs

PLAN = Plan(
    model="模型 <b>",
    version="7",
    source="models:/m-7",
    run_id="",
    repository="r.example/iris",
    smoke_test="ping",
    metadata=ModelMetadata(mlflow_version="3.17.2", python_version="3.11.7", has_serving_example=False),
)
DIGEST = "sha256:" + "0" * 64
NOW = datetime(2026, 1, 2, tzinfo=UTC)
DPKG = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: the C library
 Package: not-a-package

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def tar(files: dict[str, str]) -> io.BytesIO:
    said = io.BytesIO()
    with tarfile.open(fileobj=said, mode="w|") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    said.seek(0)
    return said


def check(said: object) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(said)) is None


def test_python_and_debian_packages_are_found_wherever_they_lie() -> None:
    files = {
        "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
        "usr/lib/python3/dist-packages/scikit_learn-1.7.dist-info/METADATA": "Name: scikit-learn\nVersion: 1.7\n\nx",
        "opt/venv/lib/python3.11/site-packages/old.egg-info/PKG-INFO": "Name: old\nVersion: 0.1\n",
        "var/lib/dpkg/status": DPKG,
        "opt/ml/model/MLmodel": "Name: no-package\nVersion: 1\n",
    }
    found, distribution = contents(tar(files))
    assert distribution == "debian-12"
    assert found == [
        Package("deb", "libc6", "2.36-9+deb12u10", "amd64"),
        Package("pypi", "old", "0.1"),
        Package("pypi", "scikit-learn", "1.7"),
    ]


def test_a_line_of_blanks_takes_no_longer_than_any_other() -> None:
    text = f"Package: blanks{' ' * 1_000_000}x\nVersion: 1\n\nPackage:   libc6   \nVersion: 2 \n"
    started = time.process_time()
    packages, _ = contents(tar({"var/lib/dpkg/status": text}))
    assert time.process_time() - started < 60  # a quadratic search takes tens of minutes
    assert packages == [Package("deb", "libc6", "2")]


def test_the_document_is_one_by_the_schema_and_names_the_image_by_its_digest() -> None:
    said = document(
        PLAN, DIGEST, [Package("deb", "libc6", "1:2.36+b", "amd64"), Package("pypi", "A.b_c", "1!2")], "debian-12", NOW
    )
    check(said)
    assert said["metadata"]["component"] | {"bom-ref": ""} == {
        "type": "container", "bom-ref": "", "name": "r.example/iris", "version": DIGEST
    }  # fmt: skip
    assert [each.get("purl") for each in said["components"]] == [
        None,
        "pkg:deb/debian/libc6@1%3A2.36%2Bb?arch=amd64&distro=debian-12",
        "pkg:pypi/a-b-c@1%212",
    ]
    assert said["components"][0]["name"] == "模型 <b>"


def test_the_same_image_has_the_same_serial_number() -> None:
    first, again = (document(PLAN, DIGEST, [], "", NOW)["serialNumber"] for _ in range(2))
    other = document(PLAN, DIGEST.replace("0", "1"), [], "", NOW)["serialNumber"]
    assert first == again != other


@given(
    st.dictionaries(
        st.sampled_from(
            ["a/x.dist-info/METADATA", "var/lib/dpkg/status", "usr/lib/os-release", "b/y.egg-info/PKG-INFO"]
        ),
        st.text() | st.builds("Name: {}\nVersion: {}\n".format, st.text(), st.text()),
    )
)
def test_whatever_the_images_files_say_the_document_stays_one_by_the_schema(files: dict[str, str]) -> None:
    found, distribution = contents(tar(files))
    for each in document(PLAN, DIGEST, found, distribution, NOW)["components"]:
        assert set("\n\r \"'<>").isdisjoint(each.get("purl", ""))


def test_two_packages_of_one_name_are_both_named_and_one_found_twice_once() -> None:
    metadata = "Name: a\nVersion: 1\n"
    files = {"x/a.dist-info/METADATA": metadata, "y/a.dist-info/METADATA": metadata}
    found, _ = contents(tar(files | {"z/a.dist-info/METADATA": "Name: a\nVersion: 2\n"}))
    assert found == [Package("pypi", "a", "1"), Package("pypi", "a", "2")]
    check(document(PLAN, DIGEST, found, "", NOW))


@pytest.fixture
def pushed(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "work")
    workspace.write_plan(PLAN)
    workspace.write_image_id("sha256:image")
    workspace.write_digest(DIGEST)
    return workspace


def test_the_container_that_is_read_is_never_started_and_is_removed(
    programs: Programs, pushed: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs.say("docker create", "container\n")
    programs.say("docker export", tar({"x/a.dist-info/METADATA": "Name: a\nVersion: 1\n"}).getvalue().decode())
    programs.say("docker rm")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    sbom(pushed)
    assert [arguments[0] for _, arguments, _, _ in programs.calls] == ["create", "export", "rm"]
    path = Path((tmp_path / "outputs").read_text().splitlines()[1])
    check(json.loads(path.read_text()))


def test_an_image_without_a_list_of_packages_gets_no_empty_document(programs: Programs, pushed: Workspace) -> None:
    programs.say("docker create", "container\n")
    programs.say("docker export", tar({"etc/hostname": "x"}).getvalue().decode())
    programs.say("docker rm")
    with pytest.raises(BuildFailed, match="leave sbom off"):
        sbom(pushed)


def test_an_engine_that_breaks_off_is_our_error(programs: Programs, pushed: Workspace) -> None:
    programs.say("docker create", "container\n")
    programs.say("docker export", tar({"a": "x" * 5000}).getvalue().decode()[:2000])
    programs.say("docker rm")
    with pytest.raises(BuildFailed, match="run the job again"):
        sbom(pushed)
