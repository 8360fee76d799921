"""What HEALTHCHECK asks, and whether a server is there to be asked."""

import socket

import pytest

from tracking import health, settings


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "http://127.0.0.1:5000/health"),
        ({"MLFLOW_PORT": "8080", "MLFLOW_STATIC_PREFIX": "/models"}, "http://127.0.0.1:8080/models/health"),
        ({"MLFLOW_PORT": "", "MLFLOW_STATIC_PREFIX": ""}, "http://127.0.0.1:5000/health"),
        ({"MLFLOW_HOST": "0.0.0.0"}, "http://127.0.0.1:5000/health"),  # noqa: S104  nothing listens here
        ({"MLFLOW_HOST": "10.1.2.3"}, "http://10.1.2.3:5000/health"),
        ({"MLFLOW_HOST": "::"}, "http://[::1]:5000/health"),
        ({"MLFLOW_HOST": "tracking"}, "http://tracking:5000/health"),
    ],
)
def test_it_asks_where_the_server_is(environ: dict[str, str], address: str) -> None:
    assert health.address(settings.read(environ)) == address


@pytest.mark.usefixtures("socket_enabled")  # on loopback alone
def test_a_server_serves_once_it_takes_connections_however_busy_it_is() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        given = settings.read({"MLFLOW_HOST": "127.0.0.1", "MLFLOW_PORT": str(server.getsockname()[1])})
        assert not health.serves(given)
        server.listen(0)
        with socket.create_connection(server.getsockname()):
            assert health.serves(given)  # its queue is full, so this one waits in vain
