"""Tables of the page on the gate."""

from tables import Record, markdown

CASES = {
    "accuracy": "accuracy lower by 1.5 points on 2,000 samples",
    "size": "file larger by 1 %",
    "latency": "ratio to the teacher worse by 10 %",
    "fallback": "layers back in float",
}


def alarms(record: Record) -> str:
    found = {"nothing changed": record["false_alarms"]}
    found |= {words: record["planted"][case] for case, words in CASES.items()}
    rows = [[words, str(case["of"]), str(case["count"]), share(case)] for words, case in found.items()]
    return markdown(["Case", "tried", "failed by the gate", "share (95 %)"], rows)


def hidden(record: Record) -> str:
    rows = [[f"{case['lost']}", f"{case['won']}", share(case)] for case in record["accuracy_by_won"]]
    return markdown(["Lost of 2,000", "won", "caught (95 %)"], rows)


def share(case: Record) -> str:
    low, high = (100 * end for end in case["ci95"])
    return f"{100 * case['share']:.1f} % ({low:.1f}–{high:.1f})"
