"""The layers of an engine and their precisions, from the inspector's JSON or the builder's own list."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# As the inspector of 10 and 11 spells them, inside "Row major linear FP16 format" or on their own.
PRECISIONS = {
    "int8": "int8",
    "fp8": "float8",
    "fp4": "float4",
    "int4": "int4",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "float16": "float16",
    "fp32": "float32",
    "float": "float32",
    "float32": "float32",
    "int64": "int64",
    "int32": "int32",
    "uint8": "uint8",
    "bool": "bool",
}
DATATYPE_FIELDS = ("DataType", "Datatype", "Format/Datatype", "Format")

LAYER = re.compile(
    r"^Name: (?P<Name>.*), LayerType: (?P<LayerType>[^,]*), Inputs: \[(?P<Inputs>.*?)\], "
    r"Constants: \[.*?\], Outputs: \[(?P<Outputs>.*?)\], TacticName: .*?, "
    r"StreamId: \d+, Metadata: ?(?P<Metadata>.*)$",
    re.MULTILINE,
)
TENSOR = re.compile(
    r"\{ Name: .*?, Dimensions: \[(?P<Dimensions>[-\d,]*)\], .*?"
    r"Datatype: (?P<Datatype>\w+), Format: (?P<Format>.*?) \}"
)


@dataclass(frozen=True)
class LayerTensor:
    """A tensor of a layer: an open dimension is -1, and a precision that is not named is empty."""

    dimensions: tuple[int, ...]
    precision: str


@dataclass(frozen=True)
class LayerWeights:
    """The number of a layer's weights or biases, and their precision."""

    count: int
    precision: str


@dataclass(frozen=True)
class BuiltLayer:
    """A layer of an engine; ``kind`` and ``parameters`` are TensorRT's names for what it computes.

    A layer of which only the name is known has nothing else.
    """

    name: str
    kind: str = ""
    parameters: str = ""
    metadata: str = ""
    inputs: tuple[LayerTensor, ...] = ()
    outputs: tuple[LayerTensor, ...] = ()
    weights: LayerWeights | None = None
    bias: LayerWeights | None = None

    @property
    def precision(self) -> str:
        """Return the precision of the weights, or of the first input if there are none: outputs may have another."""
        if self.weights and self.weights.count:
            return self.weights.precision
        return self.inputs[0].precision if self.inputs else ""


def parse_layers(document: str) -> dict[str, BuiltLayer]:
    """Parse the inspector's JSON, or a file of ``trtexec --exportLayerInfo``, into layers by name."""
    try:
        entries = json.loads(document).get("Layers")
    except (ValueError, RecursionError, AttributeError):  # 8 and 10 leave quotes in names as they are
        return {}
    listed = entries if isinstance(entries, list) else []
    found = [{"Name": entry} if isinstance(entry, str) else entry for entry in listed]
    named = [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("Name"), str)]
    return {entry["Name"]: layer_from_json(entry) for entry in named}


def layer_from_json(entry: Mapping[str, Any]) -> BuiltLayer:
    """Read one layer of the inspector's document."""
    return BuiltLayer(
        entry["Name"],
        kind=str(entry.get("LayerType", "")),
        parameters=str(entry.get("ParameterType", "")),
        metadata=str(entry.get("Metadata", "")),
        inputs=_inspected(entry.get("Inputs")),
        outputs=_inspected(entry.get("Outputs")),
        weights=_weights(entry.get("Weights")),
        bias=_weights(entry.get("Bias")),
    )


def _inspected(tensors: Any) -> tuple[LayerTensor, ...]:
    # Only their names, in an engine that was not built in detail.
    described = [tensor for tensor in tensors if isinstance(tensor, dict)] if isinstance(tensors, list) else []
    return tuple(LayerTensor(_dimensions(tensor.get("Dimensions")), datatype(tensor)) for tensor in described)


def _dimensions(found: Any) -> tuple[int, ...]:
    return tuple(size for size in found if isinstance(size, int)) if isinstance(found, list) else ()


def _weights(found: Any) -> LayerWeights | None:
    count = found.get("Count", 0) if isinstance(found, dict) else None
    return LayerWeights(count, named(str(found.get("Type", "")))) if isinstance(count, int) else None


def logged_layers(text: str) -> dict[str, BuiltLayer]:
    """Parse the list that TensorRT for RTX logs as it builds; unlike the inspector it needs no GPU."""
    return {
        found["Name"]: BuiltLayer(
            found["Name"],
            found["LayerType"],
            metadata=found["Metadata"],
            inputs=_logged(found["Inputs"]),
            outputs=_logged(found["Outputs"]),
        )
        for found in LAYER.finditer(text)
    }


def _logged(tensors: str) -> tuple[LayerTensor, ...]:
    return tuple(
        LayerTensor(tuple(int(size) for size in found["Dimensions"].split(",") if size), datatype(found.groupdict()))
        for found in TENSOR.finditer(tensors)
    )


def layer_precisions(layers: Mapping[str, BuiltLayer]) -> dict[str, Counter[str]]:
    """Count the layers of each kind by precision, as ``{"correlation": {"int8": 20}, "gemm": {"int8": 1}}``.

    A kind is as TensorRT names it: convolutions are ``correlation`` in TensorRT for RTX, ``CaskConvolution`` in 10.
    Layers without tensors (synchronisation, shapes) are left out.
    """
    counts: dict[str, Counter[str]] = {}
    for layer in layers.values():
        if layer.precision:
            counts.setdefault(layer.kind, Counter())[layer.precision] += 1
    return counts


def datatype(tensor: Mapping[str, object]) -> str:
    return next((found for key in DATATYPE_FIELDS if (found := named(str(tensor.get(key, ""))))), "")


def named(text: str) -> str:
    """Return the precision in the inspector's ``text``, empty if it names none."""
    found = re.findall(r"[a-z]+\d*", text.lower())
    return next((PRECISIONS[word] for word in found if word in PRECISIONS), "")
