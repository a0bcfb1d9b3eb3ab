"""What runs on a device: this one file, with Python 3.8 and what lies about there. It imports nothing of edgekd.

A line of JSON in, ``{"job", ...}``; lines of JSON out, ``{"event", ...}``, each as soon as it is known, so that what
was measured is there when the connection is not. The input stays open as long as somebody waits for the answers; its
end ends this process and, through their own inputs, its children.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import queue
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BLOCK_S, MIN_ROUNDS, OVERTIME = 0.01, 30, 4
WARM_RUNS, STEADY, PATIENCE = 10, 0.02, 4
BATCH = 32
RAIL_FILES = ("in", "curr", "rail")
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class Refused(Exception):
    """A reason that a person can read."""


# ---- what this is


def probe(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"event": "device", **machine(), "python": software(), "jetson": jetson(), "clock": time.time()}


def machine() -> dict[str, Any]:
    total, free = memory()
    about = {
        "architecture": platform.machine(),
        "system": system(),
        "kernel": platform.release(),
        "board": read("/proc/device-tree/model"),
        "cpu": cpu_model(),
        "cores": len(usable_cpus()),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": total,
        "free_memory_bytes": free,
        "free_disk_bytes": shutil.disk_usage(".").free,
    }
    return {key: value for key, value in about.items() if value is not None}


def software() -> dict[str, Any]:
    about = {"version": platform.python_version(), "executable": sys.executable}
    for name in ("numpy", "onnxruntime"):
        try:
            module = __import__(name)
            about[name] = module.__version__
            if name == "onnxruntime":
                about["providers"] = module.get_available_providers()
        except Exception as error:
            # A wheel for another processor fails in as many ways as there are processors.
            if not isinstance(error, ModuleNotFoundError):
                about[name + "_fails"] = one_line(error)
    return about


def jetson() -> dict[str, Any]:
    """Raw answers; they are read where the questions came from."""
    trtexec = TRTEXEC if Path(TRTEXEC).exists() else shutil.which("trtexec")
    answers = {
        "nv_tegra_release": read("/etc/nv_tegra_release"),
        "compatible": read("/proc/device-tree/compatible"),
        "l4t_package": said(["dpkg-query", "--show", "nvidia-l4t-core"], succeeds=True),
        "trtexec": trtexec,
        "trtexec_banner": said([trtexec, "--help"]) if trtexec else None,
        "nvpmodel": said(["nvpmodel", "-q"]),
        "tegrastats": shutil.which("tegrastats"),
        "sudo": sudo() or None,
        "rails": [texts(folder) for folder in rail_folders()],
    }
    return {key: value for key, value in answers.items() if value}


def sudo() -> bool:
    try:
        words = ["sudo", "-n", "true"]
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def said(words: Sequence[str], succeeds: bool = False) -> str | None:
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
        )
        return done.stdout.decode(errors="replace")[:4000] if done.returncode == 0 or not succeeds else None
    except (OSError, subprocess.SubprocessError):
        return None


def rail_folders() -> list[Path]:
    new = Path("/sys/bus/i2c/devices").glob("*/hwmon/hwmon*")
    old = Path("/sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")
    return [*(folder for folder in new if read(folder / "name") == "ina3221"), *old]


def texts(folder: Path) -> dict[str, str]:
    found = ((path.name, read(path)) for path in sorted(folder.iterdir()) if path.name.startswith(RAIL_FILES))
    return {name: text for name, text in found if text is not None}


def read(path: Path | str) -> str | None:
    try:
        with Path(path).open(errors="replace") as file:
            return file.read(20000).strip("\0\n ") or None
    except OSError:
        return None


def system() -> str:
    for line in (read("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def cpu_model() -> str:
    lines = (line.partition(":") for line in (read("/proc/cpuinfo") or "").splitlines())
    about = {key.strip(): value.strip() for key, _, value in lines}
    return about.get("model name") or about.get("Model") or platform.processor() or platform.machine()


def memory() -> tuple[int | None, int | None]:
    lines = (line.partition(":") for line in (read("/proc/meminfo") or "").splitlines())
    about = {key: int(value.split()[0]) * 1024 for key, _, value in lines if value.split()[:1]}
    return about.get("MemTotal"), about.get("MemAvailable")


def usable_cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


# ---- how fast models are


def latency(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Sittings of all models, each in a process of its own, in blocks that take turns in an order drawn anew."""
    order = random.Random(request["seed"])
    cpus = quietest(request["threads"])
    for number in range(request["sittings"]):
        yield {"event": "sitting", "number": number, **sit(request, cpus, order)}


