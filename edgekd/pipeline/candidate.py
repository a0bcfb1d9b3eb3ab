"""A recipe tried without its test set: its stages, and what its last network's file is worth on the validation samples.

What a whole run does beyond that (exports of every stage, timings, report, bundle) is left for the recipe that wins.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgekd.artifact import tensors_of
from edgekd.artifact_cache import METRICS
from edgekd.bench import Plan, Workload, fingerprint
from edgekd.data import DataSet, load_data
from edgekd.devices.registry import LOCAL, devices
from edgekd.devices.targets import resolve_target
from edgekd.files import canonical_json, sha256, write_json, write_text
from edgekd.models import count_macs, count_parameters
from edgekd.options import Budget
from edgekd.pipeline.evaluate import runs_in, save_array, validation_rows
from edgekd.pipeline.files import served, write_files
from edgekd.pipeline.folder import LOG, RECIPE, begin, run_folder
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.node import Node, NodeCache
from edgekd.pipeline.resolve import resolve_targets
from edgekd.pipeline.runner import StageRunner
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.start import starts_of
from edgekd.pipeline.target_plan import judged_target, plan_targets
from edgekd.pipeline.threads import hold_threads, threads_given_back
from edgekd.prune.latency import LatencyTable, network_ms
from edgekd.prune.latency.kernels import REFERENCE
from edgekd.recipe import Recipe, Target
from edgekd.records.candidate_figures import Figures
from edgekd.stages.network import build_spec, float_twin, quantization_of, restore
from edgekd.stages.targets import can_be_timed, file_profile, is_here
from edgekd.tasks.compare import MetricDifference, compare
from edgekd.tasks.metric import Correct, Evidence
from edgekd.train import Epoch, predictions_of
from edgekd.train.evaluate import evidence_of

VERSION = 2
PREDICTIONS, FLOAT_TWIN = "predictions-validation.npy", "float.onnx"
# In a run folder: of each network that was scored, the first one's the teacher.
EXPORTED = f"exports/*-validation-*/{METRICS}"
# How many standard errors a two-sided interval of 95 % is wide.
WIDTH = 2 * 1.959964
FLOAT32 = "float32"
# Of a file whose kernels have no times.
SECONDS = 1.0


class ScoredFile:
    """A network's file with its predictions on the validation samples, in a folder, and what it costs on paper."""

    def __init__(self, folder: Path):
        self.folder = folder
        about = json.loads((folder / METRICS).read_text())
        self.file = folder / str(about["file"])
        self.precision: str = about["precision"]
        self.size_bytes: int = about["size_bytes"]
        self.macs: int = about["macs"]
        # Those of older searches have none.
        self._twin = folder / FLOAT_TWIN if about.get("twin") else None

    def twin_within(self, budget: Budget, teacher_bytes: int) -> Path | None:
        """Return the file with all layers in float, or None where no measured placement may choose that.

        Args:
            budget: its bounds on the size are kept.
            teacher_bytes: of the teacher's file.
        """
        largest = budget.largest_bytes(teacher_bytes)
        if self._twin is None or (largest is not None and self._twin.stat().st_size > largest):
            return None
        return self._twin

    @cached_property
    def rows(self) -> Tensor:
        """Return what it predicts for the validation samples, (N, ...)."""
        return torch.from_numpy(np.load(self.folder / PREDICTIONS, allow_pickle=False))

    def evidence(self, data: DataSet) -> Evidence:
        """Return the evidence for the task's first metric on the validation samples."""
        return evidence_of(self.rows, data, data.validation)


