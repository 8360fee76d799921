"""An image of base, requirements and model. Of the next version with the same requirements only the last is made.

What lies in a registry already is never unpacked or packed again to build upon it: the new image names those layers.
The engine needs them unpacked only to run the image, and gets them by `Image.load`.
"""

import gzip
import hashlib
import json
import shutil
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bridge.image.builders.layered import engine, remote
from bridge.image.builders.layered import plan as planning
from bridge.image.builders.layered.layers import below, pack
from bridge.image.builders.layered.plan import Base, Layer, LayeredPlan, Previous
from bridge.image.builders.layered.requirements import DESCRIPTION
from bridge.image.errors import BuildFailed
from bridge.image.metadata import ModelMetadata

_MODEL_LAYER = "model.tar.gz"
_TEXT = 4_000_000
"""Bytes of one metadata file."""
_TAMPERED = "check whether one of the model's packages changes the build's files"


@dataclass(frozen=True)
class LayeredImage:
    """A built image on this disk, in `folder` as skopeo's `dir:` has it, less what the registry holds.

    `id` is its configuration's digest, `sha256:…`; `digest` its manifest's. `reused` is the image, as
    `repository@digest`, whose layers stand below the model; empty where they are new.
    """

    folder: Path
    id: str
    digest: str
    diff_ids: tuple[str, ...]
    new: tuple[str, ...]
    reused: str = ""

    def load(self) -> str:
        """Have the engine hold the image, so that it can be run; give the engine's id of it. Raises `BuildFailed`.

        The id is `id`, or `digest` where an engine keeps images by their manifests. The layers of `reused` are pulled.
        """
        if self.reused:
            engine.pull(self.reused)
        return engine.load(self.folder)


def plan(model: Path, metadata: ModelMetadata, *, base_image: str = "", wheels_only: bool = False) -> LayeredPlan:
    """Plan the image of the model in that folder. Raises as `bridge.image.builders.layered.plan.plan` does."""
    texts = {name: _text(model / name) for name in DESCRIPTION if (model / name).is_file()}
    return planning.plan(texts, metadata, base_image=base_image, wheels_only=wheels_only)


def _text(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as text:
        return text.read(_TEXT)


def build(
    model: Path,
    plan: LayeredPlan,
    folder: Path,
    labels: Mapping[str, str],
    *,
    created: str,
    previous: Previous | None = None,
    secrets: Mapping[str, str] | None = None,
) -> LayeredImage:
    """Build the image into the new folder. Layers below the model come from `previous` where they are the same.

    `created` is a time as RFC 3339 has it. Raises `BuildFailed`, `RegistryError`.
    """
    folder.mkdir(parents=True)
    base = engine.base(plan.base)
    key = plan.key(base)
    shared = previous.below_the_model(base, key) if previous else None
    made = [] if shared else _requirements(plan, base, folder, secrets)
    parts = shared[1] if shared else _base_and(base, made, folder)
    below_it = shared[0] if shared else [*base.diff_ids, *(layer.diff_id for layer in made)]
    made.append(_model(model, folder))
    diff_ids = [*below_it, made[-1].diff_id]
    below_the_model = [Layer(diff_id, "", 0) for diff_id in diff_ids[len(base.diff_ids) :]]
    config = planning.config(base, below_the_model, {**labels, planning.REQUIREMENTS_LABEL: key}, created)
    manifest = planning.manifest(config, [*parts, planning.descriptor(made[-1].digest, made[-1].size)])
    return LayeredImage(
        folder=folder,
        id=f"sha256:{_write_blob(folder, config)}",
        digest=_write_manifest(folder, manifest),
        diff_ids=tuple(diff_ids),
        new=tuple(layer.digest for layer in made),
        reused=f"{previous.name}@{previous.digest}" if shared and previous else "",
    )


def _requirements(plan: LayeredPlan, base: Base, folder: Path, secrets: Mapping[str, str] | None) -> list[Layer]:
    """Have the requirements' layers built, with the base's beside them."""
    made = folder / "made"
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(remote.base_layers, base, folder / "base")
        engine.install(plan, made, secrets)
        fetched.result()
    files = sorted(made.glob("layer-*.tar.gz"))
    if not files:
        raise BuildFailed("the build produced no layers", "re-run the job")
    with ThreadPoolExecutor() as pool:
        layers = list(pool.map(_read_layer, files))
    for file, layer in zip(files, layers, strict=True):
        _keep(file, folder, layer)
    return layers


def _read_layer(file: Path) -> Layer:
    """Read the digests from the layer itself: code of the model's packages runs where it was packed.

    An engine that holds a layer of the named digest uses that one: another image would be tested than is pushed.
    """
    if not _is_plain(file):
        raise BuildFailed(f"{file.name} is not a regular file", _TAMPERED)
    try:
        with file.open("rb") as packed, gzip.open(file) as content:
            return Layer(diff_id=_digest(content), digest=_digest(packed), size=file.stat().st_size)
    except (OSError, EOFError, zlib.error) as error:
        raise BuildFailed(f"{file.name} can't be unpacked", _TAMPERED) from error


def _digest(content: IO[bytes] | gzip.GzipFile) -> str:
    return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"  # type: ignore[arg-type]  # it has readinto


def _is_plain(file: Path) -> bool:
    """Tell whether that is a file: no link, which would be followed on the runner, and no pipe or device."""
    return file.is_file() and not file.is_symlink()


def _model(model: Path, folder: Path) -> Layer:
    """Pack the model, owned by the user that serves it."""
    file = folder / _MODEL_LAYER
    packed = pack(below(str(model), planning.MODEL), str(file), planning.USER)
    layer = Layer(str(packed["diff_id"]), str(packed["digest"]), int(packed["size"]))
    _keep(file, folder, layer)
    return layer


def _keep(file: Path, folder: Path, layer: Layer) -> None:
    shutil.move(file, folder / layer.digest.removeprefix("sha256:"))


def _base_and(base: Base, requirements: Sequence[Layer], folder: Path) -> list[Mapping[str, Any]]:
    """Give the manifest entries of the base and the requirements, with the base's files beside the others."""
    source = folder / "base"
    entries = json.loads((source / "manifest.json").read_text(encoding="utf-8"))["layers"]
    if len(entries) != len(base.diff_ids):
        raise BuildFailed(f"{base.image} changed during the build", "re-run the job")
    for entry in entries:
        name = entry["digest"].removeprefix("sha256:")
        if (source / name).exists():
            shutil.move(source / name, folder / name)
    shutil.rmtree(source)
    below_the_model = [planning.descriptor(entry["digest"], entry["size"]) for entry in entries]
    return [*below_the_model, *(planning.descriptor(layer.digest, layer.size) for layer in requirements)]


def _write_blob(folder: Path, content: bytes) -> str:
    name = hashlib.sha256(content).hexdigest()
    (folder / name).write_bytes(content)
    return name


def _write_manifest(folder: Path, manifest: bytes) -> str:
    (folder / "version").write_text("Directory Transport Version: 1.1\n", encoding="utf-8")
    (folder / "manifest.json").write_bytes(manifest)
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"
