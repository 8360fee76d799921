"""The settings of a step, which the workflow passes as environment variables."""

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
    """The bridge's client_payload as JSON; empty if a person started the run."""
    model: str = ""
    version: str = ""
    alias: str = ""
    force: bool = False
    push: bool = True
    """False for a dry run: nothing is written to MLflow or the registry."""
    latest: bool = False
    attested: bool = False
    require_attestations: bool = False
    """Whether only an attested image is promoted."""
    has_sbom: bool = False
    """Whether the run uploads an SBOM."""
    bridge_repository: str = ""
    """The repository of the called workflow, which attestations name as the signer."""
    size_limit: str = ""
    builder: str = ""
    base_image: str = ""
    platforms: str = ""
    build_from_source: bool = False
    has_package_index: bool = False
    """Whether PIP_INDEX_URL or PIP_EXTRA_INDEX_URL is set. Only the build step has their values."""
    has_ca_certificates: bool = False
    pip_index_url: SecretStr | None = None
    pip_extra_index_url: SecretStr | None = None
    ca_certificates: SecretStr | None = None
    env_manager: str = ""
    install_java: bool = False
    smoke_test: str = ""
    smoke_test_network: bool = False
    gate: str = ""
    """The operator's command that must succeed before aliases are promoted; empty if there is none."""

    docker_registry: str = GHCR
    docker_namespace: str = ""
    docker_username: str = ""
    docker_username_secret: str = ""
    """The same name if it is kept as a secret."""
    docker_config: Path | None = None
    """Folder of Docker's config.json; None is ~/.docker."""

    mlflow_tracking_uri: str = ""
    mlflow_tracking_username: str | None = None
    mlflow_tracking_password: SecretStr | None = None
    mlflow_tracking_token: SecretStr | None = None
    mlflow_tracking_server_cert_path: str | None = None

    github_repository: str = ""
    github_server_url: str = "https://github.com"
    github_api_url: str = "https://api.github.com"
    github_run_id: str = ""
    runner_temp: Path = Path("/tmp")  # noqa: S108  only outside of a runner

    @property
    def run_url(self) -> str:
        """The page of this run."""
        return f"{self.github_server_url}/{self.github_repository}/actions/runs/{self.github_run_id}"

    def attestation(self) -> str:
        """Return the options for `gh attestation verify`; empty if the image isn't attested."""
        if not self.attested:
            return ""
        signer = self.bridge_repository
        other = f" --signer-repo {signer}" if signer and signer != self.github_repository else ""
        return f"--repo {self.github_repository}{other}"

    def repositories(self, model: str) -> list[str]:
        """Return the image's name without a tag, and the name that earlier releases gave it if that is another one.

        Raises `InvalidImageName`.
        """
        names = [slug(model), former_slug(model)]
        return [repository(self.docker_registry, self._namespace(), name) for name in names if name]

    @property
    def enterprise_server(self) -> bool:
        """Whether the run is on GitHub Enterprise Server, whose API has this path (its document "REST API")."""
        return self.github_api_url.rstrip("/").endswith("/api/v3")

    def secrets(self) -> list[str]:
        """Return the secrets that this step has: GitHub masks each of them, and each line of them, in all outputs."""
        secrets = (
            self.docker_username_secret,
            self.mlflow_tracking_username,
            _plain(self.mlflow_tracking_password),
            _plain(self.mlflow_tracking_token),
        )
        return [line for secret in secrets if secret for line in secret.splitlines() if line]

    def mlflow(self) -> MlflowApi:
        """Return a client of MLflow's API. Raises `MissingSetting` if its address isn't set."""
        if not self.mlflow_tracking_uri:
            raise MissingSetting("MLFLOW_TRACKING_URI is not set", "set it as a variable or secret of the repository")
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
