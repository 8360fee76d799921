"""Registers a new version of a small model with the alias champion, at MLFLOW_TRACKING_URI."""

import os

import mlflow


def register() -> None:
    """Register the version, and print it."""

    def doubled(
        model_input: list[int],
    ) -> list[int]:  # local, so that it is pickled by value, not by this module's name
        return [2 * number for number in model_input]

    name = os.environ.get("EXAMPLE_MODEL") or "Doubles (example)"
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model", python_model=doubled, registered_model_name=name, pip_requirements=["cloudpickle"]
        )
    version = str(logged.registered_model_version)
    mlflow.MlflowClient().set_registered_model_alias(name, "champion", version)
    print(f"registered {name} version {version}, alias champion")
