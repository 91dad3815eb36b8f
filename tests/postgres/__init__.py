"""PostgreSQL itself: its schema, and connections that break."""
