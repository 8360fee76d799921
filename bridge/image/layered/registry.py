"""The registry's part: what an image there is made of, and an image's new parts on their way to it."""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from bridge.image.layered import engine
from bridge.image.layered.plan import Previous
from bridge.image.registry import Repository


class LayeredRepository(Repository):
    """A repository whose images are read and written part by part."""

    def previous(self, digest: str) -> Previous | None:
        """Describe the image behind a digest; None where it is an index, which is none of ours.

        Raises `RegistryError`, also where there is no such image.
        """
        name = f"docker://{self.name}@{digest}"
        manifest = json.loads(self._skopeo("inspect", "--raw", *self._tls("--tls-verify"), name))
        if "layers" not in manifest:
            return None
        config = json.loads(self._skopeo("inspect", "--raw", "--config", *self._tls("--tls-verify"), name))
        return Previous(
            name=self.name,
            digest=digest,
            labels=config.get("config", {}).get("Labels") or {},
            diff_ids=tuple(config["rootfs"]["diff_ids"]),
            layers=tuple(manifest["layers"]),
        )

    def push_parts(self, folder: Path, tag: str) -> str:
        """Push the image in `folder` (skopeo's `dir:`); parts that the repository holds need not be there.

        Gives the manifest's digest, which is the one in the folder. Raises `RegistryError`.
        """
        self._skopeo(
            "copy", "--quiet", "--preserve-digests", *self._tls("--dest-tls-verify"),
            f"dir:{folder}", f"docker://{self.name}:{tag}",
        )  # fmt: skip
        return f"sha256:{hashlib.sha256((folder / 'manifest.json').read_bytes()).hexdigest()}"


class _Local(Repository):
    """No repository: skopeo on this disk."""

    def unpack(self, archive: Path, to: Path) -> None:
        self._skopeo(
            "copy", "--quiet", "--dest-compress", "--dest-compress-format", "gzip", "--dest-compress-level", "1",
            f"docker-archive:{archive}", f"dir:{to}",
        )  # fmt: skip


def base_layers(image: str, to: Path) -> list[dict[str, object]]:
    """Write the compressed layers of an image that the engine holds into the folder; give their manifest entries.

    By Docker's own client, for older releases of skopeo speak a version of the engine's API that Docker 29 refuses.
    Raises `BuildFailed`, `RegistryError`.
    """
    with TemporaryDirectory(dir=to.parent) as folder:
        archive = Path(folder) / "base.tar"
        engine.save(image, archive)
        _Local(image).unpack(archive, to)
    return list(json.loads((to / "manifest.json").read_text(encoding="utf-8"))["layers"])
