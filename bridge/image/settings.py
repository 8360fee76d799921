"""What the workflow tells a step, read from the environment."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.image.errors import MissingSetting
from bridge.image.naming import former_slug, repository, slug
from bridge.image.registry.credentials import GHCR
from bridge.mlflow.client import MlflowApi


class ImageSettings(BaseSettings):
    """The environment of one step of model-image.yml. An empty variable counts as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore")

    payload: str = ""
    """The bridge's client_payload as JSON; empty where the run was started by hand."""
    model: str = ""
    version: str = ""
    alias: str = ""
    force: bool = False
    push: bool = True
    """False for a dry run: nothing is written to MLflow nor to the registry."""
    latest: bool = False
    attested: bool = False
    bridge_repository: str = ""
    """Where the called workflow lives, whose name attestations carry."""
    size_limit: str = ""
    builder: str = ""
    base_image: str = ""
    platforms: str = ""
    build_from_source: bool = False
    has_package_index: bool = False
    """Whether PIP_INDEX_URL or PIP_EXTRA_INDEX_URL is set; the build alone is told their values."""
    has_ca_certificates: bool = False
    layered: bool | None = None
    """What `resolve` found: whether the image is built in layers; None before that."""
    previous: str = ""
    """What `resolve` found: the digest of an earlier version's image that was built in layers."""
    pip_index_url: SecretStr | None = None
    pip_extra_index_url: SecretStr | None = None
    ca_certificates: SecretStr | None = None
    env_manager: str = ""
    install_java: bool = False
    former_name: bool | None = None
    """Whether the images are in the repository that earlier releases named; None before `resolve` has found out."""
    digest: str = ""
    """Digest of the version's image that this run pushed or `resolve` found; empty if there is none."""
    smoke_test: str = ""
    smoke_test_network: bool = False
    seconds_of_steps: str = "{}"
    """JSON object: seconds by step of the build job."""

    docker_registry: str = GHCR
    docker_namespace: str = ""
    docker_username: str = ""
    docker_config: Path | None = None
    """Docker's own variable: the folder of config.json; None is ~/.docker."""

    mlflow_tracking_uri: str = ""
    mlflow_tracking_username: str | None = None
    mlflow_tracking_password: SecretStr | None = None
    mlflow_tracking_token: SecretStr | None = None
    mlflow_tracking_server_cert_path: str | None = None

    github_repository: str = ""
    github_server_url: str = "https://github.com"
    github_run_id: str = ""
    runner_temp: Path = Path("/tmp")  # noqa: S108  only where a person runs a step by hand

    @property
    def run_url(self) -> str:
        """The page of this run."""
        return f"{self.github_server_url}/{self.github_repository}/actions/runs/{self.github_run_id}"

    def attestation(self) -> str:
        """Give the options for `gh attestation verify`; empty where the image isn't attested."""
        if not self.attested:
            return ""
        signer = self.bridge_repository
        other = f" --signer-repo {signer}" if signer and signer != self.github_repository else ""
        return f"--repo {self.github_repository}{other}"

    def repositories(self, model: str) -> list[str]:
        """Give the image's name without a tag; before `resolve` has decided, both the new and any former one.

        Raises `InvalidImageName`.
        """
        slugs = {False: slug(model), True: former_slug(model)}
        wanted = slugs.values() if self.former_name is None else [slugs[self.former_name]]
        return [repository(self.docker_registry, self._namespace(), each) for each in wanted if each]

    def mlflow(self) -> MlflowApi:
        """Give a client of MLflow's API. Raises `MissingSetting` where its address isn't set."""
        if not self.mlflow_tracking_uri:
            raise MissingSetting(
                "MLFLOW_TRACKING_URI is not set, so there is no MLflow to ask: "
                "set it as a variable or a secret of the repository"
            )
        return MlflowApi(
            self.mlflow_tracking_uri,
            username=self.mlflow_tracking_username,
            password=_plain(self.mlflow_tracking_password),
            token=_plain(self.mlflow_tracking_token),
            cert_path=self.mlflow_tracking_server_cert_path,
        )

    def _namespace(self) -> str:
        if self.docker_namespace:
            return self.docker_namespace
        return self.github_repository if self.docker_registry.lower() == GHCR else self.docker_username


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
