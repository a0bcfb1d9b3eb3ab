"""Packing: the same network and figures give the same bytes, and what fails its own self-test is not packed."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekd.bundle import golden as golden_samples
from edgekd.bundle import triton
from edgekd.bundle.card import card as card_of
from edgekd.bundle.golden import STEPS, STEPS_ELSE, SelfTest, step_of
from edgekd.bundle.licenses import spdx
from edgekd.bundle.manifest import FILE_NAME, LABELS, NAME, RAW_MODEL, File, Manifest, Tensor
from edgekd.bundle.predict import Predictor
from edgekd.bundle.raw import INPUT as RAW_INPUT
from edgekd.bundle.raw import with_raw_input
from edgekd.bundle.session import BundleSession, takes
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

CARD = "README.md"
ROLE = re.compile(r"[a-z0-9][a-z0-9._-]*")

Contents = dict[str, tuple[str, bytes]]


def pack(
    out: Path,
    *,
    name: str,
    models: Mapping[str, Path],
    labels: Sequence[str],
    preprocess: Preprocess,
    golden: tuple[np.ndarray, np.ndarray],
    measurements: Sequence[Mapping[str, Any]] = (),
    lineage: Mapping[str, Any] | None = None,
    card: str | None = None,
    primary: str | None = None,
    steps: float | None = None,
    licenses: Mapping[str, str] | None = None,
    raw: np.ndarray | None = None,
    aside: bool = False,
) -> Path:
    """Writes the bundle ``out`` whole or not at all, and returns it.

    ``models`` maps a role to an ONNX file with its weights inline: ``float32`` becomes ``model.onnx``, any
    other role ``model.<role>.onnx``. ``primary`` is the role that predicts (default ``int8``, or the only
    one). ``golden`` is a preprocessed float32 batch and the primary's outputs for it in ONNX Runtime;
    ``steps`` is how far another machine's outputs may be from them, in 255ths of their range (default: 0.25
    for float32, 2 for float16, 12 otherwise). ``measurements`` are rows of report.json, ``card`` replaces the
    generated model card. ``licenses`` are SPDX expressions of ``model`` and ``data``. ``raw`` holds the uint8 images
    (N, C, H, W) that the golden input was made of: with them the bundle also gets ``model.raw.onnx``, which prepares
    its images itself. An earlier bundle in the place is replaced; ``aside`` moves anything else aside that stands
    there, and it is refused without.

    Raises :class:`BundleError` when the parts do not fit each other, or when the model does not give the
    golden outputs here and now.
    """
    if not aside:
        refuse_to_overwrite(out)
    primary = primary or chosen(models)
    check_parts(name, models, primary, labels)
    read = {role: read_content(path, BundleError, LARGEST_FILE) for role, path in models.items()}
    protos = {role: model_of(content, models[role]) for role, content in read.items()}
    inputs, outputs = signature(read[primary], models[primary], preprocess)
    golden_input, golden_output = check_golden(golden, preprocess, len(labels))
    contents: Contents = {
        LABELS: ("labels", "".join(f"{label}\n" for label in labels).encode()),
        golden_samples.INPUT: ("golden.input", npy(golden_input)),
        golden_samples.OUTPUT: ("golden.output", npy(golden_output)),
        **{file_name(role): (f"model.{role}", content) for role, content in read.items()},
    }
    if raw is not None:
        contents |= raw_view(protos[primary], preprocess, raw, golden_input)
    contents |= triton_view(name, contents, file_name(primary), triton.config(name, inputs, outputs, LABELS))
    draft = Manifest(
        name=name,
        model=file_name(primary),
        files=listed(contents),
        inputs=inputs,
        outputs=outputs,
        preprocess=preprocess.to_json(),
        labels=tuple(labels),
        self_test={
            "n": len(golden_input),
            "step": step_of(golden_output),
            "steps": STEPS.get(primary, STEPS_ELSE) if steps is None else steps,
        },
        measurements=tuple(dict(row) for row in measurements),
        lineage=dict(lineage or {}),
        licenses={key: spdx(key, said) for key, said in (licenses or {}).items()},
        raw_inputs=raw_inputs(inputs[0], preprocess) if raw is not None else (),
    )
    contents[CARD] = ("card", (card or card_of(draft)).encode())
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
    if not lies_there(out) or (is_folder(out) and (is_bundle_alone(out) or not any(out.iterdir()))):
        return
    if is_folder(out) and is_bundle(out):
        raise BundleError(
            f"{out}: holds {sorted(foreign(out))[0]} beside a bundle, so it is not overwritten; choose another folder, "
            "or move that away"
        )
    raise BundleError(f"{out}: exists and is no bundle, so it is not overwritten; choose another folder")


def is_bundle_alone(folder: Path) -> bool:
    """Whether all that lies there are files that a bundle's manifest names, whole or damaged."""
    return is_folder(folder) and is_bundle(folder) and not foreign(folder)


