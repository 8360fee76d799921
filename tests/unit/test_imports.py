"""Imports point one way; read from the source, so that nothing has to be imported for it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bridge"

BELOW = {
    "__init__": set[str](),
    "core": set(),
    "settings": {"core"},
    "mlflow": {"core"},
    "github": {"core"},
    "ledger": {"core"},
    "clients": {"core", "settings", "mlflow", "github"},
    "workers": {"core", "mlflow", "github", "ledger"},
    "image": {"core", "mlflow"},
    "doctor": {"core", "settings", "clients", "mlflow", "github", "ledger", "workers"},
    "server": {"core", "settings", "clients", "mlflow", "github", "ledger", "workers"},
    "cli": {"core", "settings", "clients", "mlflow", "github", "ledger", "workers", "image", "doctor", "server"},
    "__main__": {"cli"},
}
"""Which other rooms a room may import from; a room is a module or folder right below `bridge`."""

MODULES = sorted(PACKAGE.rglob("*.py"))
_IO = {"asyncio", "httpx2", "os", "pathlib", "random", "socket", "sqlalchemy", "subprocess", "time"}


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(module: Path) -> set[str]:
    """Return every name that the module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    rooms = {name.split(".")[1] for name in imported(module) if name.startswith("bridge.")} - {"__version__"}
    assert rooms - {room(module)} <= BELOW[room(module)]


@pytest.mark.parametrize("module", sorted((PACKAGE / "core").glob("*.py")), ids=lambda module: module.stem)
def test_the_core_does_no_input_or_output(module: Path) -> None:
    if module.stem != "http_answers":  # it reads from a client that it is given
        assert not {name.split(".")[0] for name in imported(module)} & _IO


def test_no_module_name_stands_twice_in_a_room_and_no_class_name_twice_at_all() -> None:
    modules = [(room(module), module.stem) for module in MODULES if module.stem != "__init__"]
    classes = [
        node.name
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert {name for name in modules if modules.count(name) > 1} == set()
    assert {name for name in classes if classes.count(name) > 1} == set()


@pytest.mark.parametrize("module", ["bridge.server.process", "bridge.cli", "bridge.image.steps.download"])
def test_neither_the_serving_process_nor_a_step_imports_mlflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_starts_without_what_only_the_runner_needs() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['botocore', 'mlflow', 'packaging', 'yaml'])); import bridge.cli"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
