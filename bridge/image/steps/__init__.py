"""The steps of the workflow `model-image.yml`, one module each, in the order of the workflow."""
