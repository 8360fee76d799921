"""The environment that MLflow's own builder gives an image: the inputs `env-manager` and `install-java`."""

from dataclasses import dataclass

from bridge.image.errors import InvalidInput

ENV_MANAGERS = ("local", "virtualenv", "conda")
"""What `mlflow models build-docker` makes images with; `uv` it refuses for them."""


@dataclass(frozen=True)
class Environment:
    """How the model's packages come into the image. Java is to be had on MLflow's ubuntu image alone."""

    env_manager: str = ENV_MANAGERS[0]
    install_java: bool = False

    @classmethod
    def read(cls, env_manager: str, *, install_java: bool) -> "Environment":
        """Take the inputs. Raises `InvalidInput`, which names what is allowed."""
        if env_manager and env_manager not in ENV_MANAGERS:
            known = ", ".join(ENV_MANAGERS)
            raise InvalidInput(f"env-manager {env_manager[:40]!r} is not one of {known}: use one of them")
        chosen = env_manager or ENV_MANAGERS[0]
        if install_java and chosen == "local":
            raise InvalidInput(
                "install-java needs MLflow's ubuntu image, which env-manager local does without: "
                "set env-manager to virtualenv or conda"
            )
        return cls(chosen, install_java)

    @property
    def below_root(self) -> bool:
        """Tell whether the image's Python lies below /root, as pyenv's and conda's environments do."""
        return self.env_manager != "local"

    def options(self) -> list[str]:
        """Give the options of `mlflow models build-docker`."""
        options = ["--env-manager", self.env_manager]
        if self.env_manager == "local":
            return options
        return [*options, f"--install-java={str(self.install_java).lower()}"]
