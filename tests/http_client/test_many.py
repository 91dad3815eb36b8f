"""Many small GETs at once: their thread is in nobody's way."""

from __future__ import annotations

import subprocess
import sys

from tests.support.receiver import ROOT

#: What is registered first is called last: the thread lives on while the program ends around it.
ENDS = """
import atexit, os, time
atexit.register(time.sleep, 0.5)
read = os.eventfd_read
os.eventfd_read = lambda fd: (time.sleep(0.2), read(fd))
from cis490_receiver.http_client.endpoint import Endpoint, Wording
from cis490_receiver.http_client.many import Many
words = dict.fromkeys(("change", "url", "ca_file", "cert", "key", "certificate_refused", "later"), "")
many = Many(Endpoint(url="http://127.0.0.1:1", wording=Wording(**words)), {}, 1)
many.ask([])
time.sleep(0.1)
"""


def test_a_program_that_ends_while_it_reads_ends_silently() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
