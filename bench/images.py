"""How long an image takes with `builder: layered`, compared with `mlflow models build-docker` of the same model.

Each measurement starts like a fresh runner: the engine has the base image, pulled from a registry on this machine, and
nothing else, and uv's cache is empty. All other images are removed from the engine for that, so `--prune` is required,
best with a separate DOCKER_HOST. Prints two tables: both builders side by side, and the least that any builder needs.
Docker unpacks layers with `unpigz` if its daemon finds it, as on GitHub's runners: install pigz first.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bridge.image import docker
from bridge.image.artifacts import metadata_in
from bridge.image.builders.layered import assemble as layered
from bridge.image.builders.layered.remote import LayeredRepository
from bridge.image.errors import SmokeTestFailed
from bridge.image.metadata import ModelMetadata
from bridge.image.steps import smoke_test
from tests.loopback.registry import Registry

LABELS = {"mlflow.model.name": "bench"}
_STARTS = 6
"""Pairs of starts per round."""
_MODEL = """
import sys, mlflow, numpy, pandas
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
data, _ = load_iris(return_X_y=True, as_frame=True)
random = numpy.random.default_rng(int(sys.argv[2]))
rows = pandas.DataFrame(random.normal(size=(2000, 4)), columns=data.columns)
model = RandomForestClassifier(n_estimators=46, random_state=0).fit(rows, random.integers(0, 3, 2000))
mlflow.sklearn.save_model(model, sys.argv[1], input_example=data.head(3), serialization_format="cloudpickle")
"""


@dataclass(frozen=True)
class Measurement:
    """Seconds to build, to push, and to load into the engine; bytes pushed, and unpacked."""

    build: float
    push: float
    local: float = 0.0
    pushed: int = 0
    size: int = 0
    model: int = 0
    """Bytes of the model's layer, compressed."""

    @property
    def pushed_after(self) -> float:
        """Seconds until the image is in the registry."""
        return self.build + self.push

    @property
    def tested_after(self) -> float:
        """Seconds until the image is in the registry and in the engine, where the smoke test needs it."""
        return self.pushed_after + self.local


