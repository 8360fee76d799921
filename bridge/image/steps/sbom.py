"""Step "sbom": list the packages in the image as a CycloneDX document, read from its files. Nothing of it is run.

The files come from an image with untrusted code: whatever they contain, the document stays valid, and time and memory
are bounded. Sources: packaging.python.org, "Core metadata" and "Recording the direct URL"; Debian's deb-control(5).
"""

import email.message
import email.parser
import hashlib
import re
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import IO

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.utils import NormalizedName, canonicalize_name

from bridge.core import limits
from bridge.core.text import read_json
from bridge.image import actions, docker
from bridge.image.errors import BuildFailed
from bridge.image.workspace import Plan, Workspace

_PYTHON = re.compile(
    r"(?P<site>(?:.*/)?)(?P<folder>[^/]+\.(?:dist-info|egg-info))"
    r"(?:/(?P<file>METADATA|PKG-INFO|RECORD|direct_url\.json))?"
)
"""The metadata of an installed package, in the folder `site`; old releases of distutils write a single file."""
_DEBIAN = re.compile(r"var/lib/dpkg/status(?:\.d/[^/]+)?")
_RELEASE = "usr/lib/os-release"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~!_-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REQUIRED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_EXTRA = re.compile(r"\bextra\b")
_WITHOUT = "set the input sbom to false"
_NAMESPACE = uuid.UUID("7a3c1f8e-2b7d-5c94-9a51-0d6c8a1e4b52")
"""For serial numbers: the same image always has the same one."""


@dataclass(frozen=True)
class Package:
    """A package that is installed in the image."""

    url: PackageURL
    name: str
    version: str
    license: str = ""
    """An SPDX identifier or expression, or the license's name."""
    archive: str = ""
    """SHA-256 of the archive that it was installed from, if it was not installed from a package index."""
    record: str = ""
    """SHA-256 of the file RECORD, which has the hashes of the package's files."""
    requires: frozenset[str] = frozenset()
    """Package URLs."""


def sbom(workspace: Workspace) -> None:
    """Write the document of the image that was pushed, and set the output `path`. Raises `BuildFailed`."""
    plan, digest = workspace.plan(), workspace.digest()
    try:
        with _files(workspace.image_id()) as files:
            packages = contents(files)
    except tarfile.TarError as error:
        raise BuildFailed(f"{plan.tag}: Docker did not export all files ({error})", "re-run the job") from error
    if not packages:
        raise BuildFailed(f"{plan.tag} has no list of installed packages, so there is no SBOM", _WITHOUT)
    workspace.sbom.write_text(document(plan, digest, packages, datetime.now(UTC)), encoding="utf-8")
    actions.log(f"{plan.repository}@{digest} has {len(packages)} packages")
    actions.output("path", str(workspace.sbom))


@contextmanager
def _files(image: str) -> Iterator[IO[bytes]]:
    """Export the image's file system as a tar from a container that is created, but never started."""
    labels = docker.label_options(docker.run_label(docker.CONTAINER_LABEL))
    created = docker.quiet(["docker", "create", *labels, "--network", "none", image, "none"])
    if created.returncode:
        raise BuildFailed(f"{image} is no longer in Docker's image store", "re-run the job")
    container = docker.Container(created.stdout.strip())
    try:
        with subprocess.Popen(
            ["docker", "export", container.id], env=docker.environment(), stdout=subprocess.PIPE
        ) as process:
            assert process.stdout  # noqa: S101  a pipe was requested
            yield process.stdout
            process.kill()
    finally:
        container.remove()


@dataclass
class _PythonMetadata:
    """The content of one `.dist-info` or `.egg-info`."""

    name: str = ""
    version: str = ""
    license: str = ""
    requires: list[NormalizedName] = field(default_factory=list)
    """Names of other packages."""
    archive: str = ""
    record: str = ""


@dataclass
class _Lists:
    """The lists of packages in the image, by path."""

    python: dict[tuple[str, str], _PythonMetadata] = field(default_factory=dict)
    """By the folders above and of the metadata."""
    debian: list[dict[str, str]] = field(default_factory=list)
    """The fields of each package."""
    distribution: str = ""
    """Such as `debian-12`."""
    requirements: int = 0
    """Of all Python packages."""

    def check(self) -> None:
        """Raise `BuildFailed` if there is too much, as soon as there is: before it takes memory and time."""
        if len(self.python) + len(self.debian) > limits.MAX_PACKAGES or self.requirements > limits.MAX_DEPENDENCIES:
            raise BuildFailed(
                f"the image has more than {limits.MAX_PACKAGES:,} packages, or they have more than "
                f"{limits.MAX_DEPENDENCIES:,} requirements",
                _WITHOUT,
            )


