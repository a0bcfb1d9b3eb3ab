"""The packages of the code by their layers; ``python -m tests.house`` writes ``docs/map.md`` from them."""

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "edgekd"
MAP = ROOT / "docs/map.md"
MODULE = re.compile(r"edgekd(\.\w+)+")
# Modules that only who asks for them imports.
ON_DEMAND = re.compile(r"edgekd\.(runtimes\.(pytorch|tensorrt)\.(session|profile)|tasks\.\w+\.train)\b")
TORCH = ("torch", "torchvision", "torchao", "torch_pruning", "lightning", "lightning_fabric", "timm")
HEAD = """\
# Map of the code

The packages of `edgekd` by layer, highest first, with the file to open first; single modules come last in a layer. Each
imports only from lower layers, never from its own. Those with a star reach PyTorch neither directly nor through others.
`tests/test_house.py` holds the code to both.
"""


@dataclass(frozen=True)
class Room:
    """``first`` is the file to open first, below the room; empty where the room is one file."""

    name: str
    first: str = ""
    torch: bool = False

    @property
    def path(self) -> Path:
        return HOUSE / self.name if self.first else HOUSE / f"{self.name}.py"

    @property
    def files(self) -> list[Path]:
        return sorted(self.path.rglob("*.py")) if self.first else [self.path]

    @property
    def sentence(self) -> str:
        init = self.path / "__init__.py" if self.first else self.path
        return (ast.get_docstring(parsed(init)) or "").partition("\n")[0]


# Lowest first.
FLOORS = (
    (
        *(Room(name) for name in ("children", "errors", "extras", "lazy", "nearest", "onnx_graph", "pipes", "pixels")),
        *(Room(name) for name in ("plain_text", "scratch", "strict_json", "strict_toml", "usercode")),
        Room("precision", torch=True),
    ),
    (
        *(Room(name) for name in ("folders", "formatting", "geometry", "log", "ranges", "registry")),
        Room("stats", "paired.py"),
    ),
    (
        Room("agent", "__main__.py"),
        *(Room(name) for name in ("files", "progress", "runtime")),
        Room("machine_lock", "lock.py"),
    ),
    (
        *(Room(name) for name in ("arrayfiles", "artifact_cache", "external", "images", "profiles")),
        *(Room(name) for name in ("user_cache", "userhash")),
    ),
    (
        *(Room(name) for name in ("options", "preprocess", "userfile")),
        Room("deploy", "deploy.py"),
        Room("tasks", "task.py"),
    ),
    (
        Room("bench", "runner.py"),
        Room("bundle", "manifest.py"),
        Room("lint", "linter.py"),
        Room("models", "build.py", torch=True),
        *(Room("records", "shape.py"), Room("spec")),
    ),
    (
        Room("artifact", torch=True),
        Room("data", "dataset.py", torch=True),
        Room("devices", "targets.py"),
        Room("export", "onnx_file.py", torch=True),
        Room("factorize", "factorization.py", torch=True),
        Room("gate", "check.py"),
    ),
    (Room("runtimes", "onnxruntime/session.py"), Room("train", "loop.py", torch=True)),
    (
        Room("distill", "objective.py", torch=True),
        Room("prune", "plan.py", torch=True),
        Room("quantize", "qat.py", torch=True),
    ),
    (Room("stages", "stage.py", torch=True),),
    (Room("recipe", "schema.py"), Room("report", "schema.py")),
    (Room("pipeline", "run.py", torch=True),),
    (Room("search", "space.py", torch=True),),
    (Room("cli", "main.py"),),
)
ROOMS = {room.name: (floor, room) for floor, rooms in enumerate(FLOORS, start=1) for room in rooms}


