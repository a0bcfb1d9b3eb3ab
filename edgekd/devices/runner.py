"""The runner: the one file that is copied to a device and runs there, on Python 3.8. It imports nothing of edgekd.

A line of JSON in, ``{"job", ...}``; lines of JSON out, ``{"event", ...}``, each as soon as it is known, so that what
was measured is there when the connection is not. The input stays open as long as somebody waits for the results; its
end ends this process and, through their own inputs, its children.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import gc
import gzip
import json
import os
import platform
import queue
import random
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Before it is imported: ONNX Runtime 1.31 would keep a device ID and an event database under the user's cache.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

BLOCK_S, MIN_ROUNDS, OVERTIME = 0.01, 30, 4
WARM_RUNS, STEADY, PATIENCE = 10, 0.02, 4
BATCH = 32
RAIL_FILES = ("in", "curr", "rail")
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
STARTED = "Starting inference"  # trtexec's own words
TEGRASTATS_MS = 200
LOG = 200000  # letters of what trtexec says that are kept
LIBC: Any = ctypes.CDLL(None) if os.name == "posix" else None
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
ROOT = ""  # of the system's files
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
    """An error with a message for people."""


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
        "gpu": said(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], succeeds=True),
        "cores": len(usable_cpus()),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": total,
        "free_memory_bytes": free,
        "free_disk_bytes": shutil.disk_usage(".").free,
    }
    return {key: value for key, value in about.items() if value is not None}


def software() -> dict[str, Any]:
    about: dict[str, Any] = {"version": platform.python_version(), "executable": sys.executable}
    # PEP 668: pip refuses to install into it.
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and marker.exists():
        about["externally_managed"] = True
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
    """Return the raw output of NVIDIA's tools and files; the caller parses it."""
    trtexec = TRTEXEC if Path(ROOT + TRTEXEC).exists() else shutil.which("trtexec")
    reported = {
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
    return {key: value for key, value in reported.items() if value}


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
    """Return the folders of the INA3221 monitors, as the kernels of JetPack 4 and of JetPack 5 and later show them."""
    new = found("/sys/bus/i2c/devices", "*/hwmon/hwmon*")
    old = found("/sys/bus/i2c/drivers/ina3221x", "*/iio:device*")
    return [*(folder for folder in new if text_of(folder / "name") == "ina3221"), *old]


def found(folder: str, pattern: str) -> list[Path]:
    return sorted(Path(ROOT + folder).glob(pattern))


def texts(folder: Path) -> dict[str, str]:
    """Return the contents of the folder's small files, which hold values and names."""
    names = (path for path in sorted(folder.iterdir()) if path.name.startswith(RAIL_FILES))
    return {path.name: text for path, text in ((path, text_of(path)) for path in names) if text is not None}


def read(path: str) -> str | None:
    return text_of(Path(ROOT + path))


def text_of(path: Path) -> str | None:
    try:
        with path.open(errors="replace") as file:
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
    """Run launches of all models, each in a process of its own, in blocks that take turns in random order."""
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
                shape=(request.get("shapes") or {}).get(name), sizes=(request.get("sizes") or {}).get(name),
                seed=request["seed"], cpus=cpus,
            )  # fmt: skip
            opened = children[name].receive()
            children[name].about = opened
        runs = {name: runs_per_block(child.ask(job="warm", seconds=request["warmup_s"]))
                for name, child in children.items()}  # fmt: skip
        share = request["seconds"] / request["sittings"]
        least = -(-MIN_ROUNDS // request["sittings"])
        own = [os.getpid(), *(child.process.pid for child in children.values())]
        before = taken(own, cpus)
        rounds = take_turns(children, runs, share, least, order)
        after = taken(own, cpus)
        return {
            "opened": {name: child.about for name, child in children.items()},
            "rounds": rounds,
            "taken": [[now - then for then, now in zip(*pair)] for pair in zip(before, after)],  # noqa: B905 (Python 3.8)
            "governor": read(f"/sys/devices/system/cpu/cpu{cpus[0]}/cpufreq/scaling_governor") if cpus else None,
        }
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
    """Return the fastest cores, and of these the least busy."""
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
    return {cpu: busy for cpu, (_, busy) in cpu_ticks().items()}


def cpu_ticks() -> dict[int, tuple[int, int]]:
    """Return for each CPU all ticks and the busy ones."""
    found: dict[int, tuple[int, int]] = {}
    for line in (read("/proc/stat") or "").splitlines():
        words = line.split()
        if words and words[0].startswith("cpu") and words[0][3:].isdigit():
            ticks = [int(word) for word in words[1:9]]
            found[int(words[0][3:])] = sum(ticks), sum(ticks) - ticks[3] - ticks[4]
    return found


def taken(own: Sequence[int], cpus: Sequence[int]) -> list[list[int]]:
    """Return all ticks and those of others, of the machine and of ``cpus``, to which ``own`` are pinned."""
    each, ours = cpu_ticks(), sum(map(process_ticks, own))
    places = [list(each.values()), [each[cpu] for cpu in cpus if cpu in each]]
    return [[sum(total for total, _ in place), sum(busy for _, busy in place) - ours] for place in places]


def process_ticks(pid: int) -> int:
    # The name in brackets may hold spaces and brackets itself.
    words = (read(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return int(words[11]) + int(words[12]) if len(words) > 12 else 0


class Child:
    """This file run as a process that does nothing but run one model."""

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
    feeds = example(session, request["batch"], request["shape"], request["sizes"], request["seed"])

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


def load(file: str, threads: int, profile_to: str | None = None, optimised_to: str | None = None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if profile_to:
        options.enable_profiling, options.profile_file_prefix = True, profile_to
    if optimised_to:
        options.optimized_model_filepath = optimised_to
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def example(
    session: Any, batch: int, shape: Sequence[int] | None, sizes: dict[str, int] | None, seed: int
) -> dict[str, Any]:
    """Make the inputs, as edgekd.bench.inputs does: within the bounds of the file's signature if it has one."""
    import numpy

    feeds: dict[str, Any] = {}
    generator: Any = numpy.random.default_rng(seed)
    metadata = session.get_modelmeta().custom_metadata_map
    signature = json.loads(next((metadata[key] for key in metadata if key.endswith(".signature")), "{}"))
    known = {each["name"]: each["size"] for each in signature.get("open", ())}
    known.update(sizes or {})
    bounds = {each["name"]: each["bounds"] for each in signature.get("inputs", ())}
    for number, node in enumerate(session.get_inputs()):
        dims = list(shape) if shape and number == 0 else list(node.shape)
        if dims and not isinstance(dims[0], int):
            dims = [batch if size == dims[0] else size for size in dims]
        dims = [known.get(size, 1) if isinstance(size, str) else size for size in dims]
        if not all(isinstance(size, int) for size in dims):
            raise Refused(f"input {node.name!r} has the shape {dims}, open beyond its batch; say it with --shape")
        if node.type not in DTYPES:
            raise Refused(f"input {node.name!r} is a {node.type}, of which no example can be made")
        dtype, (low, high) = DTYPES[node.type], bounds.get(node.name) or (None, None)
        if dtype.startswith("float"):
            drawn = generator.random(dims, dtype=numpy.float32)
            feeds[node.name] = (drawn if low is None or high is None else drawn * (high - low) + low).astype(dtype)
        elif low is not None and high is not None:
            feeds[node.name] = generator.integers(int(low), int(high), dims, endpoint=True).astype(dtype)
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


def turns(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run interleaved inferences at batch 1 in one process, some with the runtime's own kernel times."""
    recorded, threads = request["recorded"], request["threads"]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, quietest(threads))
    sessions, runs = {}, {}
    for name, file in request["models"].items():
        optimised_to = f"optimised-{name}.onnx" if name in request["optimised"] else None
        sessions[name] = load(file, threads, f"profile-{name}" if name in recorded else None, optimised_to)
        runs[name] = inference(sessions[name], example(sessions[name], 1, None, None, 0))
    gc.collect()
    gc.disable()
    for _ in range(request["warmup"]):
        for name in request["order"]:
            runs[name]()
    times: list[list[int]] = []
    deadline = time.perf_counter_ns() + round(request["seconds"] * 1e9)
    while len(times) < request["least"] or (time.perf_counter_ns() < deadline and len(times) < request["most"]):
        times.append([nanoseconds(runs[name]) for name in request["order"]])
    events = {name: kernels(Path(sessions[name].end_profiling())) for name in recorded}
    yield {"event": "turns", "times_ns": times, "events": events}


def inference(session: Any, feeds: dict[str, Any]) -> Callable[[], Any]:
    return lambda: session.run(None, feeds)


def nanoseconds(run: Callable[[], Any]) -> int:
    started = time.perf_counter_ns()
    run()
    return time.perf_counter_ns() - started


def kernels(trace: Path) -> list[dict[str, Any]]:
    """Return the whole inferences of a Chrome trace, and the kernels that ran in them."""
    events = json.loads(trace.read_text())
    return [event for event in events if event["name"] == "model_run" or event["name"].endswith("_kernel_time")]


# ---- what models predict


def predictions(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run each model on the samples in a .npz file, a batch at a time, and send what ``reduction`` keeps of logits."""
    inputs = samples(request["samples"])
    reduce = REDUCTIONS[request["reduction"]]
    for name, file in request["models"].items():
        for first, logits in batch_outputs(load(file, request["threads"]), inputs):
            rows = reduce(logits)
            data = base64.b64encode(rows.tobytes()).decode()
            yield {"event": "rows", "model": name, "first": first, "shape": list(rows.shape), "data": data}


def largest(logits: Any) -> Any:
    """Return the place of each sample's largest logit, -1 where one is not finite."""
    import numpy

    return numpy.where(numpy.isfinite(logits).all(1), logits.argmax(1), -1).astype("<i4")


def every(logits: Any) -> Any:
    return logits.astype("<f4")


REDUCTIONS = {"argmax": largest, "none": every}


def samples(file: str) -> dict[str, Any]:
    """Read the arrays of a .npz file: ``inputs`` for a model with one input, else one for each input by its name."""
    import numpy

    with numpy.load(file, allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}


def batch_outputs(session: Any, inputs: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """Yield the output ``logits``, or the first, for each batch, with the number of the batch's first sample."""
    import numpy

    nodes, names = session.get_inputs(), [node.name for node in session.get_outputs()]
    feeds = {nodes[0].name: inputs["inputs"]} if list(inputs) == ["inputs"] else inputs
    if set(feeds) != {node.name for node in nodes}:
        taken = ", ".join(node.name for node in nodes)
        raise Refused(f"the model takes {taken}, and the samples are {', '.join(feeds)}")
    output = "logits" if "logits" in names else names[0]
    shape = nodes[0].shape
    step = shape[0] if shape and isinstance(shape[0], int) else None
    total = len(feeds[nodes[0].name])
    for first in range(0, total, step or BATCH):
        count = min(step or BATCH, total - first)
        batch = {name: each[first : first + count] for name, each in feeds.items()}
        if step and count < step:
            for name, each in batch.items():
                batch[name] = numpy.concatenate([each, numpy.repeat(each[-1:], step - count, axis=0)])
        yield first, session.run([output], batch)[0][:count]


def outputs(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Write the output ``logits``, or the first, of a model for all samples in a .npz file to the .npy file ``to``."""
    import numpy

    inputs = samples(request["samples"])
    session = load(request["model"], request["threads"])
    found = numpy.concatenate([batch for _, batch in batch_outputs(session, inputs)])
    numpy.save(request["to"], found, allow_pickle=False)
    yield {"event": "outputs", "shape": list(found.shape)}


# ---- TensorRT, through its trtexec


def tensorrt(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Build or find the engines, then run the commands of ``runs`` while the board's sensors are watched."""
    yield from engines(request)
    yield {"event": "limits", "limits_c": thermal_limits()}
    with locked_clocks() if request["lock_clocks"] else nothing():
        for number, run in enumerate(request["runs"]):
            yield {"event": "run", "number": number, "model": run["model"], **watched(run)}


def tensorrt_outputs(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the engines on each batch of ``samples``, a compressed file of raw numbers."""
    yield from engines(request)
    with gzip.open(request["samples"]) as packed:
        for number in range(request["batches"]):
            Path(request["batch_file"]).write_bytes(packed.read(request["batch_bytes"]))
            for run in request["runs"]:
                run_trtexec(run["words"])
                text = Path(run["outputs"]).read_text(errors="replace")
                yield {"event": "outputs", "model": run["model"], "number": number, "text": text}


def engines(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, engine in request["engines"].items():
        yield {"event": "engine", "name": name, **built(engine)}


def built(engine: dict[str, Any]) -> dict[str, Any]:
    """Make the engine available under its file's name; its cache key is ``key``, a hash of all that it depends on."""
    kept = cache() / (engine["key"] + ".engine")
    beside = kept.with_suffix(".log")
    started, cached = time.perf_counter(), kept.is_file()
    # A link to another engine that is kept, which trtexec would write through.
    with suppress(FileNotFoundError):
        Path(engine["file"]).unlink()
    if not cached:
        log = Path("build.log")
        log.write_text(run_trtexec(engine["words"])[1][-LOG:])
        # The engine last: where it lies, its log does.
        keep(log, beside)
        keep(Path(engine["file"]), kept)
        Path(engine["file"]).unlink()
    Path(engine["file"]).symlink_to(kept)
    about = {"cached": cached, "seconds": time.perf_counter() - started}
    return {**about, "log": beside.read_text(errors="replace")} if engine["log"] else about


def cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".cache") / "edgekd"


def keep(made: Path, place: Path) -> None:
    """Copy a file into the cache, whole or not at all: another run may look for it at any moment."""
    place.parent.mkdir(parents=True, exist_ok=True)
    landing = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        shutil.copyfile(str(made), str(landing))
        landing.replace(place)
    except BaseException:
        with suppress(OSError):
            landing.unlink()
        raise


def watched(run: dict[str, Any]) -> dict[str, Any]:
    before = over_current()
    with PowerWatch(run["interval_s"]) as watch:
        began, _ = run_trtexec(run["words"])
        ended = time.monotonic()
    about = {"began": began, "ended": ended, "rails": watch.rails, "tegrastats": watch.lines}
    files = {name: Path(file).read_text(errors="replace") for name, file in run["files"].items()}
    return {**about, "over_current": [before, over_current()], "files": files}


def run_trtexec(words: Sequence[str]) -> tuple[float | None, str]:
    """Run trtexec; return when its inferences began, and its output. It ends when this process does."""
    began, lines = None, []
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=die_with_parent
    )
    assert process.stdout is not None
    with process:
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            lines.append(line)
            if STARTED in line:
                began = time.monotonic()
    if process.returncode:
        # Its own errors are marked; what it prints last is how it was called.
        errors = [line.strip() for line in lines if "[E]" in line] or [line.strip() for line in lines[-3:]]
        raise Refused(f"trtexec ended with code {process.returncode}: {' '.join(errors[:3])[:600]}")
    return began, "".join(lines)


def die_with_parent() -> None:
    with suppress(AttributeError):  # Linux alone has it
        LIBC.prctl(DIE_WITH_PARENT, 9)


class PowerWatch:
    """Samples of the power rails and of ``tegrastats``, each with its time."""

    def __init__(self, interval_s: float):
        self.interval_s = interval_s
        self.rails: list[Any] = []
        self.lines: list[Any] = []
        self.folders = rail_folders()
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.sample)] if self.folders else []
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PowerWatch:
        if shutil.which("tegrastats"):
            words = ["tegrastats", "--interval", str(TEGRASTATS_MS)]
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )  # fmt: skip
            self.threads.append(threading.Thread(target=self.listen))
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for thread in self.threads:
            thread.join()

    def sample(self) -> None:
        while True:
            self.rails.append([time.monotonic(), [texts(folder) for folder in self.folders]])
            if self.done.wait(self.interval_s):
                break
        self.rails.append([time.monotonic(), [texts(folder) for folder in self.folders]])

    def listen(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        for raw in self.process.stdout:
            if raw.endswith(b"\n"):
                self.lines.append([time.monotonic(), raw.decode(errors="replace").rstrip()])


def over_current() -> dict[str, int]:
    counts = {}
    for folder in found("/sys/class/hwmon", "hwmon*"):
        if text_of(folder / "name") == "soctherm_oc":
            for path in sorted(folder.glob("oc*_event_cnt")):
                text = text_of(path) or ""
                if text.isdigit():
                    counts[path.name.partition("_")[0]] = int(text)
    return counts


def thermal_limits() -> dict[str, float]:
    """Return the temperatures at which zones throttle the board: their first passive trip points."""
    limits: dict[str, float] = {}
    for zone in found("/sys/devices/virtual/thermal", "thermal_zone*"):
        for path in sorted(zone.glob("trip_point_*_type")):
            degrees = text_of(path.with_name(path.name.replace("_type", "_temp"))) or ""
            if text_of(path) == "passive" and degrees.lstrip("-").isdigit():
                # tegrastats names a zone without its ending.
                name = (text_of(zone / "type") or zone.name).lower()
                limits.setdefault(re.sub("[-_]therm(al)?$", "", name), int(degrees) / 1000)
    return limits


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def locked_clocks() -> Iterator[None]:
    """Lock the clocks at the top of the power mode, and restore them also when this process is killed.

    A shell in a session of its own waits for the end of its input, which comes when this process ends, however it does.
    """
    cache().mkdir(parents=True, exist_ok=True)
    stored = cache() / f"clocks-{os.getpid()}"
    lock = (cache() / "clocks.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Refused("another run has locked the clocks: wait for it") from None
    must(["sudo", "-n", "jetson_clocks", "--store", str(stored)])
    # It holds the lock as long as it lives.
    script = 'cat >/dev/null; sudo -n jetson_clocks --restore "$1" && rm -f -- "$1"'
    guard = subprocess.Popen(["sh", "-c", script, "guard", str(stored)], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                             pass_fds=[lock.fileno()])  # fmt: skip
    assert guard.stdin is not None
    try:
        must(["sudo", "-n", "jetson_clocks"])
        yield
    finally:
        guard.stdin.close()
        restored = guard.wait() == 0
        lock.close()
    if not restored:
        raise Refused(f"the clocks are still locked: 'sudo jetson_clocks --restore {stored}' there puts them back")


def must(words: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Refused(f"{' '.join(words)} does not run there: {one_line(error)}") from error
    if done.returncode:
        raise Refused(f"{' '.join(words)} failed: {done.stdout.decode(errors='replace').strip()[-300:]}")


JOBS = {
    "probe": probe,
    "latency": latency,
    "turns": turns,
    "predictions": predictions,
    "outputs": outputs,
    "tensorrt": tensorrt,
    "tensorrt_outputs": tensorrt_outputs,
}


def requests_of_stdin() -> queue.Queue[dict[str, Any]]:
    """Return a queue filled by a thread, so that the end of the input is noticed in a long inference too."""
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
    # What a library prints must not end up among the responses.
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(document: dict[str, Any]) -> None:
        output.write(json.dumps(document) + "\n")
        output.flush()

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
