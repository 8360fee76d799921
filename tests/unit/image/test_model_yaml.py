"""Metadata bombs, through all that reads a model's YAML."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.builders.layered.plan import plan
from bridge.image.errors import UnsafeMetadata
from bridge.image.metadata import ModelMetadata, read

TEXTS = {
    "MLmodel": "mlflow_version: 3.17.2\nflavors: {python_function: {env: {virtualenv: python_env.yaml}}}\n",
    "python_env.yaml": "python: 3.11.7\ndependencies: [-r requirements.txt]\n",
    "conda.yaml": "dependencies: [python=3.11.7, pip, {pip: [numpy]}]\n",
    "requirements.txt": "numpy\n",
}


def planned(texts: dict[str, str]) -> None:
    plan(texts, ModelMetadata("3.17.2", "3.11.7", has_serving_example=False))


def described(texts: dict[str, str]) -> None:
    read(texts["MLmodel"], texts["python_env.yaml"])


READERS = [
    ("MLmodel", described),
    ("python_env.yaml", described),
    ("MLmodel", planned),
    ("python_env.yaml", planned),
    ("conda.yaml", planned),
]
readers = pytest.mark.parametrize(("file", "reader"), READERS)
Reader = Callable[[dict[str, str]], None]


@pytest.fixture(autouse=True)
def fewer_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep texts with too many values short. The test of memory has its own process, with the real limit."""
    monkeypatch.setattr("bridge.core.limits.MAX_YAML_VALUES", 1_000)


_ABC = "abcdefghijklmn"


def merge_bomb() -> str:
    """Maps that each merge the one before ten times: 10 ** 13 pairs with PyYAML before 6.0.4, in 684 bytes."""
    lines = [
        "a: &a {a: b}",
        *(f"{c}: &{c} {{<<: [{','.join([f'*{p}'] * 10)}]}}" for p, c in pairwise(_ABC)),
    ]
    return "\n".join(lines) + "\n"


BOMBS = {
    "merge keys": merge_bomb(),
    "one merge key": "a: {<<: {b: c}}\n",
    "a merge key of a list": "a: {<<: [{b: c}]}\n",
    "a value key": "a: {=: b}\n",
    "aliases": "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "a cycle": "a: &a [*a]\n",
    "a cycle of keys": "a: &a {? *a : b}\n",
    "an anchor": "a: &a b\n",
    "a tag": "a: !!python/object/apply:os.system [x]\n",
    "a plain tag": "a: !!str b\n",
    "a tag of no kind": "a: ! b\n",
    "binary": "a: !!binary AAAA\n",
    "a set": "a: !!set {b, c}\n",
    "a date out of range": "a: 2020-13-45\n",
    "a year out of range": "a: 0000-01-01\n",
    "a time zone out of range": "a: 2020-01-01T00:00:00+99:99\n",
    "an integer of 6,000 digits": f"a: {'1' * 6_000}\n",
    "an integer of base 60": f"a: 1{':59' * 100_000}\n",
    "a float of base 60": f"a: 1{':59' * 1_000}.5\n",
    "no digits": "a: 0x_\n",
    "depth in a line": f"a: {'[' * 20_000}\n",
    "depth in maps": "".join(f"{' ' * n}a:\n" for n in range(2_000)) + " " * 2_000 + "b\n",
    "depth in dashes": f"a:\n  {'- ' * 20_000}b\n",
    "many values": f"a: [{'1,' * 1_100}]\n",
    "many maps": "a:\n" + "- {}\n" * 1_100,
    "half a character": 'a: "\\ud800"\n',
    "beyond Unicode": 'a: "\\UFFFFFFFF"\n',
    "a NUL": "a: \0\n",
    "several documents": "a: b\n---\nc: d\n",
    "a list as a key": "? [a]\n: b\n",
    "a map as a key": "? {a: b}\n: c\n",
    "an open bracket": "a: [\n",
    "a tab": "a:\n\tb: c\n",
}


@readers
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_by_the_name_of_its_file(file: str, reader: Reader, bomb: str) -> None:
    for text in (bomb + TEXTS[file], TEXTS[file] + bomb):
        with pytest.raises(UnsafeMetadata, match=file):
            reader(TEXTS | {file: text})