def save_model(folder: Path, seed: int) -> Path:
    """Save a scikit-learn model of 5 MB with the requirements that MLflow infers."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-c", _MODEL, str(folder), str(seed)], env=environment, check=True, timeout=300)
    return folder


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def make_fresh(base: str, folder: Path) -> None:
    """Remove every image but the base, and the build cache, from the engine; set uv's cache to an empty folder."""
    listed = subprocess.run(
        ["docker", "image", "ls", "--quiet", "--no-trunc"], capture_output=True, text=True, check=True
    )
    for image in set(listed.stdout.split()) - {docker.image_id(base)}:
        subprocess.run(["docker", "image", "rm", "--force", image], capture_output=True, check=True)
    subprocess.run(["docker", "builder", "prune", "--all", "--force"], capture_output=True, check=True)
    os.environ["UV_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)


@contextmanager
def signed_in(registry: Registry, folder: Path) -> Iterator[None]:
    """Sign Docker and skopeo in to the registry for as long as this lasts."""
    credentials = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    config = {"auths": {registry.host: {"auth": credentials}}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if (plugins := Path.home() / ".docker" / "cli-plugins").is_dir():
        (folder / "cli-plugins").symlink_to(plugins)  # Docker looks for buildx beside its configuration
    before = os.environ.copy()
    os.environ["DOCKER_CONFIG"] = str(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def in_registry(image: str, registry: Registry) -> Iterator[str]:
    """Push an image of the engine to the registry, and yield its name there; the engine knows both names meanwhile."""
    name = f"{registry.host}/base/{image}"
    subprocess.run(["docker", "image", "tag", image, name], capture_output=True, check=True)
    try:
        subprocess.run(["docker", "image", "push", "--quiet", name], capture_output=True, check=True)
        yield name
    finally:
        subprocess.run(["docker", "image", "rm", name], capture_output=True, check=True)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def first_answer(image: str) -> float:
    """Return the seconds from starting a container to its first /ping that answers 200."""
    started = time.perf_counter()
    container = docker.Container.start(image, network=False)
    try:
        smoke_test.ping(container, image)
        return time.perf_counter() - started
    except SmokeTestFailed:
        container.show_log()
        raise
    finally:
        container.remove()


def unpacked(image: str) -> int:
    """Return the image's bytes in the engine."""
    size = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", image], capture_output=True, text=True, check=True
    )
    return int(size.stdout)


class Start(NamedTuple):
    """Seconds to the first answer of both builders' images, started one after the other."""

    mlflow: float
    layered: float


@dataclass
class Environment:
    """A registry with its blobs on this disk, and a folder for temporary files."""

    registry: Registry
    folder: Path
    blobs: Path

    def by_mlflow(self, model: Path, metadata: ModelMetadata, tag: str) -> Measurement:
        """Build and push with MLflow's own builder."""
        name = f"{self.registry.host}/bench/mlflow:{tag}"
        releases = {"mlflow_version": metadata.mlflow_version, "python_version": metadata.python_version}

        def build() -> None:
            docker.build_with_mlflow(model, f"{name}-unlabelled", **releases)
            docker.add_labels(f"{name}-unlabelled", LABELS, tag=name)

        built = timed(build)
        before = size_of(self.blobs)
        pushed = timed(lambda: docker.push(name))
        return Measurement(built, pushed, 0.0, size_of(self.blobs) - before, unpacked(name))

    def by_layers(
        self, model: Path, metadata: ModelMetadata, tag: str, previous: str = ""
    ) -> tuple[Measurement, layered.LayeredImage]:
        """Build and push in layers, based on the image with the digest `previous`; also return the image."""
        repository = LayeredRepository(f"{self.registry.host}/bench/layered")
        images: list[layered.LayeredImage] = []

        def build() -> None:
            base = repository.previous(previous) if previous else None
            images.append(
                layered.build(
                    model, layered.plan(model, metadata), Path(tempfile.mkdtemp(dir=self.folder)) / "image", LABELS,
                    created=datetime.now(UTC).isoformat(timespec="seconds"), previous=base,
                )
            )  # fmt: skip

        built = timed(build)
        (image,) = images
        local = timed(image.load)
        before = size_of(self.blobs)
        pushed = timed(lambda: repository.push_parts(image.folder, tag))
        model_layer = (image.folder / image.new[-1].removeprefix("sha256:")).stat().st_size
        size = size_of(self.blobs) - before
        return Measurement(built, pushed, local, size, unpacked(image.id), model_layer), image

    def starts(self, tag: str, image: str) -> list[Start]:
        """Start MLflow's image with that tag and the layered one, which the engine has, in turn."""
        mlflow_image = f"{self.registry.host}/bench/mlflow:{tag}"
        subprocess.run(["docker", "image", "pull", "--quiet", mlflow_image], capture_output=True, check=True)
        os.sync()  # what was unpacked a moment ago is still on its way to the disk
        starts = []
        for number in range(_STARTS):  # the order alternates
            seconds = {
                name: first_answer(name) for name in ((mlflow_image, image) if number % 2 else (image, mlflow_image))
            }
            starts.append(Start(seconds[mlflow_image], seconds[image]))
        return starts

    def alias(self, digest: str) -> float:
        """Return the seconds that moving an alias takes."""
        return timed(lambda: LayeredRepository(f"{self.registry.host}/bench/layered").tag(digest, "champion"))


def wheels(base: str, model: Path) -> float:
    """Return the seconds in which uv downloads and unpacks the model's requirements in a container."""
    uv = shutil.which("uv")
    install = (
        "export UV_NO_CACHE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/opt/venv"
        " && /uv venv --quiet --system-site-packages /opt/venv && /uv pip install --quiet -r /model/requirements.txt"
    )
    command = ["docker", "run", "--rm", "--volume", f"{uv}:/uv:ro", "--volume", f"{model}:/model:ro", base]
    return timed(lambda: subprocess.run([*command, "sh", "-c", install], check=True, capture_output=True))


@dataclass(frozen=True)
class Round:
    """One round: images by builder and version, starts, and the seconds for the alias and for the wheels."""

    images: Mapping[str, Measurement]
    starts: Sequence[Start]
    alias: float
    wheels: float


def table(rounds: Sequence[Round]) -> str:
    """Return the medians side by side, with ratios."""
    rows = [
        f"Medians of {len(rounds)}.",
        "",
        "| | mlflow models build-docker | layered | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]

    def row(title: str, version: str, value: Callable[[Measurement], float], unit: float, places: int) -> None:
        by_mlflow, by_layers = (_median(rounds, f"{by} {version}", value) / unit for by in ("mlflow", "layered"))
        rows.append(f"| {title} | {by_mlflow:.{places}f} | {by_layers:.{places}f} | {by_mlflow / by_layers:.1f} |")

    for which in ("first", "next"):
        row(f"{which} version: pushed, s", which, _PUSHED, 1, 2)
        row(f"{which} version: pushed and loaded, s", which, _TESTED, 1, 2)
        row(f"{which} version: bytes pushed, MB", which, lambda image: image.pushed, 1e6, 2)
    theirs, ours = (median(seconds) for seconds in zip(*_starts(rounds), strict=True))
    rows.append(f"| start to first response, s | {theirs:.2f} | {ours:.2f} | {_times_as_fast(rounds):.2f} |")
    row("unpacked image, MB", "first", _SIZE, 1e6, 0)
    alias = median(measured.alias for measured in rounds)
    build = _median(rounds, "mlflow next", _PUSHED)
    rows.append(f"| alias, s, compared with a whole build | {build:.2f} | {alias:.2f} | {build / alias:.0f} |")
    return "\n".join(rows)


def limits(rounds: Sequence[Round]) -> str:
    """Return the least that any builder needs, and how many times as much `layered` takes."""
    wheels, built = median(round_.wheels for round_ in rounds), _median(rounds, "layered first", _PUSHED)
    model = _median(rounds, "layered next", lambda image: image.model) / 1e6
    pushed = _median(rounds, "layered next", lambda image: image.pushed) / 1e6
    pulled = _median(rounds, "layered next", lambda image: image.local)
    return "\n".join(
        (
            "| lower bound | | layered | ratio |",
            "| --- | ---: | ---: | ---: |",
            f"| first version: download and unpack the wheels, s | {wheels:.2f} | {built:.2f} | {built / wheels:.1f} |",
            f"| next version: the compressed model, MB | {model:.3f} | {pushed:.3f} | {pushed / model:.2f} |",
            f"| next version: Docker's pull and unpacking for the smoke test, s | | {pulled:.2f} | |",
        )
    )


def _median(rounds: Sequence[Round], key: str, value: Callable[[Measurement], float]) -> float:
    return median(value(round_.images[key]) for round_ in rounds)


def _starts(rounds: Sequence[Round]) -> list[Start]:
    return [start for round_ in rounds for start in round_.starts]


def _times_as_fast(rounds: Sequence[Round]) -> float:
    """Return the median of the pairs' ratios."""
    return median(start.mlflow / start.layered for start in _starts(rounds))


_PUSHED = attrgetter("pushed_after")
_TESTED = attrgetter("tested_after")
_SIZE = attrgetter("size")


def run(rounds: int, folder: Path) -> list[Round]:
    """Measure all rounds."""
    models = [save_model(folder / f"model-{seed}", seed) for seed in (1, 2)]
    metadata = metadata_in(models[0])
    base = layered.plan(models[0], metadata).base
    docker.image_id(base)  # fails here if the engine has no base
    results: list[Round] = []
    for number in range(rounds):
        path = folder / f"round-{number}"
        with Registry(path) as registry, signed_in(registry, path), in_registry(base, registry):
            results.append(one_round(Environment(registry, path, path / "blobs"), models, metadata, base))
        shutil.rmtree(path)
        print(results[-1], file=sys.stderr, flush=True)
    return results


def one_round(environment: Environment, models: Sequence[Path], metadata: ModelMetadata, base: str) -> Round:
    """Measure each builder with each version, each time with a fresh engine."""
    first, following = models
    images: dict[str, Measurement] = {}
    make_fresh(base, environment.folder)
    images["mlflow first"] = environment.by_mlflow(first, metadata, "1")
    make_fresh(base, environment.folder)
    images["layered first"], image = environment.by_layers(first, metadata, "1")
    make_fresh(base, environment.folder)
    images["mlflow next"] = environment.by_mlflow(following, metadata, "2")
    make_fresh(base, environment.folder)
    images["layered next"], image = environment.by_layers(following, metadata, "2", image.digest)
    alias = environment.alias(image.digest)
    starts = environment.starts("2", image.id)
    make_fresh(base, environment.folder)
    return Round(images, starts, alias, wheels(base, first))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prune", action="store_true", help="remove all other images from Docker")
    options = parser.parse_args()
    if not options.prune:
        sys.exit(
            "bench.images removes every image but the base from Docker: "
            "confirm with --prune, and set DOCKER_HOST to a Docker engine without images that you need"
        )
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # has uv
    with tempfile.TemporaryDirectory() as folder:
        rounds = run(options.rounds, Path(folder))
    print(table(rounds), limits(rounds), sep="\n\n")
    print(f"\nTo repeat: python -m bench.images --prune --rounds {options.rounds}")


if __name__ == "__main__":
    main()
