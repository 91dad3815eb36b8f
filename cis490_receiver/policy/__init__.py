"""May it come in? Rules over plain mappings and values; no flask, no files but gate.json.

May import `protocol`, `models`, `errors`, `atomic`, `config` and `clock`.
"""
