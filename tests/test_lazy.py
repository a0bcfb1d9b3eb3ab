"""Names of a package that are imported when they are first used."""

from importlib import import_module

import pytest

from edgekd.lazy import exporter


@pytest.mark.parametrize("package", ["edgekd.bench", "edgekd.data", "edgekd.train"])
def test_every_public_name_is_there(package):
    module = import_module(package)
    assert module.__all__
    assert all(getattr(module, name) is not None for name in module.__all__)


def test_another_name_is_not():
    get = exporter("edgekd", {"files": ("sha256",)})
    assert get("sha256")(b"").startswith("e3b0c44298fc")
    with pytest.raises(AttributeError, match="module 'edgekd' has no attribute 'sha265'"):
        get("sha265")
