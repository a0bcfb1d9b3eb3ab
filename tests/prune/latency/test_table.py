import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.errors import MeasurementError
from edgekd.prune.latency import LatencyTable, Layer, layers_of, network_ms, predict

from .conftest import SHAPE

CONV = Layer("conv", 64, 64, ((14, 14),), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))


def within(share: float, first: float, second: float) -> bool:
    return abs(first / second - 1) <= share


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another cache: a fresh table leaves nothing of the others' in theirs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_layers_together_take_about_as_long_as_the_network(small, small_file, elsewhere):
    layers = layers_of(small, SHAPE)
    for _ in range(3):  # others on the machine may be in the way
        table = LatencyTable("float32", fresh=True)
        table.measure(layers.values())
        total, whole_ms = sum(table[layer] for layer in layers.values()), network_ms(small_file, table, 0.5)
        if within(0.4, total, whole_ms):
            break
    assert within(0.4, total, whole_ms)
    assert predict(whole_ms, layers, layers, table) == pytest.approx(whole_ms)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_more_work_takes_longer(precision, elsewhere):
    small = replace(CONV, outputs=32, inputs=32)
    kinds = [small, small.resized(64, 32), small.resized(32, 64), CONV.resized(128, 128)]
    kinds += [replace(each, sizes=((28, 28),)) for each in kinds]
    for _ in range(3):
        table = LatencyTable(precision, fresh=True)
        assert table.measure(kinds) == 8
        of = [table[each] for each in kinds]
        if all(of[at] < min(of[at + 1], of[at + 2]) and of[at + 3] > 3 * of[at] for at in (0, 4)):
            break
    for at in (0, 4):
        assert of[at] < min(of[at + 1], of[at + 2])
        assert of[at + 3] > 3 * of[at]  # of sixteen times the work


def test_what_was_measured_is_kept(small, table, home):
    layers = layers_of(small, SHAPE).values()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in home.glob("latency-*.json")}
    again = LatencyTable("float32")
    assert again.measure(layers) == 0
    assert [again[layer] for layer in layers] == [table[layer] for layer in layers]
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in home.glob("latency-*.json")}


def test_only_what_is_missing_is_measured(small, table, home):
    seen: list[tuple[int, int]] = []
    layers = list(layers_of(small, SHAPE).values())
    twice = replace(CONV, sizes=((5, 5), (6, 6)), padding=(0, 0, 0, 0))
    known = {layer: table[layer] / table[layers[2]] for layer in layers}
    assert twice not in table
    assert table.measure([*layers, twice], lambda done, total: seen.append((done, total))) == 2
    assert seen == [(2, 2)]
    assert table[twice] == pytest.approx(sum(table[each] for each in twice.each_call()))
    # A faster moment since moves them all, and none against another.
    assert {layer: table[layer] / table[layers[2]] for layer in layers} == pytest.approx(known)


def test_another_precision_is_another_file(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    LatencyTable().measure([CONV.resized(8, 8)])
    before = set(tmp_path.rglob("latency-*.json"))
    other = LatencyTable("int8")
    assert CONV.resized(8, 8) not in other
    other.measure([CONV.resized(8, 8)])
    [path] = set(tmp_path.rglob("latency-*.json")) - before
    document = json.loads(path.read_text())
    assert document["precision"] == "int8"
    assert document["machine"]["threads"] == 1
    assert list(document["multiples"]) == [str(CONV.resized(8, 8))]


@pytest.mark.parametrize("content", ["", "{", '{"multiples": {"x": -1}}', "[]", '{"multiples": null}'])
def test_a_damaged_file_is_measured_again(content, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layer = CONV.resized(8, 8)
    path = LatencyTable()._store.path
    path.parent.mkdir(parents=True)
    path.write_text(content)
    table = LatencyTable()
    assert layer not in table
    if content == "{":  # once is enough: the others are read by the same lines
        assert table.measure([layer]) == 1
        assert LatencyTable()[layer] == table[layer]


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    table = LatencyTable()
    assert table.measure([CONV.resized(8, 8)]) == 1
    assert table[CONV.resized(8, 8)] > 0


def test_what_cannot_be_asked(small_file, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MeasurementError, match="no layer times at precision 'float16'; known: float32, int8"):
        LatencyTable("float16")
    with pytest.raises(MeasurementError, match="0 threads cannot run anything"):
        LatencyTable(threads=0)
    with pytest.raises(MeasurementError, match="no time is known of the layer conv 64>64 .*: call measure"):
        LatencyTable()[CONV]
    with pytest.raises(MeasurementError, match="the table is empty"):
        network_ms(small_file, LatencyTable())
