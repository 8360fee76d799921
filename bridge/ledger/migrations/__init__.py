"""The ledger's schema, step by step. Steps run when the process starts; a released step is never changed."""
