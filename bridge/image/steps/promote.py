"""Step "promote": the model's aliases in MLflow become tags on the right images, and the run's summary is written."""

from dataclasses import dataclass, field

from bridge.image import actions
from bridge.image.errors import ImageConflict, MissingSetting
from bridge.image.labels import MODEL, RECIPE_LABEL, Verdict, judge
from bridge.image.mlflow_tags import URI, write_image
from bridge.image.naming import alias_tag
from bridge.image.registry.client import RegistryImage, Repository, TagImmutable
from bridge.image.repository import repository_of, version_tags
from bridge.image.settings import ImageSettings
from bridge.image.steps.report import summarise
from bridge.image.target import Target
from bridge.mlflow.client import MlflowApi, MlflowNotFound

LATEST = "latest"
"""MLflow reserves this name, so it is no alias."""
_ROUNDS = 10
"""How often MLflow is read again at the most, while somebody keeps moving aliases."""


def promote(settings: ImageSettings) -> None:
    """Set the alias tags until MLflow and the registry agree; write the version's tags and the summary.

    Only the digest that this run pushed, or that `resolve` found before anything was built, is written into MLflow.
    Raises `ImageConflict` at the end, after everything else is done, if a tag's image isn't this model's.
    """
    target = Target.read(settings)
    with settings.mlflow() as mlflow:
        version = target.find(mlflow)
        repository = repository_of(settings, version.name)
        promotion = Promotion(mlflow, repository, version.name)
        settled = promotion.settle()
        if settings.latest:
            promotion.tag_latest(settled)
        image = promotion.image(version.version)
        if image is None:
            raise MissingSetting(
                f"{repository.name}:{version.version} is not in the registry, though this run found or pushed it: "
                "run the workflow again"
            )
        reference = f"{repository.name}@{image.digest}"
        if image.digest == settings.digest:
            write_image(mlflow, version, reference, settings.run_url)
        elif version.tags.get(URI) != reference:
            actions.notice(
                "Not written into MLflow",
                f"{repository.name}:{version.version} holds {image.digest}, which this run neither pushed nor found: "
                "run the workflow again, unless another run has written it into MLflow",
            )
    size = repository.manifest(image.digest).size
    for remark in settled.remarks:
        actions.notice("Alias not tagged", remark)
    actions.summary(
        summarise(
            version,
            reference,
            size,
            settled.tags,
            settings.seconds_of_steps,
            recipe=image.labels.get(RECIPE_LABEL, ""),
            attestation=settings.attestation(),
        )
    )
    if settled.conflicts:
        raise ImageConflict("; ".join(dict.fromkeys(settled.conflicts)))


@dataclass(frozen=True)
class Promotion:
    """One model's aliases, and the repository that its images are in."""

    mlflow: MlflowApi
    repository: Repository
    model: str

    def settle(self) -> "Settled":
        """Move tags until MLflow says the same before and after."""
        wanted = self.mlflow.aliases(self.model)
        for _ in range(_ROUNDS):
            settled = self._tag_all(wanted)
            before, wanted = wanted, self.mlflow.aliases(self.model)
            if wanted == before:
                return settled
        settled.remarks.append(f"the aliases of {self.model!r} changed {_ROUNDS} times meanwhile: run it again")
        return settled

    def tag_latest(self, settled: "Settled") -> None:
        """Set the tag `latest` on the newest version that has an image, and note it."""
        for version in sorted(version_tags(self.repository.tags()), key=int, reverse=True):
            try:
                image = self.image(version)
            except MlflowNotFound:  # deleted there; its image stays
                continue
            except ImageConflict as error:
                settled.conflicts.append(str(error))
                continue
            if image:
                self._settle(LATEST, image, settled)
                return

    def image(self, version: str) -> RegistryImage | None:
        """Give the image of a version; None where there is none, or one of another source.

        Raises `ImageConflict` if the version's image isn't this model's, and `RegistryError`.
        """
        found = self.repository.inspect(version)
        if found is None:
            return None
        source = self.mlflow.version(self.model, version).source or ""
        verdict = judge(found.labels, model=self.model, version=version, source=source)
        if verdict is Verdict.FOREIGN:
            raise self._conflict(version)
        return found if verdict in (Verdict.SAME, Verdict.OTHER_RECIPE) else None

    def _conflict(self, tag: str) -> ImageConflict:
        return ImageConflict(
            f"{self.repository.name}:{tag} holds an image that doesn't belong to this model: delete it"
        )

    def _tag_all(self, aliases: dict[str, str]) -> "Settled":
        settled = Settled()
        for alias, version in sorted(aliases.items()):
            if (tag := alias_tag(alias)) is None:
                settled.remarks.append(f"alias {alias!r} can't be an image's tag: choose another name for it")
                continue
            try:
                image = self.image(version)
            except ImageConflict as error:
                settled.conflicts.append(str(error))
                continue
            if image is None:
                settled.remarks.append(f"alias {alias!r} is on version {version}, which has no image of its own yet")
            else:
                self._settle(tag, image, settled)
        return settled

    def _settle(self, tag: str, image: RegistryImage, settled: "Settled") -> None:
        """Move one tag, and note what came of it."""
        name = f"{self.repository.name}:{tag}"
        try:
            self._tag(tag, image)
        except TagImmutable:
            settled.remarks.append(f"{name} was not moved, for the registry lets no tag be moved: allow it there")
        except ImageConflict as error:
            settled.conflicts.append(str(error))
        else:
            settled.tags.append(tag)

    def _tag(self, tag: str, image: RegistryImage) -> None:
        """Make `tag` hold `image`. Raises `ImageConflict` if its image isn't this model's."""
        there = self.repository.inspect(tag)
        if there and there.labels.get(MODEL) != self.model:
            raise self._conflict(tag)
        if not there or there.digest != image.digest:
            # By the digest that was checked, whatever the version's tag holds now.
            self.repository.tag(image.digest, tag)
            actions.say(f"{self.repository.name}:{tag} is now {image.digest}")


@dataclass
class Settled:
    """The alias tags that are on their images, and why any other alias isn't; `conflicts` fail the run."""

    tags: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
