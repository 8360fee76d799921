"""Logs and registers a small scikit-learn model: `python -m tests.loopback.sample_model NAME [ALIAS]`.

It is a separate process because importing MLflow and scikit-learn takes seconds and prints warnings. It prints one line
of JSON: `version`, and `registered`, MLflow's time of the registration in seconds since 1970.
"""

import json
import sys
import warnings


def register(name: str, alias: str | None) -> dict[str, object]:
    """Train on the iris data, log and register the model, and set the alias if there is one."""
    import mlflow
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, species = load_iris(return_X_y=True, as_frame=True)
    model = LogisticRegression(max_iter=500).fit(features, species)
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            model, name="model", input_example=features.head(3), pip_requirements=["scikit-learn", "pandas", "skops"]
        )
    version = mlflow.register_model(logged.model_uri, name)
    if alias:
        mlflow.MlflowClient().set_registered_model_alias(name, alias, version.version)
    return {"version": str(version.version), "registered": version.creation_timestamp / 1000}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    registered = register(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    sys.stdout.write(json.dumps(registered) + "\n")
