"""The tables of docs/ci.md, from the record of ``gate/false_alarms.py``."""

from tables import Record, markdown

KINDS = {
    "accuracy": "accuracy lower by 1.5 points on 2,000 samples",
    "size": "file larger by 1 %",
    "latency": "10 % slower",
    "fallback": "layers back in float",
}


def alarms(record: Record) -> str:
    """A row for each outcome, with all changes that had it."""
    without = record["without_the_file"]
    found = {(share(record["false_alarms"]), share(without["false_alarms"])): ["nothing (fails wrongly)"]}
    for kind, said in KINDS.items():
        plain = share(without["slower"]) if kind == "latency" else "as with it"
        found.setdefault((share(record["planted"][kind]), plain), []).append(said)
    rows = [["; ".join(changes), *outcome] for outcome, changes in found.items()]
    return markdown(["What changed", "Failed, with the baseline's file", "without it"], rows)


def share(found: Record) -> str:
    low, high = (100 * end for end in found["ci95"])
    return f"{found['count']} of {found['of']} ({low:.1f}–{high:.1f} %)"