def foreign(bundle: Path) -> set[str]:
    """What lies in a bundle's folder and is not named in its manifest."""
    document = read_object(bundle / FILE_NAME, "pack it again", BundleError)
    entries = document["files"] if isinstance(document["files"], list) else []
    named = {FILE_NAME, *(str(each.get("path")) for each in entries if isinstance(each, dict))}
    folders = {str(parent) for name in named for parent in Path(name).parents}
    lying = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*")}
    ours = {name for name, path in lying.items() if (is_file(path) and name in named) or name in folders}
    return lying.keys() - ours


def holds(folder: Path, contents: Contents) -> bool:
    """Whether a bundle with just these contents is there already, whatever lies beside it."""
    try:
        return is_folder(folder) and all(
            is_file(folder / name) and (folder / name).read_bytes() == content
            for name, (_, content) in contents.items()
        )
    except OSError:
        return False


def is_bundle(folder: Path) -> bool:
    """By its seal: a manifest.json lies in folders of many other kinds."""
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
        if not ROLE.fullmatch(role) or file_name(role) == RAW_MODEL:
            raise BundleError(f"role {role!r}: use lower-case letters, digits, '.', '_' and '-', and not 'raw'")
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


def signature(content: bytes, model: Path, preprocess: Preprocess) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    session = BundleSession(content, name=str(model))
    inputs, outputs = session.inputs, session.outputs
    if len(inputs) != 1:
        raise BundleError(f"{model}: takes {len(inputs)} inputs, a bundle's model takes one")
    if not takes(inputs[0], preprocess):
        raise BundleError(
            f"{model}: input {inputs[0].name!r} is {inputs[0].datatype} {list(inputs[0].shape)}, "
            f"the preprocessing gives FP32 {[-1, *preprocess.shape]}"
        )
    return inputs, outputs


def check_golden(
    golden: tuple[np.ndarray, np.ndarray], preprocess: Preprocess, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    fed, got = (np.ascontiguousarray(each, np.float32) for each in golden)
    if fed.shape[1:] != preprocess.shape or not len(fed):
        raise BundleError(f"golden input is {fed.shape}, expected {(-1, *preprocess.shape)} with at least one sample")
    if got.shape != (len(fed), classes):
        raise BundleError(f"golden output is {got.shape}, expected {(len(fed), classes)}: one logit per label")
    if not np.isfinite(fed).all() or not np.isfinite(got).all():
        raise BundleError("golden input or output holds NaN or infinity: the network is broken on these samples")
    return fed, got


def raw_view(model: onnx.ModelProto, preprocess: Preprocess, raw: np.ndarray, golden_input: np.ndarray) -> Contents:
    written = with_raw_input(model, preprocess).SerializeToString(deterministic=True)
    if not np.array_equal(preprocess.apply(raw), golden_input):
        raise BundleError("the golden input is not what the preprocessing makes of the raw images; give these images")
    return {
        RAW_MODEL: ("model.raw", written),
        golden_samples.RAW: ("golden.raw", npy(np.ascontiguousarray(raw.transpose(0, 2, 3, 1)))),
    }


def raw_inputs(taken: Tensor, preprocess: Preprocess) -> tuple[Tensor, ...]:
    channels, height, width = preprocess.shape
    return (Tensor(RAW_INPUT, "UINT8", (taken.shape[0], height, width, channels)),)


def check_self_test(result: SelfTest) -> None:
    if not result.passed:
        raise BundleError(
            f"the model does not give its golden outputs: {result.same_class} of {result.judged} classes agree, "
            f"largest difference {result.max_abs_difference:.3g}, allowed {result.tolerance:.3g}; "
            "compute the golden outputs with the primary model in ONNX Runtime"
        )


def file_name(role: str) -> str:
    return "model.onnx" if role == "float32" else f"model.{role}.onnx"


def triton_view(name: str, contents: Contents, model: str, config: str) -> Contents:
    return {
        f"triton/{name}/config.pbtxt": ("triton", config.encode()),
        f"triton/{name}/{LABELS}": ("triton", contents[LABELS][1]),
        f"triton/{name}/1/model.onnx": ("triton", contents[model][1]),
    }


def listed(contents: Contents) -> tuple[File, ...]:
    return tuple(File(path, sha256(content), len(content), role) for path, (role, content) in sorted(contents.items()))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
