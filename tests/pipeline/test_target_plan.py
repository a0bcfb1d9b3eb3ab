"""What each target will get, said before anything is trained."""

from pathlib import Path

import pytest

from edgekd.devices.registry import Device, add_device
from edgekd.errors import DeviceError, RecipeError
from edgekd.options import Target
from edgekd.pipeline.check import check_recipe
from edgekd.pipeline.resolve import resolve_targets
from edgekd.pipeline.target_plan import describe_targets, list_targets, plan_targets, target_names
from edgekd.recipe import load_recipe
from tests.toy import RECIPE, write_recipe

BOARDS = """\
targets:
  - {device: cpu, runtime: onnxruntime}
  - {device: pi, architecture: arm, threads: 4}
  - {device: orin, runtime: tensorrt}
"""


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def said(folder: Path, text: str) -> list[str]:
    checked = check_recipe(write_recipe(folder, text))
    return describe_targets(checked.recipe, checked.targets)


def unwrapped(lines: list[str]) -> str:
    return "\n".join(lines).replace("\n           ", " ")


def test_each_target_says_its_file_its_processor_and_what_is_measured(tmp_path):
    lines = said(tmp_path, RECIPE + BOARDS)
    assert lines == [
        "target   cpu: model.cpu.onnx, for ONNX Runtime on this machine's x86_64 CPU",
        "         int8 for onnxruntime-x86: int8 weights and uint8 activations",
        "         accuracy, latency and memory are measured on this machine, and the",
        "           budget is judged there",
        "target   pi: model.pi.onnx, for ONNX Runtime on an aarch64 CPU",
        "         int8 for onnxruntime-arm: int8 weights and int8 activations",
        "         accuracy is checked by emulation in ONNX Runtime on this machine;",
        "           latency is not measured: pi is not in the device registry; 'edgekd",
        "           devices add pi --ssh user@host' adds it",
        "target   orin: model.orin.onnx, for TensorRT on an NVIDIA GPU",
        "         int8 for tensorrt: int8 weights and int8 activations, and float16 in",
        "           other layers",
        "         accuracy is checked by emulation in ONNX Runtime on this machine;",
        "           latency is not measured: orin is not in the device registry; 'edgekd",
        "           devices add orin --ssh user@host' adds it",
    ]
    assert max(map(len, lines)) <= 80


def test_a_run_has_one_line_for_each_target(tmp_path):
    checked = check_recipe(write_recipe(tmp_path, RECIPE + BOARDS))
    assert list_targets(checked.recipe, checked.targets) == [
        "target   cpu: model.cpu.onnx, int8, for ONNX Runtime; timed here, for the budget",
        "target   pi: model.pi.onnx, int8, for ONNX Runtime; not timed (see 'edgekd recipe check')",
        "target   orin: model.orin.onnx, int8, for TensorRT; not timed (see 'edgekd recipe check')",
    ]


