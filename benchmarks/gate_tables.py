"""The tables of docs/ci.md, from the record of ``gate/false_alarms.py``."""

from tables import Record, markdown

KINDS = {
    "accuracy": "accuracy lower by 1.5 points on 2,000 samples",
    "size": "file larger by 1 %",
    "latency": "10 % slower",
    "fallback": "layers back in float",
}


def alarms(record: Record) -> str:
    without = record["without_the_file"]
    rows = [
        ["nothing (fails wrongly)", share(record["false_alarms"]), share(without["false_alarms"])],
        *(
            [said, share(record["planted"][kind]), share(without["slower"]) if kind == "latency" else "as with it"]
            for kind, said in KINDS.items()
        ),
    ]
    return markdown(["What changed", "Failed, with the baseline's file", "without it"], rows)


def share(found: Record) -> str:
    low, high = (100 * end for end in found["ci95"])
    return f"{found['count']} of {found['of']} ({low:.1f}–{high:.1f} %)"


def hidden(record: Record) -> str:
    rows = [[str(each["lost"]), str(each["won"]), share(each)] for each in record["accuracy_by_won"]]
    return markdown(["Lost", "Gained", "Failed"], rows)


def moved(record: Record) -> str:
    """How far ratios of an unchanged network went."""
    series = {
        "student over the baseline's file, in one run": record["beside_baseline"],
        "student over teacher": record["without_the_file"]["ratio"],
    }
    rows = [[name, *(f"{found[key]:.4f}" for key in ("least", "median", "largest"))] for name, found in series.items()]
    return markdown(["Time of the unchanged student", "Least", "Median", "Largest"], rows)
