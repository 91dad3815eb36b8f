"""gunicorn -c etc/gunicorn.conf.py 'cis490_receiver:create_app()'

What it says is in the package (cis490_receiver/serving/gunicorn_conf.py), and comes from the receiver's own
configuration (CIS490_CONFIG, CIS490_*): see `cis490-receiver config --explain` for `bind`, `workers`, `threads` and
`graceful_seconds`. `cis490-receiver serve` starts the same without this file.
"""

from runpy import run_module

# Run, not imported, so that a reload (SIGHUP) reads the configuration again.
globals().update(run_module("cis490_receiver.serving.gunicorn_conf"))
