"""The code of the page on detection runs as it stands."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs/detection.md").read_text()


def test_its_code_runs():
    [block] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(block, {"__name__": "page"})
