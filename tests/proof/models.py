"""Mutated model folders, read as the runner reads them. Prints figures; a traceback where an error isn't ours.

python -m tests.proof.models [--seed 1] [--count 1000]
"""

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from bridge.core.errors import BridgeError
from bridge.image.artifacts import metadata_in
from bridge.image.builders.layered import assemble as layered
from bridge.image.builders.layered.plan import Base
from bridge.image.metadata import ModelMetadata

Files = dict[str, bytes]

MODEL: dict[str, Any] = {
    "flavors": {
        "python_function": {
            "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            "loader_module": "mlflow.sklearn",
            "model_path": "model.pkl",
            "predict_fn": "predict",
            "python_version": "3.11.7",
        },
        "sklearn": {"code": None, "pickled_model": "model.pkl", "sklearn_version": "1.9.1"},
        "lightgbm": {"code": None, "data": "model.lgb"},
    },
    "is_signature_from_type_hint": False,
    "metadata": {"team": "crédit", "nested": [{"a": [1, 2.5, None, True]}]},
    "mlflow_version": "3.17.2",
    "model_size_bytes": 1543,
    "saved_input_example_info": {"pandas_orient": "split", "serving_input_path": "serving_input_example.json"},
    "signature": {"inputs": json.dumps([{"type": "double", "name": f"x{n}"} for n in range(3)]), "params": None},
    "utc_time_created": "2026-11-27 15:52:40.974249",
}
ENVIRONMENT: dict[str, Any] = {
    "python": "3.11.7",
    "build_dependencies": ["pip==24.0", "setuptools==80.9.0", "wheel==0.45.1"],
    "dependencies": ["-r requirements.txt"],
}
CONDA: dict[str, Any] = {
    "channels": ["conda-forge"],
    "dependencies": ["python=3.11.7", "pip<=24.0", {"pip": ["mlflow==3.17.2", "numpy==2.4.6"]}],
    "name": "mlflow-env",
}
YAML = {"MLmodel": MODEL, "python_env.yaml": ENVIRONMENT, "conda.yaml": CONDA}
LINES = {
    "requirements.txt": "mlflow==3.17.2\nuvicorn[standard]>=0.3,<1; python_version > '3.8'\n-c constraints.txt\n",
    "constraints.txt": "humanize<4.10\npandas!=2.0.*\n",
}

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    3.17,
    float("nan"),
    float("inf"),
    10**400,
    "",
    " ",
    "\0",
    "\n",
    "\r\nRUN x",
    "../x",
    "/etc/passwd",
    "3.11.7\n",
    "３.１１.７",
    "${SECRET}",
    "a" * 20_000,
    "-r /etc/passwd",
    "\u2028",
    "\x85",
    "\ufeff",
    "é" * 1_000,
    "pip" + " " * 100_000 + "\n",
    b"\xff\x00",
    [],
    {},
    [[]],
    [{}],
    {"": None},
    {1: 2},
    {None: None},
    {"pip": 7},
    {"virtualenv": ["python_env.yaml"]},
    ["x"] * 100,
]
SNIPPETS = [
    "&a [*a]",
    "{<<: {a: b}}",
    "{<<: [{a: b}, {a: b}]}",
    "*nobody",
    "!!binary AA==",
    "!!python/object:os.system x",
    "! x",
    "2020-13-45",
    "2020-01-01T00:00:00+99:99",
    "1" * 6_000,
    f"1{':59' * 20_000}",
    "0x_",
    "=",
    "<<",
    "[" * 3_000,
    "{" * 3_000,
    "? " * 3_000,
    "- " * 3_000,
    '"\\ud800"',
    '"\\UFFFFFFFF"',
    "|\n ",
    ">-\n\n",
    "--- a",
    "...",
    "%YAML 9.9",
    "\t",
    "#",
    "'",
    '"',
    "? [a]",
    "a: b: c",
    "`",
    "@",
    "\ufeff",
]
REQUIREMENTS = [
    "--index-url http://127.0.0.1/",
    "-e .",
    "-r /etc/passwd",
    "a @ file:///etc",
    "git+https://x/y",
    "a==" + "1" * 6_000,
    "a" * 20_000,
    f"a; {'(' * 900}",
    f"a; {'(' * 400}python_version > '3'{')' * 400}",
    "a; python_version > 'x\"y'",
    'a; os_name == "\'"',
    "a[" + "b," * 300 + "b]",
    "a" + ">1," * 300 + "<2",
    "a===\x85",
    "a\0b",
    "$HOME",
    "${X}",
    "-c constraints.txt",
    "-c ../constraints.txt",
    "\\",
    "a \\\n --pre",
    "#",
    "é==1",
    "a; python_version in '3.8, 3.9' and extra == 'x'",
    "a@http://x",
    "a (>1)",
    "a;",
    ";",
    "-",
    "\u2028--pre",
    "a~=1",
    "a==1.*.*",
    "a==1!2+x.y",
]


