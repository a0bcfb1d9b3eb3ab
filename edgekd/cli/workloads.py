"""Workloads from the models that are named on the command line."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from edgekd.bench.inputs import with_sizes
from edgekd.bench.plan import Workload
from edgekd.errors import EdgekdError, MeasurementError, ModelError
from edgekd.external import external_files
from edgekd.extras import how_to_install
from edgekd.files import read_object
from edgekd.log import get_logger
from edgekd.runtime import DEFAULT, RUNTIMES, Runtime, architecture_of, by_session
from edgekd.spec import MODEL, Spec
from edgekd.stages import Quantize

logger = get_logger(__name__)

NETWORK = Path(__file__).parents[1] / "stages" / "network.py"
ONNX = ".onnx"


class Wanted(NamedTuple):
    """Say what a bundle's file is to be for.

    Attributes:
        facts: of the target that it belongs to, the best choice first.
        title: the same for people.
        profile: that ``edgekd export`` writes such a file for.
    """

    facts: Sequence[Mapping[str, str]]
    title: str
    profile: str = "TARGET"


def workloads(
    given: Sequence[str],
    runtimes: Sequence[str],
    device: str,
    shape: tuple[int, ...] | None,
    precision: str | None,
    sizes: Mapping[str, int] | None = None,
    place: str | None = None,
) -> dict[str, Workload]:
    """Return each model in each of ``runtimes``, or in the one that its kind of file is for, by a unique name.

    ``place`` is the registered device that they run on, which a bundle may have a file for.
    """
    found: dict[str, Workload] = {}
    for model in given:
        for runtime in runtimes or [runtime_for(model)]:
            name = f"{model} in {runtime}" if len(runtimes) > 1 else model
            found[unused(name, found)] = workload(model, runtime, device, shape, precision, sizes, place)
    return found


def unused(name: str, taken: dict[str, Workload]) -> str:
    label, number = name, 1
    while label in taken:
        number += 1
        label = f"{name} ({number})"
    return label


def runtime_for(model: str) -> str:
    suffix, network = Path(model).suffix, is_network(model)
    fitting = (each for each in RUNTIMES.values() if (each.runs_networks if network else suffix in each.suffixes))
    return next(fitting, RUNTIMES[DEFAULT]).name


def is_network(model: str) -> bool:
    return ".py:" in model or (Path(model) / "model.json").is_file()


def workload(
    model: str,
    runtime: str,
    device: str,
    shape: tuple[int, ...] | None = None,
    precision: str | None = None,
    sizes: Mapping[str, int] | None = None,
    place: str | None = None,
) -> Workload:
    used = by_session(runtime)
    if is_network(model) != used.runs_networks:
        first, *others = RUNTIMES.values()
        taken = "".join(f", {each.title} {each.loads}" for each in others)
        raise MeasurementError(f"{model} does not run in {runtime}: {first.title} takes {first.loads}{taken}")
    if precision is not None and not used.takes_precision:
        takers = " and ".join(each.title for each in RUNTIMES.values() if each.takes_precision)
        raise MeasurementError(
            f"{model} has its precision in the file, and {used.title} computes in no other; --precision is for {takers}"
        )
    if sizes and (".py:" in model or not (used.runs_networks or ONNX in used.suffixes)):
        raise MeasurementError(f"{model}: --size is for open dimensions of an ONNX file or a stage's folder")
    if used.runs_networks and not used.is_installed:
        raise MeasurementError(how_to_install(used.packages[0]) or f"{used.title} is not installed here")
    if ".py:" in model:
        return Workload(model, runtime, device, shape, precision)
    if is_network(model):
        return artifact(Path(model), runtime, device, shape, precision, sizes or {})
    path, place = Path(model), place or device
    # A registered device builds what it loads of the ONNX file itself.
    if ONNX not in used.suffixes and not (path.is_dir() and place != device):
        return Workload(str(existing(path, used)), runtime, device, shape, precision)
    file = str(onnx_file(path, wanted_in(used, device, place)))
    if ONNX not in used.suffixes:
        return Workload(file, runtime, device, shape, precision)
    return with_sizes(Workload(file, runtime, device, shape, precision, sizes=sizes or {}))


def artifact(
    folder: Path,
    runtime: str,
    device: str,
    shape: tuple[int, ...] | None,
    precision: str | None,
    sizes: Mapping[str, int],
) -> Workload:
    """Return the workload of a network of a run, which a function loads from the stage's ``folder``."""
    try:
        spec = Spec.read(folder)
    except EdgekdError as error:
        raise MeasurementError(f"{folder / MODEL} describes no network; run the recipe again") from error
    if "profile" in (spec.change_by(Quantize.name) or {}):
        raise MeasurementError(
            f"{folder} only simulates int8 in PyTorch, at a speed that says nothing; give its file under exports/"
        )
    workload = Workload(f"{NETWORK}:load", runtime, device, shape, precision, {"folder": str(folder)}, sizes)
    if spec.signature is None:
        if sizes:
            raise MeasurementError(f"{folder} takes inputs of a fixed shape; leave out --size")
        return replace(workload, shape=shape or (1, *spec.input_shape))
    if shape is not None:
        raise MeasurementError(f"{folder} names the shapes of its inputs; leave out --shape")
    try:
        signature = spec.signature.sized(**sizes)
    except ModelError as error:
        raise MeasurementError(f"{folder}: {error}") from error
    return replace(workload, sizes={each.name: each.size for each in signature.open}, signature=signature.to_json())


