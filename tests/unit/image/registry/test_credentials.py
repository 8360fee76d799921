"""Which way of signing in each host gets, and that one message names all that is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.errors import MissingSetting
from bridge.image.registry.credentials import (
    AccessSettings,
    EcrHost,
    SignIn,
    SignInMethod,
    choose_sign_in,
    ecr_host,
)

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
GOOGLE = "europe-west1-docker.pkg.dev"
AZURE = "myregistry.azurecr.io"
ROLE = "arn:aws:iam::123456789012:role/images"
ID_TOKEN = {"actions_id_token_request_url": "https://token.example"}
PASSWORD = {"docker_username": "me", "has_password": True}
GOOGLE_IDENTITY = {"google_workload_identity_provider": "p", "google_service_account": "a@b.example", **ID_TOKEN}
AZURE_IDENTITY = {"azure_client_id": "c", "azure_tenant_id": "t", "azure_subscription_id": "s", **ID_TOKEN}


def access(registry: str, **values: object) -> AccessSettings:
    """Return settings with nothing of this machine's environment."""
    return AccessSettings.model_validate({"docker_registry": registry, **values})


def choose(registry: str, **values: object) -> SignIn:
    return choose_sign_in(access(registry, **values))


def missing(registry: str, **values: object) -> str:
    """Return the hint of the error, which says what to set."""
    with pytest.raises(MissingSetting) as caught:
        choose(registry, **values)
    assert "\n" not in str(caught.value)
    return caught.value.hint


def test_ghcr_accepts_the_runs_own_token() -> None:
    assert choose("ghcr.io") == SignIn(SignInMethod.RUN_TOKEN)


def test_ghcr_gets_a_password_if_one_is_set() -> None:
    assert choose("ghcr.io", **PASSWORD) == SignIn(SignInMethod.PASSWORD, username="me")
    assert "DOCKER_USERNAME" in missing("ghcr.io", has_password=True)


def test_ghcr_gets_no_token_of_another_github() -> None:
    hint = missing("ghcr.io", github_server_url="https://github.example")
    assert "DOCKER_USERNAME" in hint
    assert "DOCKER_REGISTRY_PASSWORD" in hint


def test_docker_hub_needs_user_and_password() -> None:
    assert choose("docker.io", **PASSWORD) == SignIn(SignInMethod.PASSWORD, username="me")
    assert "DOCKER_USERNAME" in missing("docker.io", has_password=True)
    assert "DOCKER_REGISTRY_PASSWORD" in missing("docker.io", docker_username="me")


def test_docker_hub_gets_a_token_by_oidc_unless_a_password_is_set() -> None:
    hub = {"docker_username": "organization", "dockerhub_oidc_connectionid": "c", **ID_TOKEN}
    assert choose("docker.io", **hub) == SignIn(SignInMethod.DOCKER_HUB_IDENTITY, username="organization")
    assert choose("docker.io", **hub, has_password=True).method is SignInMethod.PASSWORD
    for name, named in {
        "docker_username": "DOCKER_USERNAME",
        "dockerhub_oidc_connectionid": "DOCKERHUB_OIDC_CONNECTIONID",
        "actions_id_token_request_url": "id-token: write",
    }.items():
        assert named in missing("docker.io", **hub | {name: ""})
    assert choose("registry.example", **hub | {"docker_username": ""}).method is SignInMethod.NONE


@pytest.mark.parametrize(
    "host", ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"]
)
def test_docker_hubs_other_hosts_are_refused_with_the_one_that_images_are_pulled_by(host: str) -> None:
    assert "DOCKER_REGISTRY to docker.io" in missing(host, **PASSWORD)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (ECR, "eu-central-1"),
        ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
        ("123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
    ],
)
def test_an_ecr_host_of_every_partition_has_its_account_and_region(host: str, region: str) -> None:
    audience = "sts.amazonaws.com.cn" if region.startswith("cn-") else "sts.amazonaws.com"
    assert ecr_host(host) == EcrHost("123456789012", region)
    assert choose(host, aws_role_to_assume=ROLE, **ID_TOKEN) == SignIn(
        SignInMethod.AWS_ROLE, account="123456789012", region=region, registry_type="private", audience=audience
    )


