"""Decides which repository a model's images are in, and which image of a version is kept."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from bridge.image import actions
from bridge.image.errors import ImageConflict
from bridge.image.labels import MODEL, SOURCE, Verdict, judge
from bridge.image.registry.client import RegistryImage, Repository
from bridge.image.settings import ImageSettings

_THREADS = 4
"""Parallel requests while the images of a repository are read."""


def repository_of(settings: ImageSettings, model: str) -> Repository:
    """Give the repository that the images of `model` are in, as `resolve` decided; without its decision, decide here.

    A repository with the name that earlier releases gave is kept if all of its versions are images of this model. Two
    models can share such a name; if they do, neither keeps it. If the registry refuses to list it, it counts as
    missing: no other model has the new name, so that is safe. Raises `InvalidImageName`, and `RegistryError`
    if the registry can't be asked.
    """
    name, *former = settings.repositories(model)
    for each in former:
        repository = Repository(each, settings.docker_config)
        if holds_only(repository, model):
            return repository
    return Repository(name, settings.docker_config)


def holds_only(repository: Repository, model: str) -> bool:
    """Tell whether there are versions, and the labels of all of them name `model`. Raises `RegistryError`."""
    with ThreadPoolExecutor(_THREADS) as pool:
        images = list(pool.map(repository.inspect, version_tags(repository.tags())))
    return {image.labels.get(MODEL) for image in images if image} == {model}


def version_tags(tags: Iterable[str]) -> list[str]:
    """Give the tags that are versions; each is a number of at most 18 digits."""
    return [tag for tag in tags if tag.isascii() and tag.isdecimal() and len(tag) < 19]


def image_to_keep(
    repository: Repository, *, model: str, version: str, source: str, force: bool = False
) -> RegistryImage | None:
    """Give the image that the version's tag keeps, or None if one is to be built and pushed.

    Raises `ImageConflict` if the tag holds an image that must not be overwritten, and `RegistryError`.
    """
    found = repository.inspect(version)
    verdict = judge(found.labels if found else None, model=model, version=version, source=source)
    image = f"{repository.name}:{version}"
    if verdict is Verdict.FOREIGN:
        raise ImageConflict(
            f"{image} is there and carries no labels of ours for this model, so it is never overwritten: "
            "delete it, or set another DOCKER_NAMESPACE"
        )
    if verdict is Verdict.OTHER_SOURCE and found and not force:
        raise ImageConflict(
            f"{image} was made from {found.labels[SOURCE]}, and MLflow now says {source} "
            "(the model was deleted and made again?): start the workflow by hand with force to overwrite it"
        )
    if verdict is Verdict.OTHER_RECIPE and not force:
        actions.notice(
            "Image made another way", f"{image} was built by an older recipe; to rebuild it, start by hand with force"
        )
    return None if force else found
