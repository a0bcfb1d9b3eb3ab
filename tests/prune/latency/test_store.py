import json
from pathlib import Path

import pytest

from edgekd.bench.profile.cache import machine_facts
from edgekd.prune.latency.store import ReadingStore


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def filled(multiples: dict[str, float], reference_ms: float, **rest: bool) -> ReadingStore:
    store = ReadingStore("float32", machine_facts(1), **rest)
    store.overhead = 0.0
    store.add(multiples, reference_ms)
    store.save()
    return store


def test_two_that_write_keep_what_the_other_wrote():
    first, second = ReadingStore("float32", machine_facts(1)), ReadingStore("float32", machine_facts(1))
    for store, name, ms in ((first, "a", 0.2), (second, "b", 0.1)):
        store.overhead = 0.0
        store.add({name: 2.0}, ms)
        store.save()
    assert ReadingStore("float32", machine_facts(1)).multiples == {"a": 2.0, "b": 2.0}
    assert ReadingStore("float32", machine_facts(1)).reference_ms == 0.1


def test_what_is_measured_anew_takes_the_place_of_all():
    filled({"a": 2.0, "b": 3.0}, 0.1)
    fresh = filled({"a": 4.0}, 0.3, fresh=True)
    assert fresh.multiples == {"a": 4.0}
    again = ReadingStore("float32", machine_facts(1))
    assert (again.multiples, again.reference_ms) == ({"a": 4.0}, 0.3)


def test_the_file_names_the_machine():
    store = filled({"a": 2.0}, 0.1)
    document = json.loads(store.path.read_text())
    assert document["machine"]["onnxruntime"]
    assert document["machine"]["threads"] == 1


@pytest.mark.parametrize("key", ["precision", "threads"])
def test_each_setting_has_its_own(key):
    other = ReadingStore("int8", machine_facts(1)) if key == "precision" else ReadingStore("float32", machine_facts(2))
    assert other.path != ReadingStore("float32", machine_facts(1)).path


@pytest.mark.parametrize("bad", [-1.0, "fast", None, float("inf"), [1.0]])
def test_a_time_that_is_none(bad):
    store = filled({"a": 2.0}, 0.1)
    document = json.loads(store.path.read_text())
    for damaged in ({**document, "multiples": {"a": bad}}, {**document, "reference_ms": bad}):
        store.path.write_text(json.dumps(damaged))
        assert ReadingStore("float32", machine_facts(1)).multiples == {}
