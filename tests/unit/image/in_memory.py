"""An MLflow and a registry in memory, in place of the adapters."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.image.labels import MODEL, RECIPE, RECIPE_LABEL, SOURCE, VERSION
from bridge.image.registry.client import Manifest, RegistryImage, Repository, TagImmutable
from bridge.mlflow.client import MlflowApi, MlflowNotFound, ModelVersion


class MemoryMlflow(MlflowApi):
    """Versions and aliases; `on_read` is called each time the aliases are read, so that a test can move them."""

    def __init__(self, *versions: ModelVersion, on_read: Callable[[dict[str, str]], None] = lambda _: None) -> None:
        self.versions = {version.version: version for version in versions}
        self.by_alias: dict[str, str] = {}
        self.written: list[tuple[str, str]] = []
        self._on_read = on_read

    def close(self) -> None:
        pass

    def version(self, name: str, version: str) -> ModelVersion:
        if version not in self.versions:
            raise MlflowNotFound(f"no version {version!r} of {name!r}")
        return self.versions[version]

    def aliases(self, name: str) -> dict[str, str]:
        read = dict(self.by_alias)
        self._on_read(self.by_alias)
        return read

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.written.append((key, value))


@dataclass(frozen=True)
class MemoryRepository(Repository):
    """Images by tag."""

    images: dict[str, RegistryImage] = field(default_factory=dict)
    copies: list[tuple[str, str]] = field(default_factory=list)
    immutable: bool = False
    """Whether the registry doesn't allow tags to be moved."""

    def inspect(self, tag: str) -> RegistryImage | None:
        return self.images.get(tag)

    def manifest(self, digest: str) -> Manifest:
        return Manifest(config=f"config of {digest}", size=1_000_000)

    def tags(self) -> list[str]:
        return list(self.images)

    def tag(self, digest: str, tag: str) -> None:
        if self.immutable and tag in self.images:
            raise TagImmutable(f"{self.name}: the registry doesn't allow tags to be moved")
        self.copies.append((digest, tag))
        self.images[tag] = next(image for image in self.images.values() if image.digest == digest)


def version(number: str, source: str = "", **tags: str) -> ModelVersion:
    return ModelVersion(name="iris", version=number, source=source or f"models:/m-{number}", tags=tags)


def image(number: str, *, model: str = "iris", source: str = "", recipe: str = RECIPE) -> RegistryImage:
    labels = {MODEL: model, VERSION: number, SOURCE: source or f"models:/m-{number}", RECIPE_LABEL: recipe}
    return RegistryImage(f"sha256:{model}{number}{source}", labels)
