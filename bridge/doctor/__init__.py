"""`mlflow-bridge doctor`: what stands between MLflow and a run, each thing with its mend. It changes nothing."""
