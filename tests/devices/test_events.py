"""A device that floods, drips, or sends what cannot be: local processes and made-up events in its place."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekd import pipes
from edgekd.agent import predictions as agent
from edgekd.bench.events import ResponseError
from edgekd.bench.interleaved import InterleavedRuns
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.records import ClockRecord, EnergyRecord, LatencyRecord
from edgekd.devices import latency, predictions, probe, remote
from edgekd.devices.connection import bounded
from edgekd.devices.registry import Device
from edgekd.devices.ssh_errors import CutError, DeviceTimeError
from edgekd.errors import DeviceError
from edgekd.pipes import FloodError, Lines, PipedProcess, SlowError
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel

ABOUT = {"load_ms": 1.0, "first_ms": 1.0, "batch": 1, "cpus": [0], "providers": ["CPUExecutionProvider"]}
BLOCK = {"ns": [1000, 1100], "lost_ns": 40, "waited_ns": 0, "switches": 1, "pool": 0}
LAUNCH = {
    "event": "launch",
    "opened": {"a": ABOUT},
    "rounds": {"a": [BLOCK] * 30},
    "shielded": None,
    "transfers": {"a": {}},
    "throttled": 0,
    "taken": [[1000, 20], [500, 10]],
    "governor": "performance",
    "gpu": [],
    "power": None,
    "clock_khz": {"a": [1_500_000] * 30},
}
FACTS = {
    "event": "device",
    "architecture": "aarch64",
    "system": "Debian",
    "cpu": "Cortex",
    "cores": 4,
    "free_disk_bytes": 10**9,
    "python": {"version": "3.11.2", "executable": "python3"},
    "jetson": {},
    "clock": 1.8e9,
}


@pytest.fixture
def pipe():
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb", buffering=0) as writer:
        yield reader, writer


def test_lines_come_whole_and_in_order(pipe):
    reader, writer = pipe
    lines = Lines(reader)
    writer.write(b"one\ntwo\n\nthr")
    assert [lines.next(time.monotonic() + 1) for _ in range(3)] == [b"one", b"two", b""]
    writer.write(b"ee\nrest")
    assert lines.next(time.monotonic() + 1) == b"three"
    writer.close()
    assert lines.next(time.monotonic() + 1) is None


@pytest.mark.parametrize("talk", ["", "print('x', end='', flush=True)", "print('x', flush=True)"])
def test_silence_and_drips_end_at_the_deadline(talk):
    program = f"import time\nwhile True:\n    time.sleep(0.01)\n    {talk}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines, started = Lines(process.stdout), time.monotonic()
        with pytest.raises(SlowError):
            while lines.next(started + 0.3) is not None:
                pass
        process.kill()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(("said", "longest", "most"), [(b"x", 1 << 20, 1 << 30), (b"x\n", 1 << 30, 1 << 20)])
def test_floods_end_at_their_bounds(said, longest, most):
    program = f"import os\nwhile True: os.write(1, {said * 4096!r})"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = Lines(process.stdout, longest, most)
        with pytest.raises(FloodError):
            while lines.next(time.monotonic() + 20) is not None:
                pass
        process.kill()


def python(program: str) -> PipedProcess:
    return PipedProcess([sys.executable, "-c", program], time.monotonic() + 20, os.environ)


def test_lines_go_in_and_come_out_of_a_process_that_says_why_it_ends():
    with python("import sys\nfor line in sys.stdin: print('got', line, end='', flush=True); sys.exit('oh no')") as one:
        one.send(b"one\n")
        assert list(one) == [b"got one"]
        assert one.result() == (1, "oh no\n")
        one.send(b"nobody reads this\n")


def test_what_was_asked_for_is_no_flood():
    program = "import sys\nfor line in sys.stdin: [print('x' * 600_000, flush=True) for _ in range(int(line))]"
    words = [sys.executable, "-c", program]
    with PipedProcess(words, time.monotonic() + 20, os.environ, most=1_000_000) as one:
        lines = iter(one)
        for _ in range(4):
            one.send(b"1\n")
            assert len(next(lines)) == 600_000
        one.send(b"5\n")
        for _ in range(4):
            assert len(next(lines)) == 600_000
            one.renew()
        one.send(b"2\n")
        with pytest.raises(FloodError, match="sent far more than was asked for"):
            list(lines)


def test_a_process_that_goes_on_is_killed_with_its_block(monkeypatch):
    monkeypatch.setattr(pipes, "STOPPING_S", 0.1)
    monkeypatch.setattr(pipes, "ENDING_S", 0.1)
    with python("import os, time\nos.write(1, b'here\\n'); os.close(1); time.sleep(60)") as deaf:
        assert list(deaf) == [b"here"]
        with pytest.raises(SlowError):
            deaf.result()
    assert deaf._process.returncode == -signal.SIGKILL


def test_what_a_child_writes_into_files_is_bounded(tmp_path):
    program = "import os\nwhile True: os.write(2, bytes(4096))"
    with (tmp_path / "said").open("wb") as said:
        done = subprocess.run([sys.executable, "-c", program], stderr=said, preexec_fn=bounded(100_000), timeout=20)
    assert done.returncode != 0
    assert (tmp_path / "said").stat().st_size <= 100_000


class ToldStream:
    def __init__(self, said: list[bytes]):
        self.said = said
        self.renewed = 0

    def __enter__(self):
        return self

    def renew(self) -> None:
        self.renewed += 1

    def __exit__(self, *_: object) -> None: ...

    def send(self, line: bytes) -> None: ...

    def __iter__(self):
        return iter(self.said)


class Told(remote.Remote):
    """A device that sends the given lines, in the place of a connection."""

    def __init__(self, *lines: object):
        super().__init__(Device("desk", "board"))
        self.said = [line if isinstance(line, bytes) else repr_json(line) for line in lines]

    def stream(self, words, timeout_s):
        self.told = ToldStream(self.said)
        return self.told

    def push(self, local, name, timeout_s=600):
        pass

    def pull(self, name, local, timeout_s=600, largest=0):
        with Path(local).open("wb") as file:
            np.save(file, np.zeros((3, 2), np.float32))


def repr_json(value: object) -> bytes:
    return json.dumps(value).encode()


DONE = {"event": "done"}
RAIL = {"in1_label": "VDD_IN\n", "in1_input": "5000\n", "curr1_input": "1200\n"}
POWER = {
    "sensor": "rails",
    "taken": [[100, 2], [50, 1]],
    "windows": {
        "a": {"began": 1.0, "ended": 1.5, "inferences": 20, "readings": [[0.9 + n / 10, [RAIL]] for n in range(8)]}
    },
}
PLAN = Plan({"a": Workload("a.onnx")}, "a", launches=1, max_seconds=3.0)


def changed(event: dict, path: str, value: object) -> dict:
    head, _, rest = path.partition(".")
    return {**event, head: changed(event[head], rest, value) if rest else value}


def test_what_can_be_is_taken():
    desk = probe.parse_probe(Device("desk", "board"), FACTS)
    hidden = {**BLOCK, "waited_ns": None, "pool": 1}
    for block, is_warned in ((BLOCK, False), (hidden, True)):
        told = Told(changed(LAUNCH, "rounds.a", [block] * 30), DONE)
        warnings = latency.measure_on_device(told, PLAN, probe=desk)["a"].warnings
        assert ("neighbours_not_seen" in [warning.code for warning in warnings]) == is_warned
    assert probe.probe_remote(Told(FACTS)).facts.cores == 4


def test_energy_and_clocks_of_a_launch():
    """6 W for half a second are 3 J of 20 inferences; the middle of three clock rates is 1.5 GHz."""
    launch = {**LAUNCH, "power": POWER, "clock_khz": {"a": [1_500_000, 600_000, 1_800_000]}}
    desk = probe.parse_probe(Device("desk", "board"), FACTS)
    found = latency.measure_on_device(Told(launch, DONE), PLAN, probe=desk)["a"]
    assert found.energy == EnergyRecord(pytest.approx(3 / 20), pytest.approx(6.0), ("VDD_IN",), 20)
    assert found.clock_mhz == ClockRecord(1500.0, 600.0, 1800.0)
    assert LatencyRecord.from_json(json.loads(json.dumps(found.to_json()))).clock_mhz == found.clock_mhz
    shared = changed(launch, "power.taken", [[100, 30], [50, 5]])
    found = latency.measure_on_device(Told(shared, DONE), PLAN, probe=desk)["a"]
    assert found.energy is None and found.valid
    [warning] = [each for each in found.warnings if each.code == "power_of_others"]
    assert warning.message == "others kept 30% of the CPUs busy while power was read: stop them to measure energy"


def test_launches_pass_through_the_progress_bar_as_they_come():
    passed = []

    def progress(launches):
        for launch in launches:
            passed.append(launch)
            yield launch

    desk = probe.parse_probe(Device("desk", "board"), FACTS)
    assert latency.measure_on_device(Told(LAUNCH, LAUNCH, DONE), replace(PLAN, launches=2), None, desk, progress)
    assert [list(launch.rounds) for launch in passed] == [["a"], ["a"]]


class Ended(ToldStream):
    """A stream that ends by an error, behind what was sent before."""

    def __init__(self, said: list[bytes], error: DeviceError):
        super().__init__(said)
        self.error = error

    def __iter__(self):
        yield from self.said
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CutError("the connection was cut"), "cut_short", "1 of 6 launches were measured before this: the connection"),
        (DeviceTimeError("too slow"), "time_limit", "the time limit left 1 of 6 launches, and a ratio has no interval"),
    ],
)
def test_an_early_end_has_one_reason(monkeypatch, error, code, message):
    told = Told()
    monkeypatch.setattr(told, "stream", lambda *_: Ended([repr_json(LAUNCH)], error))
    desk = probe.parse_probe(Device("desk", "board"), FACTS)
    found = latency.measure_on_device(told, replace(PLAN, launches=6), probe=desk)["a"]
    [warning] = [each for each in found.warnings if each.code in ("cut_short", "time_limit")]
    assert warning.code == code and warning.message.startswith(message)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rounds.a", [{**BLOCK, "ns": [1000, -5]}]),
        ("rounds.a", [{**BLOCK, "ns": [0]}]),
        ("rounds.a", [{**BLOCK, "ns": [10**15]}]),
        ("rounds.a", [{**BLOCK, "ns": ["1000"]}]),
        ("rounds.a", [{**BLOCK, "ns": [True]}]),
        ("rounds.a", [{**BLOCK, "ns": []}]),
        ("rounds.a", [{**BLOCK, "lost_ns": -1}]),
        ("rounds.a", [{**BLOCK, "waited_ns": 0.5}]),
        ("rounds.a", [{**BLOCK, "switches": None}]),
        ("rounds.a", [{"ns": [1000]}]),
        ("rounds.a", []),
        ("rounds.a", 7),
        ("rounds", {"b": [BLOCK]}),
        ("shielded", {"a": [{**BLOCK, "ns": [-1]}]}),
        ("shielded", {"a": 3}),
        ("transfers", {}),
        ("transfers.a", {"in": [0]}),
        ("throttled", -1),
        ("gpu", [-1]),
        ("clock_khz", {}),
        ("clock_khz.a", [0]),
        ("clock_khz.a", ["1500000"]),
        ("power", {}),
        ("power", {**POWER, "sensor": "guess"}),
        ("power", {**POWER, "taken": [[1, 2]]}),
        ("power", {**POWER, "windows": {}}),
        ("power", changed(POWER, "windows.a.inferences", 0)),
        ("power", changed(POWER, "windows.a.ended", 1.0)),
        ("power", changed(POWER, "windows.a.readings", [[1.5, [{}]]] * 3)),
        ("power", changed(POWER, "windows.a.readings", [[1.5, [{}]], ["noon", [{}]]])),
        ("power", changed(POWER, "windows.a.readings", [[time, [7]] for time in (1.1, 1.2, 1.3)])),
        ("rounds", None),
        ("opened", {}),
        ("opened.a.load_ms", -1),
        ("opened.a.load_ms", None),
        ("opened.a.first_ms", 1e300),
        ("opened.a.batch", 0),
        ("opened.a.batch", 1.5),
        ("opened.a.cpus", [-1]),
        ("opened.a.providers", [1]),
        ("taken", [[1, 2]]),
        ("taken", [[1, "x"], [1, 2]]),
        ("taken", 3),
        ("governor", {}),
    ],
)
def test_launches_that_cannot_be_are_refused(path, value):
    found = probe.parse_probe(Device("desk", "board"), FACTS)
    with pytest.raises(ResponseError, match="desk sent an invalid response"):
        latency.measure_on_device(
            Told(LAUNCH, changed(LAUNCH, path, value), DONE), Plan(PLAN.workloads, launches=2), probe=found
        )


def test_more_launches_than_were_requested_are_refused():
    with pytest.raises(ResponseError, match="not requested"):
        latency.measure_on_device(Told(*[LAUNCH] * 3), PLAN, probe=probe.parse_probe(Device("desk", "board"), FACTS))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cores", 0), ("cores", -4), ("cores", "four"), ("cores", 10**9), ("free_disk_bytes", -1), ("cpu", None),
        ("clock", "noon"), ("python", []), ("python.version", 3), ("jetson", []), ("jetson.rails", [{"in1_label": 5}]),
        ("jetson.trtexec", ["sh"]), ("memory_bytes", 1.5), ("board", {"a": 1}),
    ],
)  # fmt: skip
def test_facts_that_cannot_be_are_refused(path, value):
    with pytest.raises(ResponseError):
        probe.probe_remote(Told(changed({**FACTS, "jetson": {}}, path, value)))


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"event": "done", "event": "done"}',
        b'{"event": NaN}',
        b'{"event": 1' + b"0" * 5000 + b"}",
        b'{"event": 5}',
        b"[1]",
        b"7",
        b"\xff\xfe",
        b"Welcome to the board!",
        b'{"event": "failed"}',
        b'{"event": "failed", "why": {"a": [1]}}',
    ],
)
def test_lines_that_are_no_events_end_in_one_sentence(line):
    with pytest.raises(DeviceError) as error:
        list(Told(line).events({"job": "probe"}, 5))
    assert len(str(error.value)) < 400


CLASSES, TWO_LABELS = Classification(("a", "b", "c")), Multilabel(("a", "b"))


def rows_event(first: int, rows: np.ndarray, model: str = "a") -> dict:
    data = base64.b64encode(rows.tobytes()).decode()
    about = {"event": "rows", "model": model, "first": first, "count": len(rows), "output": "logits"}
    return {**about, "shape": list(rows.shape), "data": data}


def predicted(task, *events: object) -> predictions.DevicePredictions:
    return predictions.predict_on_device(
        Told(*events), "onnxruntime", {"a": Path("a.onnx")}, np.zeros((3, 2), np.float32), task
    )["a"]


def test_predictions_so_far_count_when_the_device_fails():
    failed = {"event": "failed", "why": "no memory"}
    rows = np.array([[1, np.nan]], np.float32)
    found = predicted(TWO_LABELS, rows_event(1, rows), failed)
    assert (found.reached.tolist(), found.cut) == ([False, True, False], "desk: no memory")
    np.testing.assert_array_equal(found.rows, [[np.nan, np.nan], [1, np.nan], [np.nan, np.nan]])
    with pytest.raises(DeviceError, match="no memory"):
        predicted(TWO_LABELS, failed)


@pytest.mark.parametrize("event", [
    pytest.param({"model": "b"}, id="another model"), pytest.param({"model": {}}, id="no name"),
    pytest.param({"first": -1}, id="before the first"), pytest.param({"first": 3}, id="after the last"),
    pytest.param({"first": "0"}, id="no number"), pytest.param({"first": 1}, id="twice"),
    pytest.param({"count": 2}, id="another number"), pytest.param({"count": 0}, id="of no sample"),
    pytest.param({"count": None}, id="of how many"), pytest.param({"output": "other"}, id="another output"),
    pytest.param({"shape": [2]}, id="more than was sent"), pytest.param({"shape": [-1]}, id="less than none"),
    pytest.param({"shape": [1, 1]}, id="another shape"), pytest.param({"shape": []}, id="no shape"),
    pytest.param({"shape": [2**30] * 9}, id="a huge shape"), pytest.param({"shape": "1"}, id="shape is text"),
    pytest.param({"data": "AQAAA"}, id="cut short"), pytest.param({"data": "?" * 8}, id="no base64"),
    pytest.param({"data": [1]}, id="data is a list"), pytest.param({"data": "AwAAAA=="}, id="class 3 of 0 to 2"),
    pytest.param({"data": "/v///w=="}, id="class -2"),
])  # fmt: skip
def test_predictions_that_cannot_be_are_refused(event):
    good = rows_event(1, np.array([1], "<i4"))
    with pytest.raises(ResponseError):
        predicted(CLASSES, good, {**good, "first": 0, **event}, DONE)
    assert predicted(CLASSES, good, {**good, "first": 0}, DONE).rows.tolist() == [1, 1, -1]


def test_predictions_that_were_taken_are_no_flood():
    rows = [rows_event(place, np.array([1], "<i4")) for place in range(3)]
    told = Told(*rows, {"event": "doing", "model": "a", "activity": "nothing"}, DONE)
    found = predictions.predict_on_device(
        told, "onnxruntime", {"a": Path("a.onnx")}, np.zeros((3, 2), np.float32), CLASSES
    )
    assert found["a"].reached.all() and told.told.renewed == 3


@pytest.mark.parametrize("rows", [np.zeros((1, 3), "<f4"), np.zeros((1, 2), "<f8"), np.zeros(1, "<i4")])
def test_rows_of_another_form_are_refused(rows):
    with pytest.raises(ResponseError):
        predicted(TWO_LABELS, rows_event(0, rows), DONE)


@pytest.mark.parametrize("shape", [[4, 2], [3, 3], [3, -2], [3, 2**60], "3", None, []])
def test_outputs_of_another_shape_are_refused(shape):
    event = {"event": "outputs", "shape": shape}
    with pytest.raises(ResponseError):
        predictions.outputs_on_device(Told(event, DONE), "onnxruntime", Path("a.onnx"), np.zeros((3, 2), np.float32))
    found = predictions.outputs_on_device(
        Told({**event, "shape": [3, 2]}, DONE), "onnxruntime", Path("a"), np.zeros((3, 2), np.float32)
    )
    assert found.shape == (3, 2)


NEGATIVE = {**BLOCK, "ns": [-2]}


@pytest.mark.parametrize("times", [[[BLOCK] * 2, [BLOCK]], [[BLOCK]], [[BLOCK, NEGATIVE]], [], [[]], 5, None])
def test_turns_that_cannot_be_are_refused(times):
    asked = InterleavedRuns({"a": Path("a.onnx")}, ("a", "a"), (), threads=1, warmup=0, least=1, most=2)
    with pytest.raises(ResponseError):
        latency.interleave_on_device(Told({"event": "turns", "turns": times, "events": {}}, DONE), asked)


class Joined(Multilabel):
    """Keeps all values of all outputs, by name."""

    def to_rows(self, outputs):
        return np.concatenate([outputs[name].reshape(len(outputs[name]), -1) for name in sorted(outputs)], 1)


def test_outputs_of_several_sizes_come_in_parts_and_meet_again(monkeypatch):
    """Each model has outputs of its own names."""
    random, sizes = np.random.default_rng(0), {"a": {"large": (50,), "small": (2,)}, "b": {"other": (3,), "two": (4,)}}
    given = {
        model: {name: random.random((40, *shape), np.float32) for name, shape in shapes.items()}
        for model, shapes in sizes.items()
    }
    monkeypatch.setattr(agent, "LARGEST", 1500)
    monkeypatch.setattr(agent, "samples", lambda file: {})
    monkeypatch.setattr(agent, "opened", lambda model, threads: model)
    monkeypatch.setattr(agent, "batch_outputs", lambda model, _: iter([(0, given[model])]))
    said: list[dict] = []
    request = {"samples": "", "models": {"a": "a", "b": "b"}, "threads": 1}
    request["reductions"] = {model: {"kind": "all"} for model in sizes}
    conversation = SimpleNamespace(send=said.append)
    wanted = {model: list(shapes) for model, shapes in sizes.items()}
    agent.predict({**request, "outputs": wanted}, conversation)  # type: ignore[arg-type]
    found = {model: predictions.PredictionsSoFar(Joined(("x",)), 40, shapes) for model, shapes in sizes.items()}
    for event in said:
        predictions.keep(event, found)
    for model, each in found.items():
        assert each.ended(None).cut is None
        np.testing.assert_array_equal(
            each.rows, np.concatenate([given[model][name] for name in sorted(sizes[model])], 1)
        )
    assert len(said) > 12 and max(len(event["data"]) for event in said) < 2000
    with pytest.raises(DeviceError, match="the model gives large, small, and no output 'logits'"):
        agent.predict({**request, "outputs": {"a": ["logits", "small"]}}, conversation)  # type: ignore[arg-type]

    half = predictions.PredictionsSoFar(Joined(("x",)), 40, sizes["a"])
    predictions.keep(said[0], {"a": half})
    assert half.ended(None).cut == "it ended regularly, and outputs (small) are missing"
    with pytest.raises(ValueError, match="'large' of a sample was sent twice"):
        predictions.keep(said[0], {"a": half})
