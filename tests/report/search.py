"""An invented search in a folder, as ``edgekd fit`` writes it."""

import json
from pathlib import Path
from typing import Any

from .sample import sample

ARMS = {"teacher by widths": 2, "resnet8 width 16 <b>": 3, "resnet8 width 8": 3}
RECIPE = "name: invented\ntask: classification\nbudget: {accuracy_drop: 1.0, latency_ratio: 0.5}\nstages: []\n"
# Arm, share, level, drop, milliseconds.
TRIALS = (
    (0, 0.5, 0, 0.021, 1.0), (1, 1.0, 0, 0.010, 0.5), (2, 1.0, 0, 0.060, 0.2), (0, 0.5, 1, 0.004, 1.0),
    (1, 1.0, 2, 0.003, 0.5), (1, 0.6, 2, 0.008, 0.35), (1, 0.4, 2, 0.019, 0.25), (0, 0.3, 1, 0.016, 0.7),
)  # fmt: skip


def figures(drop: float, ms: float) -> dict[str, Any]:
    sizes = {
        "size_bytes": int(40_000 * ms),
        "teacher_size_bytes": 80_000,
        "macs": int(1e6 * ms),
        "teacher_macs": 2_000_000,
    }
    return {"value": 0.97 - drop, "drop": drop, "error": 0.004, "n": 360, "ms": ms, "teacher_ms": 2.0, **sizes}


def events() -> list[dict[str, Any]]:
    arms = [{"name": name, "low": 0.2, "high": 0.95, "levels": levels} for name, levels in ARMS.items()]
    names = list(ARMS)
    prices = {(arm, share): ms for arm, share, _, _, ms in TRIALS}
    trials = [
        {"event": "trial", "number": number, "arm": names[arm], "share": share, "level": level, "choices": {},
         "figures": figures(drop, ms), "seconds": 10.0 + number}
        for number, (arm, share, level, drop, ms) in enumerate(TRIALS, start=1)
    ]  # fmt: skip
    failed = {
        "event": "trial",
        "number": 9,
        "arm": names[2],
        "share": 1.0,
        "level": 2,
        "error": "loss is NaN",
        "seconds": 2.0,
    }
    priced = [
        {"event": "price", "arm": names[arm], "share": share, "figures": figures(0.5, ms), "seconds": 1.0}
        for (arm, share), ms in prices.items()
    ]
    return [
        {"event": "begin", "schema_version": 1, "key": "0", "objective": "latency", "arms": arms},
        *priced, *trials, failed,
        {"event": "timed", "trials": [6, 7], "ratios": [0.21, None], "ms": [0.4, None], "factors": [[1.2, 1.2], None]},
        {"event": "timed", "trials": [7], "ratios": [0.14], "energies": [0.3], "ms": [0.3], "factors": [None]},
        {"event": "left", "arm": names[2], "reason": "its training failed: loss is NaN"},
        {"event": "end", "how": "done", "met": True, "trial": 6},
    ]  # fmt: skip


def write_search(folder: Path, ended: bool = True) -> Path:
    """Return ``folder`` with a search in it; a winner only where it has ``ended``."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = events() if ended else events()[:4]
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in kept) + '{"event": "tri')
    (folder / "forecast.yaml").write_text(RECIPE)
    if ended:
        validation = {"drop": 0.008, "error": 0.004, "n": 360, "corrected_drop": 0.009, "corrected_error": 0.003}
        summary = {"schema_version": 1, "met": True, "reason": "no cheaper candidate is likely", "seconds": 900.0}
        winner = {"trial": 6, "arm": list(ARMS)[1], "share": 0.6, "level": 2}
        (folder / "fit.json").write_text(json.dumps({**summary, "winner": winner, "validation": validation}))
        (folder / "winner.yaml").write_text(RECIPE)
        (folder / "winner").mkdir()
        (folder / "winner/report.json").write_text(json.dumps(sample()))
    return folder
