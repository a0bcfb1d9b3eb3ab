"""The process that runs one model, and the host's handle of it."""

import time

import psutil
import pytest

from edgekd.agent.child import Child, ChildError
from edgekd.bench.plan import Workload
from edgekd.bench.runtimes import session_place
from tests.bench.conftest import write_model

ONNX = session_place("onnxruntime")


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("child") / "light.onnx", width=8)


@pytest.fixture
def child(monkeypatch):
    from edgekd import children

    for key, value in children.environment().items():
        monkeypatch.setenv(key, value)
    made = Child("light")
    yield made
    made.end()
    assert not psutil.pid_exists(made.pid)


def opened(child: Child, workload: Workload, batch: int = 1) -> dict:
    session = session_place(workload.runtime)
    return child.ask("open", session=session, workload=workload.to_json(), threads=1, batch=batch, seed=0)


def test_it_keeps_to_its_cpus(child, light):
    child.ask("prepare", session=ONNX, cpus=[0])
    about = opened(child, Workload(str(light)), batch=2)
    assert about["cpus"] == [0] == psutil.Process(child.pid).cpu_affinity()
    assert about["batch"] == 2
    assert len(child.ask("warm", seconds=0.01)["times"]) >= 10
    block = child.ask("block", runs=7, settle=True)
    assert len(block["ns"]) == 7
    assert 0 <= block["lost_ns"] <= sum(block["ns"]) and block["pool"] == 0


def test_inferences_for_the_sake_of_power_say_when_they_ran(child, light):
    child.ask("prepare", session=ONNX, cpus=[0])
    opened(child, Workload(str(light)))
    child.ask("warm", seconds=0.01)
    asked = time.monotonic()
    window = child.ask("work", seconds=0.1, edge_s=0.05)
    assert asked + 0.05 <= window["began"] <= window["ended"] - 0.1
    assert window["ended"] + 0.05 <= time.monotonic()
    assert window["inferences"] > 10


def test_no_collection_falls_into_a_sample(child, light):
    """The collector of the child itself is asked, which is on in a Python that nobody has told otherwise."""

    def is_on() -> bool:
        return child.ask("call", function="gc:isenabled", arguments={})

    child.ask("prepare", session=ONNX, cpus=[0])
    assert is_on()
    opened(child, Workload(str(light)))
    assert not is_on()
    child.ask("warm", seconds=0.01)
    assert not is_on()
    assert len(child.ask("block", runs=5, settle=True)["ns"]) == 5
    assert not is_on()


@pytest.mark.slow
def test_no_collection_falls_into_an_inference(child, tmp_path):
    """Ask in the network itself, in each run after the one that opens it."""
    (tmp_path / "gc_off.py").write_text(
        "import gc, torch\n"
        "class Asks(torch.nn.Identity):\n"
        "    runs = 0\n"
        "    def forward(self, x):\n"
        "        Asks.runs += 1\n"
        "        assert Asks.runs == 1 or not gc.isenabled()\n"
        "        return x\n"
    )
    child.ask("prepare", session=None, cpus=[0])
    opened(child, Workload(f"{tmp_path / 'gc_off.py'}:Asks", "pytorch", shape=(1, 3)))
    child.ask("warm", seconds=0.01)
    assert len(child.ask("block", runs=5, settle=True)["ns"]) == 5


def test_a_refusal_leaves_it_at_work(child, light):
    with pytest.raises(ChildError, match=r"^no such file: none\.onnx"):
        opened(child, Workload("none.onnx"))
    with pytest.raises(ChildError, match="AttributeError: .*'dance'"):
        child.ask("dance")
    assert opened(child, Workload(str(light)))["batch"] == 1


def test_its_death_is_explained(child):
    psutil.Process(child.pid).kill()
    with pytest.raises(ChildError, match="ended by SIGKILL; the system may have run out of memory") as error:
        child.ask("prepare", session=None, cpus=[])
    assert error.value.killed
