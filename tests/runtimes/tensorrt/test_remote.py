"""The whole way to a Jetson and back, through a real sshd to a test double of one."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest

from edgekd.bench.events import ResponseError, reading_response
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.runner import BETWEEN_SITTINGS
from edgekd.devices.probe import Probe, describe, parse_probe, probe_remote
from edgekd.devices.registry import Device, add_device
from edgekd.devices.remote import Remote
from edgekd.devices.targets import RemoteTarget
from edgekd.errors import DeviceError, MeasurementError
from edgekd.runtimes.tensorrt.remote.engines import EngineBuilder, builder_of, engine_of, timing_job
from edgekd.runtimes.tensorrt.remote.latency import EngineRuns, Run, energy_of, in_whole_seconds, launch_of_runs, record
from edgekd.runtimes.tensorrt.trtexec.output import Query
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel
from tests.bench.conftest import write_model
from tests.cli.conftest import edgekd as edgekd
from tests.devices.fake_jetson import MW, FakeJetson
from tests.devices.fake_trtexec import MS_PER_KB, NOISE, query
from tests.devices.server import Server
from tests.needs import needs
from tests.toy import brief_warm_up

pytestmark = needs("sshd", "ssh")


@pytest.fixture(autouse=True)
def no_long_warm_up(monkeypatch) -> None:
    brief_warm_up(monkeypatch)


@pytest.fixture(scope="module")
def board(tmp_path_factory) -> Iterator[tuple[FakeJetson, Server]]:
    """One for all tests: to start it takes longer than some of them."""
    folder = tmp_path_factory.mktemp("board")
    jetson = FakeJetson(folder / "jetson")
    server = Server(folder, path=jetson.path).start()
    yield jetson, server
    server.stop()


@pytest.fixture(scope="module", autouse=True)
def asked_once() -> Iterator[None]:
    """Each device is asked what it is by the first test that wants to know, and does not change."""
    known: dict[Device, Probe] = {}

    def found(remote: Remote) -> Probe:
        if remote.device not in known:
            known[remote.device] = probe_remote(remote)
        return known[remote.device]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgekd.devices.targets.probe_remote", found)
        yield


@pytest.fixture
def jetson(board) -> FakeJetson:
    board[0].renew()
    return board[0]


@pytest.fixture
def server(board) -> Iterator[Server]:
    yield board[1]
    assert board[1].left_behind() == []


@pytest.fixture
def orin(server, jetson) -> Device:
    return Device("orin", "board", str(jetson.python), ssh_config=str(server.config))


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    return {
        "small": write_model(tmp_path / "small 'one'; x.onnx", width=16),
        "large": write_model(tmp_path / "large.onnx", width=64),
    }


NAMES = tuple(map(str, range(64)))
TENSORRT = EngineBuilder("trtexec", (10, 3, 0), "tegra234")


def of_classes(count: int) -> Classification:
    return Classification(NAMES[:count])


def plan(files: dict[str, Path], **more: object) -> Plan:
    workloads = {name: Workload(str(path), "tensorrt") for name, path in files.items()}
    return Plan(workloads, "large", **{"seconds": 1, "max_seconds": 1, "launches": 2, **more})  # type: ignore[arg-type]


def test_a_jetson_tells_what_it_is(orin):
    with RemoteTarget(orin) as there:
        found = there.probe
    assert {"onnxruntime", "tensorrt"} <= set(found.can_run)
    assert found.release is not None and (found.release.l4t, found.to_json()["tensorrt"]) == ("36.4.4", "10.3.0")
    first, second = describe(found)[:2]
    assert first == "orin: NVIDIA Jetson Orin Nano Developer Kit"
    assert "GPU of compute capability 8.7, power mode MAXN" in second


def test_engines_are_timed_in_turns(orin, files, jetson):
    with RemoteTarget(orin) as there:
        records = there.latency(plan(files))
    small, large = records["small"], records["large"]
    sizes = [path.stat().st_size for path in files.values()]
    assert large.latency_ms.p50 == pytest.approx(MS_PER_KB * sizes[1] / 1000)
    assert small.latency_vs_reference is not None
    assert small.latency_vs_reference.ratio == pytest.approx(sizes[0] / sizes[1], rel=1e-3)
    assert small.providers == ["TensorRT 10.3.0"] and small.load_ms is None
    assert sum(len(launch) for launch in small.raw_ns) == 30
    assert large.valid, large.warnings
    assert [warning.code for warning in large.warnings] == ["neighbours_not_seen"]
    assert len(jetson.engines()) == 2
    commands = jetson.trtexec_log.read_text().splitlines()
    assert sum("--loadEngine" in words for words in commands) == 4
    assert all("--noDataTransfers" in words for words in commands if "--loadEngine" in words)


def test_the_energy_of_an_inference(orin, files):
    with RemoteTarget(orin) as there:
        [record] = there.latency(plan({"large": files["large"]}, launches=1)).values()
    assert record.energy is not None
    assert record.energy.watts == pytest.approx(MW / 1000)
    assert record.energy.rails == ("VDD_IN",)
    assert record.energy.joules == pytest.approx(MW / 1000 * record.latency_ms.p50 / 1000)


def test_an_engine_is_built_once(orin, files, jetson):
    for _ in range(2):
        with RemoteTarget(orin) as there:
            there.latency(plan({"large": files["large"]}, launches=1))
    commands = jetson.trtexec_log.read_text().splitlines()
    assert sum("--onnx" in words for words in commands) == 1


def test_engines_of_other_shapes_stay_what_they_are(orin, files):
    """Answers take the same file at another batch, under the same name in the same folder."""
    inputs = np.zeros((5, 64), np.float32)
    for _ in range(2):
        with RemoteTarget(orin) as there:
            there.latency(plan({"large": files["large"]}, launches=1))
            assert there.predict("tensorrt", {"large": files["large"]}, inputs, of_classes(64))["large"].n == 5


def test_what_an_engine_depends_on(orin, files, jetson):
    with RemoteTarget(orin) as there:
        builder = builder_of(there.probe)
    keys = {
        engine_of(each, path, number, batch, dla).request.key
        for each, path, number, batch, dla in (
            (builder, files["large"], 0, 1, None),
            (builder, files["large"], 1, 1, None),  # another name there is nothing
            (builder, files["small"], 0, 1, None),
            (builder, files["large"], 0, 2, None),
            (builder, files["large"], 0, 1, 0),
            (replace(builder, version=(10, 3, 1)), files["large"], 0, 1, None),
            (replace(builder, gpu="tegra194"), files["large"], 0, 1, None),
        )
    }
    assert len(keys) == 6


def test_answers_are_those_of_the_file(orin, files):
    random = np.random.default_rng(0)
    model = onnx.load(files["small"])
    weight = random.normal(size=(16, 16)).astype(np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, files["small"])
    inputs = random.normal(size=(70, 16)).astype(np.float32)
    inputs[69] = np.nan
    with RemoteTarget(orin) as there:
        found = there.predict("tensorrt", {"small": files["small"]}, inputs, of_classes(16))["small"]
        labels = there.predict("tensorrt", {"small": files["small"]}, inputs, Multilabel(NAMES[:16]))["small"]
        with pytest.raises(ResponseError, match=r"outputs of the shape \(256, 16\), expected \(256, 4\)"):
            there.predict("tensorrt", {"small": files["small"]}, inputs, of_classes(4))
    assert found.n == 70 and found.cut is None
    assert np.array_equal(found.rows, [*(inputs[:69] @ weight).argmax(1), -1]), "of NaN nothing is predicted"
    np.testing.assert_allclose(labels.rows, inputs @ weight, rtol=1e-4, atol=1e-4)


def test_the_last_batch_is_filled_up(orin, tmp_path):
    fixed = {"fixed": write_model(tmp_path / "fixed.onnx", width=16, shape=[32, 16])}
    inputs = np.random.default_rng(0).normal(size=(33, 16)).astype(np.float32)
    with RemoteTarget(orin) as there:
        assert there.predict("tensorrt", fixed, inputs, of_classes(16))["fixed"].n == 33


def test_an_open_input_is_refused(orin, tmp_path):
    odd = write_model(tmp_path / "odd.onnx", width=16, shape=["batch", "width"])
    with (
        RemoteTarget(orin) as there,
        pytest.raises(MeasurementError, match="is open beyond its batch: fix it in the file"),
    ):
        there.latency(plan({"large": odd}))


def test_a_file_that_trtexec_refuses(orin, tmp_path):
    path = write_model(tmp_path / "unsupported.onnx", width=16)
    model = onnx.load(path)
    model.doc_string = "unsupported"
    onnx.save(model, path)
    with (
        RemoteTarget(orin) as there,
        pytest.raises(DeviceError, match=r"orin: trtexec ended with code 1: \[E\] ModelImporter"),
    ):
        there.latency(plan({"large": path}))


def test_clocks_are_locked_and_put_back(orin, files, jetson):
    with RemoteTarget(orin, lock_clocks=True) as there:
        there.latency(plan({"large": files["large"]}, launches=1))
    store, lock, restore = jetson.clocks.read_text().splitlines()
    assert store.startswith("--store ") and lock == "" and restore == store.replace("--store", "--restore")
    assert list(jetson.cache.glob("edgekd/clocks-*")) == []


def test_clocks_are_put_back_when_the_agent_is_killed(server, orin, files, jetson):
    with RemoteTarget(orin, lock_clocks=True) as there, pytest.raises(DeviceError):
        for event in there.remote.events(request_of(there, files), 60):
            if event["event"] != "run":
                continue
            assert jetson.clocks.read_text().count("\n") == 2  # stored and locked
            killed = [each for each in psutil.process_iter(["cmdline"]) if is_agent(each, there.remote.folder)]
            for process in killed:
                os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while "--restore" not in jetson.clocks.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert jetson.clocks.read_text().splitlines()[-1].startswith("--restore ")
    assert not [each for each in server.at_work() if "fake_trtexec" in " ".join(words_of(each))]


def is_agent(process: psutil.Process, folder: str) -> bool:
    try:
        return process.cwd() == folder and "agent.pyz" in " ".join(words_of(process))
    except psutil.Error:
        return False


def words_of(process: psutil.Process) -> list[str]:
    return process.info["cmdline"] or []


def request_of(there: RemoteTarget, files: dict[str, Path]) -> dict:
    builder = builder_of(there.probe)
    engine = engine_of(builder, files["large"], 0, 1)
    there.remote.push(files["large"], "0.onnx")
    run = {
        "model": "large",
        "words": [builder.trtexec, "--loadEngine=0.engine", "--warmUp=500", "--exportTimes=times.json"],
        "files": {"times": "times.json"},
        "interval_s": 0.05,
    }
    return {**timing_job([engine], [], lock_clocks=True), "runs": [run] * 50}


def test_sudo_that_asks_is_not_used(tmp_path, files):
    jetson = FakeJetson(tmp_path / "strict", sudo=False)
    server = Server(tmp_path, path=jetson.path).start()
    try:
        device = Device("orin", "board", str(jetson.python), ssh_config=str(server.config))
        with RemoteTarget(device, True) as there, pytest.raises(DeviceError, match="sudo asks for a password on orin"):
            there.latency(plan(files))
    finally:
        server.stop()
    assert not jetson.clocks.exists()


def test_over_current_and_heat_are_told(orin, files, jetson):
    jetson.put("sys/devices/virtual/thermal/thermal_zone0/trip_point_0_temp", "40000\n")
    with RemoteTarget(orin) as there:
        [record] = there.latency(plan({"large": files["large"]}, launches=1)).values()
    assert not record.valid
    assert "tj reached" in " ".join(warning.message for warning in record.warnings)


def test_no_trtexec(clean, files):
    device = Device("desk", "board", ssh_config=str(clean.config))
    python = {"version": "3.11.2", "executable": "/usr/bin/python3"}
    facts = {"architecture": "aarch64", "system": "Debian", "cpu": "A76", "cores": 4, "free_disk_bytes": 1}
    with pytest.raises(DeviceError, match="desk has no trtexec that works: 'sudo apt install libnvinfer-bin' there"):
        builder_of(parse_probe(device, {**facts, "python": python}))


def test_power_is_that_of_the_queries_that_count():
    queries = [Query(2.0, 2.0, 0.0, 0.0, 0.1, start) for start in (800.0, 900.0, 998.0)]
    run = Run(queries, 10.0, [], [], ({}, {}))
    assert run.window == pytest.approx((10.8, 11.0))
    power = [(10.0 + tenth / 10, {"VDD_IN": 1000.0 if 8 <= tenth <= 10 else 9000.0}) for tenth in range(15)]
    energy = energy_of([replace(run, power=power)])
    assert energy is not None and energy.watts == pytest.approx(1.0)
    assert energy.joules == pytest.approx(0.2 / 3)
    assert energy_of([replace(run, power=power[:10]), replace(run, began=None, power=power)]) is None


@pytest.mark.parametrize(("launches", "valid"), [(1, False), (7, False), (8, True)])
def test_launches_that_were_cut_leave_too_few_rounds_however_many_queries(launches, valid):
    """As of other runtimes: a launch of eight is four rounds, and 30 are needed."""
    asked = Plan({"large": Workload("large.onnx", "tensorrt")}, launches=8)
    queries = [Query(2.0, 2.0, 0.0, 0.0, 0.1, float(start)) for start in range(50)]
    runs = EngineRuns(TENSORRT)
    runs.launches = [{"large": Run(queries, None, [], [], ({}, {}))}] * launches
    found = record(asked, "large", runs, [launch_of_runs(each, asked) for each in runs.launches], 1, ())
    assert (found.latency_ms.n, found.valid) == (50 * launches, valid)
    assert ["too_few_samples"] * (not valid) == [warning.code for warning in found.warnings]


@pytest.mark.parametrize(("noise", "launches"), [("quiet", 6), ("noisy", 8)])
def test_launches_follow_until_the_results_are_clear(orin, tmp_path, jetson, noise, launches):
    """A ratio has an interval from six launches on; the limit of eight seconds has room for eight of one second."""
    pair = {}
    for name in ("quiet", noise):
        pair[f"{name} {len(pair)}"] = path = write_model(tmp_path / f"{name} {len(pair)}.onnx", width=16)
        model = onnx.load(path)
        model.doc_string = name
        onnx.save(model, path)
    workloads = {name: Workload(str(path), "tensorrt") for name, path in pair.items()}
    with RemoteTarget(orin) as there:
        found = there.latency(Plan(workloads, "quiet 0", seconds=6, max_seconds=8, launches=6))[f"{noise} 1"]
    assert len(found.raw_ns) == launches
    assert sum("--loadEngine" in words for words in jetson.trtexec_log.read_text().splitlines()) == 2 * launches
    assert found.latency_vs_reference is not None and found.latency_vs_reference.ci95 is not None
    low, high = found.latency_vs_reference.ci95
    # Two standard deviations of what sittings differ by are in it.
    assert (low, high) == pytest.approx((1, 1 + NOISE * (noise == "noisy")), abs=2 * BETWEEN_SITTINGS)
    assert [warning.code for warning in found.warnings] == ["neighbours_not_seen", *["cov_high"] * (noise == "noisy")]


@pytest.mark.parametrize(
    ("asked", "seconds", "max_seconds"), [({}, 8, 12), ({"seconds": 20}, 16, 80), ({"max_seconds": 5}, 8, 5)]
)
def test_launches_take_whole_seconds_within_the_same_limit(asked, seconds, max_seconds):
    found = in_whole_seconds(Plan({"large": Workload("large.onnx", "tensorrt")}, launches=8, **asked))
    assert (found.seconds, found.max_seconds) == (seconds, max_seconds)


def test_launches_before_a_cut_count(server, orin, files):
    """The connection is lost while a further launch runs."""

    def cut_after_each(launches):
        for launch in launches:
            yield launch
            server.cut()

    with RemoteTarget(orin) as there:
        found = there.latency(plan(files, launches=3), progress=cut_after_each)["small"]
    assert len(found.raw_ns) == 1 and found.latency_vs_reference is not None
    [warning] = [each for each in found.warnings if each.code == "cut_short"]
    assert warning.message.startswith("1 of 3 launches were measured before this: the connection to board was cut")


PAIR = {name: Path(f"{name}.onnx") for name in ("small", "large")}
RUN = {
    **{"event": "run", "model": "small", "began": None, "rails": [], "tegrastats": [], "over_current": [{}, {}]},
    "files": {"times": json.dumps([query(float(number), 2.0) for number in range(50)])},
}


def test_a_launch_is_one_run_of_each_engine():
    asked, runs = plan(PAIR, launches=8), EngineRuns(TENSORRT)
    assert runs.take({"event": "engine"}, asked) is None
    assert runs.take({"event": "limits", "limits_c": {"tj": 99}}, asked) is None
    for _ in range(2):
        assert runs.take({**RUN, "model": "large"}, asked) is None
        launch = runs.take(RUN, asked)
        assert launch is not None and launch.rounds.keys() == {"small", "large"}
        # Thirty rounds of eight launches are four each.
        assert [len(block.ns) for block in launch.rounds["small"]] == [13, 13, 12, 12]
        assert {ns for block in launch.rounds["small"] for ns in block.ns} == {2_000_000}
    assert (len(runs.launches), runs.limits_c) == (2, {"tj": 99.0})


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"}, {"model": ["small"]}, {"model": "large"}, {"began": "now"}, {"over_current": [{}]},
        {"rails": [[None, []]]}, {"tegrastats": [[0.0, 5]]}, {"files": {}}, {"files": {"times": 5}},
        {"files": {"times": json.dumps([query(float(number), 1e-9) for number in range(50)])}},
        {"event": "limits", "limits_c": {"tj": "hot"}}, {"event": "limits"},
    ],
)  # fmt: skip
def test_runs_that_cannot_be_are_refused(change):
    asked, runs = plan(PAIR), EngineRuns(TENSORRT)
    runs.take({**RUN, "model": "large"}, asked)
    with pytest.raises(ResponseError, match="orin sent an invalid response"), reading_response("orin"):
        runs.take({**RUN, **change}, asked)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 8}, "fixes its batch at 1, not 8; leave out --batch"),
        ({"shape": (1, 3)}, r"takes \(1, 16\), not \(1, 3\); leave out --shape"),
    ],
)
def test_what_a_file_fixes_is_not_asked_otherwise(orin, tmp_path, change, message):
    fixed = write_model(tmp_path / "fixed.onnx", width=16, shape=[1, 16])
    workload = Workload(str(fixed), "tensorrt", shape=change.pop("shape", None))
    with RemoteTarget(orin) as there, pytest.raises(MeasurementError, match=message):
        there.latency(Plan({"fixed": workload}, seconds=1, launches=1, **change))


def test_no_onnx_file(orin, tmp_path):
    (tmp_path / "x.engine").write_bytes(b"ftrt" * 100)
    with (
        RemoteTarget(orin) as there,
        pytest.raises(MeasurementError, match="give the .onnx, engines are built on the device"),
    ):
        there.latency(plan({"large": tmp_path / "x.engine"}))


def test_locked_clocks_are_for_tensorrt(orin, files):
    there = RemoteTarget(orin, lock_clocks=True)
    with pytest.raises(MeasurementError, match="--lock-clocks is for TensorRT's times"):
        there.latency(Plan({"large": Workload(str(files["large"]))}))


def test_the_command(orin, files, edgekd, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    add_device(orin)
    words = ("--device", "orin", "--runtime", "tensorrt", "--seconds", 1, "--max-seconds", 1, "--launches", 1)
    done = edgekd("bench", *files.values(), *words, "--json", "-")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["environment"]["power_mode"] == "MAXN"
    assert [row["runtime"] for row in document["models"]] == ["tensorrt", "tensorrt"]
    done = edgekd("bench", files["large"], *words)
    assert "TensorRT 10.3.0" in done.out and "energy" in done.out and " mJ" in done.out


def test_where_the_time_of_an_engine_goes(orin, files, edgekd, monkeypatch, tmp_path, jetson):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    add_device(orin)
    done = edgekd("devices", "layers", "orin", files["small"], "--top", 2)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "3 layers in TensorRT 10.3.0, batch 1:",
        "   0.300 ms  75.0 %  int8 -> int8  conv1 + relu",
        "  0.0800 ms  20.0 %  float16 -> float32  fc",
        "1 of 2 layers that convolve take int8",
    ]
    # Built in detail, which is another engine than the one whose latency is measured, and kept like it.
    done = edgekd("devices", "layers", "orin", files["small"], "--json")
    assert [layer["name"] for layer in json.loads(done.out)["layers"]][1].startswith("Reformatting")
    builds = [words for words in jetson.trtexec_log.read_text().splitlines() if "--onnx" in words]
    assert len(builds) == 1 and "--profilingVerbosity=detailed" in builds[0]


def test_what_a_dla_takes(orin, files, edgekd, monkeypatch, tmp_path, jetson):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    add_device(orin)
    fixed = write_model(tmp_path / "fixed.onnx", width=16, shape=[1, 16])
    for _ in range(2):  # the second time the engine lies there, and its log with it
        done = edgekd("devices", "dla", "orin", fixed)
        assert done.code == 0, done.err
        assert done.out.splitlines()[:2] == [
            "1 layers of the engine on the DLA, 1 on the GPU",
            "  DLA: {ForeignNode[conv1...relu1]}",
        ]
    [build] = [words for words in jetson.trtexec_log.read_text().splitlines() if "--onnx" in words]
    assert "--useDLACore=0 --allowGPUFallback" in build
