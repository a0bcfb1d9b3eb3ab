"""TensorRT's own ONNX parser, which makes a strongly typed network: each tensor has the type in the file."""

from dataclasses import dataclass
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from edgekd.errors import ExportError
from edgekd.external import tensors_outside
from edgekd.runtimes.tensorrt.adapter import decoded, errors_of, library, plain, version


@dataclass(frozen=True)
class ParseError:
    """A reason why the parser refuses a file; ``node`` and ``op`` are empty if it is the file as a whole."""

    node: str
    op: str
    reason: str

    def __str__(self) -> str:
        return f"{self.op} {self.node!r}: {self.reason}" if self.node else self.reason


@dataclass(frozen=True)
class Parsed:
    """A parsed network, and what must outlive it: the parser owns the weights that it reads."""

    builder: Any
    network: Any
    parser: Any
    errors: tuple[ParseError, ...]


def parse_errors(model: bytes) -> list[ParseError]:
    """Return the reasons why the installed TensorRT does not take the ONNX file ``model``.

    The parser stops at the first node that it refuses. TensorRT for RTX parses with no GPU present.

    Raises:
        ExportError: ``model`` is no ONNX file or keeps weights elsewhere, or TensorRT does not start here.
    """
    trt = library()
    return list(parse(trt, errors_of(trt), model).errors)


def parse(trt: Any, logger: Any, model: bytes) -> Parsed:
    _check(model)
    builder = _builder(trt, logger)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, logger)
    if parser.parse(model):
        return Parsed(builder, network, parser, ())
    found = tuple(_error(parser.get_error(index)) for index in range(parser.num_errors))
    nothing_said = (ParseError("", "", f"the parser gives no reason{logger.last()}"),)
    return Parsed(builder, network, parser, found or nothing_said)


def _check(model: bytes) -> None:
    try:
        loaded = onnx.load_model_from_string(model)
    except (DecodeError, ValueError) as error:
        raise ExportError(f"this is no ONNX file ({len(model)} bytes); export it again") from error
    if not loaded.graph.node:
        raise ExportError(f"this ONNX file has no nodes ({len(model)} bytes); export it again")
    # The parser would read them from wherever the process stands, and a hash of the model would not cover them.
    outside = [tensor.name for tensor in tensors_outside(loaded)]
    if outside:
        raise ExportError(f"{outside[0]!r} keeps its weights in another file; export with external_data=False")


def _builder(trt: Any, logger: Any) -> Any:
    try:
        return trt.Builder(logger)
    except TypeError as error:  # the binding's word for a null pointer, which TensorRT gives where no driver is
        raise ExportError(
            f"{version(trt)} does not start on this machine{logger.last()}; it needs an NVIDIA driver, which "
            "'pip install tensorrt-rtx', in an environment without tensorrt, does not"
        ) from error


def _strongly_typed(trt: Any) -> int:
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)  # 11 knows nothing else and may lose the flag


def _error(error: Any) -> ParseError:
    reason = plain(decoded(error.desc))
    return ParseError(decoded(error.node_name), decoded(error.node_operator), reason or "no reason given")
