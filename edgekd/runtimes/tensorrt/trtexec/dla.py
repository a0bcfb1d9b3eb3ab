"""Layers on the DLA, and those that silently fell back to the GPU, parsed from the log of TensorRT's build."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

LAYER = re.compile(r"\[(Dla|Gpu)Layer\][ \t]+(\S[^\r\n]*?)[ \t]*\r?$", re.MULTILINE)
# TensorRT 8.5 and later; before that; and the limit of eight subgraphs on a core.
FALLBACKS = (
    re.compile(r"Layer '([^'\r\n]+)' \((\w+)\): (Unsupported on DLA)\.? Switching", re.ASCII),
    re.compile(r"Default DLA is enabled but layer (.+?)() is (not (?:supported|running) on DLA), falling back"),
    re.compile(r"()()(DLA supports only [0-9]{1,4} subgraphs per DLA core)\. Switching to GPU for layer ([^\s.]+)"),
)


@dataclass(frozen=True)
class Fallback:
    layer: str
    why: str
    operator: str = ""


@dataclass(frozen=True)
class DlaReport:
    """The layers of the engine, fused and under TensorRT's names, by where they run, and why some fell back."""

    on_dla: tuple[str, ...]
    on_gpu: tuple[str, ...]
    fallbacks: tuple[Fallback, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def parse_dla(log: str) -> DlaReport:
    """Parse a build's log; what it does not mention is absent.

    >>> parse_dla("[I] [TRT] [DlaLayer] {ForeignNode[conv1...relu1]}").on_dla
    ('{ForeignNode[conv1...relu1]}',)
    """
    placed = LAYER.findall(log)
    found = (fallback_of(match) for pattern in FALLBACKS for match in pattern.finditer(log))
    return DlaReport(
        tuple(name for kind, name in placed if kind == "Dla"),
        tuple(name for kind, name in placed if kind == "Gpu"),
        tuple(dict.fromkeys(found)),
    )


def fallback_of(match: re.Match[str]) -> Fallback:
    first, operator, why, *later = match.groups()
    return Fallback(first or later[0], why[0].lower() + why[1:] if why.startswith("Uns") else why, operator)


def describe(found: DlaReport) -> list[str]:
    """Return the report as lines of text."""
    counted = f"{len(found.on_dla)} layers of the engine on the DLA, {len(found.on_gpu)} on the GPU"
    why = [
        f"  to the GPU: {each.layer}{f' ({each.operator})' if each.operator else ''}, {each.why}"
        for each in found.fallbacks
    ]
    return [
        counted,
        *(f"  DLA: {name}" for name in found.on_dla),
        *(f"  GPU: {name}" for name in found.on_gpu),
        *why,
    ]
