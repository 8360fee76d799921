"""Builders of images: `mlflow models build-docker`, or our own layers."""
