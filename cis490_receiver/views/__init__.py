"""HTTP in, status out: the only code that knows flask.

May import `policy`, `ingest`, `monitor`, `index.base`, `storage.base` and the small modules.
"""
