"""What the receiver keeps beside the episodes and their index: what people, the monitor and timers leave for later.

`base` says what each of these records promises; the modules beside it keep them in files of the data folder.
See the package's import rule.
"""
