"""The rooms of the house: imports run downwards only, and the ones that run on devices never import torch."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "edgekd"
WITHOUT_TORCH = (
    "bench",
    "devices",
    "bundle",
    "recipe",
    "report",
    "cli",
    "preprocess",
    "images",
    "folders",
    "arrayfiles",
    "files",
    "scratch",
    "figures",
    "errors",
    "registry",
    "tensorrt",
    "lint",
)
FROM_BELOW = ["errors", "data", "train", "chain", "cli"]


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} if node.module != "edgekd" else {f"edgekd.{alias.name}" for alias in node.names}
    return names


def files_of(room: str) -> list[Path]:
    return [HOUSE / f"{room}.py"] if (HOUSE / f"{room}.py").exists() else sorted((HOUSE / room).rglob("*.py"))


def rooms() -> list[str]:
    return sorted({path.relative_to(HOUSE).parts[0].removesuffix(".py") for path in HOUSE.rglob("*.py")} - {"__init__"})


def rooms_below(room: str) -> set[str]:
    names = {name for path in files_of(room) for name in imports(path) if name.startswith("edgekd.")}
    return {room_of(name) for name in names} - {room}


def test_no_circle_of_rooms():
    below = {
        room: {room_of(name) for path in files_of(room) for name in imports(path) if name.startswith("edgekd.")}
        - {room}
        for room in rooms()
    }
    order = list(TopologicalSorter(below).static_order())
    assert (
        order.index("errors") < order.index("data") < order.index("train") < order.index("chain") < order.index("cli")
    )


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_rooms_without_torch(room):
    allowed = {HOUSE / "cli" / "run.py"}  # imports it when it is called
    runtimes = {HOUSE / "bench" / "runtimes" / name for name in ("pytorch", "tensorrt")}  # imported when asked for
    for path in files_of(room):
        if path not in allowed and path.parent not in runtimes:
            assert not [name for name in imports(path) if name.split(".")[0] in ("torch", "torchvision")], path
