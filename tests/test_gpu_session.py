"""benchmarks/gpu_session.py: a part that hangs, crashes or lacks a package costs its own figures alone."""

import json
import signal
import sys
import zipfile
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# Each has one figure before the trouble starts.
BODIES = {
    "works": "",
    "hangs": "time.sleep(60)",
    "crashes": "os.kill(os.getpid(), signal.SIGSEGV)",
    "fails": "raise ValueError('no such number')",
    "lacks": "import no_such_package.part",
    "looks": "yield 'seen', list(json.load(open(os.environ['SUMMARY']))['parts'])",
    "borrows": "import carried; yield 'carried', carried.NUMBER",
}
MODULE = """
import json, os, signal, time

def measure(device, quick):
    yield "first", [device, quick]
    {body}

def goals(figures, device):
    return [{{"name": "first", "bound": 1, "value": len(figures), "met": True}}]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run parts of the names in ``BODIES`` and return the summary that is on disk."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import gpu_session

    parts = tmp_path / "parts" / "gpu_parts"
    parts.mkdir(parents=True)
    for name, body in BODIES.items():
        (parts / f"{name}.py").write_text(MODULE.format(body=body))

    def run_them(*names: str, limit: float = 30.0, minutes: float = 1.0, packages: Path | None = None):
        monkeypatch.setenv("PYTHONPATH", str(parts.parent))
        monkeypatch.setenv("SUMMARY", str(tmp_path / "summary.json"))
        environment = gpu_session.child_environment(packages)
        session = gpu_session.Session(tmp_path, tmp_path / "summary.json", "cpu", True, environment)
        gpu_session.run_parts([gpu_session.Part(name, limit) for name in names], minutes, session)
        return json.loads((tmp_path / "summary.json").read_text())

    return run_them


def test_trouble_of_one_part_stays_its_own(run):
    summary = run("crashes", "fails", "lacks", "works")
    statuses = {name: part["status"] for name, part in summary["parts"].items()}
    assert statuses == {
        "crashes": f"crashed: {signal.SIGSEGV.name}",
        "fails": "failed: ValueError: no such number",
        "lacks": "absent: no_such_package",
        "works": "done",
    }
    assert all(part["figures"] == {"first": ["cpu", True]} for part in summary["parts"].values())
    assert summary["parts"]["fails"]["where"][-1].startswith("fails.py:")
    ran, *others = summary["goals"]
    assert (ran["bound"], ran["value"], ran["met"]) == (3, 1, False)
    assert len(others) == 4


def test_a_part_that_hangs_is_ended_at_its_limit(run):
    summary = run("hangs", "works", limit=3.0)
    hung = summary["parts"]["hangs"]
    assert hung["status"] == "stopped at its limit of 3 s"
    assert hung["figures"] == {"first": ["cpu", True]}
    assert hung["seconds"] < 10
    assert summary["parts"]["works"]["status"] == "done"


def test_the_summary_is_on_disk_after_each_part(run):
    assert run("works", "lacks", "looks")["parts"]["looks"]["figures"]["seen"] == ["lacks", "works"]


def test_the_session_ends_in_its_time(run):
    summary = run("works", minutes=0.01)
    assert summary["parts"]["works"]["status"] == "not reached"


def test_packages_are_taken_from_wheels(run, tmp_path):
    import gpu_session

    assert run("borrows")["parts"]["borrows"]["status"] == "absent: carried"
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "carried-1-py3-none-any.whl", "w") as archive:
        archive.writestr("carried.py", "NUMBER = 7")
    folder = gpu_session.unpacked(wheels, tmp_path / "unpacked")
    assert run("borrows", packages=folder)["parts"]["borrows"]["figures"]["carried"] == 7
    assert gpu_session.unpacked(folder, tmp_path) == folder


def test_every_part_is_there(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import gpu_session

    names = {path.stem for path in (BENCHMARKS / "gpu_parts").glob("*.py")}
    assert {part.name for part in gpu_session.PARTS} == names - {"child", "tools", "patterns"}
    page = (BENCHMARKS / "README.md").read_text()
    assert all(f"| `{part.name}` |" in page for part in gpu_session.PARTS)
    with pytest.raises(SystemExit, match=r"there is no part 'latncy'; parts: environment, latency"):
        gpu_session.chosen("latncy")
