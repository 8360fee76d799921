"""What registries say when they refuse, and what we make of it. The words were taken from their users' reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.image.registry.diagnosis import hint, is_immutable

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    "said",
    [
        "tag invalid: The image tag 'champion' already exists in the 'demo/iris' repository and cannot be overwritten "
        "because the tag is immutable.",
        "tag invalid: The image tag 'champion' already exists in the 'demo/iris' repository and cannot be overwritten "
        "because the repository is immutable.",
        "unknown: Failed to process request due to 'demo/iris:champion' configured as immutable.",
        'manifest invalid: cannot update tag "champion". The repository has enabled tag immutability',
        "denied: The operation is disallowed on this registry, repository or image. View troubleshooting steps",
        "ImageTagAlreadyExistsException: …",
    ],
)
def test_a_tag_that_may_not_be_moved_is_known_by_each_registrys_words(said: str) -> None:
    assert is_immutable(said)


@pytest.mark.parametrize(
    "said",
    [
        "writing manifest: uploading manifest champion to ghcr.io/me/immutable-net: denied",
        "dial tcp: lookup immutability.example: no such host",
        "received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_a_name_with_the_word_in_it_is_no_immutable_tag(said: str) -> None:
    assert not is_immutable(said)


@pytest.mark.parametrize(
    ("registry", "said", "advice"),
    [
        ("ghcr.io", "denied: permission_denied: write_package", "Manage Actions access"),
        ("ghcr.io", "denied: installation not allowed to Create organization package", "Manage Actions access"),
        ("ghcr.io", "denied: permission_denied: The token provided does not match expected scopes.", "packages: write"),
        ("docker.io", "toomanyrequests: You have reached your unauthenticated pull rate limit.", "pull limit"),
        (ECR, "toomanyrequests: You have reached your pull rate limit.", "pull limit"),
        (ECR, "denied: Your authorization token has expired. Reauthenticate and try again.", "run the failed jobs"),
        (
            ECR,
            "name unknown: The repository with name 'demo/iris' does not exist in the registry with id '123456789012'",
            "ecr:CreateRepository",
        ),
        (ECR, "denied: User: arn:aws:sts::1:x is not authorized to perform: ecr:InitiateLayerUpload", "allow the role"),
        ("docker.io", "denied: requested access to the resource is denied", "DOCKER_NAMESPACE must be"),
        ("docker.io", "unauthorized: incorrect username or password", "check DOCKER_USERNAME"),
        ("eu-docker.pkg.dev", 'name unknown: Repository "images" not found', "make the Artifact Registry repository"),
        (
            "eu-docker.pkg.dev",
            'denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on resource',
            "artifactregistry.writer",
        ),
        ("a.azurecr.io", "unauthorized: authentication required, visit https://aka.ms/acr/authorization", "AcrPush"),
    ],
)
def test_a_known_refusal_gets_its_mend(registry: str, said: str, advice: str) -> None:
    found = hint(f"level=fatal msg={said!r}", registry)
    assert found is not None
    assert advice in found
    assert "\n" not in found


def test_a_refusal_that_nobody_knows_gets_none() -> None:
    assert hint("unauthorized: authentication required", "harbor.example") is None
    assert hint("permission_denied: write_package", "harbor.example") is None
    assert hint("connection refused", "ghcr.io") is None


@given(st.text(), st.text())
def test_any_words_are_read_without_an_error(said: str, registry: str) -> None:
    assert is_immutable(said) in (True, False)
    assert hint(said, registry) is None or hint(said, registry)
