"""The tracking server's image: checks before the start, and the start of MLflow."""
