"""How every program of ours behaves on a command line, at either end.

========  =====================================================================================
module    does
========  =====================================================================================
failures  whatever ends a command becomes a sentence, an exit status and, for programs, an object
program   click's commands and groups that end so
options   options that mean the same everywhere
========  =====================================================================================
"""
