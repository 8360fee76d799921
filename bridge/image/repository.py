"""Decides which repository a model's images are in, and whether a version's existing image is kept."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from bridge.image import actions
from bridge.image.errors import ImageConflict
from bridge.image.labels import MODEL, SOURCE, Match, classify
from bridge.image.registry.client import RegistryImage, Repository
from bridge.image.settings import ImageSettings

_THREADS = 4
"""Parallel requests while the images of a repository are read."""


def repository_of(settings: ImageSettings, model: str) -> Repository:
    """Return the repository of the model's images.

    A repository with the name that earlier releases gave is kept if all of its versions are images of this model. Two
    models can share such a name; if they do, neither keeps it. If the registry refuses to list it, it counts as
    missing: no other model has the new name, so that is safe. Raises `InvalidImageName`, and `RegistryError`
    if the registry can't be asked.
    """
    name, *former = settings.repositories(model)
    for former_name in former:
        repository = Repository(former_name, settings.docker_config)
        if holds_only(repository, model):
            return repository
    return Repository(name, settings.docker_config)


def holds_only(repository: Repository, model: str) -> bool:
    """Whether there are versions, and the labels of all of them name `model`. Raises `RegistryError`."""
    with ThreadPoolExecutor(_THREADS) as pool:
        images = list(pool.map(repository.inspect, version_tags(repository.tags())))
    return {image.labels.get(MODEL) for image in images if image} == {model}


def version_tags(tags: Iterable[str]) -> list[str]:
    """Return the tags that are versions: numbers of at most 18 digits."""
    return [tag for tag in tags if tag.isascii() and tag.isdecimal() and len(tag) < 19]


def image_to_keep(
    repository: Repository, *, model: str, version: str, source: str, force: bool = False
) -> RegistryImage | None:
    """Return the existing image of a version; None if an image must be built and pushed.

    Raises `ImageConflict` if the tag has an image that must not be overwritten, and `RegistryError`.
    """
    image = repository.inspect(version)
    match = classify(image.labels if image else None, model=model, version=version, source=source)
    name = f"{repository.name}:{version}"
    if match is Match.FOREIGN:
        raise ImageConflict(
            f"{name} exists without this model's labels, so it is never overwritten",
            "delete it, or use another DOCKER_NAMESPACE",
        )
    if match is Match.OTHER_SOURCE and image and not force:
        raise ImageConflict(
            f"{name} was built from {image.labels[SOURCE]}, but the version's source in MLflow is {source}: the model "
            "may have been deleted and created again",
            "to overwrite the image, run the workflow manually with force",
        )
    if match is Match.OTHER_RECIPE and not force:
        actions.notice(
            "Existing image kept",
            f"{name} was built with other settings; to rebuild it, run the workflow manually with force",
        )
    return None if force else image
