"""Which builder builds the image and with which inputs, all checked before anything is built."""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from bridge.image import actions
from bridge.image.errors import ImageTooLarge, InvalidInput
from bridge.image.settings import ImageSettings

MLFLOW = "mlflow"
LAYERED = "layered"
BUILDERS = (MLFLOW, LAYERED)
INPUTS = ("builder", "base-image", "platforms", "smoke-test")
"""The inputs that a payload may set; none of them decides about secrets."""
ENV_MANAGERS = ("local", "virtualenv", "conda")
"""What `mlflow models build-docker` supports for images; it refuses `uv`."""

_PLATFORM = re.compile(r"linux/[a-z0-9]{1,20}(?:/v[0-9]{1,2})?")
_MACHINES = {"x86_64": "linux/amd64", "amd64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}
"""Platforms by the kernel's name of the machine (`uname -m`)."""
_SIZE = re.compile(r"([1-9][0-9]{0,5}(?:\.[0-9]{1,3})?) ?(MB|GB)")
_BYTES = {"MB": 10**6, "GB": 10**9}
_ADDRESS = re.compile(r"https?://[^\s/]+\S*")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Builder:
    """The builder and its inputs. `layered_only` names the inputs and secrets that only `builder: layered` supports."""

    name: str = MLFLOW
    base_image: str = ""
    wheels_only: bool = False
    layered_only: tuple[str, ...] = ()
    env_manager: str = ENV_MANAGERS[0]
    """How MLflow's builder installs the model's packages."""
    install_java: bool = False
    """Only MLflow's ubuntu image, which every `env_manager` but `local` uses, has Java."""

    @property
    def layered(self) -> bool:
        """Whether the image is built in layers."""
        return self.name == LAYERED

    @property
    def needs_root(self) -> bool:
        """Whether the container must run as root, because its Python (of pyenv or conda) is below /root."""
        return not self.layered and self.env_manager != "local"

    def mlflow_options(self) -> list[str]:
        """Return the options of `mlflow models build-docker`."""
        java = [] if self.env_manager == "local" else [f"--install-java={str(self.install_java).lower()}"]
        return ["--env-manager", self.env_manager, *java]

    @classmethod
    def read(
        cls, settings: ImageSettings, inputs: Mapping[str, str] | None = None, machine: str = platform.machine()
    ) -> "Builder":
        """Read the `inputs` of a payload, or the workflow's for those that are not set. Raises `InvalidInput`."""
        # 1. The builder.
        payload = {name: value for name, value in (inputs or {}).items() if value}
        values = {
            "builder": settings.builder or MLFLOW,
            "base-image": settings.base_image,
            "platforms": settings.platforms,
        } | payload
        if values["builder"] not in BUILDERS:
            raise InvalidInput(
                f"builder {values['builder'][:40]!r} is not supported", f"use one of {', '.join(BUILDERS)}"
            )
        name = values["builder"]

        # 2. The inputs and secrets that only the layered builder supports.
        if settings.has_package_index and "base-image" in payload:
            # The image's programs would run in the step that has the secrets.
            raise InvalidInput(
                "a route can't set base-image if the secret PIP_INDEX_URL or PIP_EXTRA_INDEX_URL is set",
                "remove it from the route, and set the input base-image in the calling workflow",
            )
        layered_values = {
            "base-image": values["base-image"],
            "platforms": values["platforms"],
            "build-from-source": settings.build_from_source,
            "the secrets PIP_INDEX_URL and PIP_EXTRA_INDEX_URL": settings.has_package_index,
            "the secret CA_CERTIFICATES": settings.has_ca_certificates,
        }
        layered_only = tuple(label for label, value in layered_values.items() if value)
        if name == MLFLOW and layered_only:
            raise InvalidInput(
                f"builder mlflow does not support {' and '.join(layered_only)}",
                "set builder to layered, or remove them",
            )
        _check_platform(values["platforms"], machine)

        # 3. The inputs of MLflow's builder.
        env_manager = settings.env_manager or ENV_MANAGERS[0]
        if env_manager not in ENV_MANAGERS:
            raise InvalidInput(
                f"env-manager {env_manager[:40]!r} is not supported", f"use one of {', '.join(ENV_MANAGERS)}"
            )
        if settings.install_java and env_manager == "local":
            raise InvalidInput(
                "install-java doesn't work with env-manager local",
                "set env-manager to virtualenv or conda",
            )
        return cls(
            name=name,
            base_image=values["base-image"],
            wheels_only=settings.has_package_index and not settings.build_from_source,
            layered_only=layered_only,
            env_manager=env_manager,
            install_java=settings.install_java,
        )


def _check_platform(text: str, machine: str) -> None:
    """An image is built on a machine of its own platform, because the model's packages run meanwhile."""
    if not text:
        return
    platforms = [name.strip() for name in text.split(",")]
    if not all(_PLATFORM.fullmatch(name) for name in platforms):
        raise InvalidInput(f"platforms {text[:80]!r} is not a platform", "use linux/amd64 or linux/arm64")
    if len(platforms) > 1:
        raise InvalidInput(
            f"platforms {text[:80]!r} has several platforms, but an image is built for one",
            "set platforms to one of them, and runs-on to a runner of that platform",
        )
    runner = _MACHINES.get(machine, f"linux/{machine}")
    if platforms[0] != runner:
        raise InvalidInput(
            f"platforms is {platforms[0]}, but this runner is {runner}",
            "set runs-on to a runner of that platform, such as ubuntu-24.04-arm for linux/arm64",
        )


def size_limit(text: str) -> int | None:
    """Read the input `size-limit`; return bytes, or None if there is no limit. Raises `InvalidInput`."""
    if not text:
        return None
    if not (match := _SIZE.fullmatch(text)):
        raise InvalidInput(f"size-limit {text[:40]!r} is not a size", "set a number with MB or GB, such as 2.5 GB")
    return round(float(match[1]) * _BYTES[match[2]])


def check_size(image: str, size: int, limit: int | None) -> None:
    """Raise `ImageTooLarge` if `size`, in bytes, exceeds the limit."""
    if limit is not None and size > limit:
        raise ImageTooLarge(
            f"{image} has {size / 1e9:.2f} GB, which is more than size-limit allows ({limit / 1e9:.2f} GB)",
            "log the model with fewer requirements, or increase size-limit",
        )


def build_secrets(settings: ImageSettings) -> dict[str, str]:
    """Return the secrets that are set, by the names that a layered build has for them, and mask their passwords.

    Raises `InvalidInput`, which shows no value.
    """
    index = _addresses("PIP_INDEX_URL", settings.pip_index_url)
    extra = _addresses("PIP_EXTRA_INDEX_URL", settings.pip_extra_index_url)
    if len(index) > 1:
        raise InvalidInput("PIP_INDEX_URL has more than one address", "move the others to PIP_EXTRA_INDEX_URL")
    certificates = settings.ca_certificates.get_secret_value() if settings.ca_certificates else ""
    if certificates and _CERTIFICATE not in certificates:
        raise InvalidInput(
            "CA_CERTIFICATES contains no certificate", f"use the PEM format, with the line {_CERTIFICATE}"
        )
    secrets = {"index-url": "\n".join(index), "extra-index-urls": "\n".join(extra), "ca": certificates}
    return {name: value for name, value in secrets.items() if value}


def _addresses(name: str, secret: SecretStr | None) -> list[str]:
    addresses = secret.get_secret_value().split() if secret else []
    try:
        passwords = [password for address in addresses if (password := urlsplit(address).password)]
    except ValueError as error:
        raise _no_index(name) from error
    if not all(_ADDRESS.fullmatch(address) for address in addresses):
        raise _no_index(name)
    # GitHub masks a secret as a whole, so the password in it has to be masked too, as it is sent and as it is written.
    for password in {*passwords, *map(unquote, passwords)}:
        actions.mask(password)
    return addresses


def _no_index(name: str) -> InvalidInput:
    return InvalidInput(
        f"{name} contains something that is not the address of a package index",
        "use addresses such as https://user:password@pypi.example.com/simple, separated by spaces",
    )
