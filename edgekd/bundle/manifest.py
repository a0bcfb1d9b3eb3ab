"""manifest.json, the contents of a bundle. Standard library only, so that a bundle can be verified anywhere."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from edgekd import strict_json
from edgekd.bundle import target
from edgekd.bundle.target import BundleTarget
from edgekd.errors import BundleError
from edgekd.files import canonical_json, sha256
from edgekd.strict_json import JsonObject
from edgekd.tasks.registry import DEFAULT
from edgekd.tasks.signature import LOGITS

FILE_NAME = "manifest.json"
# Version 1 names no task: its readers know classification by one input and one output alone. Version 2 has no targets.
SCHEMA_VERSIONS = (1, 2, 3)
RAW_MODEL, DECODED_MODEL, LABELS = "model.raw.onnx", "model.decoded.onnx", "labels.txt"
PLATFORM = "onnxruntime_onnx"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FILE_KINDS = {"path": str, "sha256": str, "bytes": int, "role": str}
TENSOR_KINDS = {"name": str, "datatype": str, "shape": list}
TENSORS = ("inputs", "outputs", "raw_inputs")
OUTPUTS = "outputs"  # of a self-test that keeps each output's tolerance
KINDS = {
    **dict.fromkeys(("name", "model", "platform"), str),
    **dict.fromkeys(("files", "inputs", "outputs", "raw_inputs", "labels", "measurements"), list),
    **dict.fromkeys(("preprocess", "self_test", "lineage", "licenses"), dict),
    "schema_version": int,
}
KINDS_OF_TASK = {"task": str, "decoder": dict}
KINDS_OF_TARGETS = {"targets": list}
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
REMEDY = "read it with the edgekd that packed it, or a newer one"
ADVICE = "take the bundle again from where it was packed"


@dataclass(frozen=True)
class File:
    """A file of a bundle: its ``path`` is relative to the bundle, with forward slashes."""

    path: str
    sha256: str
    bytes: int
    role: str

    def __post_init__(self) -> None:
        require(is_inside(self.path), f"files: {self.path!r} leads out of the bundle")
        require(re.fullmatch(r"[0-9a-f]{64}", self.sha256), f"files: {self.path!r} has no sha256")
        require(self.bytes >= 0, f"files: {self.path!r} has a negative size")


@dataclass(frozen=True)
class Tensor:
    """One input or output in Open Inference Protocol v2 terms; -1 is a dimension of any size.

    ``bounds`` are the least and the largest of the whole numbers that an input takes, where they are known.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    bounds: tuple[int, int] | None = None

    def to_json(self) -> JsonObject:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Manifest:
    """The contents of a bundle.

    ``model`` is the file that predicts, with its ``inputs`` and ``outputs``. ``raw_inputs`` are those of the file that
    takes raw images, if there is one. ``task`` is what the network is for: with the names ``labels`` and the options
    ``decoder`` it makes predictions of outputs. ``licenses`` are SPDX expressions of the ``model`` and of its training
    ``data``, as far as they are known. ``targets`` are the places that the network is for, each with its file.
    """

    name: str
    model: str
    files: tuple[File, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    preprocess: dict[str, Any]
    labels: tuple[str, ...]
    self_test: dict[str, Any]
    measurements: tuple[dict[str, Any], ...] = ()
    lineage: dict[str, Any] = field(default_factory=dict)
    licenses: dict[str, str] = field(default_factory=dict)
    raw_inputs: tuple[Tensor, ...] = ()
    task: str = DEFAULT
    decoder: JsonObject = field(default_factory=dict)
    platform: str = PLATFORM
    targets: tuple[BundleTarget, ...] = ()

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        require(NAME.fullmatch(self.task), f"task: {self.task!r} is not a plain name")
        require(NAME.fullmatch(self.name), f"name: {self.name!r} is not a plain name")
        require(len(set(paths)) == len(paths), "files: a path is listed twice")
        if collision := colliding(paths):
            require(False, f"files: {collision[0]!r} and {collision[1]!r} are one place on some systems")
        require(self.model in paths, f"model: {self.model!r} is not among the files")
        for each in self.targets:
            require(each.file in paths, f"targets: the file {each.file!r} of {each.name!r} is not among the files")
        require(self.inputs and self.outputs, "inputs or outputs are empty")
        require(bool(self.raw_inputs) == (RAW_MODEL in paths), f"raw_inputs are not those of {RAW_MODEL}")

    @property
    def schema_version(self) -> int:
        """Return 1 for a plain classifier, 2 for another task, and 3 where targets are named.

        Earlier versions of edgekd wrote the first two, and refuse what they do not know.
        """
        if self.targets:
            return 3
        several = len(self.inputs) > 1 or self.preprocess.get("kind") == "tensors" or OUTPUTS in self.self_test
        return 2 if self.task != DEFAULT or self.decoder or several else 1

    @property
    def decoded(self) -> str:
        """Return the name of the output that the task decodes: ``logits``, or the first."""
        return decoded_of(self.outputs)

    @property
    def decoder_by_label(self) -> JsonObject:
        """Return the decoder's options, those with a value for each label as mappings from the labels' names."""
        names = self.labels if len(set(self.labels)) == len(self.labels) else ()
        return {
            option: dict(zip(names, value, strict=True)) if names and is_list_of(len(names), value) else value
            for option, value in self.decoder.items()
        }

    def to_json(self) -> JsonObject:
        """Return the document that :meth:`to_bytes` seals."""
        tensors = {key: [each.to_json() for each in getattr(self, key)] for key in TENSORS}
        targets = [each.to_json() for each in self.targets]
        document = {**asdict(self), **tensors, "targets": targets, "schema_version": self.schema_version}
        known = kinds_of(self.schema_version)
        return {key: value for key, value in document.items() if key in known}

    def to_bytes(self) -> bytes:
        """Return the only text that is valid for this manifest, sealed with a sha256 of its content."""
        try:
            document = json.loads(canonical_json(self.to_json()))
        except (TypeError, ValueError) as error:
            raise BundleError(f"{FILE_NAME}: cannot be written as JSON: {error}") from error
        return written(document | {"seal": sha256(canonical_json(document))})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            BundleError: ``content`` is not exactly what :meth:`to_bytes` writes.
        """
        try:
            document = strict_json.parse(content)
            require(isinstance(document, dict), "not a JSON object")
            readable(document.get("schema_version"))
            seal = document.pop("seal", None)
            sealed = seal == sha256(canonical_json(document)) and content == written(document | {"seal": seal})
        except ValueError as error:
            raise BundleError(f"{FILE_NAME}: not the JSON of a bundle ({error}); {ADVICE}") from error
        require(sealed, "its content does not match its seal, so it was changed after packing")
        version = document["schema_version"]
        manifest = cls(**parts(document))
        require(manifest.schema_version == version, f"schema_version is {version}, and its content is of another one")
        return manifest


def decoded_of(outputs: Sequence[Tensor]) -> str:
    """Return the name of the output that a task decodes: ``logits``, or the first."""
    names = [each.name for each in outputs]
    return LOGITS if LOGITS in names else names[0]


def require(holds: object, otherwise: str) -> None:
    """Raise :class:`BundleError` saying ``otherwise`` unless ``holds``."""
    if not holds:
        raise BundleError(f"{FILE_NAME}: {otherwise}; {ADVICE}")


def is_list_of(n: int, value: object) -> bool:
    return isinstance(value, list) and len(value) == n


def is_label(name: str) -> bool:
    """Return whether ``name`` can name a class: one line of printable text."""
    return bool(name) and name.isprintable()


def is_inside(path: str) -> bool:
    """Return whether ``path`` is a plain relative path below the bundle, on every operating system."""
    plain = not re.search(r'[\\:*?"<>|]', path) and path.isprintable() and str(PurePosixPath(path)) == path
    # Windows drops the one, and opens a device for the other.
    kept = not any(part.endswith((".", " ")) or RESERVED.fullmatch(part) for part in path.split("/"))
    return plain and kept and path not in (".", FILE_NAME) and not path.startswith("/") and ".." not in path.split("/")


def colliding(paths: Iterable[str]) -> tuple[str, str] | None:
    """Return two of ``paths`` or of their folders that cannot both exist on some system, or None.

    They differ in nothing but case or Unicode's forms, or one path is the folder of the other.
    """
    seen: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for folder in ("/".join(parts[:depth]) + "/" for depth in range(1, len(parts))):
            if seen.setdefault(folded(folder), folder) != folder:
                return seen[folded(folder)], folder
        if folded(path) in seen or f"{folded(path)}/" in seen:
            return seen.get(folded(path)) or seen[f"{folded(path)}/"], path
        seen[folded(path)] = path
    files = {name for name in seen if not name.endswith("/")}
    return next(((seen[name], seen[f"{name}/"]) for name in files if f"{name}/" in seen), None)


def folded(path: str) -> str:
    return normalize("NFKC", normalize("NFKD", path).casefold())


def written(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def readable(version: object) -> None:
    if version not in SCHEMA_VERSIONS:
        *others, last = SCHEMA_VERSIONS
        known = f"{', '.join(map(str, others))} and {last}"
        raise BundleError(f"{FILE_NAME}: schema_version is {version!r}, this edgekd reads {known}; {REMEDY}")


def kinds_of(version: int) -> Mapping[str, type]:
    """Return the keys of a manifest of ``version``, each with the kind of its value."""
    return KINDS | (KINDS_OF_TASK if version > 1 else {}) | (KINDS_OF_TARGETS if version > 2 else {})


def parts(document: JsonObject) -> JsonObject:
    kinds = kinds_of(document["schema_version"])
    checked = {key: value for key, value in section(document, kinds, "").items() if key != "schema_version"}
    files = [File(**section(file, FILE_KINDS, "files: ")) for file in checked["files"]]
    tensors = {key: tuple(tensor(each, f"{key}: ") for each in checked[key]) for key in TENSORS}
    items(checked["labels"], str, "labels")
    # They are printed as they are, so nothing in them may move a terminal or forge a line.
    require(all(map(is_label, checked["labels"])), "labels: one line of text each")
    items(checked["measurements"], dict, "measurements")
    items(list(checked["licenses"].values()), str, "licenses")
    labels, measurements = tuple(checked["labels"]), tuple(checked["measurements"])
    targets = tuple(map(target_of, checked.get("targets", [])))
    known = {"files": tuple(files), "labels": labels, "measurements": measurements, "targets": targets}
    return checked | tensors | known


def target_of(document: Any) -> BundleTarget:
    threads = target.NUMBER if isinstance(document, dict) and "threads" in document else {}
    checked = section(document, {**target.KINDS, **target.FLAG, **threads}, "targets: ")
    require(all(is_label(checked[key]) for key in target.KINDS), "targets: one line of text each")
    return BundleTarget(**checked)


def tensor(document: Any, where: str) -> Tensor:
    bounded = isinstance(document, dict) and "bounds" in document
    checked = section(document, TENSOR_KINDS | ({"bounds": list} if bounded else {}), where)
    items(checked["shape"], int, f"{where}shape")
    bounds = checked.get("bounds", [])
    items(bounds, int, f"{where}bounds")
    require(len(bounds) == (2 if bounded else 0), f"{where}bounds are two numbers")
    require(checked["name"].isprintable(), f"{where}a name that cannot be printed")
    return Tensor(checked["name"], checked["datatype"], tuple(checked["shape"]), tuple(bounds) if bounded else None)


def section(document: Any, kinds: Mapping[str, type], where: str) -> dict[str, Any]:
    require(isinstance(document, dict), f"{where}expected an object")
    wrong = sorted(kinds.keys() ^ document.keys())
    require(not wrong, f"{where}{', '.join(wrong)} missing or unknown")
    for key, kind in kinds.items():
        require(type(document[key]) is kind, f"{where}{key} is no {kind.__name__}")
    return document


def items(values: list[Any], kind: type, where: str) -> None:
    require(all(type(value) is kind for value in values), f"{where}: an item is no {kind.__name__}")
