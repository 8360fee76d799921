"""What HEALTHCHECK asks."""

import pytest

from tracking import health


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "http://127.0.0.1:5000/health"),
        ({"MLFLOW_PORT": "8080", "MLFLOW_STATIC_PREFIX": "/models"}, "http://127.0.0.1:8080/models/health"),
        ({"MLFLOW_PORT": "", "MLFLOW_STATIC_PREFIX": ""}, "http://127.0.0.1:5000/health"),
    ],
)
def test_it_asks_where_the_server_is(environ: dict[str, str], address: str) -> None:
    assert health.address(environ) == address
