from typing import Any

import pytest

from bridge.image.builders.package_index import build_secrets
from bridge.image.errors import InvalidInput
from bridge.image.settings import ImageSettings

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PASSWORD = "s3cret%2Fword"


def settings(**values: Any) -> ImageSettings:
    return ImageSettings(**values)


def test_a_build_without_secrets_is_given_none() -> None:
    assert build_secrets(settings()) == {}


def test_each_secret_goes_by_the_name_that_the_build_knows() -> None:
    said = settings(
        pip_index_url="https://one.example/simple\n",
        pip_extra_index_url="https://two.example/simple https://three.example:8443/simple",
        ca_certificates=PEM,
    )
    assert build_secrets(said) == {
        "index-url": "https://one.example/simple",
        "extra-index-urls": "https://two.example/simple\nhttps://three.example:8443/simple",
        "ca": PEM,
    }


def test_a_password_is_hidden_in_the_log_as_it_stands_and_as_it_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    build_secrets(settings(pip_index_url=f"https://me:{PASSWORD}@one.example/simple"))
    assert set(capsys.readouterr().out.splitlines()) == {"::add-mask::s3cret%252Fword", "::add-mask::s3cret/word"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pip_index_url", f"ftp://me:{PASSWORD}@one.example"),
        ("pip_index_url", f"https://me:{PASSWORD}@one.example https://two.example"),
        ("pip_index_url", f"{PASSWORD}"),
        ("pip_index_url", f"https://me:{PASSWORD}@[one.example/simple"),
        ("pip_extra_index_url", f"https://two.example --index-url {PASSWORD}"),
        ("ca_certificates", PASSWORD),
    ],
)
def test_what_is_no_address_and_no_certificate_is_refused_by_name_without_its_value(name: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        build_secrets(settings(**{name: value}))
    assert str(refused.value).startswith(f"{name.upper()} holds no ")
    assert PASSWORD not in str(refused.value)


def test_a_secret_shows_in_no_representation_of_the_settings() -> None:
    assert PASSWORD not in repr(
        settings(pip_index_url=PASSWORD, pip_extra_index_url=PASSWORD, ca_certificates=PASSWORD)
    )