def test_ecr_uses_the_role_first_and_static_keys_if_no_role_can_be_assumed() -> None:
    assert choose(ECR, aws_role_to_assume=ROLE, has_aws_keys=True, **ID_TOKEN).method is SignInMethod.AWS_ROLE
    assert choose(ECR, aws_role_to_assume=ROLE, has_aws_keys=True).method is SignInMethod.AWS_KEYS
    assert choose(ECR, has_aws_keys=True, **ID_TOKEN).method is SignInMethod.AWS_KEYS


def test_ecr_names_role_permission_and_keys_as_far_as_they_are_not_set() -> None:
    role, permission, keys = "AWS_ROLE_TO_ASSUME", "id-token: write", "(or the secrets AWS_ACCESS_KEY_ID"
    for values, named in (
        ({}, {role, permission, keys}),
        ({"aws_role_to_assume": ROLE}, {permission, keys}),
        (ID_TOKEN, {role, keys}),
    ):
        hint = missing(ECR, **values)
        assert {name for name in (role, permission, keys) if name in hint} == named


def test_ecr_public_is_signed_in_to_in_its_apis_region_and_needs_its_alias() -> None:
    sign_in = choose("public.ecr.aws", docker_namespace="alias", has_aws_keys=True)
    assert (sign_in.method, sign_in.region, sign_in.registry_type) == (SignInMethod.AWS_KEYS, "us-east-1", "public")
    assert sign_in.account == ""
    assert ecr_host("public.ecr.aws") == EcrHost("", "us-east-1")
    assert "DOCKER_NAMESPACE" in missing("public.ecr.aws", has_aws_keys=True)


@pytest.mark.parametrize(
    "host",
    [
        "123456789012.dkr-ecr.eu-central-1.on.aws",
        "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
        "123456789012.dkr-ecr-fips.us-east-1.on.aws",
    ],
)
def test_an_ecr_host_that_the_login_action_does_not_know_is_refused_with_the_one_that_it_does(host: str) -> None:
    region = host.split(".")[-3]
    assert f"123456789012.dkr.ecr.{region}.amazonaws.com" in missing(host, aws_role_to_assume=ROLE, **ID_TOKEN)
    assert ecr_host(host) is None


def test_google_uses_workload_identity_first_and_a_key_as_the_fallback() -> None:
    google = {"docker_namespace": "project/images", "has_password": True}
    assert choose(GOOGLE, **google, **GOOGLE_IDENTITY) == SignIn(SignInMethod.GOOGLE_IDENTITY)
    assert choose(GOOGLE, **google) == SignIn(SignInMethod.PASSWORD, username="_json_key")
    base64 = choose(GOOGLE, **google, docker_username="_json_key_base64")
    assert base64 == SignIn(SignInMethod.PASSWORD, username="_json_key_base64")


@pytest.mark.parametrize("host", ["gcr.io", "eu.gcr.io", "us-docker.pkg.dev", "us-central1-docker.pkg.dev"])
def test_googles_hosts_need_a_namespace(host: str) -> None:
    assert choose(host, docker_namespace="project", **GOOGLE_IDENTITY).method is SignInMethod.GOOGLE_IDENTITY
    assert "DOCKER_NAMESPACE (project" in missing(host, **GOOGLE_IDENTITY)


def test_google_names_all_that_is_missing_at_once() -> None:
    hint = missing(GOOGLE, has_mlflow=False)
    for name in (
        "GOOGLE_WORKLOAD_IDENTITY_PROVIDER",
        "GOOGLE_SERVICE_ACCOUNT",
        "id-token: write",
        "DOCKER_REGISTRY_PASSWORD",
        "DOCKER_NAMESPACE (project/repository)",
        "MLFLOW_TRACKING_URI",
    ):
        assert name in hint


