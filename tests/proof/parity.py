"""Both builders' images of one model give the same answers to the same requests. Prints a table; status 1 where not.

python -m tests.proof.parity [--only NAME]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.version

from bridge.image import docker
from bridge.image.artifacts import metadata_in
from bridge.image.builders.layered import assemble as layered
from bridge.image.metadata import SERVING_EXAMPLE
from bridge.image.steps import smoke_test

CREATED = "2000-01-01T00:00:00Z"
_START = 300.0
_ASK = """
import json, sys, urllib.error, urllib.request
server = urllib.request.build_opener(urllib.request.ProxyHandler({}))
answers = []
for path, kind, body in json.load(sys.stdin):
    sent = urllib.request.Request(
        "http://127.0.0.1:8080" + path, body.encode() if body else None, {"Content-Type": kind} if body else {}
    )
    try:
        answer = server.open(sent, timeout=60)
        answers.append([answer.status, answer.read().decode()[:4000]])
    except urllib.error.HTTPError as error:
        answers.append([error.code, ""])
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Request:
    """One request to a serving container; without a body it is a GET."""

    path: str
    body: str = ""
    kind: str = "application/json"


MALFORMED = (
    Request("/invocations", "{"),
    Request("/invocations", "[]"),
    Request("/invocations", '{"unheard": []}'),
    Request("/invocations", "x", "text/plain"),
)


def requests_to(model: Path) -> list[Request]:
    """Return requests for any model: a ping, its example if there is one, and invalid ones."""
    example = model / SERVING_EXAMPLE
    own = [Request("/invocations", example.read_text(encoding="utf-8"))] if example.is_file() else []
    return [Request("/ping"), *own, *MALFORMED]


def answers(image: str, requests: Sequence[Request]) -> list[tuple[int, Any]]:
    """Return for each request the status and, for a 200, the body, parsed if it is JSON."""
    container = docker.Container.start(image, network=False)
    try:
        smoke_test.ping(container, image)
        given = json.dumps([[each.path, each.kind, each.body] for each in requests]).encode()
        status, said = container.python(_ASK, stdin=given, timeout=_START)
        assert status == 0, said
        return [(code, _read(body)) for code, body in json.loads(said)]
    finally:
        container.remove()


