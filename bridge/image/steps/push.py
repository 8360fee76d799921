"""Step "push": what was smoke-tested, and nothing else, goes to the registry."""

import json
from pathlib import Path

from bridge.image import actions, docker
from bridge.image.builders.layered.remote import LayeredRepository, manifest_digest
from bridge.image.errors import RegistryError
from bridge.image.registry.client import Repository
from bridge.image.repository import image_to_keep
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Plan, Workspace


def push(settings: ImageSettings, workspace: Workspace) -> None:
    """Push the image unless another run has pushed this version meanwhile; keep the digest for the report.

    Sets the outputs `name` and `digest`, only for the image that this run built and tested: a dry run sets neither, nor
    does a run that finds another image in its place, because that image's labels could be copies of ours.
    Raises `ImageConflict` where the tag holds what must stay, `RegistryError` where the registry fails.
    """
    plan = workspace.plan()
    if not settings.push:
        actions.notice("Dry run", f"{plan.tag} was built and tried, and is not pushed")
        actions.summary(f"Dry run: <code>{plan.tag}</code> was built and tried. Nothing was written anywhere.")
        return
    repository = Repository(plan.repository, settings.docker_config)
    tested, parts = workspace.image_id(), workspace.image if plan.builder.layered else None
    held = image_to_keep(repository, model=plan.model, version=plan.version, source=plan.source, force=settings.force)
    if held and not is_tested(repository, held.digest, tested, parts):
        actions.notice(
            "Not pushed",
            f"{plan.tag} already holds {held.digest}, which is not the image that this run tested. This run leaves it "
            "there, and neither attests it nor writes it into MLflow",
        )
        return
    digest = held.digest if held else push_tested(repository, plan, tested, parts)
    workspace.write_digest(digest)
    actions.output("name", plan.repository)
    actions.output("digest", digest)
    actions.say(f"{plan.tag} is {digest}")


def hand_over_seconds(workspace: Workspace) -> None:
    """Set the output `seconds` for the summary."""
    actions.output("seconds", json.dumps(workspace.seconds()))


def push_tested(repository: Repository, plan: Plan, tested: str, parts: Path | None = None) -> str:
    """Push the image with the id `tested`; give its digest. Raises `RegistryError` where the registry holds another.

    `parts` is the folder of an image that was built in layers, of which only those go out that the registry lacks.
    """
    if parts:
        digest = LayeredRepository(repository.name, repository.docker_config).push_parts(parts, plan.version)
    else:
        docker.tag(tested, plan.tag)
        digest = docker.push(plan.tag)
    if not is_tested(repository, digest, tested, parts):
        raise RegistryError(
            f"{plan.tag}: the registry holds {digest}, which is not the image that was tested ({tested}): "
            "run the workflow again"
        )
    return digest


def is_tested(repository: Repository, digest: str, tested: str, parts: Path | None = None) -> bool:
    """Tell whether the image `digest` in the registry is the one that the engine has as `tested`.

    A layered image must also have exactly the manifest in `parts`, because its configuration can be guessed.
    Raises `RegistryError`.
    """
    if parts and digest != manifest_digest(parts):
        return False
    # An engine that stores images by manifest names them by the manifest's digest, others by the configuration's.
    return tested in (digest, repository.manifest(digest).config)
