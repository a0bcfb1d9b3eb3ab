"""The table of the record of ``fit.py``."""

from tables import Record, markdown

from edgekd.formatting import ABSENT

NAMES = {
    "fit": "`edgekd fit`",
    "TPE": "TPE",
    "TPE, by one standard error": "TPE, one standard error below the bound",
    "random": "random",
    "random, by one standard error": "random, one standard error below the bound",
    "by hand": "a recipe written by hand",
    "known": "known from all seeds",
}


def searches(record: Record) -> str:
    heads = ("Search", "Budget kept", "Over the known cheapest", "Over the seed's cheapest", "Trainings", "Epochs")
    return markdown(heads, [_cells(name, record["searches"][key]) for key, name in NAMES.items()])


def _cells(name: str, row: Record) -> list[str]:
    overs = [ABSENT if row[key] is None else f"{100 * row[key]:+.0f} %" for key in ("over_known", "over_cheapest")]
    spent = [ABSENT if row[key] is None else f"{row[key]:.0f}" for key in ("trainings", "epochs")]
    return [name, f"{row['kept']} of {row['searches']}", *(each.replace("-", "−") for each in overs), *spent]
