"""A loopback GitHub and a small scenario, for `mlflow-bridge demo` and the tests."""
