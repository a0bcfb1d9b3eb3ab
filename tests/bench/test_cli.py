import io
import json
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from rich.console import Console

from edgekd.bench.plan import Workload
from edgekd.bench.records import CostSummary, LatencyRecord, LatencySummary
from edgekd.cli.bench import reference_first, slower_than_float
from edgekd.cli.bench_result import TimedModel, table
from edgekd.cli.workloads import bundled, onnx_file, parse_shape, size_bytes, wanted_in, workloads
from edgekd.errors import MeasurementError
from edgekd.runtime import RUNTIMES
from tests.bench.conftest import write_model
from tests.cli.conftest import edgekd as edgekd
from tests.lint.graphs import Net
from tests.test_external import with_weights_outside


def bundle(folder: Path, manifest: object, model: bytes = b"") -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "student.onnx").write_bytes(model)
    return folder


def test_json_document_of_a_bundle_against_a_file(edgekd, light, heavy, tmp_path):
    packed = bundle(tmp_path / "packed", {"model": "student.onnx"}, light.read_bytes())
    done = edgekd(
        "bench", packed, "--against", heavy, "--seconds", 0.1, "--max-seconds", 0.1, "--launches", 2, "--json", "-"
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    reference, student = document["models"]
    assert (document["reference"], reference["model"], student["model"]) == (
        str(heavy),
        str(heavy),
        str(packed),
    )
    assert student["latency_vs_reference"]["ratio"] < 1
    assert "latency_vs_reference" not in reference
    assert student["size_bytes"] == light.stat().st_size
    assert student["peak_rss_bytes"] > student["baseline_rss_bytes"]
    assert document["environment"]["packages"]["onnxruntime"]
    codes = {warning["code"] for row in document["models"] for warning in row["warnings"]}
    assert all(f"[{code}]" in done.err for code in codes)
    assert {"ratio"} == set(student["latency_vs_reference"]), "two launches have no interval"


def test_table_and_file(edgekd, light, tmp_path):
    figures = tmp_path / "figures.json"
    quick = ("--seconds", 0.1, "--max-seconds", 0.1, "--launches", 1)
    done = edgekd("bench", light, *quick, "--batch", 1, "--batch", 4, "--json", figures)
    assert done.code == 0, done.err
    assert "p50" in done.out
    assert "light.onnx" in done.out.replace("\n", "")
    document = json.loads(figures.read_text())
    assert document["schema_version"] == 2
    assert [row["batch"] for row in document["models"]] == [1, 4]
    assert "1 thread, batch 4" in done.out


def test_a_latency_and_a_cost_that_differ_have_two_names():
    def model(name: str, cost: float) -> TimedModel:
        found = CostSummary(cost, rounds=20, of=30, taken=0.4, ci95_p50=(0.99 * cost, 1.01 * cost))
        times = LatencyRecord(LatencySummary(1.9, 2.1, 900, 2.0, (1.9, 2.1)), 1.0, 1.0, 1, 1, [], [], cost_ms=found)
        return TimedModel(name, Workload(f"{name}.onnx"), 1000, times, None)

    def shown(*models: TimedModel) -> str:
        console = Console(width=80, file=io.StringIO())
        console.print(table(models, "a processor", "slow", console.width))
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= 80 and "…" not in text
        return " ".join(text.split())

    assert "cost" not in shown(model("slow", 2.01), model("fast", 1.99))
    busy = shown(model("slow", 2.01), model("fast", 1.25))
    assert "cost" in busy and "1.25" in busy and "without the time" in busy


def test_missing_file_is_one_line(edgekd):
    done = edgekd("bench", "none.onnx")
    assert done.code == 1
    assert done.err == "error: no such file: none.onnx; give .onnx files or bundle folders\n"


def test_other_files_are_refused(tmp_path):
    (tmp_path / "weights.pt").touch()
    with pytest.raises(MeasurementError, match="edgekd run"):
        onnx_file(tmp_path / "weights.pt")


@pytest.mark.parametrize("manifest", [{}, [], {"model": 3}, {"model": "../escaped.onnx"}, {"model": "none.onnx"}])
def test_bundles_that_name_no_model_of_theirs(tmp_path, manifest):
    (tmp_path / "escaped.onnx").touch()
    with pytest.raises(MeasurementError, match=r"manifest\.json"):
        bundled(bundle(tmp_path / "packed", manifest))


def test_folder_without_manifest(tmp_path):
    with pytest.raises(MeasurementError, match=r"no manifest\.json"):
        bundled(tmp_path)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_of_a_bundle_a_file_for_this_machine_is_timed_or_the_other_is_named(tmp_path, monkeypatch, capsys, machine):
    x86 = {"device": "cpu", "runtime": "onnxruntime", "profile": "onnxruntime-x86", "file": "x86.onnx"}
    arm = {"device": "pi", "runtime": "onnxruntime", "profile": "onnxruntime-arm", "file": "arm.onnx"}
    orin = {"device": "orin", "runtime": "tensorrt", "profile": "tensorrt", "file": "orin.onnx"}

    def timed(*targets, runtime="onnxruntime", place="cpu") -> tuple[str, str]:
        """The file, and the warning in which it is not for the runtime there."""
        name = "-".join(each["device"] for each in targets) or "plain"
        packed = tmp_path / name
        if not packed.exists():
            bundle(packed, {"model": "student.onnx", "targets": targets})
            for each in targets:
                (packed / each["file"]).touch()
        found = onnx_file(packed, wanted_in(RUNTIMES[runtime], "cpu", place))
        return found.name, capsys.readouterr().err

    monkeypatch.setattr("platform.machine", lambda: machine)
    assert timed(x86, arm) == ("x86.onnx" if machine == "x86_64" else "arm.onnx", "")
    other, profile = (x86, "onnxruntime-arm") if machine == "aarch64" else (arm, "onnxruntime-x86")
    name, said = timed(other, orin)
    assert name == "student.onnx"
    assert said == (
        f"warning: no file of {tmp_path / other['device']}-orin is written for ONNX Runtime on this machine; "
        "student.onnx, its model, is read instead. To read another, give the file; "
        f"'edgekd export RUN --target {profile}' writes one\n"
    )
    assert timed(other, orin, place="orin", runtime="tensorrt") == ("orin.onnx", "")
    # An engine is built where it runs, so that another device's file does as well.
    assert timed(other, orin, place="nano", runtime="tensorrt") == ("orin.onnx", "")
    assert "TensorRT on nano; student.onnx, its model" in timed(x86, arm, place="nano", runtime="tensorrt")[1]
    assert "ONNX Runtime on nano; student.onnx" in timed(x86, arm, place="nano")[1]
    assert timed() == ("student.onnx", "")  # of a bundle without targets the model is all there is


def given(*models, runtimes=(), shape=None) -> dict[str, Workload]:
    return workloads([str(model) for model in models], runtimes, "cpu", shape, None)


def test_labels_are_unique(light):
    assert list(given(light, light)) == [str(light), f"{light} (2)"]


def test_runtimes_are_what_the_files_are_for(light, tmp_path):
    (tmp_path / "a.engine").touch()
    stage = tmp_path / "01-distill"
    stage.mkdir()
    (stage / "model.json").write_text(
        json.dumps({"schema_version": 1, "builder": "net.py:make", "num_classes": 10, "input_shape": [3, 8, 8]})
    )
    found = given(light, tmp_path / "a.engine", stage, "net.py:make")
    assert [one.runtime for one in found.values()] == ["onnxruntime", "tensorrt", "pytorch", "pytorch"]
    assert found[str(stage)].shape == (1, 3, 8, 8)
    assert found[str(stage)].args == {"folder": str(stage)}


def test_one_model_in_several_runtimes():
    found = given("net.py:make", runtimes=["pytorch", "pytorch-compiled"], shape=(1, 3))
    assert list(found) == ["net.py:make in pytorch", "net.py:make in pytorch-compiled"]


def test_a_file_in_a_runtime_that_does_not_take_it(light):
    with pytest.raises(MeasurementError, match="PyTorch a stage folder"):
        given(light, runtimes=["pytorch"])
    with pytest.raises(MeasurementError, match=r"ONNX Runtime takes an \.onnx file"):
        given("net.py:make", runtimes=["onnxruntime"])


def test_size_counts_weights_beside_the_graph(tmp_path):
    model, files = with_weights_outside(tmp_path / "a.onnx", "weights.bin")
    assert size_bytes(Workload(str(model))) == sum(path.stat().st_size for path in (model, *files))
    (tmp_path / "a.onnx.data").write_bytes(b"of another model")
    assert size_bytes(Workload(str(model))) == sum(path.stat().st_size for path in (model, *files))
    assert size_bytes(Workload("net.py:make", "pytorch")) is None


def test_reference_is_measured_once_unless_it_is_alone():
    assert reference_first(["b", "a"], None) == ["b", "a"]
    assert reference_first(["a", "b"], "a") == ["a", "b"]
    assert reference_first(["b"], "a") == ["a", "b"]
    assert reference_first(["a"], "a") == ["a", "a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "1,three"], "--shape 1,three: expected positive numbers"),
        (["--device", "cuda"], "CUDAExecutionProvider is not in this ONNX Runtime"),
        (["--runtime", "onyx"], "unknown runtime 'onyx'"),
        (["--timeout", 0.05], "was not done when the time limit of 0.05 s was over"),
        (
            ["--precision", "bfloat16"],
            "has its precision in the file, and ONNX Runtime computes in no other; "
            "--precision is for PyTorch and OpenVINO",
        ),
        (["--seconds", 2, "--max-seconds", 1], "--max-seconds 1 is less than --seconds 2"),
    ],
)
def test_mistakes_are_one_line(edgekd, light, arguments, message):
    done = edgekd("bench", light, *arguments)
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_shapes():
    assert parse_shape("1,3,224,224") == parse_shape("1x3x224x224") == (1, 3, 224, 224)
    for wrong in ("1,3,", "a", "0,3", "-1,3"):
        with pytest.raises(MeasurementError, match="--shape"):
            parse_shape(wrong)


@pytest.mark.parametrize(("low", "named"), [(1.1, ["int8"]), (0.9, [])])
def test_an_int8_file_that_is_slower_than_its_float_twin_is_named(tmp_path, low, named):
    def model(name: str, file: Path, ratio: SimpleNamespace | None) -> SimpleNamespace:
        times = SimpleNamespace(latency_vs_reference=ratio)
        return SimpleNamespace(name=name, workload=Workload(str(file)), times=times)

    net = Net()
    onnx.save(net.model(net.conv(net.pair("x"))), tmp_path / "int8.onnx")
    twin = model("float", write_model(tmp_path / "float.onnx"), None)
    int8 = model("int8", tmp_path / "int8.onnx", SimpleNamespace(ratio=1.2, ci95=(low, 1.3)))
    assert slower_than_float(SimpleNamespace(reference="float", models=[twin, int8])) == named
