"""Step "promote": set the model's aliases as tags on the right images, and write the run's result and summary."""

import json
from dataclasses import dataclass, field

from bridge.image import actions
from bridge.image.errors import GateFailed, ImageConflict, MissingSetting
from bridge.image.labels import MODEL, RECIPE_LABEL, Match, classify
from bridge.image.mlflow_tags import URI, write_image
from bridge.image.naming import alias_tag
from bridge.image.registry.client import RegistryImage, Repository, TagImmutable
from bridge.image.repository import version_tags
from bridge.image.settings import ImageSettings
from bridge.image.steps.report import HeldAlias, MovedTag, summarise, write_result
from bridge.image.workspace import Workspace
from bridge.mlflow.client import MlflowApi, MlflowNotFound

LATEST = "latest"
"""MLflow reserves this name, so no alias has it."""
_MAX_ROUNDS = 10
"""How often the aliases are read again if they keep changing."""
_DELETE = "delete that image, or the tag, then re-run the workflow"


def promote(settings: ImageSettings, workspace: Workspace) -> None:
    """Set the alias tags until MLflow and the registry agree; write the image into MLflow, and the summary.

    Only the digest that this run pushed, or that `resolve` found before anything was built, is written into MLflow.
    Raises `GateFailed` if there is a gate that hasn't passed, and `ImageConflict` if a tag has an image that isn't this
    model's or may be on the wrong version, after everything else is done.
    """
    resolved, digest = workspace.resolved(), workspace.digest()
    if settings.gate and workspace.gate() != "":
        raise GateFailed("the gate has checked no image of this run, so no alias is promoted", "re-run the workflow")
    repository = Repository(resolved.repository, settings.docker_config)
    with settings.mlflow() as mlflow:
        # 1. Set the tags of all aliases, whichever event started this run.
        checked = (resolved.version, digest) if settings.gate or settings.require_attestations else None
        promotion = Promotion(mlflow, repository, resolved.model, checked)
        try:
            promotion.set_alias_tags()
            if settings.latest:
                promotion.set_latest()
        finally:
            # Also if the registry or MLflow failed: some tags may have been moved before that.
            write_result(workspace, promotion.moved.values(), promotion.held)
        # 2. Write this version's image into MLflow.
        version = mlflow.version(resolved.model, resolved.version)
        image = promotion.image(resolved.version)
        if image is None:
            raise MissingSetting(
                f"{repository.name}:{resolved.version} is no longer in the registry, but this run found or pushed it",
                "re-run the workflow",
            )
        reference = f"{repository.name}@{image.digest}"
        if image.digest == digest:
            write_image(mlflow, version, reference, settings.run_url, workspace.gate())
        elif version.tags.get(URI) != reference:
            actions.notice(
                "Not written into MLflow",
                f"{repository.name}:{resolved.version} is {image.digest}, which this run neither pushed nor found. "
                "Re-run the workflow, unless another run has written that image into MLflow",
            )
    # 3. Report, and fail at last if a tag could not be set. GitHub shows ten notices of a step, so all are in one.
    if promotion.held:
        actions.notice("Aliases not tagged", "\n".join(f"{held.alias!r} {held.reason}" for held in promotion.held))
    # The tags may be on an image that isn't the one in the workflow's outputs `image` and `digest`.
    own = [tag for tag, at in promotion.tags.items() if at == resolved.version and image.digest == digest]
    actions.output("aliases", json.dumps(own))
    actions.summary(
        summarise(
            version,
            reference,
            repository.manifest(image.digest).size,
            list(promotion.tags),
            workspace.seconds() if workspace.has_pushed() else {},
            recipe=image.labels.get(RECIPE_LABEL, ""),
            attestation=settings.attestation(),
        )
    )
    if promotion.conflicts:
        messages = sorted({error.message for error in promotion.conflicts})
        raise ImageConflict("; ".join(messages), "; ".join(sorted({error.hint for error in promotion.conflicts})))


