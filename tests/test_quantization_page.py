"""docs/quantization.md: its loop runs as it stands, and the file computes what the trained graph does."""

import copy
import re
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from edgekd.quantize import convert

PAGE = (Path(__file__).parents[1] / "docs/quantization.md").read_text()


def test_a_loop_of_ones_own_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {}
    [block] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(block, names)
    graph, images = names["graph"], names["images"]
    assert names["loss"].isfinite() and not graph.training
    with torch.no_grad():
        expected = graph(images)
        assert torch.equal(graph.train()(images), expected) and graph.training
        for other in (copy.deepcopy(graph), convert(graph)):
            assert not other.eval().training and torch.allclose(other(images), expected, atol=1e-4)
    session = onnxruntime.InferenceSession("student.onnx", providers=["CPUExecutionProvider"])
    [found] = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert np.mean(found.argmax(1) == expected.argmax(1).numpy()) >= 0.9
