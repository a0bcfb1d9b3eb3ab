"""The measured times of candidates that could win, and how far off they show the predicted ones to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.bench.environment import cpu
from edgekd.devices.registry import LOCAL, devices
from edgekd.log import get_logger
from edgekd.pipeline.resolve import is_registered
from edgekd.pipeline.target_plan import judged_target, plan_targets
from edgekd.recipe import Recipe, Target
from edgekd.records.candidate_figures import MACHINE, Figures
from edgekd.report.schema import Report
from edgekd.search.arm_state import TimeFactors, TrialRecord, time_factors
from edgekd.search.folder import TRIALS
from edgekd.search.jobs import JobRunner, run_timed
from edgekd.search.study_log import StudyLog
from edgekd.search.time_spent import TimeSpent

logger = get_logger(__name__)

EVENT, FACTORS, RATIOS, ENERGIES = "timed", "factors", "ratios", "energies"
OF_RECORD = {RATIOS: "ratio", ENERGIES: "energy"}
Prices = Mapping[str, Mapping[float, Figures | None]]


def judged_in(recipe: Recipe) -> Target:
    """Return the target that the budget of ``recipe`` is judged on, if all registered devices respond."""
    registry = devices()
    registered = [each.device for each in recipe.targets if is_registered(each, registry)]
    return judged_target(plan_targets(recipe, registered))


def machine_of(target: Target) -> str:
    """Return what the times of ``target`` are of: this machine's processor, or the device's name."""
    return cpu().model if target.device in LOCAL else target.device


@dataclass(frozen=True)
class MeasuredTime:
    """Hold the time of a trial over the teacher's, and in milliseconds; either is None where it was not measured.

    ``energy`` is that of an inference over the teacher's.
    """

    trial: TrialRecord
    ratio: float | None
    ms: float | None
    energy: float | None = None


@dataclass(frozen=True)
class MeasuredTimes:
    """Measure the times of the search in ``folder``, and keep all of them in ``log``.

    ``machine`` is what they are of, if that is known; those of others are none of its.
    """

    folder: Path
    log: StudyLog
    runner: JobRunner
    clock: TimeSpent
    machine: str | None = None

    @property
    def count(self) -> int:
        """Return how many measurements there are."""
        return len(self.log.of(EVENT))

    def known(self, what: str) -> dict[int, float | None]:
        """Return ``what``, times or energies over the teacher's, by trial; None of one that had none.

        Those of older searches, without predictions, are left out.
        """
        known = [entry for entry in self.log.of_machine(EVENT, self.machine) if FACTORS in entry and what in entry]
        return {number: value for each in known for number, value in zip(each["trials"], each[what], strict=True)}

    @property
    def factors(self) -> dict[int, TimeFactors]:
        """Return measured over predicted times by trial, of those that times are predicted for."""
        known = [entry for entry in self.log.of_machine(EVENT, self.machine) if FACTORS in entry]
        pairs = [pair for each in known for pair in zip(each["trials"], each[FACTORS], strict=True)]
        return {number: TimeFactors(*found) for number, found in pairs if found}

    def measure(self, trials: Sequence[TrialRecord], prices: Prices, what: str = RATIOS) -> dict[int, float | None]:
        """Time the files of ``trials`` in turns, and return ``what`` by trial, of those whose times are valid.

        Whole measurements are recorded; others are tried again by the next start.

        Args:
            prices: figures of untrained networks, by arm and share.
            what: times or energies over the teacher's.
        """
        folders = {trial.number: str(self.folder / TRIALS / f"{trial.number:03d}") for trial in trials}
        recipe = f"{folders[trials[0].number]}.yaml"
        found = run_timed(self.runner, "time", recipe=recipe, folders=list(folders.values()))
        records = {number: found.get("result", {}).get(folder, {}) for number, folder in folders.items()}
        valid = {number: record for number, record in records.items() if record.get("valid")}
        if len(valid) == len(trials):
            own = [(trial, valid[trial.number]) for trial in trials]
            times = [MeasuredTime(trial, each["ratio"], each.get("ms"), each.get("energy")) for trial, each in own]
            self._record(times, prices)
        elif "error" in found:
            logger.warning(f"the finalists' times were not measured, predictions choose: {found['error']}")
        elif any(records.values()):
            lost = ", ".join(str(number) for number in records if number not in valid)
            so = "they do not win by it" if valid else "predictions choose"
            logger.warning(f"of trials {lost} there is no valid time, and {so}; a quieter machine helps")
        values = {number: record.get(OF_RECORD[what]) for number, record in valid.items()}
        if without := [str(number) for number, value in values.items() if value is None]:
            logger.warning(f"of trials {', '.join(without)} no energy was measured, and they do not win by it")
        return values

    def take_missed(self, winner: TrialRecord, report: Report, prices: Prices) -> None:
        """Record a time of the winner's run that exceeds its bound, so that the next start goes on from it."""
        checks = report.budget.checks if report.budget else ()
        missed = {check.name: check.value for check in checks if not check.met}
        ratio, ms = missed.get("latency_ratio"), missed.get("latency_ms")
        last = self.log.last(EVENT) or {}
        known = [last.get(name) for name in ("trials", "ratios", "ms")] == [[winner.number], [ratio], [ms]]
        if (ratio or ms) and not known:
            self._record([MeasuredTime(winner, ratio, ms, self.known(ENERGIES).get(winner.number))], prices)
            logger.warning("the winner's time exceeds its bound; the same command goes on, with this time known")

    def _record(self, measured: Sequence[MeasuredTime], prices: Prices) -> None:
        found = [time_factors(prices[each.trial.arm], each.trial.share, each.ratio, each.ms) for each in measured]
        about = {
            "trials": [each.trial.number for each in measured],
            RATIOS: [each.ratio for each in measured],
            "ms": [each.ms for each in measured],
            ENERGIES: [each.energy for each in measured],
            FACTORS: [[each.ratio, each.ms] if each else None for each in found],
            MACHINE: self.machine,
        }
        self.log.append(EVENT, **about, spent=round(self.clock.spent, 2))
        for each, factors in zip(measured, found, strict=True):
            if each.ratio and factors:
                words = f"{each.ratio:.3f} of the teacher's time, {factors.ratio:.3g} times what was predicted"
                logger.info(f"  trial {each.trial.number} takes {words}")
