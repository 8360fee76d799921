"""What a model asks to be installed, checked: every line is a named requirement, and none can become an option."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bridge.image.errors import UnsafeMetadata, UnsupportedModel
from bridge.image.metadata import MLMODEL, PYTHON_ENV
from bridge.image.model_yaml import mapping

REQUIREMENTS = "requirements.txt"
CONSTRAINTS = "constraints.txt"
CONDA = "conda.yaml"
DESCRIPTION = (MLMODEL, PYTHON_ENV, CONDA, REQUIREMENTS, CONSTRAINTS)
"""The files by which a model says what it needs."""
INSTEAD = "build it with `builder: mlflow`"

_CONSTRAINED = re.compile(r"(-c|--constraint)[ =]?constraints\.txt")
_COMMENT = re.compile(r"(^|\s)#.*")
_OF_CONDA_ITSELF = re.compile(r"(python|pip)([\s<>=!~].*)?")
_MAX_TEXT = 1_000_000
"""Characters of one file: about ten thousand requirements."""
_MAX_LINE = 1_000
"""Characters of one requirement."""


@dataclass(frozen=True)
class Requirements:
    """Requirement lines as `packaging` writes them: a name, extras, a specifier, a marker, and nothing else."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The distributions that are asked for, normalised."""
        return tuple(canonicalize_name(Requirement(line).name) for line in self.lines)


def read(texts: Mapping[str, str], mlflow_version: str) -> Requirements:
    """Read the model's files, given as texts by name; MLflow itself is added where the model does not ask for it.

    Raises `UnsafeMetadata` where a line could do more than name a package, `UnsupportedModel` where this builder can't
    install what is asked for.
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
    if len(text) > _MAX_TEXT:
        raise UnsafeMetadata(f"{file} has more than {_MAX_TEXT:,} characters: log the model with fewer requirements")
    for line in text.splitlines():
        if said := _COMMENT.sub("", line).strip():
            yield said


def _checked(file: str, line: str) -> str:
    """Give the line as it goes to the installer. uv would replace `${NAME}` by a variable, so no `$` passes."""
    shown = repr(line[:80])
    if line.startswith("-"):
        raise UnsafeMetadata(
            f"{file} has the option {shown}, and options of a model are not followed: {INSTEAD}, or log it without"
        )
    if len(line) > _MAX_LINE:
        raise UnsafeMetadata(
            f"{file} has a line that is too long (it starts with {shown}): log the model with shorter lines"
        )
    try:
        requirement = Requirement(line)
    except (InvalidRequirement, RecursionError) as error:
        raise UnsupportedModel(f"{file} asks for {shown}, which is no named package: {INSTEAD}") from error
    if requirement.url:
        raise UnsupportedModel(f"{file} asks for {shown}, which is fetched from an address of its own: {INSTEAD}")
    if "$" in line:
        raise UnsafeMetadata(f"{file} asks for {shown}, and a $ could stand for a secret: log the model without")
    return str(requirement)


def _check_environment(text: str) -> None:
    asked = mapping(PYTHON_ENV, text).get("dependencies")
    if asked != [f"-r {REQUIREMENTS}"]:
        raise UnsupportedModel(f"{PYTHON_ENV} asks for more than its {REQUIREMENTS}: {INSTEAD}")


def _check_conda(text: str) -> None:
    """Refuse what conda alone can install; python, pip and the list for pip say the same as the other files."""
    asked = mapping(CONDA, text).get("dependencies") or []
    for each in asked if isinstance(asked, list) else [asked]:
        if isinstance(each, dict) and set(each) == {"pip"}:
            continue
        if not (isinstance(each, str) and _OF_CONDA_ITSELF.fullmatch(each.split("::")[-1])):
            shown = repr(each[:80]) if isinstance(each, str) else f"a {type(each).__name__}"
            raise UnsupportedModel(f"{CONDA} asks for {shown}, which only conda installs: {INSTEAD}")
