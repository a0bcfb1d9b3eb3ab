"""Records and parts of all runtimes: each name is found, and stands in no code but its runtime's own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.devices.runtime_probe import runtime_probes
from edgekd.lint import TARGETS
from edgekd.runtime import DEFAULT, REGISTERED, RUNTIMES, by_session
from tests.house import HOUSE

# What a part is looked up by. TensorRT's remote part is in its package.
PARTS = {
    "confirm": ("confirm",),
    "peak": ("measure_peaks",),
    "profile": ("profile",),
    "probe": ("PROBE",),
    "remote": ("measure", "predict"),
    "rules": ("TARGETS",),
    "runtime": ("RUNTIME",),
    "session": ("SESSION",),
    "writer": ("WRITER",),
}
NAME = re.compile(r"onnx ?runtime|tensorrt|openvino", re.IGNORECASE)
# Where a runtime's name may stand outside of its folder.
NAMED = {
    "__init__.py": "what keeps telemetry of ONNX Runtime and OpenVINO off comes before anything that imports them",
    "agent/probe.py": "runs on a device without the registry; where NVIDIA puts trtexec, and ONNX Runtime's providers",
    "agent/workload.py": "runs on a device without the registry; workloads of earlier versions name no runtime",
    "bench/environment.py": "packages of a machine, by which measurements of earlier versions are found again",
    "bundle/card.py": "a bundle is run in ONNX Runtime",
    "devices/agent_archive.py": "the agent's package keeps telemetry off as this one does",
    "bundle/manifest.py": "a bundle is run in ONNX Runtime, as its platform says to servers",
    "bundle/pack.py": "a bundle is run in ONNX Runtime",
    "bundle/session.py": "a bundle is run in ONNX Runtime, by readers who have nothing else",
    "bundle/triton.py": "a bundle is run in ONNX Runtime, as Triton's backend says",
    "cli/bench.py": "help on files that a user knows by their makers",
    "cli/devices.py": "commands of trtexec, which no other runtime has",
    "cli/export.py": "help on a GPU's capability, which no other runtime takes",
    "cli/predict.py": "a bundle is run in ONNX Runtime",
    "data/options.py": "help on open axes, whose bounds one runtime needs",
    "extras.py": "the extras of pyproject.toml, by the packages that they bring",
    "runtime.py": "the registry",
    "search/ray_node.py": "every file is tried in ONNX Runtime, so all nodes need the same one",
    "stages/int8_teacher.py": "a teacher in int8 is a session of ONNX Runtime",
}


def strings_and_names(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    alone = {id(each.value) for body in bodies for each in body if isinstance(each, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in alone:
                yield text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.keyword(arg=str(text)):
                yield text
            case ast.FunctionDef(name=text) | ast.ClassDef(name=text) | ast.alias(name=text):
                yield text
            case ast.ImportFrom(module=str(text)):
                yield text


def test_no_code_names_a_runtime_but_its_own():
    files = [path for path in HOUSE.rglob("*.py") if not path.is_relative_to(HOUSE / "runtimes")]
    naming = {path.relative_to(HOUSE).as_posix() for path in files if any(map(NAME.search, strings_and_names(path)))}
    assert naming == set(NAMED)


def test_no_runtime_stands_in_anothers_folder():
    """But for TensorRT, whose inputs and outputs are PyTorch's tensors: what several need is below them all."""
    found = set()
    for name in REGISTERED:
        for path in (HOUSE / "runtimes" / name).rglob("*.py"):
            modules = {
                node.module or "" for node in ast.walk(ast.parse(path.read_text())) if type(node) is ast.ImportFrom
            }
            found |= {(name, module.split(".")[2]) for module in modules if module.startswith("edgekd.runtimes.")}
    assert {(own, other) for own, other in found if own != other} == {("tensorrt", "pytorch")}


@pytest.mark.parametrize("name", REGISTERED)
def test_every_part_has_what_it_is_looked_up_by(name):
    folder = HOUSE / "runtimes" / name
    runtime = RUNTIMES[name]
    assert runtime.name == name and runtime.has("session") and runtime.has("profile")
    for part, wanted in PARTS.items():
        path = next((each for each in (folder / f"{part}.py", folder / part / "__init__.py") if each.is_file()), None)
        assert runtime.has(part) == (path is not None)
        if path is not None:
            assert set(wanted) <= set(top_names(path)), path


def top_names(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)


@pytest.mark.parametrize("name", [name for name in REGISTERED if RUNTIMES[name].profiles])
def test_a_runtime_of_files_has_rules_and_a_probe_for_each_profile(name):
    profiles = {profile.name for profile in RUNTIMES[name].profiles}
    assert all(profile.runtime == name for profile in RUNTIMES[name].profiles)
    assert set(RUNTIMES[name].part("rules").TARGETS) == profiles
    assert {TARGETS[each].name for each in profiles} == profiles
    assert [each.runtime.name for each in runtime_probes()].count(name) == 1


def test_sessions_are_of_one_runtime_each():
    names = [session for runtime in RUNTIMES.values() for session in runtime.sessions]
    assert len(set(names)) == len(names)
    assert all(name in runtime.sessions for name, runtime in RUNTIMES.items())
    assert [by_session(name).name for name in REGISTERED] == list(REGISTERED)
    assert RUNTIMES[DEFAULT].is_installed and "cpu" in RUNTIMES[DEFAULT].devices


def test_modules_that_are_shipped_are_there():
    for name in REGISTERED:
        assert all(RUNTIMES[name].has(module) for module in RUNTIMES[name].shipped)
