"""The code of the page on tasks runs as it stands, and its table is of the tasks that there are."""

import re
from pathlib import Path

from edgekd.tasks.registry import TASKS

PAGE = (Path(__file__).parents[1] / "docs/tasks.md").read_text()


def test_its_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    exec("\n".join(blocks), {"__name__": "page"})


def test_its_table_is_of_all_tasks():
    rows = re.findall(r"^\| `(\w+)` \|.* \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert {name: metrics.split(", ") for name, metrics in rows} == {
        name: [f"`{metric.name}`" + f" {metric.title}" * (metric.title != metric.name) for metric in task.metrics]
        for name, task in TASKS.items()
    }
