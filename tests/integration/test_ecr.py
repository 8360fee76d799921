"""ECR's requests over HTTP to moto's server, and what it answers to a moved tag."""

import base64
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session

from bridge.image.errors import RegistryError
from bridge.image.registry.client import Repository
from bridge.image.registry.credentials import AccessSettings, ecr_host
from bridge.image.registry.ecr import Ecr, EcrRepository, alias_filters
from bridge.image.registry.push_access import check_push
from tests.loopback.servers import Server, free_port

ACCOUNT = "123456789012"  # moto's server assigns all callers to it
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com"


class Moto(Server):
    """AWS's APIs at one address."""

    title = "moto"
    health = "/moto-api/"

    def __init__(self, folder: Path) -> None:
        port = free_port()
        super().__init__([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], {}, folder, port)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def environment(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what configure-aws-credentials sets for later steps, and the API's address."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", moto.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def ecr(environment: None) -> Ecr:
    host = ecr_host(REGISTRY)
    assert host
    return Ecr.connect(host)


@pytest.fixture
def client(environment: None) -> Any:
    return get_session().create_client("ecr", region_name="eu-central-1")


@pytest.fixture
def name() -> str:
    return f"demo/iris-{uuid4().hex[:8]}"


def put(client: Any, name: str, tag: str, content: str) -> None:
    media = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "annotations": {"content": content}})
    client.put_image(repositoryName=name, imageManifest=manifest, imageManifestMediaType=media, imageTag=tag)


def moved(client: Any, name: str, tag: str) -> bool:
    """Tag one image, then another; return whether ECR accepted the second."""
    put(client, name, tag, f"{tag} first")
    try:
        put(client, name, tag, f"{tag} second")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in ("ImageTagAlreadyExistsException", "ImageAlreadyExistsException"):
            raise
        return False
    return True


def test_a_token_of_the_hosts_account_and_region_fits_the_host(environment: None) -> None:
    host = ecr_host(REGISTRY)
    assert host
    client = get_session().create_client("ecr", region_name=host.region)
    token = client.get_authorization_token(registryIds=[host.account])["authorizationData"][0]
    assert token["proxyEndpoint"] == f"https://{REGISTRY}"
    assert base64.b64decode(token["authorizationToken"]).startswith(b"AWS:")


def test_a_missing_repository_is_created_once_with_scan_on_push(ecr: Ecr, client: Any, name: str) -> None:
    assert ecr.describe(name) is None
    assert ecr.ensure(name) == (EcrRepository("MUTABLE"), True)
    assert ecr.ensure(name) == (EcrRepository("MUTABLE"), False)
    (repository,) = client.describe_repositories(repositoryNames=[name])["repositories"]
    assert repository["imageScanningConfiguration"]["scanOnPush"] is True


def test_the_check_before_a_push_creates_a_missing_repository_and_leaves_it_alone_the_next_time(
    ecr: Ecr, name: str
) -> None:
    access = AccessSettings(docker_registry=REGISTRY, ecr_alias_filters="champion")
    for _ in range(2):
        check_push(Repository(f"{REGISTRY}/{name}"), access)
        assert ecr.describe(name) == EcrRepository("IMMUTABLE_WITH_EXCLUSION", ("champion",))


def test_runs_that_create_the_same_repository_at_once_all_get_it(ecr: Ecr, name: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ecr.ensure, [name] * 8))
    assert {repository for repository, _ in results} == {EcrRepository("MUTABLE")}
    assert sum(created for _, created in results) == 1


@pytest.mark.parametrize("mutability", ["MUTABLE", "IMMUTABLE"])
def test_an_existing_repository_keeps_its_setting(ecr: Ecr, client: Any, name: str, mutability: str) -> None:
    client.create_repository(repositoryName=name, imageTagMutability=mutability)
    assert ecr.ensure(name, ["champion"]) == (EcrRepository(mutability), False)
    assert moved(client, name, "champion") is (mutability == "MUTABLE")


def test_with_alias_filters_their_tags_can_be_moved_and_a_versions_tag_cannot(ecr: Ecr, client: Any, name: str) -> None:
    created, _ = ecr.ensure(name, alias_filters("champion* challenger"))
    assert created == EcrRepository("IMMUTABLE_WITH_EXCLUSION", ("champion*", "challenger"))
    for tag, moves in {"champion": True, "champion-eu": True, "challenger": True, "7": False, "shadow": False}.items():
        assert moved(client, name, tag) is moves, tag


def test_a_repository_of_the_callers_own_account_is_not_the_hosts(client: Any, name: str) -> None:
    host = ecr_host("210987654321.dkr.ecr.eu-central-1.amazonaws.com")
    assert host
    client.create_repository(repositoryName=name)
    assert Ecr.connect(host).describe(name) is None


def test_an_api_that_does_not_answer_is_our_error(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    host = ecr_host(REGISTRY)
    assert host
    with pytest.raises(RegistryError, match="ECR did not respond"):
        Ecr.connect(host).ensure("demo/iris")
