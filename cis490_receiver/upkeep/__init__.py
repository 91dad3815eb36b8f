"""What keeps the stored episodes and their index true: recovery, reindex, verify, quarantine.

See the package's import rule.
"""
