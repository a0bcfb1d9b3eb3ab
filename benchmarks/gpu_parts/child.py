"""One part of ``gpu_session.py``, in a process of its own: each figure is written as soon as it is there.

    python -m gpu_parts.child PART FILE DEVICE [--quick]

A part is a module with ``measure(device, quick)``, which yields names and figures, and ``goals(figures, device)``.
"""

import json
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from edgekd.files import write_json

OURS = ("edgekd", "gpu_parts", "common", "networks", "tests")


def run(name: str, file: Path, device: str, quick: bool) -> str:
    """Run a part and return its status, which is in ``file`` too."""
    document: dict[str, Any] = {"status": "running", "figures": {}, "goals": []}
    write_json(file, document)
    try:
        part = import_module(f"gpu_parts.{name}")
        for key, figure in part.measure(device, quick):
            document["figures"][key] = json.loads(json.dumps(figure))
            document["goals"] = part.goals(document["figures"], device)
            write_json(file, document)
        document["status"] = "done"
    except Exception as error:
        traceback.print_exc()
        document |= outcome(error)
    write_json(file, document)
    return str(document["status"])


def outcome(error: Exception) -> dict[str, Any]:
    """Return the status of a part that raised ``error``, and where it did, without the machine's folders."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package and package not in OURS:
        return {"status": f"absent: {package}"}
    frames = [
        f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in traceback.extract_tb(error.__traceback__)
    ]
    return {"status": f"failed: {type(error).__name__}: {str(error).strip()[:400]}", "where": frames[-8:]}


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), sys.argv[3], "--quick" in sys.argv[4:])
