"""The agent as one file: a zip archive that a device's Python runs, the same bytes for the same code."""

import zipfile
from io import BytesIO
from pathlib import Path, PurePosixPath

import edgekd
from edgekd.runtime import RUNTIMES

HOUSE = Path(edgekd.__file__).parent
NEVER = (1980, 1, 1, 0, 0, 0)
# Modules of edgekd that the agent stands on. Like it, they keep to the standard library and to Python 3.8.
BELOW = ("errors.py", "nearest.py", "ranges.py")
MAIN = "from edgekd.agent.__main__ import main\n\nmain()\n"
PACKAGE = """\
import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)
"""


def members() -> list[Path]:
    """Return the files of edgekd in the archive: the agent, and what each runtime has it ship."""
    folders = {HOUSE / "runtimes" / runtime.name: runtime.shipped for runtime in RUNTIMES.values()}
    shipped = [folder / f"{module}.py" for folder, modules in folders.items() for module in modules]
    return sorted([*(HOUSE / name for name in BELOW), *(HOUSE / "agent").glob("*.py"), *shipped])


def agent_archive() -> bytes:
    """Return the archive: :func:`members`, in packages that bring nothing else."""
    texts = {path.relative_to(HOUSE.parent).as_posix(): path.read_text() for path in members()}
    folders = {str(folder) for name in texts for folder in PurePosixPath(name).parents if folder.name}
    packages = {f"{folder}/__init__.py": "" for folder in folders}
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted({"__main__.py": MAIN, **packages, "edgekd/__init__.py": PACKAGE, **texts}.items()):
            archive.writestr(zipfile.ZipInfo(name, NEVER), text, zipfile.ZIP_DEFLATED)
    return content.getvalue()
