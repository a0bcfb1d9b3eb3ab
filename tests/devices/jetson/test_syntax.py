"""The readers run on the device too, whose Python may be 3.8 and have no packages."""

import ast
import sys
from pathlib import Path

import pytest

import edgekd.devices.jetson
from edgekd.bench import rails
from edgekd.runtimes.tensorrt.trtexec import output

FOLDER = Path(edgekd.devices.jetson.__file__).parent
READERS = [
    *(FOLDER / f"{name}.py" for name in ("tegrastats", "release", "power_mode")),
    *(Path(each.__file__) for each in (rails, output)),
]


@pytest.mark.parametrize("path", READERS, ids=lambda path: path.stem)
def test_python_3_8_and_the_standard_library_alone(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = {
        (alias.name if isinstance(node, ast.Import) else str(node.module)).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert imported <= sys.stdlib_module_names
