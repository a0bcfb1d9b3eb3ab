"""Names of a package that are imported when they are first used."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from edgekd.lazy import exporter


@pytest.mark.parametrize("package", ["edgekd.bench", "edgekd.data", "edgekd.train"])
def test_every_name_that_type_checkers_see_is_there(package):
    module = import_module(package)
    [seen] = [each for each in ast.parse(Path(module.__file__).read_text()).body if isinstance(each, ast.If)]
    names = [
        alias.asname or alias.name for each in seen.body if isinstance(each, ast.ImportFrom) for alias in each.names
    ]
    assert len(names) > 2
    assert all(getattr(module, name) is not None for name in names)


def test_another_name_is_not():
    get = exporter("edgekd", {"files": ("sha256",)})
    assert get("sha256")(b"").startswith("e3b0c44298fc")
    with pytest.raises(AttributeError, match="module 'edgekd' has no attribute 'sha265'"):
        get("sha265")
