import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekd.artifact import WEIGHTS, Artifact, capture, fill, tensors_of
from edgekd.errors import ModelError
from edgekd.spec import MODEL, Spec, Transform

SPEC = Spec(
    builder="mlp",
    input_shape=(4,),
    num_classes=2,
    args={"hidden": [3]},
    transforms=(Transform("prune", [["1", True, [0, 2]]]), Transform("quantize", {"profile": "onnxruntime-x86"})),
)


def artifact() -> Artifact:
    tensors = {
        "a": torch.tensor([1.0, float("nan"), -0.0, 1e-45]),
        "b": torch.arange(6, dtype=torch.int64).view(2, 3),
        "half": torch.tensor([0.1], dtype=torch.bfloat16),
        "empty": torch.empty(0),
        "flag": torch.tensor([1], dtype=torch.uint8),
    }
    return Artifact(SPEC, tensors)


def bits(tensors: dict[str, Tensor]) -> dict[str, tuple]:
    return {name: (t.dtype, tuple(t.shape), t.contiguous().view(-1).view(torch.uint8).tolist() if t.numel() else [])
            for name, t in tensors.items()}  # fmt: skip


def test_saved_and_loaded_are_the_same_bits(tmp_path):
    saved = artifact()
    saved.save(tmp_path / "net")
    loaded = Artifact.load(tmp_path / "net")
    assert loaded.spec == SPEC
    assert bits(loaded.tensors) == bits(saved.tensors)
    assert loaded.sha256 == saved.sha256
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == [MODEL, WEIGHTS]


def test_saving_is_deterministic(tmp_path):
    saved = artifact()
    turned = Artifact(SPEC, dict(reversed(saved.tensors.items())))
    for name, one in (("a", saved), ("b", turned)):
        one.save(tmp_path / name)
    for file in (MODEL, WEIGHTS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert saved.sha256 == turned.sha256


def test_one_bit_or_one_word_is_another_hash():
    one = artifact()
    tensors = {**one.tensors, "a": -one.tensors["a"]}
    assert (
        len({one.sha256, Artifact(SPEC, tensors).sha256, replace(one, spec=replace(SPEC, num_classes=3)).sha256}) == 3
    )


def break_model(folder: Path, change: object) -> None:
    path = folder / MODEL
    if isinstance(change, dict):
        content = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({key: value for key, value in content.items() if value != "remove"}))
    else:
        path.write_text(str(change))


@pytest.mark.parametrize(
    "change", ["{", "", "[]", "null", "3", '"text"', {"builder": "remove"}, {"more": 1}, {"transforms": 3},
               {"schema_version": "remove"}],
)  # fmt: skip
def test_a_damaged_description(tmp_path, change):
    artifact().save(tmp_path)
    break_model(tmp_path, change)
    with pytest.raises(ModelError, match=f"^{tmp_path} is not a network that edgekd saved, or is damaged: "):
        Artifact.load(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "header"])
def test_damaged_weights(tmp_path, damage):
    artifact().save(tmp_path)
    path = tmp_path / WEIGHTS
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-3], "empty": b"", "header": b"\xff" * 8 + content[8:]}[damage])
    with pytest.raises(ModelError, match=f"^{tmp_path} is not a network that edgekd saved, or is damaged: "):
        Artifact.load(tmp_path)


def test_another_version(tmp_path):
    artifact().save(tmp_path)
    break_model(tmp_path, {"schema_version": 3})
    with pytest.raises(ModelError) as error:
        Artifact.load(tmp_path)
    assert str(error.value) == f"{tmp_path / MODEL} was written by another version of edgekd; make it again"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="No such file or directory"):
        Artifact.load(tmp_path / "none")


def test_capture_is_apart_from_the_live_network():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to(torch.float32)
    captured = capture(network, SPEC)
    before = bits(captured.tensors)
    with torch.no_grad():
        network[0].weight.add_(1)
        network(torch.randn(4, 2))
    assert bits(captured.tensors) == before
    assert captured.tensors.keys() == network.state_dict().keys()


def test_buffers_outside_the_state_dict_are_kept():
    network = nn.Linear(2, 2)
    network.register_buffer("range", torch.tensor([1.0, 2.0]), persistent=False)
    assert "range" in tensors_of(network) and "range" not in network.state_dict()
    other = nn.Linear(2, 2)
    other.register_buffer("range", torch.tensor(0.0), persistent=False)
    fill(other, capture(network, SPEC).tensors)
    assert other.range.tolist() == [1.0, 2.0], "a buffer takes its shape from what is stored"
    assert bits(tensors_of(other)) == bits(tensors_of(network))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (nn.Linear(2, 2, bias=False), "'bias' is on one side only"),
        (nn.Sequential(nn.Linear(2, 2)), "'0.bias' is on one side only"),
        (nn.Linear(3, 2), "'weight' is (2, 2) in them, (2, 3) in it"),
    ],
)
def test_weights_for_another_network(other, says):
    with pytest.raises(ModelError) as error:
        fill(other, capture(nn.Linear(2, 2), SPEC).tensors)
    assert str(error.value) == f"the weights are for another network: {says}"


def test_fill_keeps_the_layout():
    """Strides decide which kernel runs, and so the last bits."""
    network = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    strides = network.weight.stride()
    fill(network, capture(nn.Conv2d(4, 4, 3), SPEC).tensors)
    assert network.weight.stride() == strides
