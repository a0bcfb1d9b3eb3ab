"""The runner by itself: on this Python, and by the rules of 3.8."""

import ast
import json
import subprocess
import sys

from edgekd.devices.remote import RUNNER


def runner(request: dict[str, object], python: str = sys.executable) -> list[dict]:
    process = subprocess.Popen([python, str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    with process:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    return events


def test_python_3_8_and_nothing_of_edgekd():
    tree = ast.parse(RUNNER.read_text(), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_probe_on_this_machine():
    device, done = runner({"job": "probe"})
    assert device["python"]["version"] == sys.version.split()[0]
    assert device["cores"] >= 1 and device["free_disk_bytes"] > 0
    assert done == {"event": "done"}


def test_a_failure_is_told_not_thrown():
    [event] = runner({"job": "accuracy", "samples": "absent.npz", "models": {}, "threads": 1})
    assert event["event"] == "failed"
    assert event["why"].startswith("FileNotFoundError: ") and "absent.npz" in event["why"]


def test_the_end_of_its_input_ends_it():
    process = subprocess.Popen([sys.executable, str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == 1
