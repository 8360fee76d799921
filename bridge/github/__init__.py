"""GitHub: a client of its REST API, sign-in as an App, what its answers mean, and its workflow files."""