@dataclass(frozen=True)
class CandidateNode(Node[ScoredFile]):
    """The file of a stage's network for one target, and what it predicts for the validation samples.

    Where the recipe has its int8 layers placed by measurement, all of them are int8 here, and all are float in a twin.
    """

    done: StageResult
    number: int
    data: DataSet
    target: Target

    within: ClassVar[str] = "exports"

    @property
    def name(self) -> str:
        return f"{self.number:02d}-{self.done.label}-validation"

    @cached_property
    def key(self) -> str:
        here = fingerprint()
        machine = [here.cpu.to_json(), here.packages]
        about = ["candidate", VERSION, self.done.content, self.data.decoded_fingerprint, machine]
        about.append(file_profile(self.target))
        return sha256(canonical_json(about))

    def fill(self, folder: Path, workplace: Path) -> None:
        artifact, data = self.done.artifact, self.data
        network, trained = restore(artifact), quantization_of(artifact.spec).profile
        profiles = served(trained, [file_profile(self.target)])[:1]
        [file] = write_files(folder, network, artifact.spec, data.preprocess, data.classes, profiles, twin=FLOAT_TWIN)
        path = folder / file.name
        rows = validation_rows(path, data, runs_in(file.profile), is_here(file.profile))
        save_array(folder / PREDICTIONS, rows)
        in_float = build_spec(float_twin(artifact.spec))
        about = {
            "file": file.name,
            "precision": file.precision,
            "size_bytes": path.stat().st_size,
            "params": count_parameters(in_float),
            "macs": count_macs(in_float, artifact.spec.inputs),
            "twin": (folder / FLOAT_TWIN).exists(),
        }
        write_json(folder / METRICS, about)

    def read(self, folder: Path) -> ScoredFile:
        return ScoredFile(folder)


def try_recipe(
    recipe: Recipe,
    folder: Path,
    cache: Path | None = None,
    *,
    data: DataSet | None = None,
    timed: bool = False,
    filed: bool = True,
    teacher_ms: float | None = None,
    earlier: Sequence[Path] = (),
    watch: Callable[[str, Epoch], None] | None = None,
) -> Figures:
    """Run the stages of ``recipe`` in ``folder``, and score its last network on the validation samples.

    What :func:`edgekd.pipeline.plan.plan` tries beforehand is left out: who compares many recipes of one kind has
    tried one of them.

    Args:
        cache: a folder of results that several runs share.
        data: the recipe's, where it is loaded already.
        timed: predict the milliseconds of its file and of the teacher's on the target that the budget is judged on,
            from their kernels. Of a network whose int8 layers are placed by measurement the costs are those of its
            file in float, where that is faster and not too large for the budget.
        filed: score the file that the last network becomes; else the networks themselves are scored, in PyTorch, which
            takes a fraction of the time.
        teacher_ms: the teacher's, where they are known.
        earlier: run folders of other candidates of one search, whose files were scored on the same samples.
        watch: called with the stage's name and each epoch.

    Raises:
        EdgekdError: bad input, a goal that cannot be reached, a training that diverges.
    """
    with run_folder(folder), threads_given_back():
        recipe, probed = resolve_targets(recipe)
        data = data or load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
        begin(folder, fresh=False)
        log = RunLog(folder / LOG, recipe.written)
        hold_threads(log)
        write_text(folder / RECIPE, recipe.to_yaml())
        nodes, target = NodeCache(folder, cache), judged_target(plan_targets(recipe, probed))
        _, stages = StageRunner(recipe, data, starts_of(recipe, data), nodes, log, watch).run()
        if not filed:
            return _unfiled(stages[0], stages[-1], data, recipe.budget)
        numbered = {number: stages[number] for number in (0, len(stages) - 1)}
        found = [nodes.make(CandidateNode(done, number, data, target)) for number, done in numbered.items()]
        teacher, last = found[0], found[-1]
        before, after = teacher.evidence(data), last.evidence(data)
        compared = compare(data.task.metrics[0], before, after)
        others = (scored.evidence(data) for each in earlier if (scored := last_scored(each)))
        costs = _Costs(None, last.size_bytes)
        if timed:
            costs = _deployed_costs(last, target, last.twin_within(recipe.budget, teacher.size_bytes))
        return Figures(
            value=compared.after,
            drop=compared.drop,
            error=_error(compared),
            n=compared.n,
            size_bytes=costs.size_bytes,
            teacher_size_bytes=teacher.size_bytes,
            macs=last.macs,
            teacher_macs=teacher.macs,
            ms=costs.ms,
            teacher_ms=(teacher_ms or predicted_ms(teacher.file, teacher.precision, target)) if timed else None,
            likeness=likeness(before, after, others),
            others=further_drops(teacher.rows, last.rows, data, recipe.budget),
        )


