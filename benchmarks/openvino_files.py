"""The files of a network that are timed in OpenVINO, and edgekd's file in ONNX Runtime beside them."""

from collections.abc import Callable
from pathlib import Path

import torch
from int8_files import (
    CALIBRATION,
    FLOAT,
    ONNX,
    OURS,
    Entry,
    build_network,
    edgekd_file,
    kept,
    made,
    make_files,
    own_sources,
    random_images,
    shape_of,
)
from peers import Images, Made, quantise, saturates, version_of

from edgekd.artifact_cache import ArtifactCache
from edgekd.bench import Workload
from edgekd.errors import EdgekdError, first_line
from edgekd.export.runtime import float_convolutions
from edgekd.files import sha256_file

RUNTIME, NNCF = "openvino", "NNCF"
BFLOAT16, FLOAT_ORT, OURS_ORT = "bfloat16", "float in ONNX Runtime", "edgekd in ONNX Runtime"


def openvino_profile() -> str:
    return "openvino-x86" if saturates() else "openvino-x86-vnni"


def make_openvino_files(name: str, store: ArtifactCache, ours: bool = True) -> dict[str, Entry]:
    """The float file, NNCF's and edgekd's for OpenVINO, and edgekd's for ONNX Runtime, made now or before."""
    theirs = make_files(name, store, ours, peers=())
    network, shape, batches = build_network(name), shape_of(name), random_images(name, CALIBRATION)
    images, floating = torch.cat(batches).numpy(), theirs[FLOAT]
    if floating.file is None:
        return {FLOAT: floating}
    version, digest = version_of("OpenVINO"), sha256_file(floating.file)
    entries = {FLOAT: floating, BFLOAT16: floating, FLOAT_ORT: floating}

    def add(label: str, method: str, inputs: list[str | None], write: Callable[[Path], Made]) -> None:
        entries[method] = kept(store, f"{name}-{label}", [digest, version, *inputs], images[:1], write, runs, RUNTIME)

    float_file = floating.file
    add("NNCF-openvino", NNCF, [version_of(NNCF)], lambda folder: quantise(NNCF, float_file, folder / ONNX, images))
    if ours:
        profile = openvino_profile()
        write = lambda folder: made(lambda: edgekd_file(network, shape, batches, folder, profile))  # noqa: E731
        add("edgekd-openvino", OURS, [own_sources()], write)
        entries[OURS_ORT] = theirs[OURS]
    return entries


def workload_of(method: str, file: Path) -> Workload:
    """Return the runtime of a method's file, and the precision in which it computes float32."""
    if method in (FLOAT_ORT, OURS_ORT):
        return Workload(str(file))
    return Workload(str(file), RUNTIME, precision="bfloat16" if method == BFLOAT16 else None)


def runs(file: Path, image: Images) -> str | None:
    """Load ``file`` in OpenVINO in a process of its own; return its complaint, or None if it loads."""
    try:
        float_convolutions(file, RUNTIME)
    except EdgekdError as error:
        return first_line(error)
    return None