def sit(request: dict[str, Any], cpus: list[int], order: random.Random) -> dict[str, Any]:
    children: dict[str, Child] = {}
    try:
        for name, file in request["models"].items():
            children[name] = Child(name)
            children[name].send(
                job="open", file=file, threads=request["threads"], batch=request["batch"],
                shape=(request.get("shapes") or {}).get(name), seed=request["seed"], cpus=cpus,
            )  # fmt: skip
            opened = children[name].receive()
            children[name].about = opened
        runs = {name: runs_per_block(child.ask(job="warm", seconds=request["warmup_s"]))
                for name, child in children.items()}  # fmt: skip
        share = request["seconds"] / request["sittings"]
        least = -(-MIN_ROUNDS // request["sittings"])
        rounds = take_turns(children, runs, share, least, order)
        return {"opened": {name: child.about for name, child in children.items()}, "rounds": rounds}
    finally:
        for child in children.values():
            child.end()


def take_turns(
    children: dict[str, Child], runs: dict[str, int], seconds: float, least: int, order: random.Random
) -> dict[str, Any]:
    names = list(children)
    rounds: dict[str, list[list[int]]] = {name: [] for name in names}
    started, count, budget = time.perf_counter(), 0, seconds * len(children)
    while True:
        for name in order.sample(names, len(names)):
            rounds[name].append(children[name].ask(job="block", runs=runs[name], settle=len(names) > 1))
        count += 1
        elapsed = time.perf_counter() - started
        if elapsed >= OVERTIME * budget or (count >= least and elapsed >= budget):
            return rounds


def runs_per_block(times: list[int]) -> int:
    typical = statistics.median(times[-(len(times) // 3 + 1) :])
    return max(1, round(BLOCK_S * 1e9 / max(typical, 1)))


def quietest(count: int, seconds: float = 0.1) -> list[int]:
    """The fastest cores first, and of these the ones that others leave alone."""
    usable = usable_cpus()
    if count >= len(usable):
        return usable
    before = busy_ticks()
    time.sleep(seconds)
    after = busy_ticks()

    def trouble(cpu: int) -> tuple[int, int, int]:
        top = read(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq")
        return -int(top or 0), after.get(cpu, 0) - before.get(cpu, 0), cpu

    return sorted(sorted(usable, key=trouble)[:count])


def busy_ticks() -> dict[int, int]:
    found: dict[int, int] = {}
    for line in (read("/proc/stat") or "").splitlines():
        words = line.split()
        if words and words[0].startswith("cpu") and words[0][3:].isdigit():
            ticks = [int(word) for word in words[1:9]]
            found[int(words[0][3:])] = sum(ticks) - ticks[3] - ticks[4]
    return found


class Child:
    """This file again, in a process that does nothing but run one model."""

    def __init__(self, name: str):
        self.name = name
        self.about: dict[str, Any] = {}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout

    def send(self, **request: Any) -> None:
        with suppress(BrokenPipeError):  # receiving says why
            self.input.write(json.dumps(request).encode() + b"\n")
            self.input.flush()

    def receive(self) -> Any:
        line = self.output.readline()
        if not line:
            code = self.process.wait()
            reason = ": the system may have run out of memory" if code == -9 else ""
            raise Refused(f"{self.name}: its process ended with code {code}{reason}")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(f"{self.name}: {answer['error']}")
        return answer["result"]

    def ask(self, **request: Any) -> Any:
        self.send(**request)
        return self.receive()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.input, self.output):
            with suppress(BrokenPipeError):
                stream.close()


def child(requests: queue.Queue[dict[str, Any]], answer: Callable[[dict[str, Any]], None]) -> None:
    run: Callable[[], Any] = lambda: None  # noqa: E731
    result: Any
    while True:
        request = requests.get()
        try:
            if request["job"] == "open":
                run, result = opened(request)
            elif request["job"] == "warm":
                result = warm_up(run, request["seconds"])
            else:
                result = block(run, request["runs"], request["settle"])
            answer({"result": result})
        except Exception as error:
            answer({"error": one_line(error)})


def opened(request: dict[str, Any]) -> tuple[Callable[[], Any], dict[str, Any]]:
    if request["cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, request["cpus"])
    started = time.perf_counter_ns()
    session = load(request["file"], request["threads"])
    loaded = time.perf_counter_ns()
    feeds = example(session.get_inputs(), request["batch"], request["shape"], request["seed"])

    def run() -> Any:
        return session.run(None, feeds)

    first = time.perf_counter_ns()
    run()
    figures = {"load_ms": (loaded - started) / 1e6, "first_ms": (time.perf_counter_ns() - first) / 1e6}
    gc.collect()
    gc.disable()
    sizes = [feed.shape[0] for feed in feeds.values() if feed.ndim]
    cpus = usable_cpus() if hasattr(os, "sched_getaffinity") else None
    return run, {**figures, "providers": session.get_providers(), "batch": sizes[0] if sizes else 1, "cpus": cpus}


def load(file: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def example(nodes: Sequence[Any], batch: int, shape: Sequence[int] | None, seed: int) -> dict[str, Any]:
    import numpy

    feeds: dict[str, Any] = {}
    generator: Any = numpy.random.default_rng(seed)
    for number, node in enumerate(nodes):
        dims = list(shape) if shape and number == 0 else list(node.shape)
        if dims and not isinstance(dims[0], int):
            dims[0] = batch
        if not all(isinstance(size, int) for size in dims):
            raise Refused(f"input {node.name!r} has the shape {dims}, open beyond its batch; say it with --shape")
        if node.type not in DTYPES:
            raise Refused(f"input {node.name!r} is a {node.type}, of which no example can be made")
        dtype = DTYPES[node.type]
        if dtype.startswith("float"):
            feeds[node.name] = generator.random(dims, dtype=numpy.float32).astype(dtype)
        elif dtype in ("uint8", "int8"):
            feeds[node.name] = generator.integers(0, 128, dims, dtype=dtype)
        else:
            feeds[node.name] = numpy.zeros(dims, dtype)
    return feeds


def warm_up(run: Callable[[], Any], seconds: float) -> list[int]:
    started = time.perf_counter_ns()
    times = collect(run, seconds, WARM_RUNS)
    while not is_steady(times) and time.perf_counter_ns() - started < PATIENCE * seconds * 1e9:
        times += collect(run, seconds / 2, 1)
    return times


def is_steady(times: list[int]) -> bool:
    third = len(times) // 3
    if not third:
        return False
    middle, last = statistics.median(times[third : 2 * third]), statistics.median(times[-third:])
    return abs(last - middle) <= STEADY * middle


def block(run: Callable[[], Any], runs: int, settle: bool) -> list[int]:
    if settle:
        run()
    return collect(run, 0, runs, runs)


def collect(run: Callable[[], Any], seconds: float, least: int, most: int | None = None) -> list[int]:
    times: list[int] = []
    deadline = time.perf_counter_ns() + round(seconds * 1e9)
    while most is None or len(times) < most:
        start = time.perf_counter_ns()
        run()
        end = time.perf_counter_ns()
        times.append(end - start)
        if end >= deadline and len(times) >= least:
            break
    return times


# ---- how right models are


def accuracy(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The class that each model gives each sample of ``inputs`` in a .npz file, a batch at a time."""
    import numpy

    with numpy.load(request["samples"], allow_pickle=False) as packed:
        inputs = packed["inputs"]
    for name, file in request["models"].items():
        session = load(file, request["threads"])
        node, output = session.get_inputs()[0], session.get_outputs()[0].name
        fixed = node.shape[0] if node.shape and isinstance(node.shape[0], int) else None
        for first in range(0, len(inputs), fixed or BATCH):
            batch = inputs[first : first + (fixed or BATCH)]
            missing = (fixed or len(batch)) - len(batch)
            filled = numpy.concatenate([batch, numpy.repeat(batch[-1:], missing, axis=0)]) if missing else batch
            logits = session.run([output], {node.name: filled})[0][: len(batch)]
            yield {"event": "answers", "model": name, "first": first, "classes": logits.argmax(1).tolist()}


JOBS = {"probe": probe, "latency": latency, "accuracy": accuracy}


def requests_of_stdin() -> queue.Queue[dict[str, Any]]:
    """Read by a thread, so that the end of the input is noticed in the middle of a long inference."""
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()

    def wait() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    return waiting


def one_line(error: BaseException) -> str:
    text = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def main(words: Sequence[str]) -> None:
    # What a library prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    requests = requests_of_stdin()
    if words[1:] == ["child"]:
        child(requests, answer)
    request = requests.get()
    try:
        for event in JOBS[request["job"]](request):
            answer(event)
        answer({"event": "done"})
    except Exception as error:
        answer({"event": "failed", "why": one_line(error)})
    # The thread that waits for the input holds a lock that the interpreter would want for its own end.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