@readers
@pytest.mark.parametrize("text", ["", "- a", "7", "a", "null", "~", "2020-01-01", "[[]]", "# nothing", "---\n..."])
def test_what_is_no_map_is_refused_by_the_name_of_its_file(file: str, reader: Reader, text: str) -> None:
    with pytest.raises(UnsafeMetadata, match=file):
        reader(TEXTS | {file: text})


VALUES = [
    "null",
    "7",
    "1.5",
    "true",
    "2020-01-01",
    "text",
    "[]",
    "[a]",
    "[{}]",
    "{}",
    "{a: b}",
    "{1: 2}",
    "'\\0'",
    ".nan",
]
PLACES = [
    ("MLmodel", "flavors: {python_function", "flavors: %s\nx: {python_function"),
    ("MLmodel", "python_function: {env: {virtualenv: python_env.yaml}}", "python_function: %s"),
    ("MLmodel", "env: {virtualenv: python_env.yaml}", "env: %s"),
    ("MLmodel", "virtualenv: python_env.yaml", "virtualenv: %s"),
    ("MLmodel", "env: {", "loader_module: %s, env: {"),
    ("MLmodel", "{python_function", "{sklearn: %s, python_function"),
    ("MLmodel", "{python_function", "{1: %s, null: 7, 2020-01-01: 8, python_function"),
    ("MLmodel", "mlflow_version: 3.17.2", "mlflow_version: %s"),
    ("MLmodel", "mlflow_version", "saved_input_example_info: %s\nmlflow_version"),
    ("MLmodel", "mlflow_version", "saved_input_example_info: {serving_input_path: %s}\nmlflow_version"),
    ("python_env.yaml", "python: 3.11.7", "python: %s"),
    ("python_env.yaml", "[-r requirements.txt]", "%s"),
    ("python_env.yaml", "-r requirements.txt", "%s"),
    ("python_env.yaml", "python", "build_dependencies: %s\npython"),
    ("conda.yaml", "[python=3.11.7, pip, {pip: [numpy]}]", "%s"),
    ("conda.yaml", "python=3.11.7", "%s"),
    ("conda.yaml", "[numpy]", "%s"),
]


@pytest.mark.parametrize(("file", "old", "new"), PLACES)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_of_another_kind_is_read_or_refused_by_the_name_of_its_file(
    file: str, old: str, new: str, value: str
) -> None:
    assert old in TEXTS[file]
    texts = TEXTS | {file: TEXTS[file].replace(old, new.replace("%s", value), 1)}
    for reader in (described, planned):
        try:
            reader(texts)
        except BridgeError as error:
            assert file in str(error)  # noqa: PT017  most are refused, and not all


@given(st.text(), st.sampled_from(READERS))
def test_any_text_is_read_or_refused_by_our_error(text: str, reader: tuple[str, Reader]) -> None:
    try:
        reader[1](TEXTS | {reader[0]: text})
    except BridgeError:
        return


def test_long_text_is_no_number() -> None:
    described(TEXTS | {"MLmodel": f"{TEXTS['MLmodel']}signature: {'1 ' * 10_000}\n"})
    described(TEXTS | {"MLmodel": f"{TEXTS['MLmodel']}signature: '{'1' * 10_000}'\n"})


_LIMITED = """
import re, resource, sys
from pathlib import Path
from bridge.core.errors import BridgeError
from bridge.image.metadata import read

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1000

resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))
text = sys.stdin.read()
before = peak()
try:
    read(text, "python: 3.11.7")
except BridgeError as error:
    assert "MLmodel" in str(error), error
print(peak() - before)
"""


def largest() -> str:
    """A model with as long a signature as is read, as MLflow writes it."""
    return TEXTS["MLmodel"] + yaml.safe_dump({"signature": {"inputs": '{"type": "double", "name": "é"}, ' * 83_000}})


def most() -> str:
    return TEXTS["MLmodel"] + "metadata: [" + "{a: b}, " * 6_000 + "]\n"


@pytest.mark.parametrize(
    "text", [merge_bomb(), BOMBS["aliases"], largest(), most()], ids=["merges", "aliases", "largest", "most"]
)
def test_the_memory_for_a_models_yaml_is_bounded(text: str) -> None:
    """The peak is in megabytes above that of the imports; the largest file has four."""
    assert len(text.encode()) <= 4_000_000
    code = [sys.executable, "-c", _LIMITED]
    done = subprocess.run(code, input=text, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-2_000:]
    assert int(done.stdout) < 100
