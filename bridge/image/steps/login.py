"""Steps "sign-in" and "create-repository": how to sign in to the registry, and the image's repository in ECR."""

from bridge.image import actions
from bridge.image.errors import RegistryError
from bridge.image.registry.credentials import AccessSettings, choose_sign_in, ecr_host
from bridge.image.registry.ecr import AccessDenied, Ecr, alias_filters


def sign_in(access: AccessSettings) -> None:
    """Set the outputs by which the sign-in action chooses its steps. Raises `MissingSetting`, `InvalidInput`."""
    alias_filters(access.ecr_alias_filters)  # checked before anything is built
    chosen = choose_sign_in(access)
    actions.log(f"{access.docker_registry}: sign-in method {chosen.method}")
    for name, value in chosen.outputs().items():
        actions.output(name, value)


def sign_in_failed(access: AccessSettings) -> None:
    """Report that the registry refused user and password, and what to check. Always raises `RegistryError`."""
    raise RegistryError(
        f"{access.docker_registry}: the sign-in as {choose_sign_in(access).username} failed",
        "check DOCKER_USERNAME and DOCKER_REGISTRY_PASSWORD; the previous step's log has the registry's response",
    )


def create_repository(access: AccessSettings, repository: str) -> None:
    """Create the image's repository if ECR has none; any other registry creates its own at the push.

    Raises `RegistryError` if ECR refuses. A role that may not even read the repository continues to the push, which
    succeeds if somebody created the repository.
    """
    host = ecr_host(access.docker_registry)
    if host is None:
        return
    # ECR's own name of a repository is without the host, and without ECR Public's alias.
    name = repository.split("/", 1 if host.account else 2)[-1]
    filters = alias_filters(access.ecr_alias_filters)
    try:
        existing, created = Ecr.connect(host).ensure(name, filters)
    except AccessDenied as error:
        actions.notice("Repository not checked", str(error))
        return
    actions.log(f"{name} {'was created' if created else 'exists'}: {existing.mutability} {' '.join(existing.filters)}")
    if filters and not created and set(existing.filters) != set(filters):
        actions.notice(
            "ecr-alias-filters not applied",
            f"{name} already exists and is {existing.mutability}, and only new repositories get the filters; change it "
            "in AWS",
        )
