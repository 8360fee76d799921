"""Step "push": push the image that was smoke-tested, and nothing else."""

from pathlib import Path

from bridge.image import actions, docker
from bridge.image.builders.layered.remote import LayeredRepository, manifest_digest
from bridge.image.errors import RegistryError
from bridge.image.registry.client import Repository
from bridge.image.repository import image_to_keep
from bridge.image.settings import ImageSettings
from bridge.image.steps.report import write_result
from bridge.image.steps.resolve import output_image
from bridge.image.workspace import Plan, Workspace


def push(settings: ImageSettings, workspace: Workspace) -> None:
    """Push the image unless another run has pushed this version since; store its digest.

    The outputs `image`, `name` and `digest` are only set for the image that this run built and tested: not in a dry
    run, nor if another image has taken its tag, because that image's labels could be copies of ours.
    Raises `ImageConflict` if the tag has an image that must not be overwritten, `RegistryError` if the registry fails.
    """
    plan = workspace.plan()
    # 1. A dry run ends here.
    if not settings.push:
        actions.notice("Dry run", f"{plan.tag} was built and smoke-tested, but not pushed")
        actions.summary(f"Dry run: <code>{plan.tag}</code> was built and smoke-tested. Nothing was pushed or written.")
        return
    # 2. Leave an image alone that another run has pushed since `resolve`.
    repository = Repository(plan.repository, settings.docker_config)
    tested, image_folder = workspace.image_id(), workspace.image if plan.builder.layered else None
    existing = image_to_keep(
        repository, model=plan.model, version=plan.version, source=plan.source, force=settings.force
    )
    if existing and not is_tested(repository, existing.digest, tested, image_folder):
        actions.notice(
            "Not pushed",
            f"{plan.tag} already exists as {existing.digest}, which is not the image that this run tested. This run "
            "doesn't replace it, attest it or write it into MLflow",
        )
        return
    # 3. Push, and compare what the registry has with what was tested.
    digest = existing.digest if existing else push_tested(repository, plan, tested, image_folder)
    # 4. Pass on the digest to the next steps.
    workspace.write_digest(digest)
    actions.output("name", plan.repository)
    output_image(plan.repository, digest)
    write_result(workspace)
    actions.log(f"{plan.tag} is {digest}")


def push_tested(repository: Repository, plan: Plan, tested: str, image_folder: Path | None = None) -> str:
    """Push the image `tested`, and return its digest. Raises `RegistryError`, also if the registry has another image.

    `image_folder` is the folder of a layered image; only those parts are pushed that the registry doesn't have.
    """
    if image_folder:
        digest = LayeredRepository(repository.name, repository.docker_config).push_parts(image_folder, plan.version)
    else:
        docker.tag(tested, plan.tag)
        digest = docker.push(plan.tag)
    if not is_tested(repository, digest, tested, image_folder):
        raise RegistryError(
            f"{plan.tag} is {digest} in the registry, which is not the image that was tested ({tested})",
            "re-run the workflow",
        )
    return digest


def is_tested(repository: Repository, digest: str, tested: str, image_folder: Path | None = None) -> bool:
    """Whether `digest` in the registry is the image with the id `tested` in Docker. Raises `RegistryError`.

    A layered image must also have exactly the manifest in `image_folder`, because others can guess its configuration.
    """
    if image_folder and digest != manifest_digest(image_folder):
        return False
    # Docker's id is the manifest's digest with containerd's image store, else the configuration's.
    return tested in (digest, repository.manifest(digest).config)