def rooms_on_disk() -> set[str]:
    found = {path.relative_to(HOUSE).parts[0].removesuffix(".py") for path in HOUSE.rglob("*.py")}
    return found - {"__init__", "__main__"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """All that ``path`` ever imports, as modules; a name that is imported from one counts as a module too."""
    return _imported(path, list(ast.walk(parsed(path))))


def imports_at_once(path: Path) -> set[str]:
    """What is imported together with ``path``: not in functions, and not for annotations alone."""
    nodes, found = list(parsed(path).body), []
    while nodes:
        node = nodes.pop()
        found.append(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            nodes += [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt | ast.ExceptHandler)]
        elif isinstance(node, ast.ExceptHandler):
            nodes += node.body
    return _imported(path, found)


def _imported(path: Path, nodes: "list[ast.AST] | list[ast.stmt]") -> set[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"{path}:{node.lineno}: imports are absolute here")
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            names.add(node.value)  # for import_module, or a process of its own
    return names


# Files that read or write documents of JSON, TOML and YAML as they are, before they become records or after.
EDGE = {
    "recipe/open_fields.py": "a recipe's YAML before it is validated",
    "cli/fit.py": "reads the summary of a search",
    "search/candidates.py": "the record of a search, in lines of JSON",
    "search/fit.py": "the record of a search, in lines of JSON",
    "search/forecast.py": "reads the record of a search",
    "search/jobs.py": "messages between two processes",
    "search/launch.py": "messages between two processes",
    "search/ray_cluster.py": "messages between two processes",
    "search/ray_driver.py": "messages between two processes",
    "search/ray_node.py": "messages between two processes",
    "search/step_times.py": "messages between two processes",
    "search/finalists.py": "messages between two processes",
    "search/sweep.py": "the record of a search, in lines of JSON",
    "search/study_log.py": "the record of a search, in lines of JSON",
    "search/worker.py": "messages between two processes",
    "search/default_space.py": "writes parts of a recipe's YAML",
    "search/opening.py": "a recipe's YAML before it is validated",
    "search/space.py": "fills values into a recipe's YAML",
    "agent/child.py": "messages between two processes",
    "agent/inputs.py": "reads the signature in a file's metadata",
    "agent/interleave.py": "messages between two processes",
    "agent/launches.py": "messages between two processes",
    "agent/reductions.py": "messages between two processes",
    "agent/lines.py": "messages between two processes",
    "agent/once.py": "messages between two processes",
    "agent/predictions.py": "messages between two processes",
    "agent/probe.py": "messages between two processes",
    "agent/workload.py": "messages between two processes",
    "agent/blocks.py": "messages between two processes",
    "agent/session.py": "arrays by the names of tensors",
    "bench/interleaved.py": "messages between two processes",
    "bench/local_agent.py": "messages between two processes",
    "bench/runner.py": "messages between two processes",
    "bundle/diff.py": "compares two documents item by item",
    "bundle/manifest.py": "reads manifest.json with the standard library alone",
    "runtimes/tensorrt/trtexec/output.py": "reads JSON that trtexec exports",
    "files.py": "reads JSON objects",
    "devices/latency.py": "messages between two machines",
    "runtimes/tensorrt/on_device.py": "messages between two machines",
    "gate/consistency.py": "checks a report's document",
    "gate/evidence.py": "reads a baseline's document",
    "gate/policy.py": "reads TOML",
    "gate/row.py": "reads rows of a report and of a baseline",
    "gate/subject.py": "reads a report's document and a baseline's",
    "pipeline/log.py": "writes lines of JSON",
    "recipe/tree.py": "reads YAML",
    "records/evidence.py": "reads rows of a report and of a baseline",
    "records/facts.py": "reads a report's document",
    "records/roles.py": "checks a report's document",
    "records/rows.py": "reads a report's document",
    "records/readers.py": "checks documents value by value",
    "records/shape.py": "checks documents of a report and of a baseline",
    "report/fit_record.py": "reads the record of a search",
    "report/profile.py": "reads a profile's document",
    "tasks/breakdown.py": "reads and writes a part of report.json",
    "report/schema.py": "report.json, whose metrics of stages, profiles and environment are free",
    "spec.py": "reads and writes model.json",
    "strict_json.py": "reads JSON",
    "strict_toml.py": "reads TOML",
}


# Files of fewer lines that a single file of their room imports are folded into it; these stay.
SMALL = 40
STAY = {
    "bundle/licenses.py": "brings the list of SPDX; packing is long enough",
    "devices/agent_archive.py": "makes the file that is copied, apart from the connection",
    "pipeline/inventory.py": "the operators of a file, apart from its evaluation",
    "pipeline/threads.py": "the state of PyTorch, which a run holds and gives back",
    "pipeline/worker.py": "the part of the other processes of a run",
    "prune/importance/build.py": "importances by their names",
    "stages/order.py": "a rule over all stages",
    "train/l2_sp.py": "a method from a paper is a file",
}
# Folders whose files are entries of a registry: each method, rule or source is a file, however short.
REGISTRIES = (
    "data/",
    "distill/losses/",
    "prune/importance/",
    "quantize/calibration/",
    "runtimes/",
)


def small_files() -> set[str]:
    """Return the short files that a single other file of their room imports."""
    files = {path.relative_to(HOUSE).as_posix(): path for path in HOUSE.rglob("*.py")}
    importers: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for module in imports(path):
            found = file_of(module) if module.startswith("edgekd.") else None
            if found is not None and found != path:
                importers[found.relative_to(HOUSE).as_posix()].add(name)
    return {
        name
        for name, path in files.items()
        if not path.stem.startswith("__")
        and len(path.read_text().splitlines()) < SMALL
        and len(importers[name]) == 1
        and all(each.partition("/")[0] == name.partition("/")[0] for each in importers[name])
    }


def circle_of(room: Room) -> list[str]:
    """Return files of ``room`` each of which imports the next, the first one last again, or nothing if there is none.

    Imports in functions and for annotations count; modules in strings do not: they are processes of their own.
    """
    files = {path: path.relative_to(HOUSE).as_posix() for path in room.files}
    graph = {
        name: {files[each] for each in map(file_of, modules_imported(path)) if each in files and each != path}
        for path, name in files.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def modules_imported(path: Path) -> set[str]:
    """Return the modules that ``path`` imports, not the packages that they are in."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if file_of(name) else str(node.module) for name in names}
    return found


def loose_tables() -> Counter[str]:
    """Count annotations ``dict[str, Any]`` and ``Mapping[str, Any]`` by room.

    Not counted are the files of ``EDGE``, and functions whose name says ``json``, such as ``to_json``.
    """
    return _annotations("dict[str, Any]", "Mapping[str, Any]")


def json_objects() -> Counter[str]:
    """Count annotations ``JsonObject``, for documents on their way to or from disk, in the same files."""
    return _annotations("JsonObject")


def _annotations(*kinds: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in HOUSE.rglob("*.py"):
        name = path.relative_to(HOUSE).as_posix()
        if name not in EDGE:
            found[name.partition("/")[0].removesuffix(".py")] += _count(parsed(path), kinds)
    return found


def _count(node: ast.AST, kinds: tuple[str, ...]) -> int:
    # Each task has a decoder, whose options a manifest keeps.
    if isinstance(node, ast.FunctionDef) and ("json" in node.name or node.name == "decoder"):
        return 0
    here = isinstance(node, ast.Subscript | ast.Name) and ast.unparse(node) in kinds
    return here + sum(_count(each, kinds) for each in ast.iter_child_nodes(node))


def room_of(module: str) -> str | None:
    first, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if first == "edgekd" and name in ROOMS else None


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


@cache
def reached(module: str) -> frozenset[str]:
    """Modules that are imported together with ``module``, one step on: its packages, and what its file imports."""
    packages = {module.rsplit(".", count)[0] for count in range(1, module.count(".") + 1)}
    path = file_of(module)
    return frozenset(packages | (imports_at_once(path) if path else set()))


def way_to_torch(module: str) -> list[str] | None:
    """Return the modules from ``module`` to one of PyTorch's, each of which imports the next."""
    ways, seen = [[module]], {module}
    while ways:
        way = ways.pop(0)
        if way[-1].partition(".")[0] in TORCH:
            return way
        for name in sorted(reached(way[-1]) - seen):
            seen.add(name)
            if name.startswith("edgekd") or name.partition(".")[0] in TORCH:
                ways.append([*way, name])
    return None


def modules(room: Room) -> list[str]:
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in room.files)
    return [name.removesuffix(".__init__") for name in names]


def page() -> str:
    parts = [HEAD]
    for number, rooms in sorted(enumerate(FLOORS, 1), reverse=True):
        ordered = sorted(rooms, key=lambda each: each.name)
        lines = [f"- {link(room)}: {room.sentence}" for room in ordered if room.first]
        modules = [link(room) for room in ordered if not room.first]
        lines += [f"- {', '.join(modules)}"] if modules else []
        parts.append(f"## Layer {number}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def link(room: Room) -> str:
    file = f"edgekd/{room.name}/{room.first}" if room.first else f"edgekd/{room.name}.py"
    return f"[`{room.name}`](../{file}){'' if room.torch else '*'}"


if __name__ == "__main__":
    MAP.write_text(page())