def _read(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.strip()


def both_images(model: Path, name: str, folder: Path) -> tuple[str, str]:
    """Build the model with MLflow's builder and in layers; give both images' names in the engine."""
    metadata = metadata_in(model)
    theirs = f"parity-{name}"
    docker.build_with_mlflow(
        model, theirs, mlflow_version=metadata.mlflow_version, python_version=metadata.python_version
    )
    ours = layered.build(model, layered.plan(model, metadata), folder, {}, created=CREATED)
    ours.load()
    return theirs, ours.id


_IRIS = """
from sklearn.datasets import load_iris
data, kinds = load_iris(return_X_y=True, as_frame=True)
"""
_DOUBLES = """
import mlflow
class Doubles(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [float(value) * 2 for value in model_input["x"]]
"""
_FRAME = "import pandas; frame = pandas.DataFrame({'x': [1.0, 2.0]})\n"

_LOGISTIC = (
    _IRIS + "from sklearn.linear_model import LogisticRegression\n"
    "import mlflow; mlflow.sklearn.save_model(LogisticRegression(max_iter=500).fit(data, kinds), folder, "
    "input_example=data.head(3), serialization_format='cloudpickle'"
)

MODELS: dict[str, str] = {
    "scikit-learn": f"{_LOGISTIC})",
    "mlflow-2": f"{_LOGISTIC}, extra_pip_requirements=['starlette<1'])",  # its server needs one from before that
    "xgboost": _IRIS + "import mlflow, xgboost; mlflow.xgboost.save_model("
    "xgboost.XGBClassifier(n_estimators=5).fit(data, kinds), folder, input_example=data.head(3))",
    "lightgbm": _IRIS + "import mlflow, lightgbm; mlflow.lightgbm.save_model("
    "lightgbm.LGBMClassifier(n_estimators=5).fit(data, kinds), folder, input_example=data.head(3))",
    "code-paths": _FRAME + "import pathlib, sys; lib = pathlib.Path(folder).parent / 'twice.py'\n"
    "lib.write_text('def twice(x):\\n    return 2 * x\\n'); sys.path.insert(0, str(lib.parent))\n"
    "import mlflow\n"
    "class Twice(mlflow.pyfunc.PythonModel):\n"
    "    def predict(self, context, model_input, params=None):\n"
    "        from twice import twice\n"
    "        return [twice(float(value)) for value in model_input['x']]\n"
    "mlflow.pyfunc.save_model(folder, python_model=Twice(), code_paths=[str(lib)], input_example=frame, "
    "pip_requirements=['cloudpickle', 'pandas'])",
    "from-code": _FRAME + "import pathlib, mlflow; code = pathlib.Path(folder).parent / 'from_code.py'\n"
    f"code.write_text({_DOUBLES + 'mlflow.models.set_model(Doubles())'!r})\n"
    "mlflow.pyfunc.save_model(folder, python_model=str(code), input_example=frame, "
    "pip_requirements=['cloudpickle', 'pandas'])",
    "constraints": _FRAME + _DOUBLES + "import pathlib\n"
    "held = pathlib.Path(folder).parent / 'held.txt'; held.write_text('humanize<4.10\\n')\n"
    "mlflow.pyfunc.save_model(folder, python_model=Doubles(), input_example=frame, "
    "pip_requirements=['cloudpickle', 'pandas', 'humanize', f'-c {held}'])",
}
WITH = {
    "mlflow-2": ("mlflow==2.22.5", "scikit-learn", "setuptools<81"),
    "xgboost": (f"mlflow=={mlflow.version.VERSION}", "scikit-learn", "xgboost"),
    "lightgbm": (f"mlflow=={mlflow.version.VERSION}", "scikit-learn", "lightgbm"),
}
"""Packages for the Python that creates a model, if they are missing in this one."""


def save(name: str, folder: Path) -> Path:
    """Make the model of that name in a Python of its own, and give its folder."""
    model = folder / "model"
    script = f"import sys; folder = sys.argv[1]\n{MODELS[name]}"
    with_them = [word for package in WITH.get(name, ()) for word in ("--with", package)]
    python = ["uv", "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable, *with_them, "python"]
    command = [*(python if with_them else [sys.executable]), "-c", script, str(model)]
    subprocess.run(command, env=docker.environment(), check=True, timeout=900)
    return model


def agree(name: str, folder: Path) -> tuple[bool, str]:
    """Return whether both images of that model agree, and the requests."""
    model = save(name, folder)
    images = both_images(model, name, folder / "image")
    try:
        requests = requests_to(model)
        theirs, ours = (answers(image, requests) for image in images)
    finally:
        for image in images:
            docker.remove(image)
    differing = [
        f"{request.path}: {one} and {other}"
        for request, one, other in zip(requests, theirs, ours, strict=True)
        if one != other
    ]
    return not differing, "; ".join(differing) or f"{len(requests)} responses"


def prove(names: Iterable[str]) -> bool:
    """Print a table of the models of those names, and return whether both images of each agree."""
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # uv stands there
    print("\n| model | same responses | |\n| --- | --- | --- |")
    found: list[bool] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="bridge-parity-") as folder:
            same, said = agree(name, Path(folder))
        found.append(same)
        print(f"| {name} | {'yes' if same else 'NO'} | {said} |", flush=True)
    return all(found)


def main() -> None:
    """Go through the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.parity", description=__doc__)
    parser.add_argument("--only", choices=list(MODELS))
    only = parser.parse_args().only
    sys.exit(not prove([only] if only else MODELS))


if __name__ == "__main__":
    main()
