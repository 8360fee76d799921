"""Step "sbom": what is in the image, as a CycloneDX document, read from its files; nothing of the image is run.

By code of our own: the scanners that there are come by scripts or images that somebody may change under us, and of an
image that is a Debian with a Python the lists of packages are all that they would read.
"""

import email.parser
import json
import re
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote

from bridge.image import actions, docker
from bridge.image.errors import BuildFailed
from bridge.image.workspace import Plan, Workspace

_PYTHON = re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_DEBIAN = re.compile(r"var/lib/dpkg/status(?:\.d/[^/]+)?")
_RELEASE = "usr/lib/os-release"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~!_-]{0,127}")
_BYTES = 64 << 20
"""Bytes of one list of packages that are read; Debian's whole archive fits."""
_HEADER_BYTES = 256 << 10
_SPACE = uuid.UUID("7a3c1f8e-2b7d-5c94-9a51-0d6c8a1e4b52")
"""For the documents' serial numbers: the same image has the same."""


@dataclass(frozen=True, order=True)
class Package:
    """One package that is installed in the image."""

    kind: str
    """`pypi` or `deb`, as package URLs call them."""
    name: str
    version: str
    architecture: str = ""


def sbom(workspace: Workspace) -> None:
    """Write the document of the image that was pushed, and set the output `path`. Raises `BuildFailed`."""
    plan, digest = workspace.plan(), workspace.digest()
    path = workspace.folder / "sbom.cdx.json"
    try:
        with _files(workspace.image_id()) as files:
            packages, distribution = contents(files)
    except tarfile.TarError as error:
        raise BuildFailed(
            f"{plan.tag}: the engine did not give all of its files ({error}): run the job again"
        ) from error
    if not packages:
        raise BuildFailed(f"{plan.tag}: no package is to be found in it, so its SBOM would say nothing: leave sbom off")
    said = document(plan, digest, packages, distribution, datetime.now(UTC))
    path.write_text(json.dumps(said, indent=1), encoding="utf-8")
    actions.say(f"{len(packages)} packages are in {plan.repository}@{digest}")
    actions.output("path", str(path))


@contextmanager
def _files(image: str) -> Iterator[IO[bytes]]:
    """Give the image's file system as a tar, by a container that is made and never started."""
    labels = docker.label_options(docker.run_label(docker.CONTAINER_LABEL))
    command = ["docker", "create", *labels, "--network", "none", image, "none"]
    made = subprocess.run(command, env=docker.environment(), capture_output=True, text=True, check=False)
    if made.returncode:
        raise BuildFailed(f"{image}: the engine has no such image any more: run the job again")
    container = docker.Container(made.stdout.strip())
    try:
        with subprocess.Popen(
            ["docker", "export", container.id], env=docker.environment(), stdout=subprocess.PIPE
        ) as process:
            assert process.stdout  # noqa: S101  it was asked for
            yield process.stdout
            process.kill()
    finally:
        container.remove()


def contents(files: IO[bytes]) -> tuple[list[Package], str]:
    """Give the packages in a file system that comes as a tar, sorted, and Debian's release such as `debian-12`.

    What is no list of packages is skipped; so is any name or version that could be none.
    """
    found: set[Package] = set()
    distribution = ""
    with tarfile.open(fileobj=files, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isreg():
                continue
            if _PYTHON.fullmatch(name):
                found.update(_python(_text(archive, member, _HEADER_BYTES)))
            elif _DEBIAN.fullmatch(name):
                found.update(_debian(_text(archive, member, _BYTES)))
            elif name == _RELEASE:
                distribution = _distribution(_text(archive, member, _HEADER_BYTES))
    return sorted(found), distribution


def document(plan: Plan, digest: str, packages: list[Package], distribution: str, now: datetime) -> dict[str, Any]:
    """Give the CycloneDX 1.6 document of an image."""
    reference = f"{plan.repository}@{digest}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(_SPACE, reference).urn,
        "version": 1,
        "metadata": {
            "timestamp": now.isoformat(timespec="seconds"),
            "component": {"type": "container", "bom-ref": reference, "name": plan.repository, "version": digest},
        },
        "components": [
            {"type": "machine-learning-model", "bom-ref": "model", "name": plan.model, "version": plan.version},
            *(_component(package, distribution) for package in packages),
        ],
    }


def _component(package: Package, distribution: str) -> dict[str, str]:
    url = _url(package, distribution)
    return {"type": "library", "bom-ref": url, "name": package.name, "version": package.version, "purl": url}


def _url(package: Package, distribution: str) -> str:
    """Give the package URL (github.com/package-url/purl-spec, "pypi" and "deb")."""
    version = quote(package.version, safe="")
    if package.kind == "pypi":
        return f"pkg:pypi/{re.sub(r'[-_.]+', '-', package.name).lower()}@{version}"
    vendor = distribution.partition("-")[0] or "debian"
    qualifiers = {"arch": package.architecture, "distro": distribution}
    said = "&".join(f"{key}={quote(value, safe='')}" for key, value in qualifiers.items() if value)
    return f"pkg:deb/{vendor}/{quote(package.name.lower(), safe='')}@{version}" + (f"?{said}" if said else "")


def _python(text: str) -> Iterator[Package]:
    headers = email.parser.HeaderParser().parsestr(text)
    yield from _package("pypi", str(headers["Name"] or ""), str(headers["Version"] or ""))


def _debian(text: str) -> Iterator[Package]:
    for paragraph in text.split("\n\n"):
        found = re.findall(r"^(Package|Version|Architecture|Status):(.*)$", paragraph, re.MULTILINE)
        fields = {name: value.strip(" ") for name, value in found}
        if fields.get("Status", "install ok installed").endswith(" installed"):
            yield from _package(
                "deb", fields.get("Package", ""), fields.get("Version", ""), fields.get("Architecture", "")
            )


def _package(kind: str, name: str, version: str, architecture: str = "") -> Iterator[Package]:
    if _WORD.fullmatch(name) and _VERSION.fullmatch(version):
        yield Package(kind, name, version, architecture if _WORD.fullmatch(architecture) else "")


def _distribution(text: str) -> str:
    fields = dict(re.findall(r'^(ID|VERSION_ID)="?([a-z0-9._-]+)"?$', text, re.MULTILINE))
    return "-".join(fields[key] for key in ("ID", "VERSION_ID") if key in fields)


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> str:
    file = archive.extractfile(member)
    return file.read(most).decode("utf-8", errors="replace") if file else ""
