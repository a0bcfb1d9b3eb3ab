"""The tables of docs/benchmarking.md, from the records of the scripts in ``harness/``."""

from tables import Record, markdown, ratio

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


def beside(record: Record) -> str:
    found = {(row["tools"][1], row["network"]): row for row in record["rows"]}
    tools, networks = (dict.fromkeys(names) for names in zip(*found, strict=True))
    rows = [[tool, *(ratio(found[tool, network]) for network in networks)] for tool in tools]
    return markdown(["edgekd's median over that of", *networks], rows)
