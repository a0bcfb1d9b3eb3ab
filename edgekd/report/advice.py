"""Advice after a run that missed its budget: what to change in the recipe, by what the run measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgekd.bench.energy import NO_SENSOR
from edgekd.formatting import ABSENT, UNCHANGED, in_times, significant
from edgekd.report.changes import Change, StageOptions, command_with
from edgekd.report.costs import CUTS, LEAST_SHARE, RunCosts, StageCost, Standing, costs_of, first_cut, harder
from edgekd.report.deployed import deployed
from edgekd.report.schema import Report
from edgekd.stages import Prune, Quantize
from edgekd.tasks.compare import noise
from edgekd.tasks.metric import Evidence

MOST = 3
# Longer training: so many times the epochs, and so many more at least.
TIMES, MORE = 2, 4
# The part of a stage's loss that longer training is counted on to bring back.
RECOVERED = 0.5
# A stage that lost less than this part of what is too much is not worth training for longer.
LEAST_PART = 0.05
# Eight bits in place of 32, with scales, and half of the time where the processor has instructions for them.
INT8_SIZE, INT8_TIME = 0.28, 0.6
INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
SENSITIVITY_CUTS = 60
# The share of the MACs that is left where blocks are dropped before widths.
DEPTH = 0.85


@dataclass(frozen=True)
class Advice:
    """A change of the recipe, the effect to expect of it, and the settings that make it.

    ``is_for_hand`` marks one that no settings make.
    """

    change: str
    effect: str
    settings: tuple[str, ...] = ()
    is_for_hand: bool = False

    def __str__(self) -> str:
        # A list of all stages is too long to be read.
        short = ", ".join(each for each in self.settings if not each.startswith("stages="))
        return f"{self.change}{f' ({short})' if short else ''}: {self.effect}."


@dataclass(frozen=True)
class NextSteps:
    """At most three pieces of advice, the most promising first, and the command that tries the first, if one does."""

    advice: tuple[Advice, ...]
    command: str | None


def next_steps(report: Report) -> NextSteps | None:
    """Return how to meet the budget that ``report`` misses, or None where it is met or nothing can be said."""
    budget = report.budget
    if budget is None or budget.met:
        return None
    unmeasured = [each for each in budget.checks if each.value is None]
    if any(each.note == NO_SENSOR for each in unmeasured):
        # A quieter machine would not help.
        elsewhere = Advice(
            "Measure where power can be read, or leave out budget.energy_mj", NO_SENSOR, is_for_hand=True
        )
        return NextSteps((elsewhere,), None)
    if unmeasured:
        names = ", ".join(each.name.replace("_", " ") for each in unmeasured)
        again = Advice(
            "Run the same command again on a quieter machine",
            f"{names}: there is no valid measurement; finished stages are not run again",
        )
        return NextSteps((again,), command_with(report.command, ()))
    costs = costs_of(report)
    if costs is None:
        return None
    found: dict[object, Advice] = {}
    for each in _Advisor(report, costs).advice():
        # Where an option is at its limit already, a change of it is none.
        if each.settings or each.is_for_hand:
            found.setdefault(each.settings or each.change, each)
    first, *others = list(found.values())[:MOST]
    return NextSteps((first, *others), command_with(report.command, first.settings) if first.settings else None)


@dataclass(frozen=True)
class _Training:
    """A stage that trains, with those without training just before it: what they lost it brings back, or not."""

    stages: tuple[StageCost, ...]

    @property
    def last(self) -> StageCost:
        return self.stages[-1]

    @property
    def name(self) -> str:
        return " and ".join(each.name for each in self.stages)

    @property
    def lost(self) -> float:
        return sum(each.lost for each in self.stages)


def _trainings(stages: Sequence[StageCost]) -> list[_Training]:
    """Return the trainings, that which lost most first; 8 bits bring back nothing that the float network lost."""
    found: list[_Training] = []
    left: tuple[StageCost, ...] = ()
    for each in stages:
        is_int8 = isinstance(each.stage, Quantize)
        if left and is_int8:
            found.append(_Training(left))
            left = ()
        left = (*left, each)
        if each.epochs or is_int8:
            found.append(_Training(left))
            left = ()
    return sorted([*found, *([_Training(left)] if left else [])], key=lambda each: each.lost, reverse=True)


class _Advisor:
    """The rules, for one run that misses its budget."""

    def __init__(self, report: Report, costs: RunCosts):
        self.report, self.costs = report, costs
        self.as_it_is = Change(costs.options)
        cuts = [each for each in costs.stages if isinstance(each.stage, Prune) and each.share is not None]
        # Of several cuts, the one that took most away.
        self.cut = min(cuts, key=lambda each: each.share or 1, default=None)
        self.trainings = _trainings(costs.stages)
        self.int8 = next((each for each in costs.stages if isinstance(each.stage, Quantize)), None)
        final = costs.final
        self.loses = costs.excess is not None and costs.excess > 0
        self.is_slow = not costs.within(Standing(0, final.time, 0))
        self.is_large = not costs.within(Standing(0, 0, final.size))

    def advice(self) -> Iterator[Advice]:
        yield from self._main()
        yield from self._others()

    def _main(self) -> Iterator[Advice]:
        if self.is_slow and not self.is_large and (found := self._float_again()):
            yield found
        elif self.is_slow or self.is_large:
            yield from self._smaller()
        elif self.loses:
            yield from self._more_accurate()

    def _others(self) -> Iterator[Advice]:
        if self.loses:
            yield from self._longer_training()
        if self.is_slow:
            yield from self._blocks_first()
        if (self.is_slow or self.is_large) and self.int8 is None:
            yield self._quantized()
        yield from self._measured_sensitivity()
        yield from self._larger_validation()
        yield self._another_student()

    def _float_again(self) -> Advice | None:
        """Leave int8 out where it is not faster, and the float file is small enough."""
        stage = self.int8
        if stage is None or not (stage.before.time and stage.after.time) or stage.before.time >= stage.after.time:
            return None
        expected = self.costs.without(stage)
        if not self.costs.within(expected):
            return None
        slower = significant(stage.after.time / stage.before.time)
        return self._advised(
            "Leave int8 out",
            f"on this processor the int8 file takes {slower} times as long as the float one: {self._figures(expected)}",
            self.as_it_is.between(stage.number, (), 1),
        )

    def _smaller(self) -> Iterator[Advice]:
        """Cut further, or for the first time, and quantise where that alone is enough for the size."""
        costs, expected, change = self.costs, self.costs.final, self.as_it_is
        if self.int8 is None and self._int8_is_enough():
            yield self._quantized()
            return
        if self.cut is None:
            yield self._first_cut()
            return
        if not (reachable := harder(self.cut)):
            return
        share = costs.mildest_harder(self.cut)
        own = share if share is not None else reachable[-1]
        expected, change = costs.after_cut(self.cut, own), self._cut_to(self.cut, own)
        longer = [self.cut, *([each for each in costs.stages if each is not self.cut] if self.loses else [])]
        for each in longer:
            change = self._longer(change, each)
        reach = "" if share is not None else "; no cut of this student is predicted to be small and fast enough"
        risk = self._risk(expected)
        yield self._advised(
            "Cut further, and train for longer", f"{self._figures(expected)}{reach}{risk}", change, longer
        )

    def _first_cut(self) -> Advice:
        costs, final = self.costs, self.costs.final
        share = next((each for each in CUTS if costs.fits(first_cut(final, each))), LEAST_SHARE)
        at = self.int8.number if self.int8 else len(costs.stages)
        change = self.as_it_is.between(at, (StageOptions(Prune.name, {"macs": share}),))
        expected = first_cut(final, share)
        return self._advised(f"Prune to {significant(share)} of the MACs", self._figures(expected), change)

    def _int8_is_enough(self) -> bool:
        final = self.costs.final
        size = final.size and final.size * INT8_SIZE
        time = final.time and final.time * (INT8_TIME if self._has_int8 else 1.0)
        return self.costs.within(Standing(final.lost, time, size))

    def _quantized(self) -> Advice:
        end = len(self.costs.stages)
        times = {
            True: "about 0.6 of the time",
            False: "hardly less time, as this processor has no VNNI",
            None: "a time that depends on the device's instructions, which the report does not have",
        }
        return self._advised(
            "Quantise to int8",
            f"about 0.28 of the bytes and {times[self._has_int8]}; the stage goes only as far as the accuracy needs",
            self.as_it_is.between(end, (StageOptions(Quantize.name, {}),)),
        )

    @property
    def _has_int8(self) -> bool | None:
        """Of the processor that the budget was judged on; None where it is a device that sent no flags."""
        row, devices = deployed(self.report), self.report.environment.get("devices")
        probe = devices.get(row.device) if row and isinstance(devices, dict) else None
        cpu = self.report.environment.get("cpu") if probe is None else probe.get("facts")
        flags = cpu.get("flags") if isinstance(cpu, dict) else None
        if probe is not None and flags is None:
            return None
        return any(each in INT8_FLAGS for each in flags or ())

    def _more_accurate(self) -> Iterator[Advice]:
        """Cut less where time and size allow it, and train the stages that lost most for longer."""
        costs, change, longer = self.costs, self.as_it_is, []
        excess, won, back = costs.excess or 0.0, 0.0, ""
        for each in self.trainings:
            if not self._is_worth_training(each) or won >= excess:
                break
            lost, cut = each.lost, self.cut
            if cut is not None and cut in each.stages and (share := costs.milder(cut)) is not None:
                expected = costs.after_cut(cut, share)
                regained = costs.final.lost - expected.lost
                change = self._cut_to(cut, share, change)
                won, lost = won + regained, lost - regained
                figures = self._figures(expected, metric=False)
                back = f"; expected back: {self._points(regained)} from the cut, {figures}"
            change, won = self._longer(change, each.last), won + RECOVERED * lost
            longer.append(each)
        if not longer:
            return
        title = "Cut less, and train for longer" if back else "Train for longer"
        most, whole = longer[0], costs.final.lost
        # Where other stages gained, one lost more than all together.
        part = (
            f"{significant(most.lost, 2)} of the {self._points(whole)}"
            if most.lost < whole
            else self._points(most.lost)
        )
        cause = f"{most.name} lost {part}"
        yield self._advised(title, f"{cause}{back}", change, [each.last for each in longer])

    def _longer_training(self) -> Iterator[Advice]:
        """Train longer alone, with the cut as it is."""
        for each in self.trainings:
            if not self._is_worth_training(each):
                return
            last = each.last
            change = self._longer(self.as_it_is, last)
            gains = last.gained is not None and last.gained > 0
            gained = f"; its last epoch still gained {self._points(last.gained or 0.0)}" if gains else ""
            cause = f"{each.name} lost {self._points(each.lost)} in {_epochs(last.epochs)}{gained}"
            yield self._advised(f"Train for longer in {last.name} alone", cause, change, [last])

    def _blocks_first(self) -> Iterator[Advice]:
        cut = self.cut
        if cut is None or cut.options.given.get("depth") or (cut.share or 1) >= DEPTH:
            return
        # Of earlier reports it is not known whether the network has such blocks.
        if cut.least_depth is None or cut.least_depth > DEPTH:
            return
        change = self.as_it_is.having(cut.number, depth=DEPTH)
        effect = "up to 1.3× faster at the same accuracy, where measured"
        yield self._advised("Drop residual blocks before widths", effect, change)

    def _measured_sensitivity(self) -> Iterator[Advice]:
        cut = self.cut
        if cut is None or cut.options.given.get("sensitivity") or not self.loses:
            return
        change = self.as_it_is.having(cut.number, sensitivity=SENSITIVITY_CUTS)
        effect = f"{cut.name} then cuts where it costs least; about 1 point at half of the MACs, where measured"
        yield self._advised("Measure which layers can be cut", effect, change)

    def _larger_validation(self) -> Iterator[Advice]:
        """Hold more samples out where those that stages choose by can't tell what the budget allows."""
        data, row, metric = self.report.data, deployed(self.report), self.costs.metric
        value = row.figure(metric) if row else None
        # Of other metrics the noise follows from samples that a report does not hold.
        if not self.loses or not data or not data.validation or value is None or metric.test != "mcnemar":
            return
        unseen = metric.scale * noise(metric, data.validation, value, value, _no_evidence)
        allowed = self.costs.final.lost - (self.costs.excess or 0.0)
        if unseen <= allowed or data.validation >= data.train / 3 or data.validation_of:
            return
        change = Change(self.as_it_is.stages, {"data.validation": 0.25})
        effect = (
            f"stages choose by {data.validation} validation samples, which show differences above "
            f"{self._points(unseen)}; the budget allows {self._points(allowed)}"
        )
        yield self._advised("Hold out more validation samples", effect, change)

    def _another_student(self) -> Advice:
        kind = "a smaller" if not self.loses else "a larger" if not (self.is_slow or self.is_large) else "another"
        first = self.costs.stages[0]
        figures = self._figures(first.after)
        return Advice(f"Name {kind} student", f"after {first.name} this one stands at {figures}", is_for_hand=True)

    def _cut_to(self, cut: StageCost, share: float, change: Change | None = None) -> Change:
        change, stage = change or self.as_it_is, cut.stage
        assert isinstance(stage, Prune)
        if stage.goal is not None and stage.goal != cut.goal:
            change = change.having(cut.number, **{stage.goal: None})
        if stage.depth is not None and share > stage.depth:
            change = change.having(cut.number, depth=None)
        return change.having(cut.number, **{cut.goal: share})

    def _is_worth_training(self, training: _Training) -> bool:
        return training.lost > max(0.0, LEAST_PART * (self.costs.excess or 0.0))

    def _longer(self, change: Change, stage: StageCost) -> Change:
        wanted = _longer_epochs(stage)
        return change.having(stage.number, epochs=wanted) if wanted > stage.epochs else change

    def _risk(self, expected: Standing) -> str:
        excess = self.costs.excess
        if excess is None or (over := excess + expected.lost - self.costs.final.lost) <= 0:
            return ""
        return f"; without the longer training it would lose {self._points(over)} too much"

    def _points(self, value: float) -> str:
        return f"{significant(value, 2)} {self.costs.metric.unit_of_differences}".rstrip()

    def _figures(self, standing: Standing, metric: bool = True) -> str:
        """Format a network's figures as ``4× faster · 8× smaller · −1.2 points``."""
        times = [in_times(standing.time, "faster", "slower"), in_times(standing.size, "smaller", "larger")]
        found = [each for each in times if each != ABSENT and not each.startswith(UNCHANGED)]
        own = self.costs.metric
        worse = -1 if own.better == "higher" else 1
        found += [own.shown_change(worse * standing.lost / own.scale)] if metric else []
        return "about " + " · ".join(found) if found else "no other time or size"

    def _advised(self, title: str, effect: str, change: Change, longer: list[StageCost] | None = None) -> Advice:
        seconds = [_more_seconds(each) for each in longer or ()]
        total = sum(each for each in seconds if each is not None)
        time = f"; about {significant(total / 60, 2)} minutes more" if total >= 30 else ""
        return Advice(title, effect + time, tuple(change.settings(self.as_it_is.stages)))


def _longer_epochs(stage: StageCost) -> int:
    wanted = max(TIMES * stage.epochs, stage.epochs + MORE)
    rewind = getattr(stage.stage, "rewind", None)
    return min(wanted, rewind) if rewind else wanted


def _more_seconds(stage: StageCost) -> float | None:
    if not stage.seconds or not stage.epochs:
        return None
    return stage.seconds * (_longer_epochs(stage) / stage.epochs - 1)


def _no_evidence() -> Evidence:
    raise AssertionError("of shares the noise follows from their values")


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
