"""What can stop a step on the runner. The message becomes the run's one annotation."""

from bridge.core.errors import BridgeError


class MissingSetting(BridgeError):
    """A variable, secret or input that this step needs isn't set."""


class InvalidInput(BridgeError):
    """An input of the workflow has a value that isn't allowed."""


class UnsafeMetadata(BridgeError):
    """The model's own files say something that must not reach a build."""


class UnsupportedModel(BridgeError):
    """This builder can't make an image of the model; `mlflow_can_build` if MLflow's own builder can."""

    def __init__(self, message: str, hint: str = "", *, mlflow_can_build: bool = False) -> None:
        super().__init__(message, hint)
        self.mlflow_can_build = mlflow_can_build


class DirectArtifacts(BridgeError):
    """The model's artifacts don't come through MLflow's proxy."""


class DiskTooSmall(BridgeError):
    """The runner's disk can't hold what the build needs."""


class ImageConflict(BridgeError):
    """The tag holds an image that must not be overwritten."""


class RegistryError(BridgeError):
    """The registry did not do what was asked of it."""


class BuildFailed(BridgeError):
    """The image could not be built."""


class SmokeTestFailed(BridgeError):
    """The built image does not serve its model."""