@pytest.mark.parametrize(
    ("host", "name", "cloud"),
    [
        (AZURE, "myregistry", "azurecloud"),
        ("myregistry-a1b2c3.azurecr.io", "myregistry-a1b2c3", "azurecloud"),
        ("myregistry.azurecr.cn", "myregistry", "azurechinacloud"),
        ("myregistry.azurecr.us", "myregistry", "azureusgovernment"),
    ],
)
def test_azure_uses_oidc_in_the_cloud_of_its_domain(host: str, name: str, cloud: str) -> None:
    assert choose(host, **AZURE_IDENTITY) == SignIn(SignInMethod.AZURE_IDENTITY, name=name, environment=cloud)


def test_azure_falls_back_to_user_and_password_and_else_names_what_is_missing() -> None:
    without_token = AZURE_IDENTITY | {"actions_id_token_request_url": ""}
    assert choose(AZURE, **without_token, **PASSWORD) == SignIn(SignInMethod.PASSWORD, username="me")
    hint = missing(AZURE, **without_token | {"azure_tenant_id": ""})
    assert "AZURE_TENANT_ID, the permission 'id-token: write'" in hint
    assert "AZURE_CLIENT_ID" not in hint


def test_any_other_registry_gets_user_and_password_or_neither() -> None:
    assert choose("harbor.example:8443", **PASSWORD).method is SignInMethod.PASSWORD
    assert choose("registry.example") == SignIn(SignInMethod.NONE)
    assert "DOCKER_USERNAME" in missing("registry.example", has_password=True)


@pytest.mark.parametrize(
    "host",
    [
        "ghcr.io.example.com",
        "xghcr.io",
        "12345678901.dkr.ecr.eu-central-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
        "evil-docker.pkg.dev.example",
        "myregistry.azurecr.io.example",
        "ghcr.io:8443",
    ],
)
def test_a_host_that_only_looks_like_a_known_one_gets_no_token_of_any_cloud(host: str) -> None:
    everything = {**AZURE_IDENTITY, **GOOGLE_IDENTITY, "aws_role_to_assume": ROLE, "has_aws_keys": True}
    assert choose(host, **everything) == SignIn(SignInMethod.NONE)


@given(
    st.builds(
        access,
        st.text() | st.sampled_from(["ghcr.io", "docker.io", ECR, "public.ecr.aws", GOOGLE, AZURE]),
        docker_namespace=st.text(max_size=3),
        docker_username=st.text(max_size=3),
        has_password=st.booleans(),
        aws_role_to_assume=st.sampled_from(["", ROLE]),
        has_aws_keys=st.booleans(),
        google_workload_identity_provider=st.sampled_from(["", "p"]),
        google_service_account=st.sampled_from(["", "s"]),
        dockerhub_oidc_connectionid=st.sampled_from(["", "d"]),
        azure_client_id=st.sampled_from(["", "c"]),
        azure_tenant_id=st.sampled_from(["", "t"]),
        azure_subscription_id=st.sampled_from(["", "s"]),
        actions_id_token_request_url=st.sampled_from(["", "https://token.example"]),
        github_server_url=st.sampled_from(["https://github.com", "https://github.example"]),
    )
)
def test_whatever_is_set_the_chosen_method_has_all_that_it_needs(access: AccessSettings) -> None:
    try:
        sign_in = choose_sign_in(access)
    except BridgeError:
        return
    id_token = access.actions_id_token_request_url
    google = access.google_workload_identity_provider and access.google_service_account
    needs = {
        SignInMethod.NONE: True,
        SignInMethod.RUN_TOKEN: access.docker_registry == "ghcr.io"
        and access.github_server_url == "https://github.com",
        SignInMethod.PASSWORD: access.has_password and sign_in.username,
        SignInMethod.DOCKER_HUB_IDENTITY: access.docker_registry == "docker.io"
        and access.dockerhub_oidc_connectionid
        and id_token
        and sign_in.username
        and not access.has_password,
        SignInMethod.AWS_ROLE: access.aws_role_to_assume and id_token and sign_in.region,
        SignInMethod.AWS_KEYS: access.has_aws_keys and sign_in.region,
        SignInMethod.GOOGLE_IDENTITY: google and id_token,
        SignInMethod.AZURE_IDENTITY: access.azure_client_id and access.azure_tenant_id and id_token and sign_in.name,
    }
    assert needs[sign_in.method]