def folders(seed: int, count: int) -> Iterator[Files]:
    """Yield that many model folders, each with one to four mutations, which depend on the seed."""
    chance = random.Random(seed)  # noqa: S311  not for secrets
    for _ in range(count):
        yield mutated(chance)


def mutated(chance: random.Random) -> Files:
    values: dict[str, Any] = {name: json.loads(json.dumps(value)) for name, value in YAML.items()}
    for _ in range(chance.choice([0, 1, 1, 2])):
        _change_value(chance, values[chance.choice(list(values))])
    files = {name: _dump(value) for name, value in values.items()}
    files |= {name: text.encode() for name, text in LINES.items()}
    for _ in range(chance.choice([0, 1, 1, 2])):
        name = chance.choice(list(files))
        change = _change_line if name in LINES and chance.random() < 0.7 else chance.choice(TEXT_CHANGES)
        files[name] = change(chance, files[name])
        if chance.random() < 0.01:
            files[name] = _too_long(chance, files[name])
        if chance.random() < 0.03:
            del files[name]
    return files


def _dump(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


def _change_value(chance: random.Random, value: Any) -> None:
    """Replace, add or remove something anywhere inside."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(value[key], dict | list) and chance.random() < 0.7:
            value = value[key]
            continue
        if chance.random() < 0.15:
            del value[key]
        elif isinstance(value, dict) and chance.random() < 0.15:
            value[chance.choice([each for each in VALUES if not isinstance(each, dict | list)])] = value.pop(key)
        else:
            value[key] = chance.choice(VALUES)
        return


def _flip(chance: random.Random, text: bytes) -> bytes:
    changed = bytearray(text)
    for _ in range(chance.randint(1, 8)):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(chance: random.Random, text: bytes) -> bytes:
    start = chance.randrange(len(text) + 1)
    return text[:start] + text[chance.randrange(start, len(text) + 1) :]


def _repeat(chance: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True) or [b""]
    at = chance.randrange(len(lines))
    return b"".join([*lines[:at], lines[at] * chance.choice([2, 10, 2_000]), *lines[at:]])


def _splice(chance: random.Random, text: bytes) -> bytes:
    """Put a snippet in the place of a value, or anywhere."""
    snippet = chance.choice(SNIPPETS).encode()
    places = [match.end() for match in re.finditer(rb"(: |- )", text)] or [0]
    at = chance.choice(places) if chance.random() < 0.7 else chance.randrange(len(text) + 1)
    end = text.find(b"\n", at) if chance.random() < 0.7 else at
    return text[:at] + snippet + text[max(end, at) :]


def _noise(chance: random.Random, _: bytes) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 100, 100_000]))


def _too_long(chance: random.Random, text: bytes) -> bytes:
    return text + chance.choice([b"#", b" ", b"\n", b"a: b\n", b"- a\n", b"numpy\n"]) * chance.choice(
        [300_000, 1_200_000]
    )


def _change_line(chance: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(REQUIREMENTS).encode())
    return b"\n".join(lines)


TEXT_CHANGES: list[Callable[[random.Random, bytes], bytes]] = [
    *(_flip, _flip, _flip, _cut, _cut, _repeat),
    *(_splice, _splice, _splice, _splice, _noise),
]


def read(folder: Path) -> str:
    """Do with the folder what the steps do; give how it ended."""
    metadata = ModelMetadata("3.17.2", "3.11.7", has_serving_example=False)
    end = "accepted"
    try:
        metadata = metadata_in(folder)
    except BridgeError as error:
        end = type(error).__name__
    try:
        plan = layered.plan(folder, metadata)
        json.dumps([plan.key(Base("x", ("sha256:b",))), plan.base, plan.requirements.names])
    except BridgeError as error:
        end = type(error).__name__
    return end


def prove(seed: int, count: int) -> bool:
    """Read them in a child process; give whether it ended well. Prints its figures or its traceback."""
    command = [sys.executable, "-m", "tests.proof.models", "--seed", str(seed), "--count", str(count)]
    return subprocess.run(command, check=False).returncode == 0


def main() -> None:
    """Read them all, within 1 GB of address space and ten minutes of processor time."""
    resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))
    resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
    parser = argparse.ArgumentParser(prog="python -m tests.proof.models", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1_000)
    given = parser.parse_args()
    ends: Counter[str] = Counter()
    for files in folders(given.seed, given.count):
        with tempfile.TemporaryDirectory() as made:
            for name, content in files.items():
                (Path(made) / name).write_bytes(content)
            ends[read(Path(made))] += 1
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) // 1000
    print(f"{given.count:,} mutated model folders: peak {peak} MB, {dict(ends)}", flush=True)


if __name__ == "__main__":
    main()
