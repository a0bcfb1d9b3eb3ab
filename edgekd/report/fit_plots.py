"""Pictures of a search: its candidates by cost and quality, their coordinates side by side, what mattered most."""

from collections.abc import Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from edgekd.formatting import percent, shortest
from edgekd.report.colours import COLOURS, INK
from edgekd.report.fit_record import FitRecord, SearchCandidate, short_names
from edgekd.report.labels import Mark, place_labels
from edgekd.report.plots import Picture, draw, plain_axes, reach

# Fewer trials say nothing about what mattered.
FEWEST = 8
TREES, REPEATS = 100, 10


def fit_pictures(fit: FitRecord) -> list[Picture]:
    """Draw the candidates that gave a network; none before there are two."""
    if len(fit.known) < 2:
        return []
    return [
        draw("Quality against cost", front_alt(fit), lambda: candidates_by_cost(fit)),
        draw("Every candidate's coordinates", coordinates_alt(fit), lambda: coordinates(fit)),
        *importance_pictures(fit),
    ]


def candidates_by_cost(fit: FitRecord) -> Figure:
    """Draw the change from the teacher over the cost, with 95 % intervals, the front and the bound."""
    figure, (axes,) = plain_axes(4.6)
    front, marks = fit.front, []
    for arm in fit.levels:
        own = [each for each in fit.known if each[0].arm == arm]
        if not own:
            continue
        colour = COLOURS[list(fit.levels).index(arm) % len(COLOURS)]
        for trial, figures, cost in own:
            change, interval = (fit.metric.scale * np.array(each) for each in fit.change(figures))
            axes.errorbar(
                [100 * cost], [change], yerr=reach(float(change), list(interval)),
                fmt="*" if trial == fit.winner else "o" if trial.level == fit.levels[arm] - 1 else ".",
                markersize=14 if trial == fit.winner else 7, elinewidth=1, capsize=2, color=colour,
                alpha=1 if trial in front or trial == fit.winner else 0.55,
                label=arm if trial is own[0][0] else None,
            )  # fmt: skip
            if trial in front or trial == fit.winner:
                along = (float(interval[0]), float(interval[1]))
                marks.append(Mark(100 * cost, float(change), str(trial.number), (100 * cost,) * 2, along))
    costs = {trial.number: 100 * cost for trial, _, cost in fit.known}
    axes.plot(
        [costs[trial.number] for trial in front],
        [fit.metric.scale * fit.signed(trial.figures.drop) for trial in front if trial.figures],
        drawstyle="steps-post", color=INK, alpha=0.45, linewidth=1, linestyle="--", zorder=1,
    )  # fmt: skip
    if fit.largest_drop is not None:
        axes.axhline(fit.metric.scale * fit.signed(fit.largest_drop), color=COLOURS[5], linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel(f"{fit.cost_name} in % of the teacher's, log scale")
    axes.set_ylabel(fit.metric.axis_of_changes)
    axes.grid(True)
    axes.margins(x=0.12, y=0.12)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    place_labels(figure, axes, marks)
    return figure


def front_alt(fit: FitRecord) -> str:
    """Describe the candidates on the front in words."""
    described = [
        f"trial {trial.number}, {trial.arm}: {percent(fit.cost(trial))} of the teacher's {fit.cost_name}, "
        f"{fit.metric.shown_change(*fit.change(trial.figures))}"
        for trial in fit.front
        if trial.figures
    ]
    winner = f" Trial {fit.winner.number} won." if fit.winner else ""
    return f"Change of the validation {fit.metric.title} against cost. On the front: {'; '.join(described)}.{winner}"


def coordinates(fit: FitRecord) -> Figure:
    """Draw each candidate as a line through its place in the space, its cost and its quality."""
    figure, (axes,) = plain_axes(4.2)
    columns = coordinate_columns(fit)
    heights = [_heights(values) for values in columns.values()]
    for row, (trial, figures, _) in enumerate(fit.known):
        met = fit.keeps_drops(figures)
        won = trial == fit.winner
        axes.plot(
            range(len(columns)), [column[row] for column in heights],
            color=COLOURS[3] if met else COLOURS[5], linewidth=3 if won else 1.1, alpha=1 if won else 0.55,
            zorder=3 if won else 2,
        )  # fmt: skip
    for place, (name, values) in enumerate(columns.items()):
        axes.plot([place, place], [0, 1], color=INK, linewidth=0.8, zorder=1)
        if not isinstance(values[0], str):
            for height, value in ((-0.02, min(values)), (1.02, max(values))):
                shown = shortest(float(value)).replace("-", "−")
                axes.annotate(shown, (place, height), ha="center", va="bottom" if height > 1 else "top", fontsize=8)
        else:
            for value, height in sorted(dict(zip(values, _heights(values), strict=True)).items()):
                side, away = ("right", -4) if place == 0 else ("left", 4)
                axes.annotate(str(value), (place, height), (away, 0), textcoords="offset points", ha=side, fontsize=7.5)
        axes.annotate(name.replace(" ", "\n", 1), (place, 1.09), ha="center", va="bottom", fontsize=8.5)
    axes.set_xlim(-1.9, len(columns) - 0.6)
    axes.set_ylim(-0.1, 1.28)
    axes.set_axis_off()
    return figure


def coordinate_columns(fit: FitRecord) -> dict[str, list[str | float]]:
    """Return the coordinates of the known trials by name, without those that never change."""
    rows = [trial.features for trial, _, _ in fit.known]
    found: dict[str, list[str | float]] = {}
    for name, short in short_names(name for row in rows for name in row).items():
        values = [row.get(name, "–") for row in rows]
        if len({str(value) for value in values}) > 1 or name == "kind":
            numbers = [value for value in values if isinstance(value, int | float)]
            all_numbers = len(numbers) == len(values)
            found[short] = list(map(float, numbers)) if all_numbers else list(map(str, values))
    if "kept" in found:
        found["% kept"] = [100 * float(value) for value in found.pop("kept")]
    found["% of cost"] = [100 * cost for _, _, cost in fit.known]
    changes = [fit.metric.scale * fit.signed(each.drop) for _, each, _ in fit.known]
    found[f"change in {fit.metric.unit_of_differences}" if fit.metric.unit else "change"] = list(changes)
    return found


def _heights(values: Sequence[str | float]) -> list[float]:
    """Return where values are between the ends of their axis, 0 to 1; words evenly, in the order that they came."""
    if isinstance(values[0], str):
        words = list(dict.fromkeys(values))
        return [1 - words.index(value) / max(1, len(words) - 1) for value in values]
    low, high = min(map(float, values)), max(map(float, values))
    return [(float(value) - low) / (high - low) if high > low else 0.5 for value in values]


def coordinates_alt(fit: FitRecord) -> str:
    """Describe the coordinates in words: the table has them all."""
    met = sum(fit.keeps_drops(figures) for _, figures, _ in fit.known)
    names = ", ".join(coordinate_columns(fit))
    return f"{len(fit.known)} candidates by {names}; {met} of them are within the drop on the validation samples."


def importance_pictures(fit: FitRecord) -> list[Picture]:
    """Draw what the candidates' quality depends on most; none where there are too few to tell."""
    found = importances(fit)
    if not found:
        return []
    described = "; ".join(f"{name}: {percent(share)}" for name, share in found.items())
    return [draw("What quality depended on", f"Shares of importance. {described}.", lambda: bars(found))]


def importances(fit: FitRecord) -> dict[str, float]:
    """Return the share of each coordinate in what decides the drop, the largest first.

    By permutation in a random forest (Breiman, "Random Forests", 2001, section 10). Empty with fewer than 8 candidates.
    """
    rows = [trial.features for trial, _, _ in fit.known]
    names = [name for name in {name: None for row in rows for name in row} if len({str(r.get(name)) for r in rows}) > 1]
    if len(rows) < FEWEST or not names:
        return {}
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    table = np.array([[_number(row.get(name), [each.get(name) for each in rows]) for name in names] for row in rows])
    drops = np.array([figures.drop for _, figures, _ in fit.known])
    forest = RandomForestRegressor(TREES, random_state=0).fit(table, drops)
    found = permutation_importance(forest, table, drops, n_repeats=REPEATS, random_state=0).importances_mean
    total = float(np.clip(found, 0, None).sum())
    shares = {str(name): max(0.0, float(value)) / total for name, value in zip(names, found, strict=True) if total}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _number(value: object, among: Sequence[object]) -> float:
    if isinstance(value, int | float):
        return float(value)
    return float(list(dict.fromkeys(map(str, among))).index(str(value)))


def bars(shares: dict[str, float]) -> Figure:
    """Draw shares of 1 as bars, the largest on top."""
    figure, (axes,) = plain_axes(0.9 + 0.34 * len(shares))
    drawn = axes.barh(range(len(shares)), [100 * share for share in shares.values()], color=COLOURS[1], height=0.65)
    axes.bar_label(drawn, [percent(share) for share in shares.values()], padding=4)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel("share of the importance in %")
    return figure


def outcome(fit: FitRecord, trial: SearchCandidate) -> str:
    """Return what became of a trial, for the table."""
    if trial.error:
        return f"failed: {trial.error}"
    if trial == fit.winner:
        return "won"
    if trial.figures and not fit.keeps_drops(trial.figures):
        return "outside of the drop"
    return "on the front" if trial in fit.front else "behind the front"
