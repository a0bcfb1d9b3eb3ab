from pathlib import Path

import pytest

from edgekd.search import launch
from edgekd.search.launch import Worker


@pytest.mark.parametrize(("kind", "stays"), [("ModelError", True), ("StorageError", True), ("OutOfMemoryError", False)])
def test_a_process_whose_state_is_not_known_does_no_further_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, stays: bool
) -> None:
    """As after an error of a GPU, which each later call in the process repeats."""
    monkeypatch.setattr(launch, "MODULE", "tests.search.echo")
    with Worker(tmp_path / "worker.log") as worker:
        first = worker.run("id")["result"]
        assert worker.run("id")["result"] == first
        assert worker.run("fail", kind=kind) == {"error": "no", "kind": kind}
        assert (worker.run("id")["result"] == first) is stays