def contents(files: IO[bytes]) -> list[Package]:
    """Return the packages in a file system, which is read as a tar; sorted by package URL.

    Other files are skipped, as are invalid names and versions. Raises `BuildFailed` if there are too many packages or
    requirements, and `tarfile.TarError`.
    """
    lists = _Lists()
    with tarfile.open(fileobj=files, mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file:
                _read(lists, member.name.removeprefix("./"), file, member.size)
    packages: dict[str, Package] = {}
    for package in (*_python_packages(lists), *_debian_packages(lists)):
        packages.setdefault(package.url.to_string(), package)
    return [packages[url] for url in sorted(packages)]


def _read(lists: _Lists, name: str, file: IO[bytes], size: int) -> None:
    if match := _PYTHON.fullmatch(name):
        metadata = lists.python.setdefault((match["site"], match["folder"]), _PythonMetadata())
        if match["file"] == "RECORD":
            metadata.record = hashlib.sha256(file.read()).hexdigest() if size <= limits.MAX_PACKAGE_RECORD else ""
        elif match["file"] == "direct_url.json":
            metadata.archive = _archive_hash(file.read(limits.MAX_PACKAGE_METADATA))
        else:
            _read_headers(metadata, _text(file, limits.MAX_PACKAGE_METADATA))
            lists.requirements += len(metadata.requires)
        lists.check()
    elif _DEBIAN.fullmatch(name):
        for paragraph in _text(file, limits.MAX_DEBIAN_STATUS).split("\n\n"):
            pairs = re.findall(r"^(Package|Version|Architecture|Status):(.*)$", paragraph, re.MULTILINE)
            fields = {key: value.strip(" ") for key, value in pairs}
            installed = fields.get("Status", "install ok installed").endswith(" installed")
            if installed and _is_package(fields.get("Package", ""), fields.get("Version", "")):
                lists.debian.append(fields)
                lists.check()
    elif name == _RELEASE:
        release = dict(
            re.findall(
                r'^(ID|VERSION_ID)="?([a-z0-9._-]{1,64})"?$', _text(file, limits.MAX_PACKAGE_METADATA), re.MULTILINE
            )
        )
        lists.distribution = "-".join(release[key] for key in ("ID", "VERSION_ID") if key in release)


def _read_headers(metadata: _PythonMetadata, text: str) -> None:
    headers = email.parser.HeaderParser().parsestr(text)
    name, version = str(headers["Name"] or ""), str(headers["Version"] or "")
    if not _is_package(name, version):
        return
    metadata.name, metadata.version, metadata.license = name, version, _license(headers)
    for value in headers.get_all("Requires-Dist", []):
        requirement, _, marker = str(value).partition(";")
        match = _REQUIRED.match(requirement)
        if match and not _EXTRA.search(marker):
            metadata.requires.append(canonicalize_name(match.group()))


def _python_packages(lists: _Lists) -> Iterator[Package]:
    installed = {location: metadata for location, metadata in lists.python.items() if metadata.name}
    urls = {
        (site, canonicalize_name(metadata.name)): _python_url(metadata).to_string()
        for (site, _), metadata in installed.items()
    }
    for (site, _), metadata in installed.items():
        # Python imports from the same folder. What isn't there is only required on another platform.
        requires = frozenset(urls[site, name] for name in metadata.requires if (site, name) in urls)
        yield Package(
            url=_python_url(metadata),
            name=metadata.name,
            version=metadata.version,
            license=metadata.license,
            archive=metadata.archive,
            record=metadata.record,
            requires=requires,
        )


def _python_url(metadata: _PythonMetadata) -> PackageURL:
    return PackageURL("pypi", name=canonicalize_name(metadata.name), version=metadata.version)


def _debian_packages(lists: _Lists) -> Iterator[Package]:
    for fields in lists.debian:
        architecture = fields.get("Architecture", "")
        qualifiers = {"arch": architecture if _WORD.fullmatch(architecture) else "", "distro": lists.distribution}
        url = PackageURL(
            "deb",
            namespace=lists.distribution.partition("-")[0] or "debian",
            name=fields["Package"],
            version=fields["Version"],
            qualifiers={key: value for key, value in qualifiers.items() if value},
        )
        yield Package(url, fields["Package"], fields["Version"])


def _is_package(name: str, version: str) -> bool:
    return bool(_WORD.fullmatch(name) and _VERSION.fullmatch(version))


def _license(headers: email.message.Message) -> str:
    classifiers = [str(value) for value in headers.get_all("Classifier", [])]
    candidates = [
        str(headers["License-Expression"] or ""),
        str(headers["License"] or ""),
        *(value.rpartition(" :: ")[2] for value in classifiers if value.startswith("License :: ")),
    ]
    usable = (
        text for text in candidates if 0 < len(text) <= limits.MAX_LICENSE and text.isprintable() and text.strip()
    )
    return next((text for text in usable if text != "UNKNOWN"), "")


def _archive_hash(text: bytes) -> str:
    try:
        value = read_json(text)["archive_info"]["hashes"]["sha256"]
    except (ValueError, KeyError, TypeError, IndexError):
        return ""
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else ""


def _text(file: IO[bytes], limit: int) -> str:
    return file.read(limit).decode("utf-8", errors="replace")


def document(plan: Plan, digest: str, packages: list[Package], now: datetime) -> str:
    """Return the CycloneDX 1.6 document of an image as JSON."""
    reference = f"{plan.repository}@{digest}"
    image = Component(type=ComponentType.CONTAINER, name=plan.repository, version=digest, bom_ref=reference)
    model = Component(type=ComponentType.MACHINE_LEARNING_MODEL, name=plan.model, version=plan.version, bom_ref="model")
    components = {package.url.to_string(): _component(package) for package in packages}
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, reference),
        metadata=BomMetaData(component=image, timestamp=now),
        components=[model, *components.values()],
    )
    # Not by `register_dependency`, which takes a time that grows with the square of the packages.
    graph = {image: [model, *components.values()]}
    graph |= {
        components[package.url.to_string()]: [components[url] for url in package.requires] for package in packages
    }
    bom.dependencies = [
        Dependency(component.bom_ref, [Dependency(required.bom_ref) for required in requires])
        for component, requires in graph.items()
    ]
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)


def _component(package: Package) -> Component:
    url = package.url.to_string()
    record = [
        Component(type=ComponentType.FILE, name="RECORD", bom_ref=f"{url}#RECORD", hashes=[_sha256(package.record)])
    ]
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=package.url,
        bom_ref=url,
        licenses=[_parsed(package.license)] if package.license else [],
        hashes=[_sha256(package.archive)] if package.archive else [],
        components=record if package.record else [],
    )


@lru_cache(maxsize=1024)
def _parsed(text: str) -> License:
    return LicenseFactory().make_from_string(text)


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
