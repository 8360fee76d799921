"""What turns a model into an image: `mlflow models build-docker`, or our own layers."""
