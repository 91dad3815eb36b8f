"""The records: which episodes are stored, which PUTs were refused, what the hosts reported.

May import `protocol`, `models`, `errors`, `config`, `atomic`, `clock`, `logfmt`; never `storage`.
"""
