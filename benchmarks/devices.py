"""Teacher and student, in float and int8, on every device that can be reached.

    edgekd run recipes/quickstart.yaml
    make board && tests/devices/board.sh start 2299
    edgekd devices add board --ssh board --ssh-config build/board.keys/config --python /opt/edge/bin/python --emulated
    python benchmarks/devices.py --emulated board --json benchmarks/results/devices.json

On this CPU with one and two threads everything is timed in turns; a registered device is timed there, through SSH. An
emulated board is asked for its answers alone: its clock means nothing. Accuracy is that on the run's test samples, and
agreement the share of them that get the class that this CPU gives with one thread; where that is under 99.5 %, the
first layer at which the runtime there leaves what the file says is named. A GPU's and a Jetson's cells stay "not
measured" where there is none, beside the commands that would fill them.

The teacher in int8 is quantised post-training here; the other files are the run's own.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish, goal, options, say
from rich.console import Console
from rich.table import Table

import edgekd
from edgekd.bench import LatencyRecord, Plan, Workload, measure
from edgekd.data import DataSet, in_order, load_data
from edgekd.devices.registry import find_device
from edgekd.devices.targets import RemoteTarget
from edgekd.errors import EdgekdError
from edgekd.export import runtime_logits
from edgekd.formatting import ABSENT, significant
from edgekd.pipeline.evaluate import departure
from edgekd.pipeline.measure import LAUNCHES, SECONDS
from edgekd.quantize import calibrate, export_runtime, prepare
from edgekd.recipe import load_recipe
from edgekd.runtimes.tensorrt.trtexec.command import Build, EngineTiming, build_command, timing_command
from edgekd.stats.proportion import wilson_interval
from edgekd.tasks.tensors import only

TEACHER, TEACHER_INT8, STUDENT, STUDENT_INT8 = "teacher float32", "teacher int8", "student float32", "student int8"
CALIBRATION = 256
POINTS, AGREEMENT = 0.1, 0.995
NOT_MEASURED = "not measured"
JETPACK_6, TRTEXEC = (10, 3, 0), "/usr/src/tensorrt/bin/trtexec"


def main() -> None:
    arguments = options(
        __doc__,
        run={"type": Path, "default": Path("runs/quickstart"), "help": "a finished run"},
        devices={"nargs": "*", "default": [], "metavar": "NAME", "help": "of the device registry, timed there"},
        emulated={
            "nargs": "*",
            "default": [],
            "metavar": "NAME",
            "help": "of the device registry, asked for answers alone",
        },
    )
    recipe = load_recipe(arguments.run / "recipe.lock.yaml")
    data = load_data(recipe.data, recipe.seed)
    with tempfile.TemporaryDirectory() as folder:
        files = files_of(arguments.run, data, Path(folder) / "teacher-int8.onnx")
        here = {
            name: runtime_logits(path, data.inputs(data.test), threads=1).argmax(1).numpy()
            for name, path in files.items()
        }
        rows = on_this_cpu(files, here, data)
        for device, timed in places(arguments):
            rows += on_device(device, files, here, data, timed)
    rows += [not_measured("GPU", command) for command in gpu_commands()]
    rows += [not_measured("Jetson", command) for command in jetson_commands()]
    show(rows)
    figures = {"run": recipe.name, "test_samples": len(data.test), "rows": rows}
    finish(arguments, figures, goals(rows))


def places(arguments: argparse.Namespace) -> list[tuple[str, bool]]:
    return [(name, True) for name in arguments.devices] + [(name, False) for name in arguments.emulated]


def files_of(run: Path, data: DataSet, teacher_int8: Path) -> dict[str, Path]:
    rows = [row for row in json.loads((run / "report.json").read_text())["rows"] if row["runtime"] == "onnxruntime"]
    floats = [row for row in rows if row["precision"] == "float32"]
    if rows[-1]["precision"] != "int8":
        raise EdgekdError(f"{run}: its last network's file is {rows[-1]['precision']}; give a run with an int8 one")
    teacher = edgekd.load(next((run / "stages").glob("00-teacher-*")))
    graph = prepare(teacher, data.input_shape, "onnxruntime-x86")
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:CALIBRATION]
    calibrate(graph, [data.to_input(raw) for raw, _ in in_order(data.train.select(chosen), data.batch_size)])
    export_runtime(graph, teacher_int8, data.preprocess, "onnxruntime-x86", trained="onnxruntime-x86")
    return {
        TEACHER: run / floats[0]["file"],
        TEACHER_INT8: teacher_int8,
        STUDENT: run / floats[-1]["file"],
        STUDENT_INT8: run / rows[-1]["file"],
    }


def on_this_cpu(files: Mapping[str, Path], here: Mapping[str, Any], data: DataSet) -> list[dict[str, Any]]:
    rows = []
    for threads in (1, 2):
        say(f"this CPU, {threads} threads")
        records = measure(plan(files, threads))
        # One model's answers do not depend on the number of threads beyond a rounding; they are looked at anyway.
        answers = {
            name: runtime_logits(path, data.inputs(data.test), threads=threads).argmax(1).numpy()
            for name, path in files.items()
        }
        rows += [row("this CPU", threads, name, answers[name], here[name], data, records[name]) for name in files]
    return rows


def plan(files: Mapping[str, Path], threads: int) -> Plan:
    workloads = {name: Workload(str(path)) for name, path in files.items()}
    return Plan(workloads, TEACHER, threads, seconds=SECONDS, max_seconds=2 * SECONDS, launches=LAUNCHES)


def on_device(
    name: str, files: Mapping[str, Path], here: Mapping[str, Any], data: DataSet, timed: bool
) -> list[dict[str, Any]]:
    inputs = np.concatenate([only(data.to_input(raw)).numpy() for raw, _ in in_order(data.test, data.batch_size)])
    with RemoteTarget(find_device(name)) as there:
        found = there.probe.to_json()
        say(f"{name}: answers on {len(inputs)} samples")
        answers = there.predict("onnxruntime", files, inputs, data.task)
        records = there.latency(plan(files, 1)) if timed else {}
        departs_at = {
            model: departure(files[model], data, there.outputs)
            for model in files
            if np.mean(answers[model].rows == here[model]) < AGREEMENT
        }
    if cut := next((each.cut for each in answers.values() if each.cut), None):
        raise EdgekdError(f"{name}: {cut}")
    return [
        {
            **row(name, 1, model, answers[model].rows, here[model], data, records.get(model)),
            **{"emulated": not timed, "probe": found, "departs_at": departs_at.get(model)},
        }
        for model in files
    ]


def row(
    device: str,
    threads: int,
    model: str,
    answers: np.ndarray,
    here: np.ndarray,
    data: DataSet,
    record: LatencyRecord | None,
) -> dict[str, Any]:
    right = int((answers == data.test.labels.numpy()).sum())
    latency: dict[str, Any] = {}
    if record:
        latency = {"latency_ms": record.latency_ms.to_json(), "valid": record.valid}
        latency["warnings"] = [warning.to_json() for warning in record.warnings]
        ratio = record.latency_vs_reference
        latency["latency_vs_teacher"] = ratio.to_json() if ratio else None
    return {
        **{"device": device, "runtime": "onnxruntime", "threads": threads, "model": model},
        **{"accuracy": right / len(answers), "accuracy_ci95": wilson_interval(right, len(answers))},
        **{"agreement": float(np.mean(answers == here)), "n": len(answers)},
        **latency,
    }


def not_measured(device: str, command: str) -> dict[str, Any]:
    return {"device": device, "not_measured": True, "command": command}


def gpu_commands() -> list[str]:
    return [
        "edgekd bench TEACHER.onnx STUDENT.onnx --device cuda --runtime onnxruntime --runtime onnxruntime-tensorrt",
        "python benchmarks/gpu_session.py --json benchmarks/results/gpu.json",
    ]


def jetson_commands() -> list[str]:
    """Those of JetPack 6; ``edgekd.runtimes.tensorrt.trtexec.command`` has each release's."""
    build = Build("STUDENT.tensorrt.onnx", "STUDENT.engine", int8=True)
    timing = EngineTiming("STUDENT.engine", "times.json")
    return [
        "edgekd bench TEACHER.tensorrt.onnx STUDENT.tensorrt.onnx --device JETSON --runtime tensorrt",
        " ".join(build_command(TRTEXEC, JETPACK_6, build)),
        " ".join(timing_command(TRTEXEC, JETPACK_6, timing)),
    ]


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    at_home = {row["model"]: row["accuracy"] for row in rows if row["device"] == "this CPU" and row["threads"] == 1}
    found = []
    for each in rows:
        if each.get("emulated") and each["model"] == STUDENT_INT8:
            moved = 100 * abs(each["accuracy"] - at_home[STUDENT_INT8])
            where = f"{STUDENT_INT8} on {each['device']}"
            found.append(goal(f"{where}: points of accuracy from here", POINTS, moved, at_most=True))
            found.append(goal(f"{where}: share of equal answers", AGREEMENT, each["agreement"]))
    return found


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("Device", "Threads", "Model", "p50 ms", "Times teacher float", "Accuracy %", "95 %", "Agreement %")
    for each in rows:
        if each.get("not_measured"):
            table.add_row(each["device"], "", each["command"], *[NOT_MEASURED] * 5)
            continue
        ratio = each.get("latency_vs_teacher")
        times = f"{ratio['ratio']:.3f}" if ratio else ABSENT
        times += " ({:.3f}–{:.3f})".format(*ratio["ci95"]) if ratio and "ci95" in ratio else ""
        p50 = significant(each["latency_ms"]["p50"]) if each.get("latency_ms") else ABSENT
        interval = "{:.2f}–{:.2f}".format(*(100 * end for end in each["accuracy_ci95"]))
        figures = (p50, times, f"{100 * each['accuracy']:.2f}", interval, f"{100 * each['agreement']:.2f}")
        table.add_row(each["device"], str(each["threads"]), each["model"], *figures)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
