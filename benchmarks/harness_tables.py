"""The tables of docs/benchmarking.md, from the records of the scripts in ``harness/``."""

from tables import Record, markdown

from edgekd.formatting import ABSENT, hundredths

LOADS = {
    "quiet": "none",
    "busy-1": "1 busy process",
    **{f"busy-{count}": f"{count} busy processes" for count in (2, 4, 8)},
    "compile": "a compilation on 2 CPUs",
}


def trusted(record: Record) -> str:
    """Give how often the interval holds the quiet ratio, and how often it is refused, under each load."""
    ways: dict[str, dict[str, Record]] = {}
    for each in record["loads"]:
        ways.setdefault(each["load"], {})[each["way"]] = each

    def cells(load: str, here: Record, ssh: Record | None = None) -> list[str]:
        return [LOADS[load], judged(here), judged(ssh), f"{here['wall_held']} of {here['walls']}"]

    heads = ["Load", "here", "through SSH", "wall times, here"]
    return markdown(heads, [cells(load, **found) for load, found in ways.items()])


def judged(found: Record | None) -> str:
    if not found:
        return ABSENT
    return share(found) + (f", {found['invalid']} of them invalid" if found["invalid"] else "")


def share(found: Record) -> str:
    low, high = (hundredths(end) for end in found["share_ci95"])
    return f"{found['held'] + found['invalid']} of {found['n']} ({low}–{high} %)"
