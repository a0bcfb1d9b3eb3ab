"""Packing: the same network and metrics give the same bytes, and a bundle must pass its own self-test."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekd.bundle import triton
from edgekd.bundle.card import card as card_of
from edgekd.bundle.choice import may_be_optimised
from edgekd.bundle.decoded import with_decoded_output
from edgekd.bundle.examples import code_of
from edgekd.bundle.golden import RAW, STEPS, STEPS_ELSE, SelfTest, tolerances_to_json
from edgekd.bundle.golden_images import FOLDER, IMAGE, PREDICTED, PREDICTIONS, GoldenImage, predict_images, to_bytes
from edgekd.bundle.golden_parts import Arrays, Contents, check_golden, golden_view, npy
from edgekd.bundle.licenses import spdx
from edgekd.bundle.manifest import DECODED_MODEL, FILE_NAME, LABELS, NAME, RAW_MODEL, File, Manifest, Tensor
from edgekd.bundle.predict import Predictor, samples_in
from edgekd.bundle.raw import INPUT as RAW_INPUT
from edgekd.bundle.raw import with_raw_input
from edgekd.bundle.session import BundleSession, Inputs, why_unfit
from edgekd.bundle.target import BundleTarget
from edgekd.bundle.verify import LARGEST_FILE
from edgekd.errors import BundleError, EdgekdError
from edgekd.external import tensors_outside
from edgekd.files import (
    is_file,
    is_folder,
    lies_there,
    make_folder,
    new_folder,
    read_content,
    read_object,
    sha256,
    storage,
)
from edgekd.preprocess import Preprocess
from edgekd.tasks.logits import decoded, names_in_file
from edgekd.tasks.task import Task

CARD = "README.md"
ROLE = re.compile(r"[a-z0-9][a-z0-9._-]*")


def pack(
    out: Path,
    *,
    name: str,
    models: Mapping[str, Path],
    task: Task,
    preprocess: Preprocess,
    golden: tuple[Inputs, Inputs],
    measurements: Sequence[Mapping[str, Any]] = (),
    lineage: Mapping[str, Any] | None = None,
    card: str | None = None,
    primary: str | None = None,
    steps: float | None = None,
    licenses: Mapping[str, str] | None = None,
    raw: np.ndarray | None = None,
    images: Mapping[str, bytes] | None = None,
    decoded_output: bool = False,
    aside: bool = False,
    targets: Mapping[BundleTarget, Path] | None = None,
    verdict: Sequence[str] = (),
    findings: Sequence[str] = (),
) -> Path:
    """Write the bundle ``out`` completely or not at all, and return it.

    Args:
        models: ONNX files with inline weights by their role: ``float32`` becomes ``model.onnx``, any other role
            ``model.<role>.onnx``.
        task: what the network is for, with the names of its classes or labels and its decoder's options.
        golden: a preprocessed batch, and the primary model's outputs for it in ONNX Runtime: an array of one input
            or output, of several an array for each by its name.
        measurements: rows of report.json.
        card: replaces the generated model card.
        primary: the role that predicts; by default ``int8``, or the only one.
        steps: how far another machine's outputs may be from the golden ones, in 255ths of their range; by default
            0.25 for float32, 2 for float16, 12 otherwise.
        licenses: SPDX expressions of ``model`` and ``data``.
        raw: the uint8 images (N, C, H, W) that the golden input was made of; with them the bundle also gets
            ``model.raw.onnx``, which preprocesses its images itself.
        images: contents of image files by their names, of any size, which the bundle gets with their predictions where
            its model card has a program that they try.
        decoded_output: adds ``model.decoded.onnx``, which does the task's decoding itself, such as the suppression of
            boxes.
        targets: where the network runs, each with its ONNX file. The primary model is the file of the first target that
            has the same bytes, where one has.
        verdict: what the model card says of the budget: a sentence, then one for each check.
        findings: what the model card says above its figures, a sentence each.
        aside: move whatever is at ``out`` aside. Without it an earlier bundle is replaced, and anything else refused.

    Raises:
        BundleError: the parts do not fit each other, or the model does not give the golden outputs on this machine.
    """
    if not aside:
        refuse_to_overwrite(out)
    primary = primary or chosen(models)
    check_parts(name, models, primary, task.names)
    read = {role: read_content(path, BundleError, LARGEST_FILE) for role, path in models.items()}
    protos = {role: model_of(content, models[role]) for role, content in read.items()}
    own = {each: read_content(path, BundleError, LARGEST_FILE) for each, path in (targets or {}).items()}
    for each, content in own.items():
        model_of(content, (targets or {})[each])
    alike = [each for each, content in own.items() if content == read[primary]]
    shared, optimised = alike[0].file if alike else None, may_be_optimised(alike)
    session = loaded(read[primary], models[primary], preprocess, optimised)
    inputs = tuple(replace(each, bounds=bounds_of(protos[primary], each)) for each in session.inputs)
    fed, got = check_golden(golden, session, inputs, preprocess, task)
    several = len(inputs) + len(session.outputs) > 2
    contents: Contents = {
        LABELS: ("labels", "".join(f"{label}\n" for label in task.names).encode()),
        **golden_view(fed, got, several),
        **{file_name(role): (f"model.{role}", content) for role, content in read.items()},
    }
    if shared:
        del contents[file_name(primary)]
    contents |= {each.file: (f"model.{each.name}", content) for each, content in own.items()}
    if raw is not None:
        contents |= raw_view(protos[primary], preprocess, raw, fed)
    if decoded_output:
        written = with_decoded_output(protos[primary], DECODED_MODEL, task, fed, session.run(fed), optimised)
        contents[DECODED_MODEL] = ("model.decoded", written)
    has_program = bool(code_of(task, "python", preprocess.kind, session.outputs))
    pictures = {f"{FOLDER}/{file}": content for file, content in (images or {}).items() if has_program}
    predicted = predict_images(pictures, preprocess, partial(outputs_of, session, task), task)
    contents |= image_view(pictures, predicted)
    draft = Manifest(
        name=name,
        model=shared or file_name(primary),
        files=listed(contents),
        inputs=inputs,
        outputs=session.outputs,
        preprocess=preprocess.to_json(),
        task=task.name,
        labels=task.names,
        decoder=task.decoder(),
        self_test={
            "n": samples_in(fed),
            **tolerances_to_json(got, STEPS.get(primary, STEPS_ELSE) if steps is None else steps, several),
        },
        measurements=tuple(dict(row) for row in measurements),
        lineage=dict(lineage or {}),
        licenses={key: spdx(key, said) for key, said in (licenses or {}).items()},
        raw_inputs=raw_inputs(inputs[0], preprocess) if raw is not None else (),
        targets=tuple(own),
    )
    contents |= triton_view(draft, task, contents)
    contents[CARD] = ("card", (card or card_of(draft, task, predicted, verdict, findings)).encode())
    manifest = replace(draft, files=listed(contents)).to_bytes()
    contents[FILE_NAME] = ("manifest", manifest)
    with new_folder(out, is_bundle_alone, stays=partial(holds, contents=contents)) as folder:
        for path, (_, content) in contents.items():
            make_folder((folder / path).parent)
            with storage(folder):
                (folder / path).write_bytes(content)
        check_self_test(Predictor(folder).self_test())
    return out


def refuse_to_overwrite(out: Path) -> None:
    """Raise :class:`BundleError` if ``out`` holds anything but a bundle."""
    if not lies_there(out) or (is_folder(out) and (is_bundle_alone(out) or not any(out.iterdir()))):
        return
    if is_folder(out) and is_bundle(out):
        raise BundleError(
            f"{out}: holds {sorted(foreign(out))[0]} next to a bundle, so it is not overwritten; choose another "
            "folder, or move that away"
        )
    raise BundleError(f"{out}: exists and is no bundle, so it is not overwritten; choose another folder")


def is_bundle_alone(folder: Path) -> bool:
    """Return whether ``folder`` holds a bundle and no file that its manifest does not name."""
    return is_folder(folder) and is_bundle(folder) and not foreign(folder)


def foreign(bundle: Path) -> set[str]:
    """Return what is in a bundle's folder and not in its manifest."""
    document = read_object(bundle / FILE_NAME, "pack it again", BundleError)
    entries = document["files"] if isinstance(document["files"], list) else []
    named = {FILE_NAME, *(str(each.get("path")) for each in entries if isinstance(each, dict))}
    folders = {str(parent) for name in named for parent in Path(name).parents}
    lying = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*")}
    ours = {name for name, path in lying.items() if (is_file(path) and name in named) or name in folders}
    return lying.keys() - ours


