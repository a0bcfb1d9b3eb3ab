"""Fixtures that rooms below share."""

from tests.bench.conftest import light
from tests.lint.conftest import found

__all__ = ["found", "light"]
