"""The container registry: a client, sign-in, and what its refusals mean."""
