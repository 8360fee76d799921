"""Step "sign-in": how to sign in to the registry."""

from bridge.image import actions
from bridge.image.errors import RegistryError
from bridge.image.registry.credentials import AccessSettings, SignInMethod, choose_sign_in
from bridge.image.registry.ecr import alias_filters


def sign_in(access: AccessSettings) -> None:
    """Set the outputs by which the sign-in action chooses its steps. Raises `MissingSetting`, `InvalidInput`."""
    alias_filters(access.ecr_alias_filters)  # checked before anything is built
    chosen = choose_sign_in(access)
    actions.log(f"{access.docker_registry}: sign-in method {chosen.method}")
    for name, value in chosen.outputs().items():
        actions.output(name, value)


def sign_in_failed(access: AccessSettings) -> None:
    """Report that the registry refused the user, and what to check. Always raises `RegistryError`."""
    chosen = choose_sign_in(access)
    check = "DOCKER_USERNAME and DOCKER_REGISTRY_PASSWORD"
    if chosen.method is SignInMethod.DOCKER_HUB_IDENTITY:
        check = (
            "that DOCKER_USERNAME is the organization of the connection DOCKERHUB_OIDC_CONNECTIONID, and that one of "
            "its rulesets allows this repository"
        )
    raise RegistryError(
        f"{access.docker_registry}: the sign-in as {chosen.username} failed",
        f"check {check}; the previous step's log has the registry's response",
    )
