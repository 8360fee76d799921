"""MLflow: a client of its REST API, the signatures of its webhooks, and what a webhook needs to be."""
