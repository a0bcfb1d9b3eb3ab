"""A search for tasks beyond single labels, with real trainings."""

from pathlib import Path

import pytest

from edgekd.report.fit_page import trial_columns, write_fit_page
from edgekd.report.fit_record import read_fit
from edgekd.report.verdict import lines
from edgekd.search.fit import fit
from edgekd.search.opening import open_space

CODE = """\
import numpy as np
import torch
from torch import nn


def samples():
    random = np.random.default_rng(0)

    def part(count):
        a, b = (random.normal(size=(count, width)).astype(np.float32) for width in (8, 6))
        return {"a": a, "b": b}, np.stack([2 * a[:, 0] + b[:, 1], b[:, 0] - a[:, 3]], 1)

    return {"train": part(256), "validation": part(80), "test": part(120), "classes": ["u", "v"]}


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.mix, self.head = nn.Linear(8, 32), nn.Linear(6, 32), nn.Linear(64, 32), nn.Linear(32, 2)

    def forward(self, a, b):
        hidden = torch.relu(self.mix(torch.cat([torch.relu(self.a(a)), torch.relu(self.b(b))], 1)))
        return {"logits": self.head(hidden), "hidden": hidden}


def network(**_):
    return TwoInputs()
"""
RECIPE = """\
name: two
task: regression
data: {source: 'net.py:samples', batch_size: 32}
teacher: {model: 'net.py:network', train: {epochs: 12, lr: 0.05}}
stages:
  - prune: {macs: {search: [0.5, 0.9]}, sensitivity: {choice: [null, 4]}, epochs: 1, check_latency: false}
  - quantize: {epochs: 0}
budget: {drop: {mae: 2.0, rmse: 2.5, r2: 0.9}, size_ratio: 0.9}
objective: size
"""


@pytest.mark.slow
def test_a_network_of_two_inputs_and_two_heads_is_cut_within_bounds_on_errors(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "r.yaml").write_text(RECIPE)
    result = fit(open_space(tmp_path / "r.yaml"), tmp_path / "fit")
    assert result.met and result.report is not None and result.summary["failed"] == 0
    # Of 80 samples of the data's own, by each metric that is bounded.
    found = result.summary["validation"]
    assert (found["metric"], found["n"], set(found["others"])) == ("mae", 80, {"rmse", "r2"})
    assert [each.name.split()[-1] for each in lines(result.report)] == ["rise", "rise", "drop", "size"]
    read = read_fit(tmp_path / "fit")
    assert "Root mean squared error to the teacher" in {each.heading for each in trial_columns(read)}
    tried = {tuple((trial.choices or {}).values()) for trial in read.trials}
    assert tried >= {(), (4,)} and write_fit_page(tmp_path / "fit").is_file()
