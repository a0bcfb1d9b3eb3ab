"""Parsers for the output of TensorRT's ``trtexec`` and the files that it exports, TensorRT 8.2 to 11."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BANNER = re.compile(r"TensorRT\.trtexec \[TensorRT v([0-9]{1,6})((?:\.[0-9]{1,5}){0,3})\]", re.ASCII)
OBJECT = re.compile(r"\{[^{}]*\}")
OUTPUT = re.compile(
    r'"name"\s*:\s*"(?P<name>[^"]*)"\s*,\s*"dimensions"\s*:\s*"(?P<dims>[0-9]{1,9}(?:x[0-9]{1,9}){0,7})"'
    r'\s*,\s*"values"\s*:\s*\[(?P<values>[^\]]*)\]'
)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Parse TensorRT's release from the banner that every run of trtexec prints.

    One number up to 9 (8502 is 8.5.2), another from 10 on (100300 is 10.3.0), or dots.

    >>> parse_version("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b26] # trtexec")
    (10, 3, 0)
    """
    match = BANNER.search(text)
    if not match:
        return None
    number, dotted = int(match[1]), match[2]
    if dotted:
        parts = [number, *map(int, dotted[1:].split(".")), 0, 0]
        return parts[0], parts[1], parts[2]
    per_major = 10_000 if number >= 100_000 else 1_000
    return number // per_major, number % per_major // 100, number % 100


def dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


@dataclass(frozen=True)
class Query:
    """Times of one inference in milliseconds; ``latency`` includes copies, ``enqueue`` is the host's part."""

    compute: float
    latency: float
    h2d: float
    d2h: float
    enqueue: float
    start: float


def parse_times(text: str, warmup_ms: float = 0.0) -> list[Query]:
    """Parse a file of ``--exportTimes``: the queries after the warm-up, of a cut file those that are complete.

    ``warmup_ms`` is what ``--warmUp`` was: TensorRT 8.2 writes the warm-up's queries too, from 8.5 on it does not, so
    give it for 8.2 alone.
    """
    found = (query_of(entry) for entry in objects(text))
    return [query for query in found if query and query.start >= warmup_ms]


def query_of(entry: dict[str, Any]) -> Query | None:
    names = ("computeMs", "latencyMs", "h2dMs", "d2hMs", "startEnqMs", "endEnqMs", "startComputeMs")
    values = [figure(entry.get(name)) for name in names]
    if any(value is None or value < 0 for value in values):
        return None
    compute, latency, h2d, d2h, enqueued, ended, start = (value for value in values if value is not None)
    return Query(compute, latency, h2d, d2h, ended - enqueued, start) if ended >= enqueued else None


@dataclass(frozen=True)
class EngineLayerTime:
    """A layer's time in one inference, in milliseconds; the median is there from TensorRT 8.5 on."""

    name: str
    average_ms: float
    median_ms: float | None = None


def parse_profile(text: str) -> list[EngineLayerTime]:
    """Parse the layer times in a file of ``--exportProfile``.

    Names are not escaped in it; a layer whose name breaks the JSON is left out.
    """
    found = []
    for entry in objects(text):
        name, average, median = entry.get("name"), figure(entry.get("averageMs")), figure(entry.get("medianMs"))
        if isinstance(name, str) and average is not None and average >= 0:
            found.append(EngineLayerTime(name, average, median))
    return found


def parse_outputs(text: str, name: str) -> tuple[tuple[int, ...], list[float]] | None:
    """Parse shape and values of the output ``name`` in a file of ``--exportOutput``; None if it is cut short."""
    for match in OUTPUT.finditer(text):
        if match["name"] != name:
            continue
        dims = tuple(map(int, match["dims"].split("x")))
        try:
            values = [float(word) for word in match["values"].replace(",", " ").split()]
        except ValueError:
            return None
        return (dims, values) if math.prod(dims) == len(values) else None
    return None


def figure(value: Any) -> float | None:
    # JSON's true is a number to Python.
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if usable and math.isfinite(value) else None


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Parse each ``{...}`` that is JSON: in a file that was cut short some still are."""
    for match in OBJECT.finditer(text):
        try:
            entry = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry
