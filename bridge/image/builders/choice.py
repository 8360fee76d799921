"""Which of the two builders makes the image, and what is asked of it that only `builder: layered` knows; pure."""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bridge.image.errors import InvalidInput
from bridge.image.settings import ImageSettings

MLFLOW = "mlflow"
LAYERED = "layered"
BUILDERS = (MLFLOW, LAYERED)
INPUTS = ("builder", "base-image", "platforms", "smoke-test")
"""What a payload may say; never anything that decides about secrets."""

_PLATFORM = re.compile(r"linux/[a-z0-9]{1,20}(?:/v[0-9]{1,2})?")
_MACHINES = {"x86_64": "linux/amd64", "amd64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}
"""Platforms by what the kernel calls its machine (`uname -m`)."""


@dataclass(frozen=True)
class Builder:
    """The builder and what it is told. `asked` names the inputs and secrets that MLflow's own doesn't know."""

    name: str = MLFLOW
    base_image: str = ""
    wheels_only: bool = False
    asked: tuple[str, ...] = ()

    @property
    def layered(self) -> bool:
        """Tell whether it is ours."""
        return self.name == LAYERED

    @classmethod
    def read(
        cls, settings: ImageSettings, inputs: Mapping[str, str] | None = None, machine: str = platform.machine()
    ) -> "Builder":
        """Take a payload's `inputs` first, then the workflow's. Raises `InvalidInput`, which names what is wrong.

        What `resolve` has found stands above both, so that all jobs of a run make the same.
        """
        said = {
            "builder": settings.builder or MLFLOW,
            "base-image": settings.base_image,
            "platforms": settings.platforms,
        } | {name: value for name, value in (inputs or {}).items() if value}
        if said["builder"] not in BUILDERS:
            known = ", ".join(BUILDERS)
            raise InvalidInput(f"builder {said['builder'][:40]!r} is not one of {known}: use one of them")
        if settings.has_package_index and (inputs or {}).get("base-image"):
            raise InvalidInput(
                "base-image comes with the payload, and its programs would run beside the secrets PIP_INDEX_URL and "
                "PIP_EXTRA_INDEX_URL: take it out of the route, and set the workflow's own input base-image"
            )
        name = said["builder"] if settings.layered is None else LAYERED if settings.layered else MLFLOW
        asked = tuple(_asked(settings, said))
        if name == MLFLOW and asked:
            raise InvalidInput(
                f"builder is mlflow, and only layered knows {' and '.join(asked)}: "
                "set builder to layered, or leave that out"
            )
        _check_platform(said["platforms"], machine)
        wheels_only = settings.has_package_index and not settings.build_from_source
        return cls(name, said["base-image"], wheels_only, asked)


def _asked(settings: ImageSettings, said: Mapping[str, str]) -> Iterator[str]:
    yield from (name for name in ("base-image", "platforms") if said[name])
    if settings.build_from_source:
        yield "build-from-source"
    if settings.has_package_index:
        yield "the secrets PIP_INDEX_URL and PIP_EXTRA_INDEX_URL"
    if settings.has_ca_certificates:
        yield "the secret CA_CERTIFICATES"


def _check_platform(text: str, machine: str) -> None:
    """An image is made on a machine of its own kind: what runs meanwhile are the model's packages."""
    if not text:
        return
    platforms = [each.strip() for each in text.split(",")]
    if not all(_PLATFORM.fullmatch(each) for each in platforms):
        raise InvalidInput(f"platforms {text[:80]!r} is no platform: give linux/amd64 or linux/arm64")
    if len(platforms) > 1:
        raise InvalidInput(
            f"platforms {text[:80]!r} names several, and an image is made for one: "
            "give the one that it is to run on, and runs-on a runner of that kind"
        )
    own = _MACHINES.get(machine, f"linux/{machine}")
    if platforms[0] != own:
        raise InvalidInput(
            f"platforms is {platforms[0]} and this runner is {own}: give runs-on a runner of that kind, "
            "such as ubuntu-24.04-arm for linux/arm64"
        )