def last_scored(folder: Path) -> ScoredFile | None:
    """Return the file of the last network that :func:`try_recipe` scored in ``folder``, None where there is none."""
    found = sorted(folder.glob(EXPORTED))
    return ScoredFile(found[-1].parent) if found else None


def likeness(teacher: Evidence, network: Evidence, others: Iterable[Evidence]) -> float | None:
    """Return how alike samples make a network's drop and those of ``others``, all to one teacher, in [-1, 1].

    It is the mean of the correlations, over samples, of their differences from the teacher. None where there are no
    others, or samples are not right or wrong.
    """
    if not isinstance(network, Correct):
        return None
    rows = [np.asarray(each.correct, float) for each in (teacher, network, *others) if isinstance(each, Correct)]
    own, *theirs = (each - rows[0] for each in rows[1:])
    alike = [float(np.corrcoef(own, each)[0, 1]) for each in theirs if own.std() and each.std()]
    return sum(alike) / len(alike) if alike else None


def further_drops(teacher: Tensor, network: Tensor, data: DataSet, budget: Budget) -> dict[str, list[float]]:
    """Return the drop and its standard error by each metric but the task's first that ``budget`` bounds.

    Args:
        teacher, network: what both predict for the validation samples, (N, ...).
    """
    found = {}
    for metric in data.task.metrics[1:]:
        if metric.name in budget.drops:
            before, after = (evidence_of(rows, data, data.validation, metric) for rows in (teacher, network))
            compared = compare(metric, before, after)
            found[metric.name] = [compared.drop, _error(compared)]
    return found


def _error(compared: MetricDifference) -> float:
    low, high = compared.interval
    return (high - low) / WIDTH


def _unfiled(teacher: StageResult, last: StageResult, data: DataSet, budget: Budget) -> Figures:
    networks = [restore(each.artifact).eval() for each in (teacher, last)]
    rows = [predictions_of(network, data, data.validation) for network in networks]
    before, after = (evidence_of(each, data, data.validation) for each in rows)
    compared = compare(data.task.metrics[0], before, after)
    sizes = [sum(each.nbytes for each in tensors_of(network).values()) for network in networks]
    macs = [count_macs(network, last.artifact.spec.inputs) for network in networks]
    error, others = _error(compared), further_drops(rows[0], rows[1], data, budget)
    return Figures(
        compared.after, compared.drop, error, compared.n, sizes[1], sizes[0], macs[1], macs[0], others=others
    )


class _Costs(NamedTuple):
    ms: float | None
    size_bytes: int


def _deployed_costs(last: ScoredFile, target: Target, twin: Path | None) -> _Costs:
    """The costs of the file in int8 or of its twin in float, as a measured placement chooses between them."""
    found = _Costs(predicted_ms(last.file, last.precision, target), last.size_bytes)
    if twin is None or found.ms is None:
        return found
    in_float = _Costs(predicted_ms(twin, FLOAT32, target), twin.stat().st_size)
    return in_float if in_float.ms is not None and in_float.ms < found.ms else found


def predicted_ms(file: Path, precision: str, target: Target) -> float | None:
    """Return the milliseconds of all kernels in one inference on ``target``, or None where nothing can be timed there.

    They are at the speed of the table of layer times, so that files compare that were timed at different moments. Where
    a runtime on a device has no times of kernels, the file itself is timed there.
    """
    if not can_be_timed(target):
        return _measured_ms(file, target)
    with resolve_target(target.device) as place:
        table = LatencyTable(
            "int8" if precision == "int8" else FLOAT32, target.threads, target=place, runtime=target.runtime
        )
        table.measure([REFERENCE])
        return network_ms(file, table)


def _measured_ms(file: Path, target: Target) -> float | None:
    if target.device in LOCAL or target.device not in devices():
        return None
    plan = Plan({file.name: Workload(str(file), target.runtime)}, None, target.threads, seconds=SECONDS, launches=1)
    with resolve_target(target.device) as place:
        [record] = place.latency(plan).values()
    return (record.cost_ms or record.latency_ms).p50
