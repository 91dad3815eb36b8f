"""PostgreSQL, for the receivers of many machines: connections, the schema, and the ways to ask that several share.

Needs the extra `cluster`; a receiver that keeps everything on its own disk imports none of this. Connections are made
when they are first needed, which is after gunicorn's fork.
"""
