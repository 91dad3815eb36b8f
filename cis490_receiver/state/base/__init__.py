"""What a place for the receiver's own records has to do, whatever it is made of.

Speaks of hosts, commits, alerts and digests, never of paths. See the package's import rule.
"""
