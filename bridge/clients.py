"""The clients of GitHub and MLflow, made from the settings."""

from bridge.github.client import Credential, GithubApi, StaticToken
from bridge.mlflow.client import MlflowApi
from bridge.settings import Settings


def github(settings: Settings) -> GithubApi:
    """Return a client of GitHub that signs in with the token or as the App; its user must enter it."""
    return GithubApi(settings.github_api_url, _credential(settings), api_version=settings.github_api_version)


def mlflow(settings: Settings) -> MlflowApi | None:
    """Return a client of MLflow, None if no address is set; raises `MlflowError` if the address can't be used."""
    if settings.mlflow_tracking_uri is None:
        return None
    password, token = settings.mlflow_tracking_password, settings.mlflow_tracking_token
    certificates = settings.mlflow_tracking_server_cert_path
    return MlflowApi(
        settings.mlflow_tracking_uri,
        username=settings.mlflow_tracking_username,
        password=password.get_secret_value() if password else None,
        token=token.get_secret_value() if token else None,
        cert_path=str(certificates) if certificates else None,
    )


def _credential(settings: Settings) -> Credential:
    if settings.github_token:
        return StaticToken(settings.github_token.get_secret_value())
    from bridge.github.app_auth import AppInstallation  # its cryptography costs memory that a token doesn't need

    key = settings.github_app_private_key
    return AppInstallation(
        settings.github_app_id or "",
        key.get_secret_value() if key else "",
        settings.github_api_url,
        api_version=settings.github_api_version,
    )
