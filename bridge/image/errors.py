"""Errors that end a step on the runner. Message and hint become the run's one annotation."""

from bridge.core.errors import BridgeError


class MissingSetting(BridgeError):
    """A variable, secret or input that this step needs isn't set."""


class InvalidInput(BridgeError):
    """An input of the workflow has a value that isn't allowed."""


class ProgramUnusable(BridgeError):
    """A program that the steps need is missing on the runner, too old, or doesn't work."""


class UnsafeMetadata(BridgeError):
    """The model's own files contain something that must not reach any build."""


class UnsupportedModel(BridgeError):
    """The model's files are safe, but no image can be built from them, or not by this builder."""

    def __init__(self, message: str, hint: str = "", *, mlflow_can_build: bool = False) -> None:
        """Only with `mlflow_can_build` may MLflow's own builder be used instead of the layered one."""
        super().__init__(message, hint)
        self.mlflow_can_build = mlflow_can_build


class DirectArtifacts(BridgeError):
    """The model's artifacts don't come through MLflow's proxy."""


class DiskTooSmall(BridgeError):
    """The runner's disk can't hold what the build needs."""


class ImageConflict(BridgeError):
    """The tag holds an image that must not be overwritten."""


class RegistryError(BridgeError):
    """The registry refused a request, failed, or did not answer."""


class BuildFailed(BridgeError):
    """The image could not be built."""


class ImageTooLarge(BridgeError):
    """The image exceeds the input `size-limit`."""


class SmokeTestFailed(BridgeError):
    """The built image doesn't serve its model."""


class GateFailed(BridgeError):
    """The operator's gate doesn't let the image's aliases be promoted."""