@dataclass
class Promotion:
    """The tags of one model's aliases: those that are right now, those that were moved, and those that were not set."""

    mlflow: MlflowApi
    repository: Repository
    model: str
    checked: tuple[str, str] | None = None
    """The version and the digest that passed the gate, or are attested: only this version's tags are set, and only on
    this image."""
    tags: dict[str, str] = field(default_factory=dict)
    """The version of each tag that is right."""
    moved: dict[str, MovedTag] = field(default_factory=dict)
    held: list[HeldAlias] = field(default_factory=list)
    conflicts: list[ImageConflict] = field(default_factory=list)

    def set_alias_tags(self) -> None:
        """Set the tags until MLflow has the same aliases before and after. Raises `RegistryError`, `MlflowError`."""
        aliases = self._aliases()
        for _ in range(_MAX_ROUNDS):
            self.tags, self.held, self.conflicts = {}, [], []
            for alias, version in sorted(aliases.items()):
                self._set_alias_tag(alias, version)
            before, aliases = aliases, self._aliases()
            if aliases == before and self._is_current():
                self._check_moved()
                return
        self.held += [
            HeldAlias(alias, version, f"may have moved: the aliases changed {_MAX_ROUNDS} times during the run")
            for alias, version in sorted(aliases.items())
        ]

    def _check_moved(self) -> None:
        """Report the tags that this run moved, while their aliases moved to a version that it may not promote."""
        now = self.mlflow.aliases(self.model) if self.checked else {}
        for tag in self.moved.values():
            if self.checked and now.get(tag.tag) != tag.version:
                self.conflicts.append(
                    ImageConflict(
                        f"the alias {tag.tag!r} no longer points to version {tag.version}, so its tag may be wrong",
                        "if the alias exists, run the workflow for it",
                    )
                )

    def _is_current(self) -> bool:
        """Whether the versions whose tags were moved still have the same images: another run may have replaced one."""
        images = {tag.version: tag.digest for tag in self.moved.values()}
        return all((image := self.repository.inspect(at)) and image.digest == digest for at, digest in images.items())

    def set_latest(self) -> None:
        """Set the tag `latest` on the newest version that has an image, until no version was added meanwhile."""
        versions = sorted(version_tags(self.repository.tags()), key=int, reverse=True)
        for _ in range(_MAX_ROUNDS):
            self._set_latest(versions)
            before, versions = versions, sorted(version_tags(self.repository.tags()), key=int, reverse=True)
            if versions == before:
                return

    def _set_latest(self, versions: list[str]) -> None:
        for version in versions:
            try:
                image = self.image(version)
            except MlflowNotFound:  # the version was deleted, but its image is still there
                continue
            except ImageConflict as error:
                self.conflicts.append(error)
                continue
            if image:
                if self.checked in (None, (version, image.digest)):
                    self._set_tag(LATEST, LATEST, version, image)
                return

    def image(self, version: str) -> RegistryImage | None:
        """Return the image of a version; None if there is none, or only one of another source.

        Raises `ImageConflict` if the version's image isn't this model's, and `RegistryError`.
        """
        image = self.repository.inspect(version)
        if image is None:
            return None
        source = self.mlflow.version(self.model, version).source or ""
        match = classify(image.labels, model=self.model, version=version, source=source)
        if match is Match.FOREIGN:
            raise self._conflict(version)
        return image if match in (Match.SAME, Match.OTHER_RECIPE) else None

    def _aliases(self) -> dict[str, str]:
        aliases = self.mlflow.aliases(self.model)
        if self.checked is None:
            return aliases
        return {alias: version for alias, version in aliases.items() if version == self.checked[0]}

    def _set_alias_tag(self, alias: str, version: str) -> None:
        if (tag := alias_tag(alias)) is None:
            self.held.append(HeldAlias(alias, version, "is not a valid image tag; rename the alias"))
            return
        try:
            image = self.image(version)
        except ImageConflict as error:
            self.conflicts.append(error)
            return
        if image is None:
            self.held.append(HeldAlias(alias, version, f"points to version {version}, which has no image yet"))
        elif self.checked and image.digest != self.checked[1]:
            self.held.append(HeldAlias(alias, version, f"was not moved: {image.digest} was not checked"))
        else:
            self._set_tag(alias, tag, version, image)

    def _set_tag(self, alias: str, tag: str, version: str, image: RegistryImage) -> None:
        current = self.repository.inspect(tag)
        if current and current.labels.get(MODEL) != self.model:
            self.conflicts.append(self._conflict(tag))
            return
        if not current or current.digest != image.digest:
            try:
                # By the digest that was checked: the version's tag may have another image by now.
                self.repository.tag(image.digest, tag)
            except TagImmutable:
                reason = "was not moved: exclude the tags of aliases from tag immutability in the registry"
                self.held.append(HeldAlias(alias, version, reason))
                return
            actions.log(f"{self.repository.name}:{tag} is now {image.digest}")
            previous = self.moved[tag].previous if tag in self.moved else current.digest if current else None
            self.moved[tag] = MovedTag(tag, version, image.digest, previous)
        self.tags[tag] = version

    def _conflict(self, tag: str) -> ImageConflict:
        return ImageConflict(f"{self.repository.name}:{tag} is an image that doesn't belong to this model", _DELETE)
