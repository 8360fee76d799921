"""Step "promote": set the model's aliases as tags on the right images, and write the run's summary."""

from dataclasses import dataclass, field

from bridge.image import actions
from bridge.image.errors import ImageConflict, MissingSetting
from bridge.image.labels import MODEL, RECIPE_LABEL, Match, classify
from bridge.image.mlflow_tags import URI, write_image
from bridge.image.naming import alias_tag
from bridge.image.registry.client import RegistryImage, Repository, TagImmutable
from bridge.image.repository import repository_of, version_tags
from bridge.image.settings import ImageSettings
from bridge.image.steps.report import summarise
from bridge.image.target import Target
from bridge.mlflow.client import MlflowApi, MlflowNotFound

LATEST = "latest"
"""MLflow reserves this name, so no alias has it."""
_MAX_ROUNDS = 10
"""How often the aliases are read again if they keep changing."""


def promote(settings: ImageSettings) -> None:
    """Set the alias tags until MLflow and the registry agree; write the image into MLflow, and the summary.

    Only the digest that this run pushed, or that `resolve` found before anything was built, is written into MLflow.
    Raises `ImageConflict` if a tag has an image that isn't this model's, after everything else is done.
    """
    target = Target.read(settings)
    with settings.mlflow() as mlflow:
        # 1. Set the tags of all aliases, whichever event started this run.
        version = target.find(mlflow)
        repository = repository_of(settings, version.name)
        promotion = Promotion(mlflow, repository, version.name)
        promotion.set_alias_tags()
        if settings.latest:
            promotion.set_latest()
        # 2. Write this version's image into MLflow.
        image = promotion.image(version.version)
        if image is None:
            raise MissingSetting(
                f"{repository.name}:{version.version} is no longer in the registry, but this run found or pushed it",
                "re-run the workflow",
            )
        reference = f"{repository.name}@{image.digest}"
        if image.digest == settings.digest:
            write_image(mlflow, version, reference, settings.run_url)
        elif version.tags.get(URI) != reference:
            actions.notice(
                "Not written into MLflow",
                f"{repository.name}:{version.version} is {image.digest}, which this run neither pushed nor found. "
                "Re-run the workflow, unless another run has written that image into MLflow",
            )
    # 3. Report, and fail at last if a tag could not be set.
    for warning in promotion.warnings:
        actions.notice("Alias not tagged", warning)
    actions.summary(
        summarise(
            version,
            reference,
            repository.manifest(image.digest).size,
            promotion.tags,
            settings.seconds_of_steps,
            recipe=image.labels.get(RECIPE_LABEL, ""),
            attestation=settings.attestation(),
        )
    )
    if promotion.conflicts:
        raise ImageConflict("; ".join(sorted({error.message for error in promotion.conflicts})), _DELETE)


_DELETE = "delete that image, or the tag, then re-run the workflow"


@dataclass
class Promotion:
    """The tags of one model's aliases: those that were set, warnings about others, and conflicts that fail the run."""

    mlflow: MlflowApi
    repository: Repository
    model: str
    tags: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    conflicts: list[ImageConflict] = field(default_factory=list)

    def set_alias_tags(self) -> None:
        """Set the tags until MLflow has the same aliases before and after. Raises `RegistryError`, `MlflowError`."""
        aliases = self.mlflow.aliases(self.model)
        for _ in range(_MAX_ROUNDS):
            self.tags, self.warnings, self.conflicts = [], [], []
            for alias, version in sorted(aliases.items()):
                self._set_alias_tag(alias, version)
            before, aliases = aliases, self.mlflow.aliases(self.model)
            if aliases == before:
                return
        self.warnings.append(
            f"the aliases of {self.model!r} changed {_MAX_ROUNDS} times during the run; re-run the workflow"
        )

    def set_latest(self) -> None:
        """Set the tag `latest` on the newest version that has an image."""
        for version in sorted(version_tags(self.repository.tags()), key=int, reverse=True):
            try:
                image = self.image(version)
            except MlflowNotFound:  # the version was deleted, but its image is still there
                continue
            except ImageConflict as error:
                self.conflicts.append(error)
                continue
            if image:
                self._set_tag(LATEST, image)
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

    def _set_alias_tag(self, alias: str, version: str) -> None:
        if (tag := alias_tag(alias)) is None:
            self.warnings.append(f"alias {alias!r} is not a valid image tag; rename the alias")
            return
        try:
            image = self.image(version)
        except ImageConflict as error:
            self.conflicts.append(error)
            return
        if image is None:
            self.warnings.append(f"alias {alias!r} points to version {version}, which has no image yet")
        else:
            self._set_tag(tag, image)

    def _set_tag(self, tag: str, image: RegistryImage) -> None:
        current = self.repository.inspect(tag)
        if current and current.labels.get(MODEL) != self.model:
            self.conflicts.append(self._conflict(tag))
            return
        if not current or current.digest != image.digest:
            try:
                # By the digest that was checked: the version's tag may have another image by now.
                self.repository.tag(image.digest, tag)
            except TagImmutable:
                self.warnings.append(
                    f"{self.repository.name}:{tag} was not moved, because tags are immutable in this registry; exclude "
                    "the tags of aliases from tag immutability"
                )
                return
            actions.log(f"{self.repository.name}:{tag} is now {image.digest}")
        self.tags.append(tag)

    def _conflict(self, tag: str) -> ImageConflict:
        return ImageConflict(f"{self.repository.name}:{tag} is an image that doesn't belong to this model", _DELETE)
