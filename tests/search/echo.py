"""A worker process that says its id, or fails with the kind of error that it is asked for."""

import json
import os
import sys

for line in sys.stdin:
    job = json.loads(line)
    found = {"error": "no", "kind": job["kind"]} if job["job"] == "fail" else {"result": os.getpid()}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
