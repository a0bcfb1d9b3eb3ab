"""A whole run: data, stages, exports, measurements, report, bundle, all in one folder that it can go on from."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from edgekd.bench.profile.profiler import machine_roofs
from edgekd.data import DataSet
from edgekd.files import write_json, write_text
from edgekd.formatting import count
from edgekd.log import get_logger
from edgekd.pipeline import finished
from edgekd.pipeline.baseline_latency import ComparisonNode, baseline_files
from edgekd.pipeline.evaluate import Exported, ExportNode, validation_evidence
from edgekd.pipeline.folder import LOG, RECIPE, begin, run_folder
from edgekd.pipeline.local_paths import without_local_paths
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.measure import LatencyNode
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.outputs import make_output
from edgekd.pipeline.pack import pack_run
from edgekd.pipeline.plan import RunPlan, plan, resolve_training
from edgekd.pipeline.remote import measure_remote
from edgekd.pipeline.report import make_report
from edgekd.pipeline.resolve import must_be_driven, resolve_targets
from edgekd.pipeline.runner import StageRunner
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.target_plan import judged_target, list_targets, plan_targets
from edgekd.pipeline.teachers import EnsembleNode
from edgekd.pipeline.threads import hold_threads, threads_given_back
from edgekd.pipeline.worker import train_for_rank_zero
from edgekd.quantize.placement import Bounds, MetricBound
from edgekd.recipe import Recipe, Target
from edgekd.report.html import render_html
from edgekd.report.schema import Report
from edgekd.stages.targets import is_measured_here
from edgekd.train import Epoch, distributed

logger = get_logger(__name__)


def run(
    recipe: Recipe,
    folder: Path,
    *,
    fresh: bool = False,
    command: str = "",
    watch: Callable[[str, Epoch], None] | None = None,
    baseline: Path | None = None,
    cache: Path | None = None,
) -> Report:
    """Run ``recipe`` in ``folder``; started again after any end, it goes on from where it was.

    Args:
        fresh: forget what earlier runs made in the folder and start over, once the recipe has been planned.
        command: what repeats this run, for the report.
        watch: called with the stage's name and each epoch.
        baseline: a baseline with its files, which the last network is timed in turns with.
        cache: a folder of results that several runs share.

    Under torchrun all processes call it and get the report; the first one alone does more than train.

    Raises:
        EdgekdError: bad input, a training that diverges, a disk that refuses, a folder that holds other things.
    """
    distributed.launch()
    if not distributed.is_rank_zero():
        return train_for_rank_zero(recipe)
    with run_folder(folder), threads_given_back():
        recipe, probed = resolve_targets(recipe)
        targets = plan_targets(recipe, probed)
        for line in list_targets(recipe, targets):
            logger.info(line)
        compared_with = baseline_files(baseline, recipe, probed) if baseline else {}
        planned, given = plan(recipe), recipe
        recipe = resolve_training(recipe, planned.data)
        must_be_driven(planned.data, probed, recipe)
        _announce(planned)
        begin(folder, fresh)
        log = RunLog(folder / LOG, recipe.written)
        hold_threads(log)
        write_text(folder / RECIPE, recipe.to_yaml())
        data, nodes = planned.data, NodeCache(folder, cache)
        teachers, stages = StageRunner(recipe, data, planned.starts, nodes, log, watch).run()
        exports = _export(recipe, data, stages, nodes, judged_target(targets))
        ensemble = nodes.make(EnsembleNode(teachers, data)) if len(teachers.members) > 1 else None
        question = recipe.budget.latency_ratio or 1.0
        here = [target for target in recipe.targets if is_measured_here(target)]
        roofs_of = lru_cache(machine_roofs)
        measured = {target: nodes.make(LatencyNode(exports, target, question, roofs_of)) for target in here}
        remote = [
            measure_remote(exports, target, probed[target.device], data, nodes, question)
            for target in recipe.targets
            if target.device in probed and any(export.own_file_for(target) for export in exports)
        ]
        last = exports[-1].folder
        compared = {
            target: found
            for target, old in compared_with.items()
            if (new := exports[-1].own_file_for(target))
            and (found := nodes.make(ComparisonNode(last / new.file, old, target, probed.get(target.device))))
        }
        full = make_report(
            recipe, data, exports, teachers, ensemble, measured, remote, compared, log, nodes, command,
        )  # fmt: skip
        report = Report.from_json(without_local_paths(full.to_json(), folder, recipe.written))
        write_json(folder / "report.json", report.to_json())
        page = folder / "report.html"
        make_output(folder, page.name, ["report.json"], lambda: write_text(page, render_html(report, folder)))
        make_output(folder, "bundle", ["report.json", "recipe.lock.yaml", "exports"], lambda: pack_run(folder))
        finished.record(folder, given, planned.data, report, command)
        return distributed.broadcast(report)


def _export(
    recipe: Recipe, data: DataSet, stages: list[StageResult], nodes: NodeCache, judged: Target
) -> list[Exported]:
    """The teacher's files first: what students must keep follows from them."""
    teacher = nodes.make(ExportNode(stages[0], 0, data, recipe.targets))
    bounds = Bounds(
        _metric_bound(recipe, data, teacher), recipe.budget.largest_bytes(teacher.evaluation.here.size_bytes)
    )
    rest = enumerate(stages[1:], start=1)
    return [teacher, *(nodes.make(ExportNode(done, n, data, recipe.targets, judged, bounds)) for n, done in rest)]


def _metric_bound(recipe: Recipe, data: DataSet, teacher: Exported) -> MetricBound | None:
    """On the validation samples, which placements may be chosen by."""
    metric = data.task.metrics[0]
    drop = recipe.budget.drops.get(metric.name)
    if drop is None or not any(stage.quantizes_for(recipe.targets) for stage in recipe.stages):
        return None
    return MetricBound(metric, metric.limit(validation_evidence(teacher.onnx, data).value(), drop))


def _announce(planned: RunPlan) -> None:
    data = planned.data
    logger.info(
        f"{data.name}: {len(data.train)} training, {len(data.validation)} validation, {len(data.test)} test samples"
    )
    for role, size in planned.sizes.items():
        logger.info(f"{role}: {size.params:,} parameters, {count(size.macs)} multiply-accumulates")
