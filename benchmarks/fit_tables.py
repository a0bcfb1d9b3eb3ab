"""The tables of docs/fit.md, from the records of fit.py."""

from tables import Record, markdown

from edgekd.formatting import ABSENT, hundredths
from edgekd.stats.proportion import wilson_interval

NAMES = {
    "fit": "`edgekd fit`",
    "TPE": "Optuna's TPE, with constraints",
    "TPE, by one standard error": "the same, within one standard error",
    "random": "random",
    "by hand": "a recipe written by hand",
    "whole grid": "all students trained",
}


def searched(record: Record) -> str:
    """Give how often each search keeps the budget, what it leaves unused, and what it trains."""

    def cells(name: str, found: Record) -> list[str]:
        low, high = map(hundredths, wilson_interval(found["kept"], found["searches"]))
        over = found["over_grid"]
        left = ABSENT if over is None else f"{100 * over:.0f} %" if over < 1 else f"{1 + over:.0f}×"
        kept = f"{found['kept']} of {found['searches']} ({low}–{high} %)"
        return [NAMES[name], kept, left, f"{found['trainings']:.1f}", f"{found['epochs']:.0f}"]

    heads = ["Search", "budgets kept", "extra cost", "trainings", "epochs"]
    return markdown(heads, [cells(name, record["searches"][name]) for name in NAMES])
