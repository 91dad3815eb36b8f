"""Files that other processes and power cuts get at: written whole, read from their end, watched for a change.

Each docstring says what holds after a crash. See the package's import rule.
"""
