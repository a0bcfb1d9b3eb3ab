import math
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.prune.kept_scores import KeptScores, content_key


def test_scores_are_there_for_the_next_one_and_for_whoever_measures_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    first, second = KeptScores(path), KeptScores(path)
    first["a"] = 0.1
    second["b"] = math.inf
    first["c"] = math.nan
    assert first.keys() == {"a", "b", "c"}
    found = KeptScores(path)
    assert found["a"] == 0.1 and found["b"] == math.inf and math.isnan(found["c"])
    # One's own stays, whatever another has found meanwhile.
    second["a"] = 0.2
    assert KeptScores(path)["a"] == 0.2


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '{"a": "b"}', '{"a": [1]}'])
def test_a_damaged_file_holds_nothing(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(damaged)
    scores = KeptScores(path)
    assert not scores
    scores["a"] = 1.0
    assert KeptScores(path) == {"a": 1.0}


def test_another_network_another_input_or_other_batches_have_another_key() -> None:
    def key(width: int = 2, scale: float = 1.0, size: int = 3, batch: float = 0.0) -> str:
        layers = nn.Sequential(nn.Linear(3, width), nn.ReLU())
        nn.init.constant_(layers[0].weight, scale)
        nn.init.zeros_(layers[0].bias)
        return content_key(layers, (size,), [torch.full((1, 3), batch)])

    keys = [key(), key(width=3), key(scale=2.0), key(size=4), key(batch=1.0)]
    assert len(set(keys)) == len(keys) and key() == keys[0]
