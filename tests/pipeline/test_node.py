"""One way of making whatever a run keeps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from edgekd.pipeline.node import Node, NodeCache


@dataclass(frozen=True)
class Word(Node[str]):
    """Writes a word, and notes what is done with it."""

    word: str
    key: str = "0123456789abcdef"
    done: list[str] = field(default_factory=list)
    still_holds: bool = True

    within: ClassVar[str] = "words"
    name: ClassVar[str] = "00-word"

    def fill(self, folder: Path, workplace: Path) -> None:
        self.done.append("resumed" if workplace.exists() else "made")
        workplace.mkdir(exist_ok=True)
        if self.word == "killed":
            raise KeyboardInterrupt
        (folder / "word").write_text(self.word)

    def found(self, folder: Path) -> None:
        self.done.append("found")

    def holds(self, folder: Path) -> bool:
        return self.still_holds

    def read(self, folder: Path) -> str:
        return (folder / "word").read_text()


def test_made_once_and_then_found(tmp_path):
    first, again = Word("a"), Word("b")
    assert (NodeCache(tmp_path).make(first), NodeCache(tmp_path).make(again)) == ("a", "a")
    assert (first.done, again.done) == (["made"], ["found"])
    assert [path.name for path in (tmp_path / "words").iterdir()] == ["00-word-0123456789ab"]


def test_another_key_is_another_result(tmp_path):
    nodes = NodeCache(tmp_path)
    assert (nodes.make(Word("a")), nodes.make(Word("b", key="f" * 64))) == ("a", "b")


def test_what_holds_no_longer_or_is_damaged_is_made_again(tmp_path):
    nodes = NodeCache(tmp_path)
    nodes.make(Word("a"))
    assert nodes.make(Word("b", still_holds=False)) == "b"
    (tmp_path / "words/00-word-0123456789ab/word").write_text("c")
    assert nodes.make(Word("d")) == "d"


def test_a_node_that_was_killed_finds_its_workplace(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        NodeCache(tmp_path).make(Word("killed"))
    again = Word("a")
    assert NodeCache(tmp_path).make(again) == "a"
    assert again.done == ["resumed"]
    assert [path.name for path in (tmp_path / "words").iterdir()] == ["00-word-0123456789ab"]


class Settled(Word):
    """A word that counts for good."""

    holds = Node.holds


def test_what_is_there_is_read_without_a_lock(tmp_path, monkeypatch):
    NodeCache(tmp_path).make(Settled("a"))
    monkeypatch.setattr("edgekd.artifact_cache.locked", lambda *_: pytest.fail("locked"))
    again = Settled("b")
    assert (NodeCache(tmp_path).make(again), again.done) == ("a", ["found"])


def test_runs_share_what_one_of_them_made(tmp_path):
    shared, first, second = tmp_path / "shared", Word("a"), Word("b")
    assert NodeCache(tmp_path / "one", shared).make(first) == "a"
    assert NodeCache(tmp_path / "two", shared).make(second) == "a"
    assert (first.done, second.done) == (["made"], ["found"])
    # Each of them is whole without the others.
    kept = tmp_path / "two/words/00-word-0123456789ab"
    (tmp_path / "shared/words/00-word-0123456789ab/word").unlink()
    assert sorted(path.name for path in kept.iterdir()) == ["SHA256SUMS", "word"]
    assert NodeCache(tmp_path / "two").make(Word("c")) == "a"


def test_what_was_killed_goes_on_in_another_run_that_shares_it(tmp_path):
    killed, second = Word("killed"), Word("a")
    with pytest.raises(KeyboardInterrupt):
        NodeCache(tmp_path / "one", tmp_path / "shared").make(killed)
    assert NodeCache(tmp_path / "two", tmp_path / "shared").make(second) == "a"
    assert second.done == ["resumed"]
