"""Logs and registers a small scikit-learn model: `python -m tests.loopback.sample_model NAME [ALIAS]`.

A process of its own, for importing MLflow and scikit-learn takes seconds and prints warnings. MLFLOW_TRACKING_URI
names the server. Prints one line of JSON: `version`, and `registered`, the second at which MLflow had it.
"""

import json
import sys
import warnings


def register(name: str, alias: str | None) -> dict[str, object]:
    """Train on the iris data, log, register; then set the alias, where one is given."""
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
    said = register(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    sys.stdout.write(json.dumps(said) + "\n")
