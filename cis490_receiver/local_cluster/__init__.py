"""A whole cluster on one machine, for a look: three receivers behind HAProxy, PostgreSQL with a synchronous standby,
and SeaweedFS. Every part is the real one, and can be killed.

Nothing here is needed by a receiver. Everything listens on the loopback interface or a socket that one user may open.
"""
