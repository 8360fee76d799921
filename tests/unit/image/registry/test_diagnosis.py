"""What registries answer when they refuse, and what to do about it. The words come from reports of their users."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.image.registry.diagnosis import diagnose, is_immutable

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    "answer",
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
def test_a_tag_that_may_not_be_moved_is_recognised_by_each_registrys_words(answer: str) -> None:
    assert is_immutable(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "writing manifest: uploading manifest champion to ghcr.io/me/immutable-net: denied",
        "dial tcp: lookup immutability.example: no such host",
        "received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_a_name_with_the_word_in_it_is_no_immutable_tag(answer: str) -> None:
    assert not is_immutable(answer)


@pytest.mark.parametrize(
    ("registry", "answer", "hint"),
    [
        ("ghcr.io", "denied: permission_denied: write_package", "Manage Actions access"),
        ("ghcr.io", "denied: installation not allowed to Create organization package", "Manage Actions access"),
        ("ghcr.io", "denied: permission_denied: The token provided does not match expected scopes.", "packages: write"),
        ("docker.io", "toomanyrequests: You have reached your unauthenticated pull rate limit.", "mirror"),
        (ECR, "toomanyrequests: You have reached your pull rate limit.", "mirror"),
        (ECR, "denied: Your authorization token has expired. Reauthenticate and try again.", "re-run the failed jobs"),
        (
            ECR,
            "name unknown: The repository with name 'demo/iris' does not exist in the registry with id '123456789012'",
            "ecr:CreateRepository",
        ),
        (
            ECR,
            "denied: User: arn:aws:sts::1:x is not authorized to perform: ecr:InitiateLayerUpload",
            "docs/registries.md",
        ),
        ("docker.io", "denied: requested access to the resource is denied", "DOCKER_NAMESPACE"),
        ("docker.io", "unauthorized: incorrect username or password", "check DOCKER_USERNAME"),
        ("eu-docker.pkg.dev", 'name unknown: Repository "images" not found', "DOCKER_NAMESPACE"),
        (
            "eu-docker.pkg.dev",
            'denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on resource',
            "artifactregistry.writer",
        ),
        ("a.azurecr.io", "unauthorized: authentication required, visit https://aka.ms/acr/authorization", "AcrPush"),
    ],
)
def test_a_known_refusal_has_its_hint(registry: str, answer: str, hint: str) -> None:
    diagnosis = diagnose(f"level=fatal msg={answer!r}", registry)
    assert diagnosis is not None
    assert hint in diagnosis.hint


def test_an_unknown_refusal_has_none() -> None:
    assert diagnose("unauthorized: authentication required", "harbor.example") is None
    assert diagnose("permission_denied: write_package", "harbor.example") is None
    assert diagnose("connection refused", "ghcr.io") is None


@given(st.text(), st.text())
def test_any_words_are_read_without_an_error(answer: str, registry: str) -> None:
    is_immutable(answer)
    diagnose(answer, registry)
