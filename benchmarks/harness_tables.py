"""The tables of docs/benchmarking.md, from the records of the scripts in ``harness/``."""

from tables import Record, markdown

from edgekd.formatting import hundredths


def trusted(record: Record) -> str:
    cases = {
        "a model against itself: the interval holds 1": "idle",
        "the same beside a process that takes one CPU": "hogged",
        f"{100 * (record['planted_work'] - 1):.0f} % more work: the interval excludes 1": "planted",
    }
    return markdown(["Comparison", "As it should be"], [[said, held(record[case])] for said, case in cases.items()])


def held(found: Record) -> str:
    low, high = (hundredths(end) for end in found["share_ci95"])
    return f"{found['good']} of {found['n']} ({low}–{high} %)"
