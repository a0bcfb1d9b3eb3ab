"""``pip install edgekd`` without extras brings what the commands of a device import, and they work with it."""

import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from pkgutil import iter_modules

import pytest
from packaging.requirements import Requirement

from edgekd.extras import EXTRAS, how_to_install
from edgekd.strict_toml import parse
from tests.bundle.conftest import bundle as bundle
from tests.bundle.conftest import draw as draw
from tests.bundle.conftest import packed_once as packed_once
from tests.bundle.models import linear_model

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/quickstart.yaml"
PROJECT = parse((ROOT / "pyproject.toml").read_bytes())["project"]
# Modules whose package has another name.
PACKAGES = {"sklearn": "scikit-learn"}
WHEEL_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "edgekd")
TRAIN = r"error: this needs \w+, which is not installed here: pip install 'edgekd\[train\]'\n"

# Runs commands one after the other in one process, and writes what each said and all that was imported.
DRIVER = """\
import contextlib, io, json, sys
from edgekd.cli.main import main
said = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["edgekd", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(sys.__stderr__):
        try: main()
        except SystemExit as stop: said.append((stop.code or 0, errors.getvalue()))
json.dump([said, [name for name, module in sys.modules.items() if module]], sys.stdout)
"""


def requirements(lines: Iterable[str]) -> "list[Requirement]":
    found = map(Requirement, lines)
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def closure(found: "Iterable[Requirement]") -> set[str]:
    """Names of the packages that come with ``found``."""
    names, left = set(), [each.name for each in found]
    while left:
        if (name := left.pop().lower()) not in names:
            names.add(name)
            left += [each.name for each in requirements(distribution(name).requires or [])]
    return names


def modules_of(package: str) -> set[str]:
    files = distribution(package).files or ()
    return {file.parts[0].partition(".")[0] for file in files if file.suffix in (".py", ".so")}


@pytest.fixture
def device_commands(bundle, draw, run_folder, tmp_path) -> dict[str, list[str]]:
    """What a device or the job of a gate calls."""
    model = str(linear_model(tmp_path / "a.onnx"))
    runs = ["--baseline", str(run_folder("agreed")), "--current", str(run_folder("same"))]
    return {
        "--version": ["--version"],
        "lint": ["lint", model, "--target", "onnxruntime-x86"],
        "bundle verify": ["bundle", "verify", str(bundle), "--self-test"],
        "predict": ["predict", str(bundle), str(draw("left"))],
        "check": ["check", *runs],
        "devices": ["devices", "list"],
        "recipe": ["recipe", "check", str(RECIPE)],
        "bench": ["bench", model, "--launches=1", "--seconds=0.1", "--max-seconds=0.1"],
    }


def without_extras(folder: Path, commands: Iterable[list[str]]) -> tuple[list[tuple[int, str]], set[str]]:
    """Run ``commands`` where Python finds the core packages alone, in child processes too."""
    kept = set().union(*map(modules_of, closure(requirements(PROJECT["dependencies"]))))
    installed = {each.name for each in iter_modules([path for path in sys.path if path.endswith("-packages")])}
    hidden = sorted(name for name in installed - kept if not name.startswith("_") and name != "edgekd")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({hidden}))\n")
    program = [sys.executable, "-c", DRIVER, json.dumps(list(commands))]
    done = subprocess.run(program, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, modules = json.loads(done.stdout)
    return said, {name.partition(".")[0] for name in modules}


def test_the_core_is_what_commands_of_a_device_import(device_commands, tmp_path):
    said, modules = without_extras(tmp_path / "site", device_commands.values())
    assert [(name, *each) for name, each in zip(device_commands, said, strict=True) if each[0]] == []
    idle = [each.name for each in requirements(PROJECT["dependencies"]) if not modules & modules_of(each.name)]
    assert idle == [], "no command of a device imports these: move them to an extra"


def test_what_trains_says_in_one_line_what_to_install(bundle, tmp_path):
    network = tmp_path / "net.py"
    network.write_text("import torch\nmake = torch.nn.Identity\n")
    commands = [
        ["run", str(RECIPE)],
        ["export", str(tmp_path), "--target", "tensorrt"],
        ["bench", f"{network}:make", "--shape", "1,4"],
        ["profile", f"{network}:make", "--shape", "1,4"],
    ]
    said, _ = without_extras(tmp_path / "site", commands)
    assert [code for code, _ in said] == [1] * len(commands)
    assert [text for _, text in said if not re.fullmatch(TRAIN, text)] == []


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_extras_are_those_of_the_project(extra):
    packages = {PACKAGES.get(module, module.replace("_", "-")) for module in EXTRAS[extra]}
    others = {each.name for each in requirements(PROJECT["optional-dependencies"][extra])} - {"edgekd"}
    assert packages == others


def test_a_submodule_counts_as_its_package_and_others_have_no_advice():
    assert how_to_install("torch.nn") == "this needs torch, which is not installed here: pip install 'edgekd[train]'"
    assert how_to_install("mine") is how_to_install(None) is None


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def timed(*program: object, cwd: Path) -> float:
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, program)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (program, done.stdout[-2000:], done.stderr[-2000:])
    return time.monotonic() - started


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment of its own, into which pip installed the built wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("clean")
    source, environment = folder / "source", folder / "environment"
    source.mkdir()
    for name in WHEEL_SOURCES:
        subprocess.run(["cp", "-r", ROOT / name, source], check=True)
    venv.create(environment, with_pip=True)
    pip = (environment / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    seconds = timed(*pip, "wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    [wheel] = folder.glob("edgekd-*.whl")
    print(f"wheel: {wheel.stat().st_size / 1e6:.2f} MB, built in {seconds:.0f} s")
    seconds = timed(*pip, "install", "--constraint", ROOT / "constraints.txt", wheel, cwd=folder)
    [packages] = environment.glob("lib/python3*/site-packages")
    sizes = {path.name: megabytes(path) for path in packages.iterdir() if path.is_dir()}
    largest = sorted(sizes.items(), key=lambda item: item[1], reverse=True)[:9]
    print(f"packages: {sum(sizes.values()):.0f} MB, installed in {seconds:.0f} s")
    print(", ".join(f"{name} {size:.0f}" for name, size in largest))
    assert not {"torch", "torchvision", "matplotlib", "sklearn"}.intersection(sizes)
    yield environment


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(clean, device_commands, tmp_path):
    edgekd = clean / "bin/edgekd"
    for name, arguments in device_commands.items():
        start = timed(edgekd, *[each for each in name.split() if each != "--version"], "--help", cwd=tmp_path)
        whole = timed(edgekd, *arguments, cwd=tmp_path)
        print(f"{name:14} starts in {start:.2f} s, takes {whole:.2f} s")
    done = subprocess.run([edgekd, "run", RECIPE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(TRAIN, done.stderr)