def test_what_cannot_be_is_said_with_its_reason(tmp_path, monkeypatch):
    text = RECIPE.replace("rungs: [qat]", "rungs: [qat], profile: onnxruntime-x86-vnni")
    text = text.replace("accuracy_drop: 100", "latency_ratio: 0.5")
    text += "targets: [{device: orin, runtime: tensorrt, architecture: arm}]\n"
    lines = unwrapped(said(tmp_path, text))
    assert "orin: no file for TensorRT: a network quantised for onnxruntime-x86-vnni gives no file" in lines
    assert "quantise with 'profile: portable'" in lines
    assert "budget   no target is timed, so latency_ratio of the budget cannot be met" in lines
    lines = unwrapped(said(tmp_path, text.replace("latency_ratio: 0.5", "energy_mj: 0.5")))
    assert "budget   no target is timed, so energy_mj of the budget cannot be met" in lines
    checked = check_recipe(tmp_path / "toy.yaml")
    assert unwrapped(list_targets(checked.recipe, checked.targets)).count("\n") == 1
    monkeypatch.setattr("edgekd.runtime.find_spec", lambda name: None if name == "openvino" else name)
    lines = unwrapped(said(tmp_path, RECIPE + "targets: [{device: cpu, runtime: openvino}, {device: cuda}]\n"))
    assert "OpenVINO is not installed here; 'pip install openvino' brings it" in lines
    assert "latency is not measured: this machine times ONNX Runtime on cpu; other targets" in lines


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("stages: [distill]\n" + BOARDS, ["float32", "float32", "float16"]),
        ("stages: [distill, quantize: {rungs: [half]}]\n", ["float16"]),
        ("stages: [distill, quantize]\n", ["int8"]),
        (
            "stages: [distill, quantize]\ntargets: [{device: orin, runtime: tensorrt, architecture: arm}]\n",
            ["float16, or int8 if the budget needs it"],
        ),
    ],
)
def test_the_precision_of_each_file_is_known(tmp_path, text, precision):
    checked = check_recipe(write_recipe(tmp_path, RECIPE[: RECIPE.index("stages:")] + text))
    assert [plan.precision for plan in checked.targets] == precision


def test_a_device_that_is_not_known_is_a_mistake_with_two_ways_out(tmp_path):
    add_device(Device("desk", "board"))
    path = write_recipe(tmp_path, RECIPE + "targets:\n  - cpu: 1\n  - {device: desc}\n  - {device: the board}\n")
    with pytest.raises(RecipeError) as caught:
        check_recipe(path)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{path}:15", "targets.0.cpu"],
        [f"{path}:16", "targets.1"],
        [f"{path}:17", "targets.2"],
    ]
    assert "'desc' is not in the device registry, and has no architecture (did you mean 'desk'?)" in lines[1]
    assert "'edgekd devices add desc --ssh user@host'" in lines[1] and "'architecture: arm'" in lines[1]
    assert "'edgekd devices add NAME --ssh user@host'" in lines[2]
    # TensorRT's file is the same for every processor, so that none is asked for.
    plan = unwrapped(said(tmp_path, RECIPE + "targets: [{device: desc, runtime: tensorrt}]\n"))
    assert "model.desc.onnx, for TensorRT" in plan
    assert "desc is not in the device registry (did you mean 'desk'?)" in plan
    with pytest.raises(DeviceError, match="targets: 'desc' is not in the device registry"):
        resolve_targets(load_recipe(write_recipe(tmp_path, RECIPE + "targets: [{device: desc}]\n")))


def test_a_registered_device_is_probed_and_one_that_does_not_respond_is_a_mistake(tmp_path):
    add_device(Device("off", "127.0.0.1:1"))
    path = write_recipe(tmp_path, RECIPE + "targets: [{device: off}]\n")
    assert [plan.measured for plan in check_recipe(path, reach=False).targets] == [None]
    with pytest.raises(RecipeError, match=f"{path}:14: targets.0: .*127.0.0.1:1"):
        check_recipe(path)


def test_a_measured_device_judges_the_budget(tmp_path):
    add_device(Device("desk", "board"))
    recipe = load_recipe(write_recipe(tmp_path, RECIPE + "targets: [{device: desk, architecture: x86}, {}]\n"))
    desk, cpu = plan_targets(recipe, ["desk"])
    assert (desk.measured, desk.judged, cpu.measured, cpu.judged) == ("there", True, "here", False)
    assert recipe.targets[0].architecture == "x86_64" and "through SSH, and" in describe_targets(recipe, [desk])[2]


def test_names_of_files_tell_devices_and_runtimes_apart():
    targets = [
        Target(device="cpu"),
        Target(device="cpu", threads=2),
        Target(device="cpu", runtime="openvino"),
        Target(device="The Board"),
        Target(device="the-board"),
        Target(device="raw"),
    ]
    assert target_names(targets) == [
        *("cpu-onnxruntime", "cpu-onnxruntime", "cpu-openvino", "the-board", "the-board-2", "raw-onnxruntime"),
    ]
