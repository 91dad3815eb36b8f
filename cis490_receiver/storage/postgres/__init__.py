"""What is known of objects, kept in PostgreSQL for all receivers; needs the extra `cluster`."""