def existing(path: Path, runtime: Runtime) -> Path:
    if not path.is_file():
        raise MeasurementError(f"no such file: {path}; give {runtime.loads}")
    return path


def wanted_in(runtime: Runtime, device: str, place: str) -> Wanted:
    """Return what a bundle's file is to be for: ``runtime`` on the registered device ``place``, or on this machine.

    Here the file of any target with a processor like this machine's does, that of ``device`` before others.
    """
    is_here = place == device
    here = architecture_of(platform.machine()) if is_here else None
    profiles = [each.name for each in runtime.profiles if not each.architectures or here in each.architectures]
    own, alike = {"device": place, "runtime": runtime.name}, [{"profile": name} for name in profiles]
    facts = [*({**own, **each} for each in alike), *alike] if is_here else [own, *alike]
    title = f"{runtime.title} on {'this machine' if is_here else place}"
    return Wanted(facts, title, profiles[0]) if profiles else Wanted(facts, title)


def onnx_file(path: Path, wanted: Wanted | None = None) -> Path:
    """Return the file at ``path`` or, of a bundle, that which :func:`bundled` chooses."""
    if path.is_dir():
        return bundled(path, wanted)
    if not path.is_file():
        raise MeasurementError(f"no such file: {path}; give .onnx files or bundle folders")
    if path.suffix != ".onnx":
        raise MeasurementError(f"{path} is no .onnx file; 'edgekd run' writes them into exports/ and bundle/")
    return path


def bundled(folder: Path, wanted: Wanted | None = None) -> Path:
    """Return the file of the bundle's target that is ``wanted``, or its own model.

    Where it names targets and none of them is wanted, a warning says so.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise MeasurementError(f"{folder} is no bundle (no manifest.json); give an .onnx file")
    try:
        document = read_object(manifest, "pack the bundle again")
        targets = document.get("targets", ())
        choices = wanted.facts if wanted else ()
        fitting = [each["file"] for facts in choices for each in targets if facts.items() <= each.items()]
        model = (folder / (fitting[0] if fitting else document["model"])).resolve()
        is_inside = model.is_relative_to(folder.resolve()) and model.is_file()
    # RuntimeError is of a loop of links.
    except (EdgekdError, OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeasurementError(f"{manifest} names no model; pack the bundle again, or give the file") from error
    if not is_inside:
        raise MeasurementError(f"{manifest}: the model is not in the bundle; run 'edgekd bundle verify {folder}'")
    if wanted and targets and not fitting:
        logger.warning(
            f"no file of {folder} is written for {wanted.title}; {model.name}, its model, is read instead. "
            f"To read another, give the file; 'edgekd export RUN --target {wanted.profile}' writes one"
        )
    return model


def size_bytes(workload: Workload) -> int | None:
    """Return the size of the model's file and its external weights, or None for a network of code."""
    if by_session(workload.runtime).runs_networks:
        folder = workload.args.get("folder")
        return (Path(folder) / "weights.safetensors").stat().st_size if folder else None
    path = Path(workload.model)
    weights = external_files(path, MeasurementError) if path.suffix == ".onnx" else ()
    return path.stat().st_size + sum(each.stat().st_size for each in weights)


def parse_sizes(given: Sequence[str]) -> dict[str, int]:
    """Read ``NAME=N`` of each ``--size``."""
    found = {}
    for text in given:
        name, equals, size = text.rpartition("=")
        if not (name and equals and size.isdecimal() and int(size) > 0):
            raise MeasurementError(f"--size {text}: expected a dimension's name and a positive number, length=128")
        found[name] = int(size)
    return found


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    dims = text.replace("x", ",").split(",")
    if not all(dim.strip().isdecimal() and int(dim) > 0 for dim in dims):
        raise MeasurementError(f"--shape {text}: expected positive numbers with commas, such as 1,3,224,224")
    return tuple(map(int, dims))
