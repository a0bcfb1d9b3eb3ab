from pathlib import Path

import pytest

from edgekd.errors import StorageError
from edgekd.search.study_log import StudyLog


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    log = StudyLog(tmp_path / "journal.jsonl")
    log.append("begin", key="a")
    log.append("trial", number=1, seconds=2.5)
    again = StudyLog(log.path)
    assert (
        again.events == log.events == [{"event": "begin", "key": "a"}, {"event": "trial", "number": 1, "seconds": 2.5}]
    )
    assert again.seconds == 2.5
    assert again.last("trial") == again.of("trial")[0]
    assert again.last("end") is None


def test_a_torn_last_line_is_no_event_and_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event": "begin"}\n{"event": "tri')
    log = StudyLog(path)
    assert log.events == [{"event": "begin"}]
    log.append("trial", number=1)
    assert path.read_text() == '{"event": "begin"}\n{"event": "trial", "number": 1}\n'


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "begin"}\n[1]\n')
    with pytest.raises(StorageError, match=r"journal.jsonl:2: no event of a search"):
        StudyLog(path)
