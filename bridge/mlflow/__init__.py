"""MLflow: a client of its REST API, the signatures of its webhooks, and the checks of webhooks."""
