import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.models import build, load_checkpoint

FOREIGN = Path(__file__).parents[2].parent / "shared" / "data" / "checkpoints"


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build("small_cnn", (1, 8, 8), 3, width=4)


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def complaint(path: Path, into: nn.Module | None = None) -> str:
    with pytest.raises(ModelError) as error:
        load_checkpoint(into or network(1), path)
    return str(error.value)


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7, "best": 0.9},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"net": prefixed(state, "module.")},
        lambda state: prefixed(state, "module."),
        lambda state: prefixed(state, "_orig_mod."),
        lambda state: prefixed(state, "module._orig_mod."),
        lambda state: prefixed(state, "model."),
        lambda state: {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_forms_of_a_state_dict(tmp_path, wrap):
    source, target = network(0), network(1)
    torch.save(wrap(source.state_dict()), tmp_path / "net.pt")
    load_checkpoint(target, tmp_path / "net.pt")
    assert same(source, target)


@pytest.mark.parametrize("new_format", [True, False])
def test_both_formats_of_torch(tmp_path, new_format):
    torch.save(network(0).state_dict(), tmp_path / "net.th", _use_new_zipfile_serialization=new_format)
    target = network(1)
    load_checkpoint(target, tmp_path / "net.th")
    assert same(network(0), target)


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_half_precision_becomes_single(tmp_path, ending):
    state = {n: v.half() if v.is_floating_point() else v for n, v in network(0).state_dict().items()}
    path = tmp_path / f"net.{ending}"
    save = save_file if ending == "safetensors" else torch.save
    save(state, path)
    target = network(1)
    load_checkpoint(target, path)
    for name, value in target.state_dict().items():
        assert value.dtype == network().state_dict()[name].dtype
        assert torch.equal(value, state[name].to(value.dtype))


def test_a_checkpoint_of_another_network(tmp_path):
    state = network().state_dict()
    state["0.weight"] = torch.zeros(8, 1, 3, 3)
    state["head.bias"] = state.pop("14.bias")
    torch.save(state, tmp_path / "net.pt")
    assert complaint(tmp_path / "net.pt") == (
        f"{tmp_path}/net.pt is not a checkpoint of this Sequential: missing: 14.bias (3,); "
        "unexpected: head.bias (3,); other shapes: 0.weight is (8, 1, 3, 3), the network has (4, 1, 3, 3)"
    )


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    target = network(1)
    torch.save({"0.weight": torch.zeros(1)}, tmp_path / "net.pt")
    message = complaint(tmp_path / "net.pt", target)
    assert " and " in message and message.count("more") == 1
    assert same(target, network(1))


class Payload:
    """Pickles as a call that makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle", "safetensors"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, form):
    made = tmp_path / "made"
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pt")
    content = {"state_dict": network().state_dict(), "extra": Payload(made)}
    if form in ("torch", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    else:
        path.write_bytes(pickle.dumps(content))
    message = complaint(path)
    assert not made.exists()
    if form in ("torch", "legacy"):
        assert message == (
            f"{path} holds more than tensors (posix.mkdir), and code in a checkpoint is never run; save "
            "network.state_dict() alone, or convert it to safetensors where you trust it"
        )
    if form == "pickle":
        with path.open("rb") as file:
            pickle.load(file)
        assert made.exists(), "the payload works where it is let"


def test_a_whole_network_is_refused(tmp_path):
    torch.save(network(), tmp_path / "net.pt")
    assert "holds more than tensors (torch.nn.modules.container.Sequential)" in complaint(tmp_path / "net.pt")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_cut_file_is_named(tmp_path, form):
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pt")
    if form == "safetensors":
        save_file(network().state_dict(), path)
    else:
        torch.save(network().state_dict(), path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    for share in range(0, 20):
        path.write_bytes(whole[: len(whole) * share // 20])
        message = complaint(path)
        assert message.startswith(str(path)) and "\n" not in message


def test_a_flipped_bit_never_ends_in_a_traceback(tmp_path):
    randomness = random.Random(0)
    path = tmp_path / "net.pt"
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[randomness.randrange(len(damaged))] ^= 1 << randomness.randrange(8)
        path.write_bytes(damaged)
        try:
            load_checkpoint(network(1), path)
        except ModelError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("content", [b"", b"not a checkpoint\n" * 30])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "net.pt"
    path.write_bytes(content)
    assert complaint(path) == f"{path} cannot be read as a checkpoint (not what torch.save writes); is the file whole?"


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"epoch": 3}}, torch.zeros(3), {}])
def test_a_file_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "net.pt")
    assert complaint(tmp_path / "net.pt") == (
        f"{tmp_path}/net.pt holds no state dict, neither by itself nor under "
        "state_dict, model_state_dict, model, net, state_dict_ema"
    )


def test_a_missing_file(tmp_path):
    assert complaint(tmp_path / "none.pt") == (
        f"there is no checkpoint {tmp_path}/none.pt; give the path of a .safetensors, .pt or .pth file"
    )


def test_option_a_fills_a_network_with_projections(tmp_path):
    torch.manual_seed(0)
    padded = build("resnet20", (3, 16, 16), 10, shortcut="pad", width=4)
    padded(torch.randn(8, 3, 16, 16))
    torch.save({"state_dict": prefixed(padded.state_dict(), "module.")}, tmp_path / "net.th")
    projected = build("resnet20", (3, 16, 16), 10, width=4)
    load_checkpoint(projected, tmp_path / "net.th")
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(projected.eval()(x), padded.eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet20-12fca82f.th", "resnet56-4bfd9763.th"])
def test_published_checkpoints(name):
    path = FOREIGN / name
    if not path.is_file():
        pytest.skip(f"there is no {name} beside this checkout")
    model = name.partition("-")[0]
    padded, projected = (build(model, (3, 32, 32), 10, shortcut=shortcut) for shortcut in ("pad", "conv"))
    load_checkpoint(padded, path)
    load_checkpoint(projected, path)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = projected.eval()(x), padded.eval()(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert theirs.std() > 1, "the logits of a trained network are far apart"
