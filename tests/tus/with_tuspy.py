"""with_tuspy.py '{"file", "endpoint", "headers", "metadata"}': upload as a script of tuspy's does."""

from __future__ import annotations

import json
import sys

from tusclient.client import TusClient

given = json.loads(sys.argv[1])
client = TusClient(given["endpoint"], headers=given["headers"])
client.uploader(given["file"], metadata=given["metadata"], retries=40, retry_delay=0.25).upload()
