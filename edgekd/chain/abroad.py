"""The exported files on a device of the book: their latency there, in turns, and what they answer there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.bench import LatencyRecord, Plan, Subject
from edgekd.chain import measure as here
from edgekd.chain.chunks import chunks
from edgekd.chain.done import METRICS
from edgekd.chain.evaluate import Exported, save_array
from edgekd.chain.sites import Site
from edgekd.chain.store import Store
from edgekd.chain.targets import file_profile
from edgekd.data import DataSet
from edgekd.devices.place import LASTING, There
from edgekd.errors import DeviceError
from edgekd.files import canonical_json, sha256, sha256_file, write_json
from edgekd.progress import say
from edgekd.recipe import Target

VERSION = 1


@dataclass(frozen=True)
class Abroad:
    """What was measured of a target: one entry for each network that it has a file of, by the network's label."""

    target: Target
    site: Site
    folder: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        return json.loads((self.folder / METRICS).read_text())

    @property
    def labels(self) -> list[str]:
        return list(self.content["latency"])

    def latency(self, label: str) -> LatencyRecord:
        return LatencyRecord.from_json(self.content["latency"][label])

    def predictions(self, label: str) -> Path:
        """Of a .npy file with the class of each test sample (N,)."""
        return self.folder / self.content["predictions"][label]


def measure_abroad(
    exports: Sequence[Exported], target: Target, site: Site, data: DataSet, store: Store, question: float = 1.0
) -> Abroad:
    """Measures on the device, or finds what was measured before of the same files on the same device.

    Raises:
        DeviceError: the device cannot be reached, or not all test samples were answered there.
    """
    files = {export.label: file for export in exports if (file := file_for(export, target))}
    plan = Plan(
        {label: Subject(str(path), target.runtime) for label, path in files.items()},
        next(iter(files)),
        target.threads,
        1,
        here.SECONDS,
        2 * here.SECONDS,
        sittings=here.SITTINGS,
        question=question,
    )
    hashes = {label: sha256_file(path) for label, path in files.items()}
    about = [VERSION, plan.seconds, plan.sittings, hashes, target.model_dump(), lasting(site), data.fingerprint]
    key = sha256(canonical_json(about))
    name = f"{target.device}-{target.runtime}-{target.threads}"
    folder = store.find(name, key)
    if folder is None:
        say(f"  {target.device}, {target.runtime}: latency and answers of {len(files)} files")
        with There(site.device) as there:
            latency = there.latency(plan)
            answers = answered(there, target, files, data)
        with store.new(name, key) as new:
            predictions = {label: f"predictions-{number}.npy" for number, label in enumerate(files)}
            for label, named in predictions.items():
                save_array(new / named, answers[label].astype(np.int32))
            content = {
                "latency": {label: record.to_json() for label, record in latency.items()},
                "predictions": predictions,
            }
            write_json(new / METRICS, content)
        folder = store.place(name, key)
    return Abroad(target, site, folder)


def file_for(export: Exported, target: Target) -> Path | None:
    """The network's file for the target's runtime and processor; None where its training serves it none."""
    figures = figures_for(export, target)
    return export.folder / figures["file"] if figures else None


def figures_for(export: Exported, target: Target) -> dict[str, Any] | None:
    """What is known here of that file."""
    wanted = file_profile(target)
    of_files = (export.figures, *export.figures["others"])
    return next((figures for figures in of_files if figures["profile"] == wanted), None)


def lasting(site: Site) -> dict[str, Any]:
    facts = {key: site.facts["facts"].get(key) for key in LASTING}
    return {**{key: site.facts.get(key) for key in ("tensorrt", "l4t", "power_mode")}, **facts}


def answered(there: There, target: Target, files: dict[str, Path], data: DataSet) -> dict[str, NDArray[np.int64]]:
    parts: dict[str, list[NDArray[np.int64]]] = {label: [] for label in files}
    for inputs in chunks(data, data.test):
        for label, answers in there.answers(target.runtime, files, inputs, target.threads).items():
            if answers.cut:
                few = f"{answers.n} of {len(inputs)} samples"
                raise DeviceError(f"{target.device}: {label} answered {few}: {answers.cut}")
            parts[label].append(answers.classes)
    return {label: np.concatenate(each) for label, each in parts.items()}
