"""The process that speaks to Ray, so that a cluster that goes takes this process along and not the search.

The first line of its standard input says where the cluster is and what is asked of it, each further one is a job; its
answers are lines of JSON too. What Ray prints goes to standard error.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgekd.errors import ClusterError, first_line
from edgekd.search import ray_node
from edgekd.strict_json import JsonObject

FACTS_S, LOOK_S = 120.0, 10.0
# A job whose node is lost is done by another one, once.
ATTEMPTS = 2


class Cluster:
    """A connection to a running cluster whose nodes are fit for a search.

    Args:
        folder, lock: of the search.
        devices: that are timed, each by the one node with its resource.
        paths, runtimes: as :func:`edgekd.search.ray_node.facts` takes them.
        say: called with what the user should know.

    Attributes:
        slots: how many candidates can be trained at a time.

    Raises:
        ClusterError: it does not let this machine in, or its nodes differ from it.
    """

    def __init__(
        self,
        address: str,
        folder: str,
        lock: str,
        devices: Sequence[str],
        paths: Sequence[str],
        runtimes: Sequence[str],
        say: Callable[[str], None],
    ):
        os.environ[ray_node.AUTH_MODE] = ray_node.TOKEN
        import ray

        self.ray, self.folder, self.say = ray, folder, say
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            reason = _in_one_line(error).partition(". ")[0]
            raise ClusterError(
                f"the Ray cluster at {address} refuses: {reason}; this machine must be one of its nodes, and have "
                "their token in ~/.ray/auth_token or RAY_AUTH_TOKEN"
            ) from error
        nodes = [node for node in ray.nodes() if node["Alive"]]
        self._must_be_alike(nodes, (lock, paths, runtimes))
        resources = [node["Resources"] for node in nodes]
        self.timing = _timing(resources, devices)
        self.training, self.slots = _training(resources)
        self._carry_out = ray.remote(max_retries=0)(ray_node.carry_out)

    def run(self, queue: str, message: str) -> JsonObject:
        """Return what a node gives for the job of ``message``."""
        options = self.timing if queue == ray_node.TIMING and self.timing else self.training
        for left in reversed(range(ATTEMPTS)):
            found = self._once(options, message)
            if found is not None:
                return found
            if left:
                self.say("a node of the cluster was lost in the middle of a job; another one goes on with it")
        return {"error": f"{ATTEMPTS} nodes were lost while they did the same job", "kind": ray_node.NODE}

    def _once(self, options: Mapping[str, Any], message: str) -> JsonObject | None:
        """None where its node was lost."""
        ray, errors = self.ray, self.ray.exceptions
        reference = self._carry_out.options(**options).remote(message, self.folder)
        waited = False
        while not ray.wait([reference], timeout=LOOK_S)[0]:
            if not waited and not _offers(ray.nodes(), options):
                self.say(f"no node of the cluster can do a job that needs {_words(options)}; waiting for one")
                waited = True
        try:
            return dict(json.loads(ray.get(reference)))
        except errors.OutOfMemoryError:
            return {"error": "Ray ended it, since the memory of its node ran out", "kind": "MemoryError"}
        except errors.RayTaskError as error:
            return {"error": _in_one_line(error), "kind": ray_node.NODE}
        except errors.RayError as error:
            sys.stderr.write(f"{_in_one_line(error)}\n")
            return None

    def _must_be_alike(self, nodes: Sequence[Mapping[str, Any]], about: tuple[Any, ...]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        look = self.ray.remote(num_cpus=0, max_retries=0)(ray_node.facts)
        here = ray_node.facts(*about)
        asked = [
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(*about)
            for node in nodes
        ]
        for node, reference in zip(nodes, asked, strict=True):
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            try:
                there = self.ray.get(reference, timeout=FACTS_S)
            except Exception as error:
                raise ClusterError(
                    f"{name}, a node of the cluster, does not run edgekd: {_in_one_line(error)}; install the same "
                    "edgekd on all nodes"
                ) from error
            _must_be_like(here, there, name)


def _must_be_like(here: JsonObject, there: JsonObject, name: str) -> None:
    if not there["asks_for_token"]:
        raise ClusterError(
            f"{name} lets everybody in who reaches its ports, and they can run any code there: start all nodes with "
            f"{ray_node.AUTH_MODE}={ray_node.TOKEN}"
        )
    if not there["sees_lock"]:
        raise ClusterError(
            f"{name} does not see the search's folder, or not its locks: all nodes need the folder, the recipe and the "
            "data at the same paths, on one file system with locks (NFS 4 has them)"
        )
    if missing := sorted({*there["missing files"]} - {*here["missing files"]}):
        raise ClusterError(f"{name} does not have {missing[0]}: all nodes need the recipe's files at the same paths")
    for what, ours in here.items():
        if there.get(what) != ours and what not in ("sees_lock", "asks_for_token", "missing files"):
            raise ClusterError(
                f"{name} differs from this machine: {what} is {_shown(there.get(what))}, and here {_shown(ours)}; "
                "a search needs the same on all"
            )


def _shown(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else (value or "not there")


def _timing(nodes: Sequence[Mapping[str, float]], devices: Sequence[str]) -> dict[str, Any] | None:
    """What a job takes that times: the device's own resource, and the whole node that has it, so none trains there."""
    names = [f"{ray_node.RESOURCE}{device}" for device in devices]
    if not names:
        return None
    for name, device in zip(names, devices, strict=True):
        if (count := sum(node.get(name, 0) for node in nodes)) != 1:
            option = f"--resources='{json.dumps({name: 1})}'"
            raise ClusterError(f"{count:g} nodes of the cluster time {device}, and one must: ray start {option} there")
    able = [node for node in nodes if all(name in node for name in names)]
    if not able:
        raise ClusterError(f"no node of the cluster has all of {', '.join(names)}: one node times for a search")
    whole = {"num_cpus": able[0].get("CPU", 0), "num_gpus": able[0].get("GPU", 0)}
    return {**whole, "resources": dict.fromkeys(names, 1)}


