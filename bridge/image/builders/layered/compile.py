"""Compile what serving imports, inside the build, by importing it: one process, in one order.

What a process has compiled and loaded before shows in the bytecode that it writes (marshal notes which objects are
shared), so the same bytes come out only where all is imported in the same order. Compiling whole packages instead takes
several times as long, for most of their modules are never imported. Runs under the model's own Python, from 3.8 on.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pkgutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

_SERVER = (
    "mlflow.models.cli", "mlflow.models.flavor_backend_registry", "mlflow.pyfunc.backend",
    "mlflow.pyfunc.scoring_server", "mlflow.pyfunc.scoring_server.app", "pyarrow.pandas_compat",
    "uvicorn.workers", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto", "anyio._backends._asyncio",
)  # fmt: skip
"""The last ones are imported only once the server runs; a release that lacks one of them does without."""
_LONGEST = 300
"""Seconds until this process ends whatever it imports; what is not compiled by then is compiled at each start."""
_PRIVATE = ("_", "test", "conftest")


def main() -> None:
    """Import the server, MLflow's module for the model, and the public packages of what the model asks for."""
    signal.alarm(_LONGEST)
    said = json.loads((Path(__file__).parent / "compile.json").read_text(encoding="utf-8"))
    for module in (*_SERVER, *said["modules"]):
        _import(module)
    for distribution in said["names"]:
        for package in _packages(distribution):
            _import(package)
            for inner in pkgutil.iter_modules(getattr(sys.modules.get(package), "__path__", [])):
                if inner.ispkg and not inner.name.startswith(_PRIVATE):
                    _import(f"{package}.{inner.name}")


def _import(module: str) -> None:
    with suppress(BaseException):  # a package may do anything at its import
        importlib.import_module(module)


def _packages(distribution: str) -> list[str]:
    """Give the packages that a distribution installs, but none of MLflow's own."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    tops = {file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"}
    return sorted(top for top in tops - {"mlflow"} if not top.startswith(_PRIVATE))


if __name__ == "__main__":
    main()
