"""Reads and checks what a model requires: every line is a named requirement, and none can become an option."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bridge.core import limits
from bridge.image.errors import UnsafeMetadata, UnsupportedModel
from bridge.image.metadata import MLMODEL, PYTHON_ENV
from bridge.image.model_yaml import mapping

REQUIREMENTS = "requirements.txt"
CONSTRAINTS = "constraints.txt"
CONDA = "conda.yaml"
DESCRIPTION = (MLMODEL, PYTHON_ENV, CONDA, REQUIREMENTS, CONSTRAINTS)
"""The files that name what a model needs."""

_CONSTRAINED = re.compile(r"(-c|--constraint)[ =]?constraints\.txt")
_COMMENT = re.compile(r"(^|\s)#.*")
_OF_CONDA_ITSELF = re.compile(r"(python|pip)([\s<>=!~].*)?")


@dataclass(frozen=True)
class Requirements:
    """Requirement lines as `packaging` writes them: a name, extras, a specifier, a marker, and nothing else."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The required distributions, normalised."""
        return tuple(canonicalize_name(Requirement(line).name) for line in self.lines)


def read(texts: Mapping[str, str], mlflow_version: str) -> Requirements:
    """Read the model's files, texts by name; MLflow itself is added if the model doesn't require it.

    Raises `UnsafeMetadata` if a line could do more than name a package, `UnsupportedModel` if the layered builder can't
    install what is required.
    """
    _check_environment(texts.get(PYTHON_ENV, ""))
    if CONDA in texts:
        _check_conda(texts[CONDA])
    lines: list[str] = []
    constraints: tuple[str, ...] = ()
    for line in _lines(REQUIREMENTS, texts):
        if _CONSTRAINED.fullmatch(line):
            constraints = tuple(_checked(CONSTRAINTS, each) for each in _lines(CONSTRAINTS, texts))
        else:
            lines.append(_checked(REQUIREMENTS, line))
    if "mlflow" not in Requirements(tuple(lines)).names:
        lines.insert(0, f"mlflow=={mlflow_version}")
    return Requirements(tuple(lines), constraints)


def _lines(file: str, texts: Mapping[str, str]) -> Iterator[str]:
    text = texts.get(file, "")
    if len(text) > limits.MAX_REQUIREMENTS:
        raise UnsafeMetadata(
            f"{file} has more than {limits.MAX_REQUIREMENTS:,} characters", "log the model with fewer requirements"
        )
    for line in text.splitlines():
        if requirement := _COMMENT.sub("", line).strip():
            yield requirement


def _checked(file: str, line: str) -> str:
    """Return the line as the installer gets it. uv would replace `${NAME}` by a variable, so no `$` passes."""
    shown = repr(line[:80])
    if line.startswith("-"):
        raise left_to_mlflow(f"{file} has the option {shown}, which is not supported")
    if len(line) > limits.MAX_REQUIREMENT:
        raise UnsafeMetadata(
            f"{file} has a line that is too long (it starts with {shown})", "log the model with shorter lines"
        )
    try:
        requirement = Requirement(line)
    except (InvalidRequirement, RecursionError) as error:
        raise left_to_mlflow(f"{file} requires {shown}, which is not a package name") from error
    if requirement.url:
        raise left_to_mlflow(f"{file} requires {shown}, which is fetched from a URL")
    if "$" in line:
        raise UnsafeMetadata(
            f"{file} requires {shown}, where the $ could expand to a secret", "log the model without this requirement"
        )
    return str(requirement)


def _check_environment(text: str) -> None:
    if mapping(PYTHON_ENV, text).get("dependencies") != [f"-r {REQUIREMENTS}"]:
        raise left_to_mlflow(f"{PYTHON_ENV} has requirements other than {REQUIREMENTS}")


def _check_conda(text: str) -> None:
    """Refuse what only conda can install; python, pip and the list for pip repeat what the other files have."""
    dependencies = mapping(CONDA, text).get("dependencies") or []
    for dependency in dependencies if isinstance(dependencies, list) else [dependencies]:
        if isinstance(dependency, dict) and set(dependency) == {"pip"}:
            continue
        if not (isinstance(dependency, str) and _OF_CONDA_ITSELF.fullmatch(dependency.split("::")[-1])):
            shown = repr(dependency[:80]) if isinstance(dependency, str) else f"a {type(dependency).__name__}"
            raise left_to_mlflow(f"{CONDA} requires {shown}, which only conda can install")


def left_to_mlflow(message: str) -> UnsupportedModel:
    """Return the error for a model that only MLflow's own builder can build."""
    return UnsupportedModel(message, "set the input builder to mlflow", mlflow_can_build=True)
