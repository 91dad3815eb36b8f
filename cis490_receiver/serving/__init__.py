"""gunicorn as we need it: its worker, its connections, and bodies read past its copies.

The only code that knows gunicorn's insides. See the package's import rule.
"""
