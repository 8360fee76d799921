"""What the tracking server's image runs around MLflow: the checks before the start, and the start."""
