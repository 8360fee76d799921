"""The container registry: a client, sign-in, and the meaning of its refusals."""
