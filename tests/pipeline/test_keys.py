"""What is another network has another key, and what is the same one has the same, wherever it lies."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgekd.artifact import capture, content_of
from edgekd.models import Checkpoint, build, code_of
from edgekd.pipeline.start import Start
from edgekd.spec import Spec

ARGS = {"input_shape": (1, 8, 8), "num_classes": 3}
NET = "from torch import nn\ndef make(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"


@pytest.fixture
def start(tmp_path: Path) -> Start:
    torch.manual_seed(0)
    state = build("small_cnn", (1, 8, 8), 3).state_dict()
    torch.save({"state_dict": state, "ema": {n: v + 1 for n, v in state.items()}}, tmp_path / "net.pt")
    return Start(Spec("small_cnn", **ARGS), Checkpoint(tmp_path / "net.pt"), 0)


@pytest.mark.parametrize("change", [{"key": "state_dict"}, {"new_head": True}])
def test_another_choice_of_weights_is_another_network(start, change):
    assert replace(start, checkpoint=replace(start.checkpoint, **change)).key != start.key
    assert replace(start, checkpoint=None).key != start.key


def test_the_key_chooses_the_weights(start):
    raw = replace(start, checkpoint=replace(start.checkpoint, key="state_dict")).network()
    averaged = start.network()
    torch.testing.assert_close(averaged.state_dict()["0.weight"], raw.state_dict()["0.weight"] + 1)


def test_the_folder_of_the_code_is_no_part_of_the_key(tmp_path):
    keys, contents = set(), set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.py").write_text(NET)
        builder = f"{tmp_path / name}/net.py:make"
        spec = Spec(builder, **ARGS, code=code_of(builder, (1, 8, 8), 3, {}))
        torch.manual_seed(0)
        capture(build(builder, (1, 8, 8), 3), spec).save(tmp_path / name / "stage")
        keys.add(Start(spec, None, 0).key)
        contents.add(content_of(tmp_path / name / "stage"))
    assert len(keys) == len(contents) == 1
