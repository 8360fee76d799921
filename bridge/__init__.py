"""The way from a model version in MLflow to its serving image in a container registry."""

__version__ = "0.1.0"
