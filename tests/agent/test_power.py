"""Power and clocks while models run: a made-up system's files, and real inferences of a real child."""

import json
import os
import random
import time
from pathlib import Path

import pytest

from edgekd import children
from edgekd.agent import launches, power, system
from edgekd.agent.cpus import clock_khz, quietest
from edgekd.agent.power import sensor
from edgekd.agent.rails import Watch, dying_with_parent
from edgekd.bench.launch import launch_of
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.records import ClockRecord
from edgekd.bench.runner import record, request_of
from edgekd.bench.runtimes import session_place
from tests.bench.conftest import write_model

RANGE = 262_143_328_850
WATTS = 40.0


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(system, "ROOT", tmp_path)
    return tmp_path


def zone(root: Path, name: str, kind: str, energy_uj: int | None) -> Path:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(kind + "\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    if energy_uj is not None:
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder


def packages(root: Path) -> None:
    zone(root, "intel-rapl:0", "package-0", 1_000_000)
    zone(root, "intel-rapl:0:0", "core", 500_000)
    zone(root, "intel-rapl:1", "package-1", 7_000_000)
    zone(root, "intel-rapl:2", "psys", 9_000_000)


def test_packages_alone_are_counted(root):
    assert sensor() is None
    packages(root)
    kind, read = sensor()
    assert kind == "counters"
    assert read() == {
        "package-0": {"energy_uj": "1000000", "max_energy_range_uj": str(RANGE)},
        "package-1": {"energy_uj": "7000000", "max_energy_range_uj": str(RANGE)},
    }
    assert sensor(on_gpu=True) is None, "a processor's counter leaves out what a GPU takes"


def test_counters_for_root_alone_are_no_sensor(root):
    """One that cannot be read, as by everyone but root: the others are not the whole."""
    packages(root)
    zone(root, "intel-rapl:3", "package-2", None)
    assert sensor() is None


def test_rails_of_a_module_come_before_the_counters_of_its_processor(root):
    packages(root)
    monitor = root / "sys/bus/i2c/devices/1-0040/hwmon/hwmon1"
    monitor.mkdir(parents=True)
    files = {"in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1500", "update_interval": "18"}
    for name, text in {"name": "ina3221", **files}.items():
        (monitor / name).write_text(text + "\n")
    for on_gpu in (False, True):
        kind, read = sensor(on_gpu)
        assert (kind, read()) == ("rails", [files])


def test_the_slowest_cpu_says_the_clock_rate(root):
    for cpu, rate in enumerate(("1800000", "600000", "2400000", "<unknown>")):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(rate + "\n")
    assert [clock_khz(cpus) for cpus in ([0], [0, 2], [0, 1, 2], [0, 3], [3], [4])] == [
        *(1_800_000, 1_800_000, 600_000, 1_800_000, None, None)
    ]


def test_a_watch_reads_from_beginning_to_end():
    began = time.monotonic()
    with Watch(iter(range(10**6)).__next__, 0.01) as watch:
        inside = time.monotonic()
        time.sleep(0.1)
        over = time.monotonic()
    times, read = zip(*watch.readings, strict=True)
    assert list(read) == list(range(len(read))) and 3 <= len(read) <= 13
    assert began <= times[0] <= inside and over <= times[-1] <= time.monotonic()
    assert sorted(times) == list(times)


class Told:
    """The host's end of a conversation, in whose place this test stands."""

    def __init__(self) -> None:
        self.sent: list[dict] = []

    def send(self, record: dict) -> None:
        self.sent.append(record)


def test_the_energy_of_an_inference_is_what_was_drawn_while_it_ran(root, tmp_path, monkeypatch):
    """A made-up counter says at every moment what 40 W took since the test began; the inferences are real ones."""
    for key, value in children.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(power, "WINDOW_S", 0.3)
    zone(root, "intel-rapl:0", "package-0", 0)
    started, read = time.monotonic(), system.text_of

    def text_of(path: Path) -> str | None:
        return str(round(1e6 * WATTS * (time.monotonic() - started))) if path.name == "energy_uj" else read(path)

    monkeypatch.setattr(power, "text_of", text_of)
    cpufreq = root / "sys/devices/system/cpu"
    for cpu in range(256):
        (cpufreq / f"cpu{cpu}/cpufreq").mkdir(parents=True)
        (cpufreq / f"cpu{cpu}/cpufreq/scaling_cur_freq").write_text("1500000\n")
    model = Workload(str(write_model(tmp_path / "model.onnx", width=512, layers=4)))
    plan = Plan({"model": model}, seconds=0.2, launches=1, warmup_s=0.05)
    models = {"model": {"session": session_place("onnxruntime"), "workload": model.to_json()}}
    told = Told()
    request = {**request_of(plan, models), "rounds": 10}
    done = launches.run_launch(request, quietest(1), random.Random(0), told, with_power=True)
    assert told.sent[-1] == {"event": "doing", "model": "model", "activity": "its power"}
    launch = launch_of(json.loads(json.dumps({"event": "launch", **done})), plan)
    assert launch.power is not None
    window = launch.power.windows["model"]
    assert 0.3 <= window.seconds < 1 and window.inferences > 10
    found = record(plan, "model", [launch])
    assert found.energy is not None and (found.energy.rails, found.energy.n) == (("package-0",), window.inferences)
    # A counter is read some microseconds after its moment is noted.
    assert found.energy.watts == pytest.approx(WATTS, rel=0.02)
    assert found.energy.joules == pytest.approx(WATTS * window.seconds / window.inferences, rel=0.02)
    assert sum(map(len, found.raw_ns[0])) == found.latency_ms.n, "nothing of the window is among the times"
    assert found.clock_mhz == ClockRecord(1500.0, 1500.0, 1500.0)
    blocks = [*launch.rounds["model"], *(launch.shielded or {}).get("model", ())]
    assert len(launch.clock_khz["model"]) == len(blocks), "one for each block"


def test_without_a_sensor_nothing_is_run_or_said(monkeypatch):
    def work(*_: object) -> None:
        raise AssertionError("inferences that nobody asked for")

    assert power.power_windows({}, [0], False, work) is None
    assert power.power_windows({"model": None}, [0], True, work) is None


def test_a_process_whose_parent_is_gone_already_ends():
    """The parent may end between the fork and the wish to end with it."""
    prepare = dying_with_parent()
    program = os.fork()
    if program == 0:
        # A child of the child: its parent is another than the one that it was prepared by.
        late = os.fork()
        if late == 0:
            prepare()
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(late, 0)[1]))
    assert os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]) == 1
