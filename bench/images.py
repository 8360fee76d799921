"""How long an image takes by `builder: layered`, beside `mlflow models build-docker` of the same model, in one run.

Each measurement starts on an engine that holds the base image and nothing else, with an empty cache of uv's, as a fresh
runner has it. All other images are removed from the engine for that, so it has to be said: `--prune`, best with a
DOCKER_HOST of its own. The registry is one on this machine. Prints a table; the registry and the models go at the end.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bridge.demo.registry import Registry
from bridge.image import engine, smoke_test
from bridge.image.artifacts import metadata_in
from bridge.image.layered import build as layered
from bridge.image.layered.registry import LayeredRepository
from bridge.image.metadata import ModelMetadata

LABELS = {"mlflow.model.name": "bench"}
_MODEL = """
import sys, mlflow, numpy, pandas
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
data, _ = load_iris(return_X_y=True, as_frame=True)
random = numpy.random.default_rng(int(sys.argv[2]))
rows = pandas.DataFrame(random.normal(size=(2000, 4)), columns=data.columns)
model = RandomForestClassifier(n_estimators=20, random_state=0).fit(rows, random.integers(0, 3, 2000))
mlflow.sklearn.save_model(model, sys.argv[1], input_example=data.head(3), serialization_format="cloudpickle")
"""


@dataclass(frozen=True)
class Measured:
    """Seconds to build, push, have it in the engine besides, and to the first answer; bytes pushed, and unpacked."""

    build: float
    push: float
    local: float = 0.0
    answer: float = 0.0
    pushed: int = 0
    size: int = 0

    @property
    def pushed_after(self) -> float:
        """Seconds from the model's folder to the image in the registry."""
        return self.build + self.push

    @property
    def tested_after(self) -> float:
        """The same with the image in the engine, where the smoke test needs it."""
        return self.pushed_after + self.local


def save_model(folder: Path, seed: int) -> Path:
    """Save a scikit-learn model of some MB with the requirements that MLflow infers."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-c", _MODEL, str(folder), str(seed)], env=environment, check=True, timeout=300)
    return folder


def size_of(folder: Path) -> int:
    """Give the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def make_fresh(base: str) -> None:
    """Remove every image but the base, and what builds have kept, from the engine. Give it an empty cache of uv's."""
    found = subprocess.run(
        ["docker", "image", "ls", "--quiet", "--no-trunc"], capture_output=True, text=True, check=True
    )
    for image in set(found.stdout.split()) - {engine.image_id(base)}:
        subprocess.run(["docker", "image", "rm", "--force", image], capture_output=True, check=True)
    subprocess.run(["docker", "builder", "prune", "--all", "--force"], capture_output=True, check=True)


@contextmanager
def signed_in(registry: Registry, folder: Path) -> Iterator[None]:
    """Sign Docker and skopeo in to the registry for as long as this lasts."""
    said = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    config = {"auths": {registry.host: {"auth": said}}}
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


def timed(work: Callable[[], object]) -> float:
    """Give the seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def first_answer(image: str) -> float:
    """Give the seconds from starting the container to its first /ping that answers 200."""
    began = time.perf_counter()
    container = engine.Container.start(image, network=False)
    try:
        smoke_test._ping(container, image)
        return time.perf_counter() - began
    finally:
        container.remove()


def unpacked(image: str) -> int:
    """Give the image's bytes in the engine."""
    said = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", image], capture_output=True, text=True, check=True
    )
    return int(said.stdout)


