"""The trainer's end: a folder kept in step with a receiver. See the package's import rule."""
