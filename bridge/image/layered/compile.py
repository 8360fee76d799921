"""Compile what serving imports, inside the build: shares 1 to 3 the named packages, share 0 by importing it.

Runs under the model's own Python, from 3.8 on.
"""

import importlib
import importlib.metadata
import json
import py_compile
import sys
from pathlib import Path

_SERVER = ("mlflow.cli", "mlflow.models.cli", "mlflow.pyfunc.scoring_server", "mlflow.pyfunc.scoring_server.app")
_SHARES = 3


def main(share: int) -> None:
    """Compile one share; what fails is left out."""
    said = json.loads((Path(__file__).parent / "compile.json").read_text(encoding="utf-8"))
    if share == 0:
        for module in (*_SERVER, "uvicorn.workers", *said["modules"]):
            try:
                importlib.import_module(module)
            except BaseException:  # noqa: S112  a package may do anything at its import
                continue
        return
    files = sorted(_files(said["names"]))  # type: ignore[no-untyped-call]  # see there
    for file in files[share - 1 :: _SHARES]:
        try:
            py_compile.compile(file, doraise=True)
        except (py_compile.PyCompileError, OSError, ValueError, SyntaxError):
            continue


def _files(names):  # type: ignore[no-untyped-def]  # runs under Python 3.8, which knows no list[str] here
    for name in names:
        if name == "mlflow":
            continue
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.suffix == ".py" and not {"tests", "test", "_tests", "testing"} & set(file.parts):
                yield str(file.locate())


if __name__ == "__main__":
    main(int(sys.argv[1]))
