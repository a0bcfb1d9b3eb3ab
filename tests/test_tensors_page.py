"""The code of the page on several inputs and outputs runs as it stands."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs/tensors.md").read_text()


def test_its_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    exec("\n".join(blocks), {"__name__": "page"})
    assert (tmp_path / "matcher.onnx").is_file()
