"""The engine's part: it builds the requirements' layer, and is given images, of which it may hold layers already."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bridge.image.actions import untrusted_output
from bridge.image.builders.layered.plan import Base, LayeredPlan
from bridge.image.docker import environment, quiet
from bridge.image.errors import BuildFailed

_HERE = Path(__file__).parent
_RECIPE = ("Dockerfile", "install.sh", "pack.sh", "trim.py", "compile.py", "layers.py")
SECRETS = ("ca", "index-url", "extra-index-urls")
"""A build's secrets: certificates (PEM), the index to use instead of PyPI, and additional indexes."""


def base(image: str) -> Base:
    """Describe the base image, pulled where the engine does not hold it. Raises `BuildFailed`."""
    said = quiet(["docker", "image", "inspect", image])
    if said.returncode:
        pulled = quiet(["docker", "pull", "--quiet", image])
        if pulled.returncode:
            raise BuildFailed(
                f"{image}: Docker can't pull the base image ({_short(pulled.stderr)})", "check its name and the network"
            )
        said = quiet(["docker", "image", "inspect", image])
    found = json.loads(said.stdout)[0]
    return Base(
        image=image,
        diff_ids=tuple(found["RootFS"]["Layers"]),
        env=tuple(found["Config"].get("Env") or ()),
        architecture=found["Architecture"],
        variant=found.get("Variant") or "",
        origin=_origin(image, found.get("RepoDigests") or []),
    )


def _origin(image: str, known: Sequence[str]) -> str:
    """Give the name and digest by which a registry has the image: in the repository that `image` names, if there."""
    folder, slash, name = image.partition("@")[0].rpartition("/")
    repository = f"{folder}{slash}{name.partition(':')[0]}@"
    return next((each for each in known if each.startswith(repository)), next(iter(known), ""))


def holds(name: str) -> bool:
    """Tell whether the engine holds an image, by `repository@digest`."""
    return quiet(["docker", "image", "inspect", name]).returncode == 0


def pull(name: str) -> None:
    """Have the engine hold an image, by `repository@digest`. Raises `BuildFailed`."""
    if holds(name):
        return
    done = quiet(["docker", "pull", "--quiet", name])
    if done.returncode:
        raise BuildFailed(f"{name}: Docker can't pull the image ({_short(done.stderr)})", "re-run the job")


def save(image: str, to: Path) -> None:
    """Write an image that the engine holds to a file, uncompressed. Raises `BuildFailed`."""
    done = quiet(["docker", "image", "save", "--output", str(to), image])
    if done.returncode:
        raise BuildFailed(f"{image}: Docker can't export the image ({_short(done.stderr)})", "pull it again")


def install(plan: LayeredPlan, to: Path, secrets: Mapping[str, str] | None = None) -> None:
    """Build the requirements' layers into the folder `to`: layer-N.tar.gz.

    `secrets` by name, see `SECRETS`; docker has them in its environment and in no file, and one step of it reads them.
    With an index among them nothing is built from source unless the plan says so. Raises `BuildFailed`.
    """
    flags, variables = _secret_options(secrets or {})
    with TemporaryDirectory() as folder:
        context = Path(folder)
        _fill(context, plan)
        command = ["docker", "build", "--progress", "plain", "--no-cache", *flags]
        command += ["--build-arg", f"BASE={plan.base}", "--output", f"type=local,dest={to}", str(context)]
        with untrusted_output():
            done = subprocess.run(
                command, env=environment() | variables | {"DOCKER_BUILDKIT": "1"}, stderr=subprocess.STDOUT, check=False
            )
    if done.returncode:
        raise BuildFailed(
            "the model's requirements can't be installed; the log above shows why",
            "log the model with requirements that have wheels, or set the input builder to mlflow",
        )


def _fill(context: Path, plan: LayeredPlan) -> None:
    """Write what the build may see: the recipe, the plan, and uv, which stays outside the image."""
    for name in _RECIPE:
        shutil.copy(_HERE / name, context / name)
    uv = shutil.which("uv")
    if not uv:
        raise BuildFailed("uv is not installed on this runner", "install uv")
    shutil.copy(uv, context / "uv")
    asked = plan.requirements
    (context / "requirements.txt").write_text("".join(f"{line}\n" for line in asked.lines), encoding="utf-8")
    (context / "constraints.txt").write_text("".join(f"{line}\n" for line in asked.constraints), encoding="utf-8")
    (context / "packages").write_text(" ".join(plan.packages), encoding="utf-8")
    (context / "compile.json").write_text(json.dumps({"names": asked.names, "modules": plan.modules}), encoding="utf-8")
    if plan.wheels_only:
        (context / "wheels-only").touch()


def _secret_options(secrets: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Give docker's options for the secrets, and the variables that hold them: a killed build then leaves no file."""
    if unknown := sorted(set(secrets) - set(SECRETS)):
        raise BuildFailed(f"a build can't use a secret named {unknown[0]}", f"use one of {', '.join(SECRETS)}")
    variables = {name: f"BUILD_SECRET_{number}" for number, name in enumerate(secrets)}
    options = [word for name, variable in variables.items() for word in ("--secret", f"id={name},env={variable}")]
    return options, {variable: secrets[name] for name, variable in variables.items()}


def load(folder: Path) -> str:
    """Give the engine the image in `folder` (skopeo's `dir:`), less the layers that it holds; give the engine's id.

    The archive is two in one, for an engine reads it by how it keeps images: Docker's own form, of which it skips the
    layers that it has unpacked already, and an OCI image layout, of which containerd takes what it has not.
    Raises `BuildFailed`.
    """
    manifest = (folder / "manifest.json").read_bytes()
    said = json.loads(manifest)
    ids = (said["config"]["digest"], f"sha256:{hashlib.sha256(manifest).hexdigest()}")
    with subprocess.Popen(
        ["docker", "load", "--quiet"], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        with suppress(BrokenPipeError), tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            _write_archive(tar, folder, manifest, said)  # where that breaks off, what the engine says comes below
        answer = process.communicate()[0].decode(errors="replace")
    if process.returncode == 0:
        for known in ids:
            if known in answer:
                return str(known)
    raise BuildFailed(f"Docker can't load the image ({_short(answer)})", "re-run the job")


def _write_archive(tar: tarfile.TarFile, folder: Path, manifest: bytes, said: Mapping[str, Any]) -> None:
    """Write the archive; of the layers, those whose files are in the folder."""
    parts = [said["config"], *said["layers"]]
    for digest in dict.fromkeys(part["digest"] for part in parts):
        file = folder / digest.removeprefix("sha256:")
        if file.exists():
            tar.add(file, _blob(digest))
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    index = {"mediaType": said["mediaType"], "digest": digest, "size": len(manifest)}
    names = [_blob(part["digest"]) for part in parts]
    _add(tar, _blob(digest), manifest)
    _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [index]}).encode())
    _add(tar, "manifest.json", json.dumps([{"Config": names[0], "RepoTags": None, "Layers": names[1:]}]).encode())


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, BytesIO(content))


def _short(said: str) -> str:
    return " ".join(said.split())[-300:]
