"""The proof that nothing is lost and nothing built twice: `make proof`. `make test` runs a short one."""