def holds(folder: Path, contents: Contents) -> bool:
    """Return whether ``folder`` holds a bundle with these contents, whatever else it holds."""
    try:
        return is_folder(folder) and all(
            is_file(folder / name) and (folder / name).read_bytes() == content
            for name, (_, content) in contents.items()
        )
    except OSError:
        return False


def is_bundle(folder: Path) -> bool:
    """Return whether ``folder`` holds a sealed manifest; other kinds of folders have a manifest.json too."""
    try:
        document = read_object(folder / FILE_NAME, "pack it again") if is_file(folder / FILE_NAME) else {}
    except EdgekdError:
        return False
    return {"seal", "schema_version", "files", "self_test"} <= document.keys()


def chosen(models: Mapping[str, Path]) -> str:
    if "int8" in models or len(models) == 1:
        return "int8" if "int8" in models else next(iter(models))
    raise BundleError(f"which model predicts? say primary, one of {', '.join(sorted(models)) or 'none'}")


def check_parts(name: str, models: Mapping[str, Path], primary: str, labels: Sequence[str]) -> None:
    if not NAME.fullmatch(name):
        raise BundleError(f"name {name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
    if primary not in models:
        raise BundleError(f"primary {primary!r} is not among the models: {', '.join(sorted(models))}")
    for role in models:
        if not ROLE.fullmatch(role) or file_name(role) in (RAW_MODEL, DECODED_MODEL):
            raise BundleError(
                f"role {role!r}: use lower-case letters, digits, '.', '_' and '-', and neither 'raw' nor 'decoded'"
            )
    for label in labels:
        if not label or label.splitlines() != [label]:
            raise BundleError(f"label {label!r}: a label is one line of text that is not empty")


def model_of(content: bytes, path: Path) -> onnx.ModelProto:
    """Return the model that ``path`` was read as, with all its weights inside."""
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError
        raise BundleError(f"{path}: not an ONNX file that can be read ({error})") from error
    outside = [tensor.name for tensor in tensors_outside(model)]
    if outside:
        raise BundleError(f"{path}: weights such as {outside[0]!r} lie in another file; export them inline")
    return model


def loaded(content: bytes, model: Path, preprocess: Preprocess, optimised: bool) -> BundleSession:
    session = BundleSession(content, name=str(model), optimised=optimised)
    if why := why_unfit(session.inputs, preprocess):
        raise BundleError(f"{model}: {why}")
    return session


def bounds_of(model: onnx.ModelProto, tensor: Tensor) -> tuple[int, int] | None:
    """Return the least and the largest index that an input of whole numbers may hold, if it chooses rows of a table.

    ONNX takes negative indices from the end, which PyTorch refuses.
    """
    rows = {each.name: each.dims[0] for each in model.graph.initializer if each.dims}
    for node in model.graph.node:  # an int8 file has its tables in 8 bits
        if node.op_type == "DequantizeLinear" and node.input[0] in rows:
            rows[node.output[0]] = rows[node.input[0]]
    names, found = {tensor.name}, []
    for node in model.graph.node:  # in the order in which they run
        if node.op_type in ("Cast", "Identity") and node.input[0] in names:
            names.add(node.output[0])
        along = next((each.i for each in node.attribute if each.name == "axis"), 0)
        if node.op_type == "Gather" and along == 0 and node.input[1] in names and node.input[0] in rows:
            found.append(rows[node.input[0]])
    is_whole = tensor.datatype.startswith(("INT", "UINT"))
    return (0, min(found) - 1) if found and is_whole else None


def raw_view(model: onnx.ModelProto, preprocess: Preprocess, raw: np.ndarray, fed: Arrays) -> Contents:
    written = with_raw_input(model, preprocess).SerializeToString(deterministic=True)
    if not np.array_equal(preprocess.apply(raw), next(iter(fed.values()))):
        raise BundleError("the golden input is not what the preprocessing makes of the raw images; give these images")
    return {
        RAW_MODEL: ("model.raw", written),
        RAW: ("golden.raw", npy(np.ascontiguousarray(raw.transpose(0, 2, 3, 1)))),
    }


def outputs_of(session: BundleSession, task: Task, inputs: np.ndarray) -> dict[str, np.ndarray]:
    names = names_in_file([each.name for each in session.outputs], task.output_shapes)
    return decoded(session.run(inputs, names=list(names.values())), task.output_shapes)


def image_view(pictures: Mapping[str, bytes], predicted: Sequence[GoldenImage]) -> Contents:
    if not pictures:
        return {}
    files = {path: (IMAGE, content) for path, content in pictures.items()}
    return {**files, PREDICTIONS: (PREDICTED, to_bytes(predicted))}


def raw_inputs(taken: Tensor, preprocess: Preprocess) -> tuple[Tensor, ...]:
    channels, height, width = preprocess.shape
    return (Tensor(RAW_INPUT, "UINT8", (taken.shape[0], height, width, channels)),)


def check_self_test(result: SelfTest) -> None:
    if not result.passed:
        raise BundleError(
            f"the model does not give its golden outputs: {result.describe()}; "
            "compute the golden outputs with the primary model in ONNX Runtime"
        )


def file_name(role: str) -> str:
    return "model.onnx" if role == "float32" else f"model.{role}.onnx"


def triton_view(manifest: Manifest, task: Task, contents: Contents) -> Contents:
    folder = f"triton/{manifest.name}"
    return {
        f"{folder}/config.pbtxt": ("triton", triton.config_of(manifest, task).encode()),
        f"{folder}/1/model.onnx": ("triton", contents[manifest.model][1]),
        **({f"{folder}/{LABELS}": ("triton", contents[LABELS][1])} if triton.ranks_classes(task) else {}),
    }


def listed(contents: Contents) -> tuple[File, ...]:
    return tuple(File(path, sha256(content), len(content), role) for path, (role, content) in sorted(contents.items()))
