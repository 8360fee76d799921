"""What is read from an image's files, and that the document is valid by CycloneDX's schema."""

import hashlib
import io
import json
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
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
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w|") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    content.seek(0)
    return content


def valid(text: str) -> Any:
    """Return the document, which must be valid by CycloneDX's own schema."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(text)


def urls(packages: list[Package]) -> list[str]:
    return [package.url.to_string() for package in packages]


def metadata(name: str, version: str, **files: str) -> dict[str, str]:
    """Return the files of a Python package, with more of them or more headers as given."""
    folder = f"opt/venv/lib/python3.11/site-packages/{name}-{version}.dist-info"
    headers = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{files.pop('headers', '')}"
    return {f"{folder}/METADATA": headers, **{f"{folder}/{file}": text for file, text in files.items()}}


def test_python_and_debian_packages_are_found_in_any_folder() -> None:
    files = {
        "usr/lib/python3/dist-packages/scikit_learn-1.7.dist-info/METADATA": "Name: scikit-learn\nVersion: 1.7\n\nx",
        "opt/venv/lib/python3.11/site-packages/old.egg-info/PKG-INFO": "Name: old\nVersion: 0.1\n",
        "opt/venv/lib/python3.11/site-packages/older-1.egg-info": "Name: older\nVersion: 1\n",
        "var/lib/dpkg/status": DPKG,
        "var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 1:2.36+b\n",
        "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
        "opt/ml/model/MLmodel": "Name: no-package\nVersion: 1\n",
    }
    assert urls(contents(tar(files))) == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "pkg:deb/debian/tzdata@1:2.36%2Bb?distro=debian-12",
        "pkg:pypi/old@0.1",
        "pkg:pypi/older@1",
        "pkg:pypi/scikit-learn@1.7",
    ]


def test_a_line_that_is_made_to_be_slow_takes_no_longer_than_any_other() -> None:
    files = {"var/lib/dpkg/status": f"Package: a{' ' * 1_000_000}x\nVersion: 1\n\nPackage:   libc6   \nVersion: 2 \n"}
    for value in (";" * 200_000, "a" * 200_000, "a;" + "extr" * 50_000):
        files |= metadata(f"a{len(files)}", "1", headers=f"Requires-Dist: {value}\nLicense: {value}\n")
    started = time.process_time()
    packages = contents(tar(files))
    assert time.process_time() - started < 60  # many minutes if the time grows with the square of the line
    assert len(packages) == 4


def test_the_document_names_the_image_by_its_digest_and_the_model() -> None:
    report = valid(document(PLAN, DIGEST, contents(tar(metadata("A.b_c", "1!2"))), NOW))
    image = report["metadata"]["component"]
    assert (image["type"], image["name"], image["version"]) == ("container", "r.example/iris", DIGEST)
    components = {component["bom-ref"]: component for component in report["components"]}
    assert components["model"]["name"] == "模型 <b>"
    assert components["pkg:pypi/a-b-c@1%212"]["name"] == "A.b_c"


@pytest.mark.parametrize(
    ("headers", "license"),
    [
        ("License-Expression: MIT OR Apache-2.0\n", {"expression": "MIT OR Apache-2.0"}),
        ("License-Expression: MIT\nLicense: other\n", {"license": {"id": "MIT"}}),
        ("License: BSD 3-Clause\n", {"license": {"name": "BSD 3-Clause"}}),
        ("Classifier: License :: OSI Approved :: MIT License\n", {"license": {"name": "MIT License"}}),
        (f"License: {'the whole text ' * 100}\nClassifier: License :: X\n", {"license": {"name": "X"}}),
        ("License: UNKNOWN\n", None),
        ("License: \x1b[31m\n", None),
        ("", None),
    ],
)
def test_a_package_has_the_license_that_its_metadata_names(headers: str, license: dict[str, Any] | None) -> None:
    report = valid(document(PLAN, DIGEST, contents(tar(metadata("a", "1", headers=headers))), NOW))
    component = next(entry for entry in report["components"] if entry["name"] == "a")
    assert component.get("licenses") == ([license] if license else None)


def test_a_package_depends_on_what_it_requires_without_its_extras_in_its_own_folder() -> None:
    requires = "Requires-Dist: B_b>=1; python_version > '3'\nRequires-Dist: c; extra == 'x'\nRequires-Dist: absent\n"
    files = metadata("a", "1", headers=requires) | metadata("b-b", "2") | metadata("c", "3")
    report = valid(
        document(PLAN, DIGEST, contents(tar(files | {"x/d.dist-info/METADATA": "Name: b-b\nVersion: 9\n"})), NOW)
    )
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in report["dependencies"]}
    assert depends["pkg:pypi/a@1"] == ["pkg:pypi/b-b@2"]
    assert depends["pkg:pypi/c@3"] == []
    assert {"model", "pkg:pypi/a@1", "pkg:pypi/b-b@9"} < set(depends[f"r.example/iris@{DIGEST}"])


def test_a_package_has_the_hashes_of_its_record_and_of_an_archive_that_is_no_indexs() -> None:
    archive = "5f" * 32
    origin = {"archive_info": {"hashes": {"sha256": archive}}, "url": "https://me:hush@one.example/a.whl"}
    files = metadata("a", "1", **{"RECORD": "a.py,sha256=x,1\n", "direct_url.json": json.dumps(origin)})
    text = document(PLAN, DIGEST, contents(tar(files)), NOW)
    component = next(entry for entry in valid(text)["components"] if entry["name"] == "a")
    assert component["hashes"] == [{"alg": "SHA-256", "content": archive}]
    (record,) = component["components"]
    assert record["hashes"][0]["content"] == hashlib.sha256(b"a.py,sha256=x,1\n").hexdigest()
    assert "hush" not in text


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '"x"', '{"archive_info": []}', '{"archive_info": {"hashes": {"sha256": 1}}}']
)
def test_a_broken_origin_of_a_package_is_no_hash(text: str) -> None:
    (package,) = contents(tar(metadata("a", "1", **{"direct_url.json": text})))
    assert package.archive == ""


def test_the_same_image_has_the_same_serial_number() -> None:
    first, again = (json.loads(document(PLAN, DIGEST, [], NOW))["serialNumber"] for _ in range(2))
    other = json.loads(document(PLAN, DIGEST.replace("0", "1"), [], NOW))["serialNumber"]
    assert first == again != other


HEADERS = st.builds(
    "Name: {}\nVersion: {}\nLicense: {}\nRequires-Dist: {}\n".format,
    *(st.text() | st.just("a") for _ in range(3)),
    st.just("a") | st.text(),
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("a/x.dist-info/METADATA", "a/x.dist-info/RECORD", "a/x.dist-info/direct_url.json"),
                *("b/y.egg-info/PKG-INFO", "var/lib/dpkg/status", "usr/lib/os-release"),
            ]
        ),
        st.text() | HEADERS | st.builds("Package: {}\nVersion: {}\n\n".format, st.text(), st.text()),
    )
)
def test_whatever_the_images_files_contain_the_document_stays_valid(files: dict[str, str]) -> None:
    for component in valid(document(PLAN, DIGEST, contents(tar(files)), NOW))["components"]:
        assert set("\n\r \"'<>").isdisjoint(component.get("purl", ""))


def test_a_package_that_is_installed_twice_is_listed_once_and_two_versions_of_it_both() -> None:
    header = "Name: a\nVersion: 1\n"
    files = {"x/a.dist-info/METADATA": header, "y/a.dist-info/METADATA": "Name: A\nVersion: 1\n"}
    packages = contents(tar(files | {"z/a.dist-info/METADATA": "Name: a\nVersion: 2\n"}))
    assert urls(packages) == ["pkg:pypi/a@1", "pkg:pypi/a@2"]
    valid(document(PLAN, DIGEST, packages, NOW))


MANY = "".join(f"Package: a{number}\nVersion: 1\n\n" for number in range(5_001))
REQUIRING = metadata("a", "1", headers="Requires-Dist: b\n" * 15_000)


@pytest.mark.parametrize(
    "files", [{"var/lib/dpkg/status": MANY}, {f"{n}/{k}": REQUIRING[k] for n in range(4) for k in REQUIRING}]
)
def test_an_image_with_too_many_packages_or_requirements_gets_no_document(files: dict[str, str]) -> None:
    with pytest.raises(BuildFailed):
        contents(tar(files))


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
    assert [entry["name"] for entry in valid(path.read_text())["components"]] == ["a", "模型 <b>"]


def test_an_image_without_a_list_of_packages_gets_no_document(programs: Programs, pushed: Workspace) -> None:
    programs.say("docker create", "container\n")
    programs.say("docker export", tar({"etc/hostname": "x"}).getvalue().decode())
    programs.say("docker rm")
    with pytest.raises(BuildFailed):
        sbom(pushed)


def test_an_export_that_breaks_off_is_an_error_of_ours(programs: Programs, pushed: Workspace) -> None:
    programs.say("docker create", "container\n")
    programs.say("docker export", tar({"a": "x" * 5000}).getvalue().decode()[:2000])
    programs.say("docker rm")
    with pytest.raises(BuildFailed):
        sbom(pushed)
