"""docs/factorization.md: its examples run, and its table is of the methods that there are."""

import re
from pathlib import Path

import torch

from edgekd.factorize.registry import DECOMPOSITIONS

PAGE = (Path(__file__).parents[1] / "docs/factorization.md").read_text()


def test_the_examples_run(capsys):
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    found, fresh = names["found"], names["fresh"]
    assert str(fresh) == str(found.network)
    assert found.share <= 0.5
    assert "layer1.0.conv1 " in capsys.readouterr().out


def test_every_method_is_in_the_table():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {*DECOMPOSITIONS}
