"""Keeps a finished run's report, picture, table and command under a folder of results.

python benchmarks/record_run.py runs/cifar10 benchmarks/results/cifar10
"""

import argparse
import json
from pathlib import Path

from edgekd.files import write_json, write_text
from edgekd.report.markdown import render_markdown
from edgekd.report.plots import picture
from edgekd.report.schema import Report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("results", type=Path, help="the folder of results")
    arguments = parser.parse_args()
    run, results = arguments.run, arguments.results
    report = json.loads((run / "report.json").read_text())
    write_json(results / "report.json", report)
    checked = Report.from_json(report)
    picture(checked, results / "accuracy-latency.png")
    write_text(results / "README.md", render_markdown(checked))
    print(f"{results}: report.json, accuracy-latency.png, README.md")


if __name__ == "__main__":
    main()