@dataclass
class Bench:
    """A registry with its blobs on this disk, and where to keep what is made."""

    registry: Registry
    folder: Path
    blobs: Path

    def by_mlflow(self, model: Path, metadata: ModelMetadata, tag: str) -> Measured:
        """Build and push with MLflow's own builder."""
        name = f"{self.registry.host}/bench/mlflow:{tag}"
        releases = {"mlflow_version": metadata.mlflow_version, "python_version": metadata.python_version}
        os.environ["UV_CACHE_DIR"] = tempfile.mkdtemp(dir=self.folder)

        def build() -> None:
            engine.build_with_mlflow(model, f"{name}-unlabelled", **releases)
            engine.add_labels(f"{name}-unlabelled", LABELS, tag=name)

        built = timed(build)
        before = size_of(self.blobs)
        pushed = timed(lambda: engine.push(name))
        return Measured(built, pushed, 0.0, first_answer(name), size_of(self.blobs) - before, unpacked(name))

    def by_layers(self, model: Path, metadata: ModelMetadata, tag: str, previous: str = "") -> tuple[Measured, str]:
        """Build and push in layers, upon the image with the digest `previous`; give the new one's digest too."""
        repository = LayeredRepository(f"{self.registry.host}/bench/layered")
        made: list[layered.Image] = []

        def build() -> None:
            found = repository.previous(previous) if previous else None
            made.append(
                layered.build(
                    model, layered.plan(model, metadata), Path(tempfile.mkdtemp(dir=self.folder)) / "image", LABELS,
                    created=datetime.now(UTC).isoformat(timespec="seconds"), previous=found,
                )
            )  # fmt: skip

        built = timed(build)
        (image,) = made
        local = timed(image.load)
        answer = first_answer(image.id)
        before = size_of(self.blobs)
        pushed = timed(lambda: repository.push_parts(image.folder, tag))
        return Measured(built, pushed, local, answer, size_of(self.blobs) - before, unpacked(image.id)), image.digest

    def alias(self, digest: str) -> float:
        """Give the seconds that it takes to move an alias."""
        return timed(lambda: LayeredRepository(f"{self.registry.host}/bench/layered").tag(digest, "champion"))


def table(rounds: list[Mapping[str, Measured]], aliases: list[float]) -> str:
    """Give the medians side by side, with ratios."""
    rows = [
        f"Medians of {len(rounds)}.",
        "",
        "| | mlflow models build-docker | layered | ratio |",
        "| --- | --- | --- | --- |",
    ]

    def row(title: str, which: str, what: Callable[[Measured], float], unit: float, places: int) -> None:
        theirs, ours = (median(what(each[f"{by} {which}"]) for each in rounds) / unit for by in ("mlflow", "layered"))
        rows.append(f"| {title} | {theirs:.{places}f} | {ours:.{places}f} | {theirs / ours:.1f} |")

    for which in ("first", "next"):
        row(f"{which} version: pushed, s", which, lambda each: each.pushed_after, 1, 2)
        row(f"{which} version: pushed and in the engine, s", which, lambda each: each.tested_after, 1, 2)
        row(f"{which} version: bytes pushed, MB", which, lambda each: each.pushed, 1e6, 2)
        row(f"{which} version: start to first answer, s", which, lambda each: each.answer, 1, 2)
    row("image unpacked, MB", "first", lambda each: each.size, 1e6, 0)
    rows.append(f"| alias, s (against the next version's build) | | {median(aliases):.2f} | |")
    return "\n".join(rows)


def run(rounds: int, folder: Path) -> str:
    """Measure, and give the table."""
    models = [save_model(folder / f"model-{seed}", seed) for seed in (1, 2)]
    metadata = metadata_in(models[0])
    base = layered.plan(models[0], metadata).base
    engine.image_id(base)  # ends here where the engine has no base
    found: list[Mapping[str, Measured]] = []
    aliases: list[float] = []
    for place in range(rounds):
        here = folder / f"round-{place}"
        with Registry(here) as registry, signed_in(registry, here):
            bench = Bench(registry, here, here / "blobs")
            measured: dict[str, Measured] = {}
            make_fresh(base)
            measured["mlflow first"] = bench.by_mlflow(models[0], metadata, "1")
            make_fresh(base)
            measured["layered first"], digest = bench.by_layers(models[0], metadata, "1")
            make_fresh(base)
            measured["mlflow next"] = bench.by_mlflow(models[1], metadata, "2")
            make_fresh(base)
            measured["layered next"], digest = bench.by_layers(models[1], metadata, "2", digest)
            aliases.append(bench.alias(digest))
            make_fresh(base)
        found.append(measured)
        print(measured, aliases[-1], file=sys.stderr, flush=True)
    return table(found, aliases)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prune", action="store_true", help="remove all other images from the engine")
    asked = parser.parse_args()
    if not asked.prune:
        sys.exit(
            "bench.images removes every image but the base from the engine, and was not told to: "
            "give it --prune, with a DOCKER_HOST whose images may go"
        )
    with tempfile.TemporaryDirectory() as folder:
        print(run(asked.rounds, Path(folder)))
    print(f"\nTo repeat: python -m bench.images --prune --rounds {asked.rounds}")


if __name__ == "__main__":
    main()
