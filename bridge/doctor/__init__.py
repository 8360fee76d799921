"""`mlflow-bridge doctor`: checks everything between MLflow and a workflow run, and changes nothing."""
