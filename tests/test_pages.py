"""The tables of the documentation are those of the recorded figures, and the records are of full runs."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import pages

    return pages


def test_their_tables_are_the_recorded_ones(pages):
    for page in pages.PAGES:
        text = (ROOT / page).read_text()
        assert pages.filled(text) == text


def test_no_table_is_missing_and_each_record_is_of_a_full_run(pages):
    texts = "".join((ROOT / page).read_text() for page in pages.PAGES)
    for table, (record, _) in pages.TABLES.items():
        assert f"<!-- table: {table} -->\n\n|" in texts
        assert pages.recorded(record)["quick"] is False
