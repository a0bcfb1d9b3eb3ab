"""docs/quantization.md: its tables are those of the recorded figures, and the records are of full runs."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/quantization.md").read_text()


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import pages

    return pages


def test_its_tables_are_the_recorded_ones(pages):
    assert pages.filled(PAGE) == PAGE


def test_no_table_is_missing_and_each_record_is_of_a_full_run(pages):
    for table, (record, _) in pages.TABLES.items():
        assert f"<!-- table: {table} -->\n\n|" in PAGE
        assert pages.recorded(record)["quick"] is False
