"""Token endpoint, nonces, keys, metadata and status lists: what holders and verifiers fetch without a role."""
