"""How fast int8 files run in ONNX Runtime: edgekd's beside those of ONNX Runtime's and NNCF's own quantisers.

    python benchmarks/quantize_peers.py --json benchmarks/results/quantize_peers.json

Batch 1, one thread; the float file and all int8 files of a network are timed in one run, in turns. Weights are random
(none can be downloaded) with BatchNorm statistics estimated on random images, and calibration images are random too:
speed hardly depends on them, and no accuracy is claimed. Files and measurements are kept under --out, and a run that
was killed goes on; ``--files`` makes the float files and the peers', which takes longest and needs no quiet machine,
and stops.

    python benchmarks/quantize_peers.py --runtime openvino --json benchmarks/results/quantize_peers_openvino.json

times in OpenVINO: the float file as it is and in bfloat16, NNCF's file and edgekd's for OpenVINO, beside edgekd's for
ONNX Runtime and the float file in ONNX Runtime. ``--only`` splits a run by network; what was measured is found again,
and the rows of other networks stay in the JSON if they were measured alike.
"""

import json
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, goal, options, say
from int8_files import CALIBRATION, FLOAT, NETWORKS, OURS, PEERS, SEED, SMALL, STATISTICS, Entry, make_files, shape_of
from openvino_files import BFLOAT16, FLOAT_ORT, NNCF, OURS_ORT, RUNTIME, make_openvino_files, workload_of
from peers import saturates, version_of
from rich.console import Console
from rich.table import Table

from edgekd.artifact_cache import ArtifactCache
from edgekd.bench import LatencyRecord, Plan, Workload, fingerprint, measure
from edgekd.bench.quiet_moment import must_tell, when_quiet
from edgekd.errors import MeasurementError
from edgekd.files import canonical_json, make_folder, sha256, sha256_file, write_json
from edgekd.formatting import ABSENT, significant
from edgekd.stats.ratios import ratio_over_launches

ROOT = Path(__file__).parents[1]
RESNETS = ("resnet18", "resnet50", *SMALL)
QUICK = ("mobilenet_v3_small", "cifar_resnet20")
SETTINGS = {"seconds": 2.0, "max_seconds": 3.0, "launches": 8}
QUICK_SETTINGS = {"seconds": 0.6, "max_seconds": 1.2, "launches": 6}
OVER_PEER, RESNET_GAIN = 1.02, 2.5
VERSION = 1
Times = dict[str, list[list[float]]]


def workload_in_onnxruntime(method: str, file: Path) -> Workload:
    return Workload(str(file))


def timed(
    name: str,
    entries: dict[str, Entry],
    settings: dict[str, Any],
    store: ArtifactCache,
    workload_of: Callable[[str, Path], Workload] = workload_in_onnxruntime,
) -> dict[str, Any]:
    """Latency of every file of a network, measured now or before on this machine.

    Raises:
        MeasurementError: others took so much of the processors that no cost can be told; nothing is kept.
    """
    files = {method: entry.file for method, entry in entries.items() if entry.file is not None}
    here = fingerprint().to_json()
    machine = {key: here[key] for key in ("cpu", "packages", "kernel")}
    hashes = {method: sha256_file(file) for method, file in files.items()}
    key = sha256(canonical_json([VERSION, name, hashes, settings, machine]))

    def fill(new: Path) -> None:
        say(f"  {name}: timing of {', '.join(files)}")
        workloads = {method: workload_of(method, file) for method, file in files.items()}
        records = when_quiet(measure, Plan(workloads, OURS if OURS in workloads else FLOAT, **settings))
        must_tell(records, name)
        write_json(new / "latency.json", {method: kept_of(record) for method, record in records.items()})

    folder = store.keep(name, key, fill)
    found: dict[str, Any] = json.loads((folder / "latency.json").read_text())
    return found


def kept_of(record: LatencyRecord) -> dict[str, Any]:
    """A record with the median of each round in place of every sample."""
    document = record.to_json()
    document.pop("raw_ns")
    rounds = [[float(np.median(block)) for block in launch] for launch in record.raw_ns]
    return {**document, "round_medians_ns": rounds}


def row(name: str, entries: dict[str, Entry], latency: dict[str, Any], peers: Sequence[str] = PEERS) -> dict[str, Any]:
    found: dict[str, Any] = {
        "network": name,
        "shape": [1, *shape_of(name)],
        "files": {method: entry.to_json() for method, entry in entries.items()},
        "latency": latency,
    }
    if OURS not in latency:
        return found
    over = {other: ratio(latency, other) for other in latency if other != OURS}
    # By turns rather than by medians: on a machine that changes its speed they may disagree.
    fastest = max((peer for peer in peers if peer in over), key=lambda peer: over[peer]["ratio"], default=None)
    named = {"fastest_peer": fastest} if fastest else {}
    return {**found, **named, "edgekd_over": over}


def ratio(latency: dict[str, Any], other: str) -> dict[str, Any]:
    """edgekd's cost over that of ``other``; of latencies in records that are older than costs."""
    against = latency[other].get("latency_vs_reference")
    if "cost_ms" in latency[OURS]:
        if against is None:
            raise MeasurementError(f"others left no ratio of {OURS} to {other}: stop them, and run it again")
        ends = against.get("ci95")
        return {"ratio": 1 / against["ratio"]} | ({"ci95": [1 / ends[1], 1 / ends[0]]} if ends else {})
    value, interval = ratio_over_launches(latencies(latency[OURS]), latencies(latency[other]))
    return {"ratio": value} | ({"ci95": list(interval)} if interval else {})


