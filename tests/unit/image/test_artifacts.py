from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.artifacts import ModelArtifacts, _path_below_the_proxy, metadata_in
from bridge.image.errors import DirectArtifacts, UnsafeMetadata
from bridge.mlflow.client import MlflowApi


def artifacts(uri: str, tracking_uri: str = "https://mlflow.example") -> ModelArtifacts:
    return ModelArtifacts(uri, MlflowApi(tracking_uri))


@pytest.mark.parametrize("uri", ["s3://bucket/model", "gs://bucket/model", "file:///model", "/model", "runs:/1/model"])
def test_a_store_that_is_not_behind_the_proxy_is_refused_with_the_fix(uri: str) -> None:
    with pytest.raises(DirectArtifacts) as refused:
        artifacts(uri)
    assert "--artifacts-destination" in refused.value.hint


@pytest.mark.parametrize(
    "authority",
    [
        "evil.example",
        "mlflow.example.evil.example",
        "mlflow.example:444",
        "mlflow.example:80",
        ":443",
        ":",
        "@",
        "443",
        "mlflow.example@evil.example",
        "evil.example@mlflow.example",
        "a:b@mlflow.example",
        "mlflow.example:443:443",
        "mlflow.example:99999",
        "mlflow.example:x",
        "[::1",
        "[::1]",
        "mlflow.example.",
        "mlflow.example\\evil.example",
        "mlflow%2eexample",
        "evil.example%23mlflow.example",
        " ",
        "x" * 5_000,
    ],
)
def test_a_host_other_than_the_servers_is_refused(authority: str) -> None:
    with pytest.raises(DirectArtifacts) as refused:
        artifacts(f"mlflow-artifacts://{authority}/1/model")
    assert "a:b" not in str(refused.value)


@pytest.mark.parametrize(
    ("authority", "tracking_uri"),
    [
        ("", "https://mlflow.example"),
        ("mlflow.example", "https://mlflow.example"),
        ("MLflow.Example", "https://mlflow.EXAMPLE/prefix"),
        ("mlflow.example:443", "https://mlflow.example"),
        ("mlflow.example", "https://mlflow.example:443"),
        ("mlflow.example:80", "http://mlflow.example"),
        ("mlflow.example:5000", "http://user:password@mlflow.example:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_the_servers_own_host_or_none_is_followed(
    httpx2_mock: respx.MockRouter, authority: str, tracking_uri: str
) -> None:
    proxy = httpx2_mock.get(path__regex="/api/2.0/mlflow-artifacts/artifacts$").respond(json={})
    assert artifacts(f"mlflow-artifacts://{authority}/1/model/", tracking_uri).sizes() == {}
    asked = proxy.calls.last.request.url
    assert asked.params["path"] == "1/model"
    assert (asked.scheme, asked.host, asked.port) == tuple(getattr(httpx2.URL(tracking_uri), part) for part in _TARGET)


_TARGET = ("scheme", "host", "port")


@pytest.mark.parametrize(
    "path", ["/../x", "/1/../../x", "/1/./x", "/%2e%2e/x", "/%252e%252e/x", "/1/..%2f..%2fx", "/.\n./x"]
)
@pytest.mark.parametrize("end", ["", "/"])
def test_a_path_out_of_the_proxy_is_refused(path: str, end: str) -> None:
    with pytest.raises(UnsafeMetadata):
        artifacts(f"mlflow-artifacts:{path}{end}")


@pytest.mark.parametrize("rest", ["/x?path=y", "/x#y", "/x%3fpath=y", "/x%23y", "/x%2523y", "/x%00", "/x%ff", "/x%5cy"])
def test_an_address_with_more_than_a_path_is_refused(rest: str) -> None:
    with pytest.raises((DirectArtifacts, UnsafeMetadata)):
        artifacts(f"mlflow-artifacts:{rest}")


@given(st.text(max_size=60))
def test_any_address_is_followed_or_refused_by_our_error(rest: str) -> None:
    for uri in (rest, f"mlflow-artifacts:{rest}", f"mlflow-artifacts://{rest}"):
        with suppress(BridgeError):
            _path_below_the_proxy(uri, "https://mlflow.example")


def test_a_file_that_is_too_long_to_be_metadata_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("#" * 4_000_001)
    with pytest.raises(UnsafeMetadata, match="MLmodel"):
        metadata_in(tmp_path)


def test_a_model_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeMetadata, match="MLmodel"):
        metadata_in(tmp_path)
