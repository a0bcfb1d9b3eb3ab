"""The programs on a model card, which use the bundle's file without edgekd: one template for each kind of input."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekd.bundle.golden_images import IMAGE
from edgekd.bundle.manifest import Manifest, Tensor
from edgekd.preprocess import PADDING
from edgekd.tasks.task import Language, Task

WIDTH = 100
# In lines that use where pixels of the file are in the network's image.
PLACES = "across"
# Of files that are not in the bundle.
NAMES = {"image": "picture.png", "vector": "row.csv", "tensors": "samples.npz"}


class Example(NamedTuple):
    """A program on a model card: its ``language`` as Markdown names it, and its ``code``."""

    language: Language
    code: str


def examples(manifest: Manifest, task: Task) -> list[Example]:
    """Return the programs that use the bundle's file: in Python, and in C++ where one input is decoded and scaled.

    There are none for a task that has no code of its own.
    """
    languages: tuple[Language, ...] = ("python",) if manifest.preprocess["kind"] == "tensors" else ("python", "cpp")
    codes = {language: code_of(task, language, manifest.preprocess["kind"], manifest.outputs) for language in languages}
    return [Example(language, program(manifest, task, language, code)) for language, code in codes.items() if code]


def code_of(task: Task, language: Language, kind: str, outputs: Sequence[Tensor]) -> str:
    """Return the task's own lines of a program, none where it has none for inputs of this ``kind``."""
    return task.code(language, sample_shapes(outputs), kind == "image").strip()


def sample_shapes(tensors: Sequence[Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of one sample of each tensor by name; -1 is a dimension of any size."""
    return {each.name: each.shape[1:] for each in tensors}


def program(manifest: Manifest, task: Task, language: Language, code: str) -> str:
    """Return one program, made of the manifest and of ``code``, the task's own way to decode."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"literal": json.dumps, "numbers": numbers}
    kind, batch = manifest.preprocess["kind"], manifest.inputs[0].shape[0]
    return environment.get_template(f"example_{kind}.{language}.jinja").render(
        manifest=manifest,
        preprocess=manifest.preprocess,
        names=[each.name for each in manifest.inputs],
        sample=sample_for(manifest, language),
        batch=max(batch, 1),
        padding=PADDING,
        several=not task.output_shapes,
        places=PLACES in code,
        decode=code,
    )


def sample_for(manifest: Manifest, language: Language) -> str:
    """Return a file that a program can be tried with: a golden image of a kind that it reads, or a name for one."""
    kind = manifest.preprocess["kind"]
    if kind != "image":
        return NAMES[kind]
    netpbm = ".pgm" if manifest.preprocess["shape"][0] == 1 else ".ppm"
    ending, name = ("", NAMES[kind]) if language == "python" else (netpbm, f"picture{netpbm}")
    return next((each.path for each in manifest.files if each.role == IMAGE and each.path.endswith(ending)), name)


def numbers(values: Sequence[float]) -> str:
    """Return numbers as a list's items, in several lines where they are many."""
    return "\n    ".join(textwrap.wrap(", ".join(repr(float(each)) for each in values), WIDTH))
