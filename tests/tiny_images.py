"""Tiny images with the labels of a model version's image, which fill a registry in seconds."""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.image.labels import MODEL, RECIPE, RECIPE_LABEL, SOURCE, VERSION


@contextmanager
def tiny_image(model: str, version: str, source: str, *, size: int = 1000) -> Iterator[str]:
    """Yield the id of an image with `size` random bytes, which is removed at the end."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        member = tarfile.TarInfo("weights")
        member.size = size
        archive.addfile(member, io.BytesIO(os.urandom(size)))
    labels = {MODEL: model, VERSION: version, SOURCE: source, RECIPE_LABEL: RECIPE}
    changes = [part for key, value in labels.items() for part in ("--change", f"LABEL {key}={_quoted(value)}")]
    done = subprocess.run(["docker", "import", *changes, "-"], input=layer.getvalue(), capture_output=True, check=True)
    image = done.stdout.decode().strip()
    try:
        yield image
    finally:
        subprocess.run(["docker", "image", "rm", "--force", image], check=False, capture_output=True)


def _quoted(value: str) -> str:
    """Quote a label's value for a Dockerfile."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def push_tiny_image(name: str, model: str, version: str, source: str) -> None:
    """Push a tiny image to the repository `name`, with Docker's sign-in."""
    with tiny_image(model, version, source) as image:
        subprocess.run(["docker", "tag", image, f"{name}:{version}"], check=True)
        subprocess.run(["docker", "push", "--quiet", f"{name}:{version}"], check=True, capture_output=True)
