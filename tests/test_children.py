"""What edgekd starts imports nothing that lies about, and ONNX Runtime keeps no event database in it."""

import ast
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import edgekd
from edgekd import children
from edgekd.devices.agent_archive import PACKAGE, agent_archive

TRAPS = ("bisect", "queue", "random", "types", "statistics", "typing", "select", "numpy", "json")
HOUSE = Path(edgekd.__file__).parent


@pytest.fixture
def trapped(tmp_path, monkeypatch):
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the working directory was executed')")
    (tmp_path / "only_here.py").write_text("print('found', __name__)")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(words: list[str], cwd: Path | None = None, **env: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, env=env or None, cwd=cwd).stdout


@pytest.mark.parametrize("implicit", ["", "."])
def test_the_working_directory_hides_no_module_from_a_child(trapped, monkeypatch, implicit):
    monkeypatch.setattr(sys, "path", [implicit, *sys.path])
    environment = children.environment()
    path = environment["PYTHONPATH"].split(os.pathsep)
    assert (path[-1], path.count(str(trapped))) == (str(trapped), 1)
    # Python 3.10 does not know the variable.
    del environment["PYTHONSAFEPATH"]
    assert "usage: " in started([*children.words("json.tool"), "--help"], **environment)
    assert started(children.words("only_here"), **environment) == "found __main__\n"


@pytest.mark.parametrize("argument", ["--help", "devices"])
def test_the_command_as_a_module_runs_nothing_of_the_working_directory(trapped, argument):
    (trapped / "types.py").unlink()  # Python itself imports it before it looks for edgekd
    assert "Usage: edgekd" in started([sys.executable, "-m", "edgekd", argument, "--help"])


def test_a_session_leaves_nothing_in_the_users_folders(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g",
        *([helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])] for name in "xy"),
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    home = tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_DATA_HOME": str(home / "data")}
    code = "from edgekd.bundle.session import BundleSession; from pathlib import Path; BundleSession(Path('m.onnx'))"
    for given, kept in ((None, "1"), ("0", "0")):
        environment = {**os.environ, **places} | ({"ORT_DISABLE_TELEMETRY": given} if given else {})
        if not given:
            environment.pop("ORT_DISABLE_TELEMETRY", None)
        said = started(
            [sys.executable, "-c", f"{code}; import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"],
            cwd=tmp_path,
            **environment,
        )
        assert said.strip() == kept
        if not given:
            assert list(home.rglob("*")) == []


def test_the_agent_on_devices_sets_it_before_anything_else():
    """Its package is another than this one, and as empty but for that."""
    with zipfile.ZipFile(BytesIO(agent_archive())) as archive:
        assert archive.read("edgekd/__init__.py").decode() == PACKAGE
    for line in (
        'os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")',
        'sys.modules.setdefault("openvino_telemetry", None)',
    ):
        assert line in PACKAGE and line in (HOUSE / "__init__.py").read_text()


def test_openvino_is_imported_without_what_sends_an_event():
    """It forks a process for that, which would keep a device's folder and connection."""
    code = (
        "import edgekd, openvino, sys, multiprocessing\n"
        "print(sys.modules['openvino_telemetry'], multiprocessing.active_children())"
    )
    pytest.importorskip("openvino")
    assert started([sys.executable, "-c", code]).split("\n")[0] == "None []"


def test_no_module_sets_or_starts_it_by_another_way():
    """Of the two ways in, the package's first lines are one, and nothing starts Python with ``-m``."""
    for path in HOUSE.rglob("*.py"):
        strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        # That one reads another process's command line.
        assert "-m" not in strings or path == HOUSE / "machine_lock" / "holders.py", path
        if "ORT_DISABLE_TELEMETRY" in strings:
            assert path in (HOUSE / "__init__.py", HOUSE / "devices" / "agent_archive.py")
