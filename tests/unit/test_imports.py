"""Imports point one way, as the design says; read from the source, so that nothing has to be imported for it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bridge"

PURE = {"signature", "events", "routing", "routes_file", "retry", "runs", "drift", "payload", "naming", "text"}
ADAPTERS = {"ledger", "reading", "github", "github_app", "github_repository", "mlflow_api"}
LOOPS = {"aside", "lease", "loop", "intake", "dispatcher", "follower", "reconciler"}
SHELLS = LOOPS | {"cli", "__main__", "web", "preview", "image", "demo", "doctor", "commands", "connections"}
ALLOWED = {
    "__init__": set(),
    "errors": set(),
    **dict.fromkeys(PURE, PURE | {"errors"}),
    "settings": PURE | {"errors"},
    "migrations": set(),
    **dict.fromkeys(ADAPTERS, PURE | {"errors"}),
    "ledger": {"ledger"} | PURE | {"errors"},
    **dict.fromkeys(("github", "mlflow_api"), {"reading"} | PURE | {"errors"}),
    **dict.fromkeys(("github_app", "github_repository"), {"github", "reading"} | PURE | {"errors"}),
    "metrics": {"ledger", "github", "routing"},
    "weak_settings": {"settings"},
    **dict.fromkeys(LOOPS, LOOPS | ADAPTERS | PURE | {"errors"}),
    **dict.fromkeys(SHELLS - LOOPS, SHELLS | ADAPTERS | PURE | {"errors", "settings", "weak_settings", "metrics"}),
    "image": {"image", "mlflow_api", "aside", "errors"} | PURE,
}
"""Which rooms a room may import from; a room is a module or folder right below `bridge`."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(module: Path) -> set[str]:
    """Give the rooms that the module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    rooms = {name.split(".")[1] for name in names if name.startswith("bridge.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    assert imported(module) <= ALLOWED[room(module)]


def test_every_room_has_its_rule() -> None:
    assert {room(module) for module in MODULES} <= set(ALLOWED)


def test_the_pure_modules_do_no_input_or_output() -> None:
    foreign = {"asyncio", "httpx", "os", "pathlib", "random", "socket", "sqlalchemy", "subprocess", "time"}
    for name in PURE:
        source = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        tops = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {str(node.module).split(".")[0] for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
        assert not tops & foreign, name


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
