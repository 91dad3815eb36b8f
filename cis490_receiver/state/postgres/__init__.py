"""The receiver's own records in PostgreSQL; needs the extra `cluster`. See `state.base`."""
