"""A teacher in int8, as a session of ONNX Runtime on the processor, where it predicts what it predicts in float."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import onnxruntime
import torch
from safetensors.torch import save
from torch import Tensor, nn

from edgekd.artifact import tensors_of
from edgekd.bench import fingerprint
from edgekd.data import DataSet
from edgekd.distill.ensemble import Ensemble
from edgekd.errors import EdgekdError, StorageError
from edgekd.files import canonical_json, make_folder, read_content, sha256, write_bytes
from edgekd.formatting import percent
from edgekd.log import get_logger
from edgekd.options import Target
from edgekd.quantize import calibrate, freeze_ranges, prepare, round_biases
from edgekd.quantize.bias_correction import correct_biases
from edgekd.quantize.files import to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.runtimes.onnxruntime.session import CPU, session_options
from edgekd.stages.targets import file_profile
from edgekd.tasks.signature import LOGITS, Shape, Signature
from edgekd.tasks.tensors import Named, map_inputs
from edgekd.train.device import channels_last, make_fabric
from edgekd.train.evaluate import predictions_of
from edgekd.user_cache import cache_folder, made_once

logger = get_logger(__name__)

# The share of the validation samples that it must predict as in float.
AGREEMENT = 0.995
METHOD, BATCHES, SEED = "mse", 8, 0
# Goes up when the same teacher would give another file.
VERSION = 1
LARGEST = 1 << 31
# Processors with these add four products of 8 bits in 32 bits, so that weights may have all eight.
VNNI, WITH_VNNI = ("avx512_vnni", "avx_vnni"), "onnxruntime-x86-vnni"


class SessionTeacher(nn.Module):
    """A network in ONNX Runtime in the place of one in PyTorch, for inference on the CPU alone.

    Args:
        model: the bytes of an ONNX file, whose inputs are those of the network in their order.
        threads: that it may use.
    """

    digest: Tensor

    def __init__(self, model: bytes, threads: int):
        super().__init__()
        options = session_options(threads)
        # Threads that spin from one batch to the next would take the processors from the student's training.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=[CPU])
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]
        # Networks are told apart by their tensors, such as where a teacher's outputs are kept.
        self.register_buffer("digest", torch.tensor(list(hashlib.sha256(model).digest()), dtype=torch.uint8))

    def __deepcopy__(self, memo: Any) -> "SessionTeacher":
        """Return the session itself: it has no state, and cannot be copied."""
        return self

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the logits (N, ...) in float32, or several outputs by name."""
        feeds = {name: each.contiguous().numpy() for name, each in zip(self._inputs, inputs, strict=True)}
        found = map(torch.from_numpy, self._session.run(self._outputs, feeds))
        outputs = dict(zip(self._outputs, found, strict=True))
        return outputs[LOGITS] if list(outputs) == [LOGITS] else outputs


def int8_teacher(
    teacher: nn.Module, data: DataSet, inputs: Shape | Signature, predictions: Tensor
) -> SessionTeacher | None:
    """Return ``teacher`` in int8, or None where it must stay in float. The log says which of the two, and why.

    Args:
        predictions: its own on the validation samples, (N,), as :func:`edgekd.train.predictions_of` gives them.
    """
    why = _why_not(teacher, data)
    if why is None:
        try:
            found = SessionTeacher(_file(teacher, data, inputs), torch.get_num_threads())
            share = _agreement(predictions_of(found, data, data.validation), predictions, data)
        except EdgekdError as error:
            why = str(error)
        else:
            words = f"in int8 it predicts {percent(share)} of {len(predictions)} validation samples as in float"
            if share >= AGREEMENT:
                logger.info(f"  the teacher runs in int8: {words}")
                return found
            why = f"{words}, and {percent(AGREEMENT)} are needed"
    logger.info(f"  the teacher stays in float: {why}")
    return None


def _why_not(teacher: nn.Module, data: DataSet) -> str | None:
    if make_fabric(False).device.type != "cpu":
        return "it runs on a GPU"
    if isinstance(teacher, Ensemble):
        return "there are several teachers"
    if data.task.outputs != "classes":
        return f"it gives {data.task.outputs}, of which no share can agree"
    return None


def _agreement(ours: Tensor, theirs: Tensor, data: DataSet) -> float:
    task = data.task
    return float(task.agree(task.from_rows(ours.numpy()), task.from_rows(theirs.numpy())).mean())


def _file(teacher: nn.Module, data: DataSet, inputs: Shape | Signature) -> bytes:
    """Return the teacher's file, made once for all trainings of the same teacher on the same data."""
    profile = _profile()
    tensors = {name: each.detach().cpu().clone().contiguous() for name, each in tensors_of(teacher).items()}
    settings = [METHOD, BATCHES, SEED, data.batch_size, fingerprint().packages]
    key = sha256(canonical_json([VERSION, sha256(save(tensors)), data.fingerprint, profile, *settings]))
    path = cache_folder() / "teachers" / f"int8-{key[:12]}.onnx"
    with made_once(path, "  the teacher in int8"):
        if path.is_file():
            return read_content(path, StorageError, LARGEST)
        made = _quantized(teacher, data, inputs, profile)
        with suppress(StorageError):
            make_folder(path.parent)
            write_bytes(path, made)
        return made


def _quantized(teacher: nn.Module, data: DataSet, inputs: Shape | Signature, profile: str) -> bytes:
    graph, batches = prepare(teacher, inputs, profile), _batches(data)
    calibrate(graph, batches, METHOD)
    correct_biases(graph, batches)
    round_biases(graph)
    freeze_ranges(graph)
    model = to_runtime(to_qdq(graph, data.preprocess, data.classes, inputs=inputs), graph, profile, profile)
    return bytes(model.SerializeToString(deterministic=True))


def _batches(data: DataSet) -> Sequence[Named]:
    """Return random training inputs, the same for all trainings."""
    samples = data.labelled_only().train
    chosen = torch.randperm(len(samples), generator=torch.Generator().manual_seed(SEED))
    parts = chosen.split(data.batch_size)[:BATCHES]
    return [map_inputs(data.to_input(raw), channels_last) for raw, _ in samples.stream(parts)]


def _profile() -> str:
    return WITH_VNNI if any(flag in VNNI for flag in fingerprint().cpu.flags or ()) else file_profile(Target())
