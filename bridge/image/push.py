"""Step "push": what was smoke-tested, and nothing else, goes to the registry."""

import json
from pathlib import Path

from bridge.image import engine, workflow
from bridge.image.errors import ImageConflict, RegistryError
from bridge.image.identity import Verdict, judge
from bridge.image.layered.registry import LayeredRepository
from bridge.image.registry import Repository
from bridge.image.settings import ImageSettings
from bridge.image.workspace import Plan, Workspace


def push(settings: ImageSettings, workspace: Workspace) -> None:
    """Push the image unless another run has pushed this version meanwhile; keep the digest for the report.

    Sets the outputs `name` and `digest`; a dry run writes nothing, and sets neither.
    Raises `ImageConflict` where the tag holds what must stay, `RegistryError` where the registry fails.
    """
    plan = workspace.plan()
    if not settings.push:
        workflow.notice("Dry run", f"{plan.tag} was built and tried, and is not pushed")
        workflow.summary(f"Dry run: <code>{plan.tag}</code> was built and tried. Nothing was written anywhere.")
        return
    repository = Repository(plan.repository, settings.docker_config)
    parts = workspace.image if plan.builder.layered else None
    digest = held_already(repository, plan, force=settings.force)
    digest = digest or push_tested(repository, plan, workspace.image_id(), parts)
    workspace.write_digest(digest)
    workflow.output("name", plan.repository)
    workflow.output("digest", digest)
    workflow.say(f"{plan.tag} is {digest}")


def hand_over_seconds(workspace: Workspace) -> None:
    """Set the output `seconds` for the summary."""
    workflow.output("seconds", json.dumps(workspace.seconds()))


def held_already(repository: Repository, plan: Plan, *, force: bool) -> str | None:
    """Give the digest of this version's image where it is there and is to stay. Raises `ImageConflict`."""
    found = repository.look(plan.version)
    verdict = judge(found.labels if found else None, model=plan.model, version=plan.version, source=plan.source)
    if found is None or (force and verdict is not Verdict.FOREIGN):
        return None
    if verdict in (Verdict.FOREIGN, Verdict.OTHER_SOURCE):
        raise ImageConflict(
            f"{plan.tag} was put there while this run was building, and it is {verdict.value}: run the workflow again"
        )
    workflow.notice("Not pushed", f"another run has pushed {plan.tag} meanwhile")
    return found.digest


def push_tested(repository: Repository, plan: Plan, tested: str, parts: Path | None = None) -> str:
    """Push the image with the id `tested`; give its digest. Raises `RegistryError` where the registry holds another.

    `parts` is the folder of an image that was built in layers, of which only those go out that the registry lacks.
    """
    if parts:
        digest = LayeredRepository(repository.name, repository.docker_config).push_parts(parts, plan.version)
    else:
        engine.tag(tested, plan.tag)
        digest = engine.push(plan.tag)
    # An engine that keeps images by manifest names them by the manifest's digest, any other by the configuration's.
    if tested not in (digest, repository.manifest(digest).config):
        raise RegistryError(
            f"{plan.tag}: the registry holds {digest}, which is not the image that was tested ({tested}): "
            "run the workflow again"
        )
    return digest
