"""The bytes of the episodes.

May import `protocol`, `models`, `errors`, `config`, `atomic`, `clock`, `logfmt`; never `index`.
"""
