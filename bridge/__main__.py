"""`python -m bridge` is `mlflow-bridge`."""

from bridge.cli import app

app()
