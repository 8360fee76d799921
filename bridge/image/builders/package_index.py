"""The secrets of a build in layers: where packages come from besides PyPI, and whom to trust there."""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from bridge.image import actions
from bridge.image.errors import InvalidInput
from bridge.image.settings import ImageSettings

_ADDRESS = re.compile(r"https?://[^\s/]+\S*")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def build_secrets(settings: ImageSettings) -> dict[str, str]:
    """Give the secrets that are set by the names under which a build knows them; no log shows a password of theirs.

    Raises `InvalidInput`, which shows no value.
    """
    found = {
        "index-url": _addresses("PIP_INDEX_URL", settings.pip_index_url, most=1),
        "extra-index-urls": _addresses("PIP_EXTRA_INDEX_URL", settings.pip_extra_index_url),
        "ca": _certificates(settings.ca_certificates),
    }
    return {name: value for name, value in found.items() if value}


def _addresses(name: str, secret: SecretStr | None, most: int | None = None) -> str:
    """Give the addresses, one a line. GitHub hides a secret as a whole; its password alone has to be hidden besides."""
    addresses = secret.get_secret_value().split() if secret else []
    if not all(_ADDRESS.fullmatch(each) for each in addresses) or len(addresses) > (most or len(addresses)):
        form = "one address" if most == 1 else "addresses, with blanks or line feeds between them,"
        raise InvalidInput(
            f"{name} holds no package index: give {form} such as https://user:password@pypi.example.com/simple"
        )
    for hidden in {each for address in addresses for each in _passwords(name, address)}:
        actions.mask(hidden)
    return "\n".join(addresses)


def _passwords(name: str, address: str) -> Iterator[str]:
    try:
        password = urlsplit(address).password
    except ValueError as error:
        raise InvalidInput(
            f"{name} holds no package index: give an address such as https://pypi.example.com/simple"
        ) from error
    if password:
        yield from (password, unquote(password))


def _certificates(secret: SecretStr | None) -> str:
    text = secret.get_secret_value() if secret else ""
    if text and _CERTIFICATE not in text:
        raise InvalidInput(f"CA_CERTIFICATES holds no certificate: give PEM, which has the line {_CERTIFICATE}")
    return text
