"""What a search says of a cluster and sends there; :mod:`tests.search.test_ray_nodes` has a real one."""

import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import ClusterError, EdgekdError
from edgekd.recipe import load_recipe
from edgekd.search import ray_cluster, ray_driver, ray_node
from edgekd.search.ray_cluster import RayCluster
from edgekd.search.ray_driver import Cluster, _must_be_like, _offers, _timing, _training
from tests.cli.conftest import Outcome
from tests.cli.conftest import edgekd as edgekd
from tests.recipe.conftest import SMALL

ALIKE = {**ray_node.facts(os.devnull), "sees_lock": True, "asks_for_token": True}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("address", ["cluster", "ray://a:10001", ":6379", "a:0", "a:70000", "a:port"])
def test_an_address_is_a_host_and_a_port(address: str, tmp_path: Path, recipe: Path) -> None:
    with pytest.raises(ClusterError, match="expected HOST:PORT"):
        RayCluster(address, tmp_path, load_recipe(recipe))


@pytest.mark.parametrize(
    "words", [("fit", "--set", "prune.macs={search: [0.2, 0.9]}"), ("sweep", "--grid", "prune.macs=0.4,0.5")]
)
def test_the_commands_say_so_and_train_nothing(
    words: tuple[str, ...],
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    edgekd: Callable[..., Outcome],
) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: object())
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    command, *options = words
    for address, message in (("cluster", "--address cluster: expected"), (f"127.0.0.1:{port}", "there is no Ray")):
        done = edgekd(command, recipe, *options, "--out", tmp_path / "fit", "--address", address)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {message}")
        assert not (tmp_path / "fit/journal.jsonl").exists()


def test_a_cluster_that_is_gone_is_one_message(tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: object())
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ClusterError, match="there is no Ray cluster at 127.0.0.1"), cluster(address, recipe):
        pass
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(EdgekdError, match=r"pip install 'edgekd\[ray\]'"), cluster(address, recipe):
        pass


def cluster(address: str, recipe: Path) -> RayCluster:
    return RayCluster(address, recipe.parent / "fit", load_recipe(recipe), [Path("/data/parts")])


