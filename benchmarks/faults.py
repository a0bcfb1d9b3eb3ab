"""Kills runs at random moments, damages what they made, lets several share one cache, and looks at what is left.

python benchmarks/faults.py --json benchmarks/results/faults.json
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from campaign.damages import damaged
from campaign.kills import kills
from campaign.runs import Reference, reference
from campaign.sharing import shared
from common import finish, goal, options


def main() -> None:
    arguments = options(__doc__)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="faults-", dir=arguments.out) as name:
        folder, started = Path(name), time.monotonic()
        whole: Reference = reference(folder / "reference")
        print(f"a run left alone took {whole.seconds:.0f} s", file=sys.stderr)
        rounds = 2 if arguments.quick else 10
        killed = kills(folder / "kills", whole, rounds, random.Random(0), 6 if arguments.quick else 10)
        mended = damaged(folder / "damages", whole, arguments.quick)
        together = [shared(folder / f"shared-{count}", whole, count) for count in ((2,) if arguments.quick else (2, 4))]
    few = arguments.quick
    goals = [
        goal("kills of a run at work", 10 if few else 90, sum(kill.landed for kill in killed.kills)),
        goal("runs that ended in the same bytes after their kills", rounds, killed.same),
        goal("foreign files in the run folders", 200 * rounds, killed.foreign),
        goal("foreign files touched", 0, len(killed.touched), at_most=True),
        goal("files and folders left over", 0, len(killed.left), at_most=True),
        goal("processes left over", 0, sum(kill.orphans for kill in killed.kills), at_most=True),
        goal("ends other than the documented", 0, sum(not kill.documented for kill in killed.kills), at_most=True),
        goal("kinds of damage", 8 if few else 30, len(mended)),
        goal("damages neither mended nor refused", 0, sum(not each.right for each in mended), at_most=True),
        goal("runs at once that ended in the same bytes", 2 if few else 6, sum(each.same for each in together)),
        goal("entries made twice by them", 0, sum(each.made_twice for each in together), at_most=True),
        goal("entries lost by them", 0, sum(each.lost for each in together), at_most=True),
    ]
    figures = {
        "seconds": time.monotonic() - started,
        "seconds_of_a_whole_run": whole.seconds,
        "phases": whole.phases,
        "kills": killed.to_json(),
        "damages": [each.to_json() for each in mended],
        "shared": [each.to_json() for each in together],
    }
    finish(arguments, figures, goals)


if __name__ == "__main__":
    main()
