from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import build, load_checkpoint
from edgekd.models.checkpoint import last_layer


def network(classes: int, seed: int, model: str = "resnet8") -> nn.Module:
    torch.manual_seed(seed)
    return build(model, (1, 8, 8), classes, width=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(network(5, 0).state_dict(), tmp_path / "five.pt")
    return tmp_path / "five.pt"


def test_all_but_the_last_layer_is_loaded(path, capsys):
    ours, theirs, fresh = network(3, 1), network(5, 0), network(3, 1)
    load_checkpoint(ours, path, new_head=True)
    for name, value in ours.state_dict().items():
        source = fresh if name.startswith("linear.") else theirs
        assert torch.equal(value, source.state_dict()[name]), name
    assert capsys.readouterr().err == (
        f"  {path}: the last layer is left out and keeps its new weights: linear.weight (5, 16) is (3, 16) here, "
        "linear.bias (5,) is (3,) here\n"
    )
    load_checkpoint(network(3, 1), path, new_head=True)
    assert capsys.readouterr().err == "", "a run builds its networks several times, and says so once"


def test_a_last_layer_that_fits_is_loaded(path, capsys):
    ours = network(5, 1)
    load_checkpoint(ours, path, new_head=True)
    assert all(torch.equal(v, network(5, 0).state_dict()[n]) for n, v in ours.state_dict().items())
    assert (
        capsys.readouterr().err == f"  {path}: the last layer has this network's shape, and is loaded with the rest\n"
    )


def test_without_it_the_message_names_the_way(path):
    ours = network(3, 1)
    with pytest.raises(ModelError) as error:
        load_checkpoint(ours, path)
    assert str(error.value) == (
        f"{path} is not a checkpoint of this ResNet8: other shapes: linear.weight is (5, 16), the network has (3, 16), "
        "linear.bias is (5,), the network has (3,); new_head: true leaves out this layer, and the rest fits"
    )
    assert all(torch.equal(v, network(3, 1).state_dict()[n]) for n, v in ours.state_dict().items())


@pytest.mark.parametrize("change", ["shape", "missing", "head missing"])
def test_no_other_layer_may_differ(path, change):
    state = torch.load(path)
    if change == "shape":
        state["conv1.weight"] = state["conv1.weight"][:2]
    else:
        del state["linear.bias" if change == "head missing" else "bn1.bias"]
    torch.save(state, path)
    with pytest.raises(ModelError) as error:
        load_checkpoint(network(3, 1), path, new_head=True)
    wrong = {
        "shape": "other shapes: conv1.weight is (2, 1, 3, 3), the network has (4, 1, 3, 3)",
        "missing": "missing: bn1.bias (4,)",
        "head missing": "missing: linear.bias (3,)",
    }
    assert str(error.value) == f"{path} is not a checkpoint of this ResNet8: {wrong[change]}"


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("resnet8", "linear"),
        ("small_cnn", "14"),
        ("torchvision/mobilenet_v2", "classifier.1"),
        ("torchvision/squeezenet1_1", "classifier.1"),
    ],
)
def test_the_last_layer_gives_the_logits(model, layer):
    built = build(model, (3, 32, 32), 7)
    assert last_layer(built) == layer
    assert built.get_submodule(layer).weight.shape[0] == 7
