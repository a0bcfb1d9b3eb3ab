"""The layers of an engine and their precisions, from the inspector's JSON or the builder's own list."""

import json
import re
from collections import Counter
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
    "bool": "bool",
}
DATATYPE_FIELDS = ("DataType", "Datatype", "Format/Datatype", "Format")

LAYER = re.compile(
    r"^Name: (?P<Name>.*), LayerType: (?P<LayerType>[^,]*), Inputs: \[(?P<Inputs>.*?)\], "
    r"Constants: \[(?P<Constants>.*?)\], Outputs: \[(?P<Outputs>.*?)\], TacticName: (?P<TacticName>.*?), "
    r"StreamId: \d+, Metadata: ?(?P<Metadata>.*)$",
    re.MULTILINE,
)
TENSOR = re.compile(
    r"\{ Name: (?P<Name>.*?), Dimensions: \[(?P<Dimensions>[-\d,]*)\], .*?"
    r"Datatype: (?P<Datatype>\w+), Format: (?P<Format>.*?) \}"
)

Layer = dict[str, Any]


def parse_layers(document: str) -> dict[str, Layer]:
    """Parse the inspector's JSON into layers by name; a layer of which only the name is known is empty."""
    try:
        entries = json.loads(document).get("Layers", [])
    except (json.JSONDecodeError, AttributeError):  # 8 and 10 leave quotes in names as they are
        return {}
    found = [{"Name": entry} if isinstance(entry, str) else entry for entry in entries]
    return {layer["Name"]: layer for layer in found if "Name" in layer}


def logged_layers(text: str) -> dict[str, Layer]:
    """Parse the list that TensorRT for RTX logs as it builds; unlike the inspector it needs no GPU."""
    return {found["Name"]: _logged(found) for found in LAYER.finditer(text)}


def _logged(found: re.Match[str]) -> Layer:
    layer: Layer = found.groupdict()
    for key in ("Inputs", "Constants", "Outputs"):
        layer[key] = [_tensor(tensor) for tensor in TENSOR.finditer(layer[key])]
    return layer


def _tensor(found: re.Match[str]) -> Layer:
    dimensions = [int(size) for size in found["Dimensions"].split(",") if size]
    return {**found.groupdict(), "Dimensions": dimensions}


def layer_precisions(layers: dict[str, Layer]) -> dict[str, Counter[str]]:
    """Count the layers of each type by precision, as ``{"correlation": {"int8": 20}, "gemm": {"int8": 1}}``.

    A type is as TensorRT names it: convolutions are ``correlation`` in TensorRT for RTX, ``CaskConvolution`` in 10.
    Layers without tensors (synchronisation, shapes) are left out.
    """
    counts: dict[str, Counter[str]] = {}
    for layer in layers.values():
        if precision := precision_of(layer):
            counts.setdefault(layer.get("LayerType", ""), Counter())[precision] += 1
    return counts


def precision_of(layer: Layer) -> str:
    """Return the precision of the weights, or of the first input if there are none: outputs may have another."""
    weights = layer.get("Weights")
    if isinstance(weights, dict) and weights.get("Count"):
        return named(str(weights.get("Type", "")))
    return next((datatype(tensor) for tensor in tensors(layer, "Inputs")), "")


def tensors(layer: Layer, key: str) -> list[Layer]:
    return [tensor for tensor in layer.get(key) or [] if isinstance(tensor, dict)]


def datatype(tensor: Layer) -> str:
    return next((found for key in DATATYPE_FIELDS if (found := named(str(tensor.get(key, ""))))), "")


def named(text: str) -> str:
    """Return the precision in the inspector's ``text``, empty if it names none."""
    found = re.findall(r"[a-z]+\d*", text.lower())
    return next((PRECISIONS[word] for word in found if word in PRECISIONS), "")