def _training(nodes: Sequence[Mapping[str, float]]) -> tuple[dict[str, Any], int]:
    """What a training takes, a GPU or where there is none as many cores as the smallest node has; and how many fit."""
    able = [node for node in nodes if node.get("GPU")] or [node for node in nodes if node.get("CPU", 0) >= 1]
    if not able:
        raise ClusterError("no node of the cluster has processors for a training: start one without --num-cpus=0")
    if able[0].get("GPU"):
        cores = min(node.get("CPU", 0) // node["GPU"] for node in able)
        return {"num_cpus": cores, "num_gpus": 1}, int(sum(node["GPU"] for node in able))
    cores = min(node["CPU"] for node in able)
    return {"num_cpus": cores, "num_gpus": 0}, int(sum(node["CPU"] // cores for node in able))


def _offers(nodes: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> bool:
    """Tell whether a node has, while it does nothing else, all that a job needs."""
    living = [node["Resources"] for node in nodes if node["Alive"]]
    return any(all(each.get(name, 0) >= amount for name, amount in _needed(options).items()) for each in living)


def _words(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in _needed(options).items() if amount)


def _needed(options: Mapping[str, Any]) -> dict[str, float]:
    return {"CPU": options["num_cpus"], "GPU": options["num_gpus"], **options.get("resources", {})}


def _in_one_line(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {first_line(cause)}"


def main() -> None:
    """Connect, then do jobs until the input ends."""
    # What libraries print must not become an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    writing = threading.Lock()

    def answer(**document: Any) -> None:
        with writing:
            answers.write(json.dumps(document) + "\n")
            answers.flush()

    def do(number: int, queue: str, message: str) -> None:
        try:
            found = cluster.run(queue, message)
        except Exception as error:  # of Ray, where the cluster goes: who waits for the job must hear of it
            found = {"error": _in_one_line(error), "kind": ray_node.NODE}
        answer(number=number, found=found)

    try:
        cluster = Cluster(**json.loads(sys.stdin.readline()), say=lambda text: answer(say=text))
    except ClusterError as error:
        answer(error=str(error))
        return
    answer(slots=cluster.slots)
    for line in sys.stdin:
        threading.Thread(target=do, kwargs=json.loads(line), daemon=True).start()
    # At once: Ray ends what this process has started.
    os._exit(0)


if __name__ == "__main__":
    main()