def place_driver(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put ``script`` in the place of the process that speaks to Ray."""
    driver = folder / "driver"
    driver.write_text(f"#!{sys.executable}\n{script}")
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: object())
    monkeypatch.setattr(ray_cluster.children, "words", lambda module: [str(driver)])


TARGETS = "targets: [{device: cpu, runtime: openvino}]\n"
DRIVER = """\
import json, sys
settings = json.loads(sys.stdin.readline())
assert settings["devices"] == ["cpu"], settings
assert settings["paths"] == ["/data/parts"] and settings["runtimes"] == ["openvino"], settings
print(json.dumps({"slots": 2}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if "dies" in job["message"]:
        print('{"number": 1', flush=True)
        sys.exit(1)
    found = {"result": job["queue"]}
    if "fails" in job["message"]:
        found = {"error": "no cut", "kind": "ModelError"}
    about = {**found, "node": "a", "began": 1.0, "ended": 2.0}
    if "lost" in job["message"]:
        about = {"error": "2 nodes were lost", "kind": "node"}
    print(json.dumps({"number": job["number"], "found": about}), flush=True)
"""


def test_jobs_wait_in_two_queues_and_a_cluster_that_goes_is_told(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of the process that speaks to Ray says in which queue a job waited."""
    place_driver(DRIVER, recipe.parent, monkeypatch)
    timing = recipe.with_name("timing.yaml")
    recipe.write_text(SMALL.replace("macs: 0.5", "macs: 0.5, check_latency: false") + TARGETS)
    timing.write_text(SMALL + TARGETS)
    weighing = recipe.with_name("weighing.yaml")
    weighing.write_text(SMALL.replace("macs: 0.5", "macs: 0.5, check_latency: false, sensitivity: 4") + TARGETS)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with cluster(address, recipe) as found:
            assert found.slots == 2
            for job, path, timed, queue in [
                ("step", timing, False, "training"),
                ("try", recipe, False, "training"),
                ("try", recipe, True, "timing"),
                # Its stage times networks while it trains them.
                ("try", timing, False, "timing"),
                ("try", weighing, False, "timing"),
                ("run", recipe, False, "timing"),
                ("time", recipe, False, "timing"),
            ]:
                assert found.run(job, recipe=str(path), timed=timed) == {"result": queue}
            assert found.run("fails", recipe=str(recipe)) == {"error": "no cut (on a)", "kind": "ModelError"}
            with pytest.raises(ClusterError, match="2 nodes were lost .* the same command goes on"):
                found.run("lost", recipe=str(recipe))
            # Its last words are cut off.
            with pytest.raises(ClusterError, match="is gone .* the same command goes on"):
                found.run("dies", recipe=str(recipe))
            with pytest.raises(ClusterError, match="is gone"):
                found.run("step", recipe=str(recipe))
    placed = [json.loads(line) for line in (recipe.parent / "fit/placed.jsonl").read_text().splitlines()]
    # What is timed alone was trained before.
    assert [each["queue"] for each in placed[2:4]] == ["training", "timing"]
    assert placed[0] == {
        "queue": "training", "job": "step", "recipe": str(timing), "node": "a", "began": 1.0, "ended": 2.0
    }  # fmt: skip


BROKEN = """\
from types import SimpleNamespace
from edgekd.search import ray_driver

def run(queue, message):
    raise ConnectionError("the head does not answer")

ray_driver.Cluster = lambda **settings: SimpleNamespace(slots=1, run=run)
ray_driver.main()
"""


def test_what_ray_raises_ends_the_search(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_driver(BROKEN, recipe.parent, monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with cluster(address, recipe) as found, pytest.raises(ClusterError, match="ConnectionError: the head does not"):
            found.run("step", recipe=str(recipe))


def test_a_job_whose_nodes_are_lost_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself is left out: each node is lost."""
    lost, said = Cluster.__new__(Cluster), list[str]()
    lost.timing, lost.training, lost.say = None, {}, said.append
    monkeypatch.setattr(Cluster, "_once", lambda *_: None)
    assert lost.run(ray_node.TRAINING, "{}") == {
        "error": "2 nodes were lost while they did the same job",
        "kind": "node",
    }
    assert len(said) == 1


def test_one_node_must_offer_all_that_a_job_needs() -> None:
    nodes = [{"Alive": alive, "Resources": {"CPU": cores}} for alive, cores in ((True, 4.0), (True, 4.0), (False, 8.0))]
    wanted = {"num_cpus": 8.0, "num_gpus": 0}
    assert not _offers(nodes, wanted)
    assert _offers([*nodes, {"Alive": True, "Resources": {"CPU": 8.0}}], wanted)


def test_a_timing_takes_the_whole_node_that_times() -> None:
    nodes = [{"CPU": 4.0, "edgekd-timing-cpu": 1.0}, {"CPU": 8.0}]
    whole = {"num_cpus": 4.0, "num_gpus": 0, "resources": {"edgekd-timing-cpu": 1}}
    assert _timing(nodes, ["cpu"]) == whole
    assert _timing(nodes, []) is None
    with pytest.raises(ClusterError, match="0 nodes of the cluster time orin, and one must: ray start --resources"):
        _timing(nodes, ["cpu", "orin"])
    with pytest.raises(ClusterError, match="2 nodes of the cluster time cpu"):
        _timing([nodes[0], nodes[0]], ["cpu"])
    with pytest.raises(ClusterError, match="one node times for a search"):
        _timing([*nodes, {"edgekd-timing-orin": 1.0}], ["cpu", "orin"])


def test_a_training_takes_a_gpu_or_the_cores_of_the_smallest_node() -> None:
    assert _training([{"CPU": 4.0}, {"CPU": 9.0}, {}]) == ({"num_cpus": 4.0, "num_gpus": 0}, 3)
    assert _training([{"CPU": 4.0}, {"CPU": 9.0, "GPU": 2.0}]) == ({"num_cpus": 4.0, "num_gpus": 1}, 2)
    with pytest.raises(ClusterError, match="no node of the cluster has processors"):
        _training([{"CPU": 0.0}])


def refusal(**other: Any) -> str:
    with pytest.raises(ClusterError) as error:
        _must_be_like(ALIKE, {**ALIKE, **other}, "node (10.0.0.2)")
    return str(error.value)


def test_nodes_that_differ_are_refused(tmp_path: Path) -> None:
    _must_be_like(ALIKE, ALIKE, "node")
    assert "start all nodes with RAY_AUTH_MODE=token" in refusal(asks_for_token=False)
    assert "does not see the search's folder" in refusal(sees_lock=False)
    assert "torch is not there, and here" in refusal(torch=None)
    assert "registered devices is orin, and here cpu, cuda" in refusal(**{"registered devices": ["orin"]})
    lacks = {"missing files": ["/data/a", "/data/parts"]}
    assert refusal(**lacks).startswith("node (10.0.0.2) does not have /data/a: all nodes need")
    # What this machine lacks too is the recipe's own mistake.
    _must_be_like({**ALIKE, **lacks}, {**ALIKE, **lacks}, "node")
    about = ray_node.facts(os.devnull, [str(tmp_path), "/data/a"], ["no-runtime"])
    assert about["missing files"] == ["/data/a"] and about["no-runtime"] is None
    lock = tmp_path / ".lock"
    assert not ray_node.facts(str(lock))["sees_lock"]
    lock.touch()
    # Nobody holds it, so this is another folder of that name.
    assert not ray_node.facts(str(lock))["sees_lock"]
    with ray_driver.ray_node.hold(lock):
        assert ray_node.facts(str(lock))["sees_lock"]