def latencies(record: dict[str, Any]) -> list[list[list[float]]]:
    """A block of one median for each round, as ratios take it."""
    return [[[median] for median in launch] for launch in record["round_medians_ns"]]


def show(rows: list[dict[str, Any]], methods: Sequence[str]) -> None:
    table = Table("Network", *(f"{method} ms" for method in methods), "over peer", "95 %", "over float", "float convs")
    for entry in rows:
        over = entry.get("edgekd_over", {})
        peer, floating = over.get(entry.get("fastest_peer")), over.get(FLOAT)
        ours = entry["files"].get(OURS, {})
        table.add_row(
            entry["network"],
            *(median(entry["latency"].get(method)) for method in methods),
            f"{peer['ratio']:.3f}" if peer else ABSENT,
            "{:.3f}–{:.3f}".format(*peer["ci95"]) if peer and "ci95" in peer else ABSENT,
            f"{floating['ratio']:.3f}" if floating else ABSENT,
            f"{ours['float_convolutions']} of {ours['convolutions']}" if "convolutions" in ours else ABSENT,
        )
    Console(width=170).print(table)
    for entry in rows:
        for method, about in entry["files"].items():
            if about.get("error"):
                say(f"{entry['network']}, {method}: {about['error']}")


def median(record: dict[str, Any] | None) -> str:
    return significant(record["latency_ms"]["p50"]) if record else ABSENT


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for entry in rows:
        name, over = entry["network"], entry.get("edgekd_over", {})
        if "fastest_peer" in entry:
            value = over[entry["fastest_peer"]]["ratio"]
            found.append(goal(f"{name}: time over the fastest peer's", OVER_PEER, value, at_most=True))
        if FLOAT in over:
            surely = over[FLOAT].get("ci95", [over[FLOAT]["ratio"]])[0]
            found.append(goal(f"{name}: time over the float file's, surely", 1.0, surely, at_most=True))
            if name in RESNETS and BFLOAT16 not in over:
                found.append(goal(f"{name}: times faster than float", RESNET_GAIN, 1 / over[FLOAT]["ratio"]))
        if BFLOAT16 in over:
            surely = over[BFLOAT16].get("ci95", [over[BFLOAT16]["ratio"]])[0]
            found.append(goal(f"{name}: time over the float file's in bfloat16, surely", 1.0, surely, at_most=True))
    missing = sum("edgekd_over" not in entry for entry in rows)
    alone = sum("fastest_peer" not in entry for entry in rows)
    return [
        *found,
        goal("networks without a file of edgekd's that runs", 0, missing, at_most=True),
        goal("networks without a peer's file that runs", 0, alone, at_most=True),
    ]


def main() -> None:
    arguments = options(
        __doc__,
        only={"nargs": "+", "metavar": "NAME", "choices": NETWORKS, "help": "these networks"},
        files={"action": "store_true", "help": "make the peers' files and stop"},
        runtime={"choices": ("onnxruntime", RUNTIME), "default": "onnxruntime", "help": "what the files are made for"},
    )
    quick, folder = arguments.quick, make_folder(arguments.out or ROOT / "runs/quantize_peers")
    names = arguments.only or (QUICK if quick else NETWORKS)
    settings = QUICK_SETTINGS if quick else SETTINGS
    files, measurements = ArtifactCache(folder / "files"), ArtifactCache(folder / "measurements")
    rows, there = [], arguments.runtime == RUNTIME
    peers = (NNCF,) if there else PEERS
    methods = (FLOAT, BFLOAT16, NNCF, OURS, FLOAT_ORT, OURS_ORT) if there else (FLOAT, *PEERS, OURS)
    for name in names:
        if there:
            entries = make_openvino_files(name, files, ours=not arguments.files)
        else:
            entries = make_files(name, files, ours=not arguments.files)
        if not arguments.files:
            how = workload_of if there else workload_in_onnxruntime
            rows.append(row(name, entries, timed(name, entries, settings, measurements, how), peers))
    if arguments.files:
        sys.exit(0)
    show(rows, methods)
    about = {
        "weights": f"random, seed {SEED}, BatchNorm statistics of {STATISTICS} random images",
        "calibration": f"{CALIBRATION} random images",
        "saturates": saturates(),
        "peers": {peer: version_of(peer) for peer in peers},
        **({"openvino": version_of("OpenVINO")} if there else {}),
        "settings": settings,
        "cpu": fingerprint().to_json()["cpu"],
    }
    if arguments.only and arguments.json and arguments.json.exists():
        rows = sorted(
            [*rows, *other_rows(arguments.json, about, names)], key=lambda row: [*NETWORKS].index(row["network"])
        )
    finish(arguments, {**about, "rows": rows}, goals(rows))


def other_rows(path: Path, about: dict[str, Any], names: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows of a record that are not of ``names``, and end the program if they were measured otherwise."""
    record = json.loads(path.read_text())
    record.setdefault("cpu", record["environment"]["cpu"])
    differing = [key for key, value in about.items() if record.get(key) != json.loads(json.dumps(value))]
    if differing:
        sys.exit(f"{path} was measured with other {', '.join(differing)}: give another --json")
    return [row for row in record["rows"] if row["network"] not in names]


if __name__ == "__main__":
    main()
