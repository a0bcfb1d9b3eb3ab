from typing import Any

import pytest

from edgekd.report.html import render_html
from edgekd.report.schema import Report

from . import sample as invented


@pytest.fixture
def sample() -> dict[str, Any]:
    """A fresh copy of the invented sample report."""
    return invented.sample()


@pytest.fixture(scope="session")
def sample_page() -> str:
    return render_html(Report.from_json(invented.sample()))
