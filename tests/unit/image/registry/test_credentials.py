"""Which way of signing in each host gets, and that one message names all that is missing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.image.errors import MissingSetting
from bridge.image.registry.credentials import EcrHost, Given, SignIn, SignInMethod, choose, ecr_host

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
GOOGLE = "europe-west1-docker.pkg.dev"
AZURE = "myregistry.azurecr.io"
ROLE = "arn:aws:iam::123456789012:role/images"


def google(**more: object) -> Given:
    provider = "projects/1/locations/global/workloadIdentityPools/p/providers/github"
    full = Given(
        GOOGLE, "project/images", google_provider=provider, google_service_account="a@b.example", id_token=True
    )
    return replace(full, **more)  # type: ignore[arg-type]  # each test names the fields


def azure(**more: object) -> Given:
    full = Given(AZURE, azure_client="c", azure_tenant="t", azure_subscription="s", id_token=True)
    return replace(full, **more)  # type: ignore[arg-type]  # each test names the fields


def missing(given: Given) -> str:
    with pytest.raises(MissingSetting) as caught:
        choose(given)
    return str(caught.value).removeprefix(f"{given.registry}: the set-up of this repository is not complete: set ")


def test_ghcr_takes_the_runs_own_token() -> None:
    assert choose(Given("ghcr.io")) == SignIn(SignInMethod.RUN_TOKEN)


def test_ghcr_takes_a_password_where_one_is_set() -> None:
    assert choose(Given("ghcr.io", username="me", password=True)) == SignIn(SignInMethod.PASSWORD, username="me")


def test_ghcr_gets_no_token_of_another_github() -> None:
    assert "DOCKER_USERNAME, and the secret DOCKER_REGISTRY_PASSWORD" in missing(Given("ghcr.io", github_com=False))


def test_docker_hub_takes_user_and_password() -> None:
    assert choose(Given("docker.io", username="me", password=True)) == SignIn(SignInMethod.PASSWORD, username="me")
    assert "DOCKER_USERNAME" in missing(Given("docker.io", password=True))
    assert "DOCKER_REGISTRY_PASSWORD" in missing(Given("docker.io", username="me"))


@pytest.mark.parametrize("host", ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"])
def test_docker_hubs_other_hosts_are_refused_with_the_one_that_images_are_pulled_by(host: str) -> None:
    assert "DOCKER_REGISTRY to docker.io" in missing(Given(host, username="me", password=True))


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
def test_an_ecr_host_of_every_partition_tells_account_and_region(host: str, region: str) -> None:
    audience = "sts.amazonaws.com.cn" if region.startswith("cn-") else "sts.amazonaws.com"
    assert ecr_host(host) == EcrHost("123456789012", region, audience)
    assert choose(Given(host, aws_role=ROLE, id_token=True)) == SignIn(
        SignInMethod.AWS_ROLE, account="123456789012", region=region, registry_type="private", audience=audience
    )


def test_ecr_takes_the_role_first_and_static_keys_where_no_role_can_be_taken() -> None:
    assert choose(Given(ECR, aws_role=ROLE, aws_keys=True, id_token=True)).way is SignInMethod.AWS_ROLE
    assert choose(Given(ECR, aws_role=ROLE, aws_keys=True)).way is SignInMethod.AWS_KEYS
    assert choose(Given(ECR, aws_keys=True, id_token=True)).way is SignInMethod.AWS_KEYS


def test_ecr_names_role_permission_and_keys_where_nothing_is_set() -> None:
    assert missing(Given(ECR)).startswith(
        "the variable AWS_ROLE_TO_ASSUME with the permission (id-token: write) of the job that calls this workflow "
        "(or the secrets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
    )
    assert missing(Given(ECR, aws_role=ROLE)).startswith("the permission (id-token: write)")
    assert missing(Given(ECR, id_token=True)).startswith("the variable AWS_ROLE_TO_ASSUME (or")


def test_ecr_public_is_signed_in_to_where_its_api_is_and_needs_its_alias() -> None:
    given = Given("public.ecr.aws", "alias", aws_keys=True)
    sign_in = choose(given)
    assert (sign_in.way, sign_in.region, sign_in.registry_type) == (SignInMethod.AWS_KEYS, "us-east-1", "public")
    assert sign_in.account == ""
    assert "DOCKER_NAMESPACE" in missing(replace(given, namespace=""))


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
    assert f"123456789012.dkr.ecr.{region}.amazonaws.com" in missing(Given(host, aws_role=ROLE, id_token=True))


def test_google_takes_workload_identity_first_and_a_key_as_the_fallback() -> None:
    assert choose(google(password=True)) == SignIn(SignInMethod.GOOGLE_IDENTITY)
    assert choose(google(id_token=False, password=True)) == SignIn(SignInMethod.PASSWORD, username="_json_key")
    base64 = google(google_provider="", password=True, username="_json_key_base64")
    assert choose(base64) == SignIn(SignInMethod.PASSWORD, username="_json_key_base64")


@pytest.mark.parametrize("host", ["gcr.io", "eu.gcr.io", "us-docker.pkg.dev", "us-central1-docker.pkg.dev"])
def test_googles_hosts_need_a_namespace(host: str) -> None:
    assert choose(google(registry=host)).way is SignInMethod.GOOGLE_IDENTITY
    assert "DOCKER_NAMESPACE (project" in missing(google(registry=host, namespace=""))


def test_google_names_all_that_is_missing_at_once() -> None:
    said = missing(Given(GOOGLE))
    for name in (
        "GOOGLE_WORKLOAD_IDENTITY_PROVIDER",
        "GOOGLE_SERVICE_ACCOUNT",
        "id-token: write",
        "DOCKER_REGISTRY_PASSWORD",
        "DOCKER_NAMESPACE (project/repository)",
    ):
        assert name in said


@pytest.mark.parametrize(
    ("host", "name", "cloud"),
    [
        (AZURE, "myregistry", "azurecloud"),
        ("myregistry-a1b2c3.azurecr.io", "myregistry-a1b2c3", "azurecloud"),
        ("myregistry.azurecr.cn", "myregistry", "azurechinacloud"),
        ("myregistry.azurecr.us", "myregistry", "azureusgovernment"),
    ],
)
def test_azure_takes_oidc_in_the_cloud_of_its_domain(host: str, name: str, cloud: str) -> None:
    assert choose(azure(registry=host)) == SignIn(SignInMethod.AZURE_IDENTITY, name=name, environment=cloud)


def test_azure_falls_back_to_user_and_password_and_else_names_what_is_missing() -> None:
    fallback = azure(id_token=False, username="sp", password=True)
    assert choose(fallback) == SignIn(SignInMethod.PASSWORD, username="sp")
    assert missing(azure(azure_tenant="", id_token=False)).startswith(
        "the variable AZURE_TENANT_ID, the permission (id-token: write)"
    )


def test_any_other_registry_takes_user_and_password_or_neither() -> None:
    assert choose(Given("harbor.example:8443", username="me", password=True)).way is SignInMethod.PASSWORD
    assert choose(Given("registry.example")) == SignIn(SignInMethod.NONE)
    assert "DOCKER_USERNAME" in missing(Given("registry.example", password=True))


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
    full = azure(registry=host, aws_role=ROLE, aws_keys=True, google_provider="p", google_service_account="s")
    assert choose(full) == SignIn(SignInMethod.NONE)


def test_what_else_is_missing_stands_in_the_same_message() -> None:
    with pytest.raises(MissingSetting) as caught:
        choose(Given(ECR, aws_role=ROLE), besides=("the variable MLFLOW_TRACKING_URI",))
    said = str(caught.value)
    assert "id-token: write" in said
    assert "MLFLOW_TRACKING_URI" in said
    assert "\n" not in said


@given(
    st.builds(
        Given,
        registry=st.text() | st.sampled_from(["ghcr.io", "docker.io", ECR, "public.ecr.aws", GOOGLE, AZURE]),
        namespace=st.text(max_size=3),
        username=st.text(max_size=3),
        password=st.booleans(),
        aws_role=st.sampled_from(["", ROLE]),
        aws_keys=st.booleans(),
        google_provider=st.sampled_from(["", "p"]),
        google_service_account=st.sampled_from(["", "s"]),
        azure_client=st.sampled_from(["", "c"]),
        azure_tenant=st.sampled_from(["", "t"]),
        azure_subscription=st.sampled_from(["", "s"]),
        id_token=st.booleans(),
        github_com=st.booleans(),
    )
)
def test_whatever_is_given_the_way_chosen_has_all_that_it_needs(given: Given) -> None:
    try:
        sign_in = choose(given)
    except BridgeError:
        return
    needs = {
        SignInMethod.NONE: True,
        SignInMethod.RUN_TOKEN: given.registry == "ghcr.io" and given.github_com,
        SignInMethod.PASSWORD: given.password and bool(sign_in.username),
        SignInMethod.AWS_ROLE: bool(given.aws_role and given.id_token and sign_in.region),
        SignInMethod.AWS_KEYS: given.aws_keys and bool(sign_in.region),
        SignInMethod.GOOGLE_IDENTITY: bool(given.google_provider and given.google_service_account and given.id_token),
        SignInMethod.AZURE_IDENTITY: bool(
            given.azure_client and given.azure_tenant and given.id_token and sign_in.name
        ),
    }
    assert needs[sign_in.way]
