"""GitHub: a client of its REST API, sign-in as an App, the meaning of its answers, and workflow files."""
