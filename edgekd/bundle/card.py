"""The model card of a bundle, written from its manifest."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.bundle.examples import examples, sample_shapes
from edgekd.bundle.golden_images import PREDICTIONS, GoldenImage
from edgekd.bundle.manifest import DECODED_MODEL, RAW_MODEL, Manifest, Tensor
from edgekd.bundle.target import BundleTarget
from edgekd.formatting import Column, Row, columns, escape_markdown, markdown_table, notes_on_rows
from edgekd.plain_text import code
from edgekd.preprocess import PADDING
from edgekd.runtime import DEFAULT, RUNTIMES
from edgekd.tasks.metric import result_columns
from edgekd.tasks.task import DecodesInGraph, Task

USE = """\
## Use

```
edgekd bundle verify . --self-test   # the files are those that were packed, and this machine computes alike
edgekd predict . {example}
```

The folder `triton` is a model repository for Triton Inference Server: `tritonserver --model-repository triton`.

`edgekd predict` runs `{model}`. {programs}
"""

PROGRAMS = """\
So do the programs below, which need no edgekd. Run them in this folder, and save them elsewhere:
`edgekd bundle verify` refuses files that were not packed."""
# Said of those targets that the programs' runtime serves.
CHOICE = "`edgekd predict` takes the file of another target with {options}"
IN_PROGRAMS = "in a program, the file's name is the one line to change"
LANGUAGES = {
    "python": "### In Python\n\nIt needs {packages}.",
    "cpp": (
        "### In C++\n\nIt needs ONNX Runtime's library and headers alone: of a release on GitHub, or of Debian's "
        "`libonnxruntime-dev`."
    ),
}
USES = {"image": "picture.png", "vector": "rows.csv", "tensors": "samples.npz"}


def card(
    manifest: Manifest,
    task: Task,
    images: Sequence[GoldenImage] = (),
    verdict: Sequence[str] = (),
    findings: Sequence[str] = (),
) -> str:
    """Return the model card: Markdown with YAML front matter.

    Args:
        images: the bundle's golden ones.
        verdict: on the budget: a sentence, then one for each check.
        findings: on the network beside its teacher, a sentence each.
    """
    kind, written = manifest.preprocess["kind"], programs(manifest, task)
    example = images[0].file if images else USES[kind]
    parts = [
        front_matter(task.pipeline_tags.get(kind), manifest.licenses.get("model")),
        f"# {escape_markdown(manifest.name)}",
        f"A network with {len(task.names)} {task.kind_of_names}, packed by edgekd.",
        budget(verdict),
        metrics(manifest.measurements, task, findings),
        targets(manifest.targets),
        USE.format(example=example, model=manifest.model, programs=PROGRAMS if written else "").rstrip(),
        choice(manifest, bool(written)),
        *written,
        expected(images),
        tensors(manifest, task) if kind == "tensors" else inputs(manifest, task, kind == "image"),
        "## Labels\n\n" + ", ".join(map(escape_markdown, manifest.labels)),
        licences(manifest.licenses),
        lineage(manifest.lineage),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def programs(manifest: Manifest, task: Task) -> list[str]:
    is_image = manifest.preprocess["kind"] == "image"
    packages = "NumPy, ONNX Runtime and Pillow" if is_image else "NumPy and ONNX Runtime"
    return [
        f"{LANGUAGES[each.language].format(packages=packages)}\n\n```{each.language}\n{each.code.strip()}\n```"
        for each in examples(manifest, task)
    ]


def choice(manifest: Manifest, has_programs: bool) -> str:
    """Return how the file of another target is used, where ONNX Runtime runs one."""
    others = {each.name: each for each in manifest.targets if each.runtime == DEFAULT and each.file != manifest.model}
    if not others:
        return ""
    said = CHOICE.format(options=" or ".join(code(f"--target {name}") for name in others))
    files = ", ".join(f"{code(each.file)} for {escape_markdown(each.device)}" for each in others.values())
    return f"{said}; {IN_PROGRAMS}: {files}." if has_programs else f"{said}: {files}."


def expected(images: Sequence[GoldenImage]) -> str:
    """Return the table of golden images, by which a program is tried."""
    if not images:
        return ""
    logits = "" if any(each.logits is None for each in images) else ", and the logits"
    rows = [f"| `{each.file}` | {escape_markdown(each.prediction.to_text())} |" for each in images]
    return "\n".join(
        [
            "### Golden images\n",
            f"These are test samples at their own size. A program that prepares them as above gives these predictions; "
            f"`{PREDICTIONS}` has them with all digits{logits}.\n",
            "| File | Prediction |",
            "|---|---|",
            *rows,
        ]
    )


def front_matter(pipeline: str | None, license: str | None) -> str:
    task = f"pipeline_tag: {pipeline}\n" if pipeline else ""
    # Model hubs know single licences, in lower case, and call all else "other".
    known = license and " " not in license and not license.startswith("LicenseRef-")
    said = f"license: {license.lower() if known else 'other'}\n" if license else ""
    return f"---\n{said}library_name: onnx\n{task}tags: [edgekd, onnxruntime]\n---"


def budget(verdict: Sequence[str]) -> str:
    if not verdict:
        return ""
    whole, *checks = map(escape_markdown, verdict)
    return "\n".join([f"## Budget\n\n**{whole}.**\n", *(f"- {each}" for each in checks)])


def metrics(measurements: Sequence[Row], task: Task, findings: Sequence[str]) -> str:
    if not measurements:
        return "No figures were measured."
    notes = [
        f"- {escape_markdown(str(row['model']))}, {escape_markdown(str(row['precision']))}: "
        f"{escape_markdown(str(note['message']))}"
        for row in measurements
        for note in row.get("warnings") or []
    ]
    table = markdown_table(columns(measurements, result_columns(task.metrics)), measurements)
    legend = "Brackets hold 95 % intervals; – was not measured. Times faster is against the teacher."
    legend = " ".join([legend, *notes_on_rows(measurements)])
    found = "\n".join(f"- {escape_markdown(each)}" for each in findings)
    return "\n\n".join(each for each in ("## Figures", found, table, legend, "\n".join(notes)) if each)


def targets(known: Sequence[BundleTarget]) -> str:
    """Return the section that says which file is for which device."""
    if not known:
        return ""
    shown = [
        Column("Device", lambda each: each.device, number=False),
        Column("File", lambda each: each.file, number=False),
        Column("Runtime", lambda each: each.runtime, number=False),
        Column("Processor", lambda each: each.processor, number=False),
        Column("Precision", lambda each: each.precision, number=False),
        Column("Timed there", lambda each: "yes" if each.measured else "no", number=False),
    ]
    built = [each for each in known if each.runtime in RUNTIMES and RUNTIMES[each.runtime].deployment]
    sentences = [RUNTIMES[each.runtime].deployment.format(file=each.file) for each in built]
    return "\n\n".join(["## Targets", markdown_table(shown, known), *dict.fromkeys(sentences)])


def inputs(manifest: Manifest, task: Task, image: bool) -> str:
    preprocess = manifest.preprocess
    shape = " × ".join(map(str, preprocess["shape"]))
    few = len(preprocess["mean"]) <= 3
    mean, std = (preprocess[key] if few else f"`preprocess.{key}` of `manifest.json`" for key in ("mean", "std"))
    steps = [
        f"Subtract the mean {mean} and divide by the std {std}.",
        f"Input {code(manifest.inputs[0].name)}: {manifest.inputs[0].datatype}, batch × {shape}.",
        *outputs(manifest, task),
    ]
    if image:
        colour = "grey" if preprocess["shape"][0] == 1 else "RGB"
        turned = "turned as its EXIF orientation says" if preprocess.get("orientation") == "exif" else "as it lies"
        laid = "laid over white" if preprocess.get("transparency") == "white" else "without their alpha"
        letterbox = preprocess.get("resize") == "letterbox"
        kept = f"the aspect ratio is kept, with the image in the middle of pixels of {PADDING}"
        aspect = kept if letterbox else "the aspect ratio is not kept"
        steps.insert(
            0,
            f"Decode to {colour} (the first frame, {turned}; transparent pixels {laid}; of 16 bits the upper 8), "
            f"resize bilinearly with antialiasing where the size differs, as Pillow does; {aspect}. Divide by 255.",
        )
    if manifest.raw_inputs:
        raw = manifest.raw_inputs[0]
        shape = " × ".join(map(str, raw.shape[1:]))
        steps.append(
            f"`{RAW_MODEL}` takes decoded images of that size and does the rest itself: "
            f"input {code(raw.name)}: {raw.datatype}, batch × {shape}."
        )
    if isinstance(task, DecodesInGraph) and DECODED_MODEL in {each.path for each in manifest.files}:
        steps.append(f"`{DECODED_MODEL}` takes the same and does the decoding itself: output {task.decoded_output}.")
    return "## Input and output\n\n" + "\n".join(f"- {step}" for step in steps)


def tensors(manifest: Manifest, task: Task) -> str:
    """Return the section on inputs that are taken as they are."""
    bounds = {each.name: each.bounds for each in manifest.inputs if each.bounds}
    named = [
        f"Input {code(each.name)}: {describe(each)}"
        + (", whole numbers from {} to {}.".format(*bounds[each.name]) if each.name in bounds else ".")
        for each in manifest.inputs
    ]
    steps = [*named, *outputs(manifest, task)]
    return "## Inputs and outputs\n\n" + "\n".join(f"- {step}" for step in steps)


def outputs(manifest: Manifest, task: Task) -> list[str]:
    others = [each for each in manifest.outputs if each.name != manifest.decoded]
    decoded = task.describe_outputs(sample_shapes(manifest.outputs))
    return [
        f"Output {code(manifest.decoded)}: {escape_markdown(decoded)}.",
        *(f"Output {code(each.name)}: {describe(each)}." for each in others),
    ]


def describe(tensor: Tensor) -> str:
    sizes = ("any" if size == -1 else str(size) for size in tensor.shape[1:])
    return f"{tensor.datatype}, {' × '.join(('batch', *sizes))}"


def licences(known: Mapping[str, str]) -> str:
    if not known:
        return ""
    return "## Licence\n\n" + "\n".join(f"- {of}: {escape_markdown(known[of])}" for of in sorted(known, reverse=True))


def lineage(known: Mapping[str, Any]) -> str:
    if not known:
        return ""
    return "## Lineage\n\n```json\n" + json.dumps(known, indent=1, sort_keys=True) + "\n```"
