import os
import pickle
import random
from argparse import Namespace
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
        lambda state: {"state_dict": prefixed(state, "net.")},
        lambda state: prefixed(state, "backbone.encoder."),
        lambda state: prefixed(state, "module.module."),
        lambda state: {"checkpoint": {"weights": prefixed(state, "encoder.")}},
        lambda state: {"generator": state, "discriminator": {"0.weight": torch.ones(3, 3)}},
        lambda state: {"best": state, "last": dict(state)},
        lambda state: {"args": Namespace(lr=0.1), "model": state},
        lambda state: {"model": state, "optimizer": {"state": state}},
        lambda state: {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_forms_of_a_state_dict(tmp_path, wrap):
    source, target = network(0), network(1)
    torch.save(wrap(source.state_dict()), tmp_path / "net.pt")
    load_checkpoint(target, str(tmp_path / "net.pt"))
    assert same(source, target)


def zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value * 0 for name, value in state.items()}


@pytest.mark.parametrize(
    ("wrap", "takes", "leaves"),
    [
        (lambda new, old: {"state_dict": old, "state_dict_ema": new}, "state_dict_ema", "state_dict"),
        (
            lambda new, old: {"model": old, "model_ema": {"n_averaged": torch.tensor(3), **prefixed(new, "module.")}},
            "model_ema.module",
            "model",
        ),
        (lambda new, old: {"params": old, "params_ema": new}, "params_ema", "params"),
        (lambda new, old: {"net": old, "swa_state_dict": new}, "swa_state_dict", "net"),
        (lambda new, old: {"averaged_model": new, "model": old}, "averaged_model", "model"),
        (
            lambda new, old: {"state_dict": {**prefixed(old, "net."), **prefixed(new, "ema_net.module.")}},
            "state_dict.ema_net.module",
            "state_dict.net",
        ),
    ],
)
def test_of_several_the_averaged_weights_are_taken(tmp_path, capsys, wrap, takes, leaves):
    path, state = tmp_path / "net.pt", network(0).state_dict()
    torch.save(wrap(state, zeros(state)), path)
    target = network(1)
    load_checkpoint(target, path)
    assert same(network(0), target)
    assert capsys.readouterr().err == (
        f"  {path}: takes the averaged weights {takes}, not {leaves} (checkpoint_key chooses another)\n"
    )
    torch.save(wrap(zeros(state), state), path)
    load_checkpoint(target, path, checkpoint_key=leaves)
    assert same(network(0), target)


def test_averaged_parameters_without_the_buffers_do_not_fit(tmp_path, capsys):
    path, state = tmp_path / "net.pt", network(0).state_dict()
    bare = {name: value for name, value in zeros(state).items() if "running" not in name}
    torch.save({"state_dict": state, "ema": bare}, path)
    target = network(1)
    load_checkpoint(target, path)
    assert same(network(0), target)
    assert "takes state_dict, not ema (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (lambda one, two: {"best": one, "last": two}, "best, last"),
        (lambda one, two: {"student": one, "teacher": {"model": two}}, "student, teacher.model"),
        (lambda one, two: {**prefixed(one, "encoder_q."), **prefixed(two, "encoder_k.")}, "encoder_q, encoder_k"),
        (lambda one, two: {"ema_fast": one, "ema_slow": two, "model": one}, "ema_fast, ema_slow"),
        (lambda one, two: {**one, "last": two}, "., last"),
    ],
)
def test_several_that_fit_equally_well_are_refused(tmp_path, wrap, names):
    path, state = tmp_path / "net.pt", network(0).state_dict()
    torch.save(wrap(state, zeros(state)), path)
    assert complaint(path) == (
        f"{path} holds several networks' weights that fit and differ: {names}; name one of them as checkpoint_key"
    )
    target = network(1)
    load_checkpoint(target, path, checkpoint_key=names.split(", ")[0])
    assert same(network(0), target)


def test_a_key_that_is_not_there(tmp_path):
    torch.save({"best": network(0).state_dict(), "epoch": 3}, tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"holds no weights under 'bset' \(did you mean 'best'\?\); it has: best"):
        load_checkpoint(network(1), tmp_path / "net.pt", checkpoint_key="bset")


@pytest.mark.parametrize(
    ("wrap", "extra"),
    [
        (lambda state: {"state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(3)}}, "criterion."),
        (lambda state: {**state, "loss_fn.weight": torch.ones(3)}, "loss_fn.weight"),
        (lambda state: {**prefixed(state, "net."), "val_acc.total": torch.tensor(3)}, "val_acc.total"),
        (lambda state: {**state, "0.total_ops": torch.zeros(1)}, "0.total_ops"),
        (lambda state: {**prefixed(state, "backbone."), "projector.weight": torch.ones(3, 3)}, "projector.weight"),
    ],
)
def test_what_is_not_the_networks_is_left_out_and_said(tmp_path, capsys, wrap, extra):
    path, target = tmp_path / "net.pt", network(1)
    torch.save(wrap(network(0).state_dict()), path)
    load_checkpoint(target, path)
    assert same(network(0), target)
    assert f"  {path}: leaves out what is not this network's: {extra}" in capsys.readouterr().err


def test_a_layer_that_the_network_lacks_is_no_extra(tmp_path):
    torch.save({**network(0).state_dict(), "20.weight": torch.ones(3)}, tmp_path / "net.pt")
    assert "unexpected: 20.weight (3,)" in complaint(tmp_path / "net.pt")


def changed(value: Tensor, index: int, number: float) -> Tensor:
    value = value.clone()
    value.view(-1)[index] = number
    return value


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("0.weight", lambda w: (w * 100).to(torch.int8), "0.weight is int8, not floating point; codes need their"),
        ("0.weight", lambda w: (w * 100).to(torch.uint8), "0.weight is uint8, not floating point"),
        ("0.weight", lambda w: w > 0, "0.weight is bool, not floating point"),
        ("0.weight", lambda w: w.to(torch.complex64), "0.weight is complex64, not floating point"),
        ("0.weight", lambda w: changed(w, 0, float("nan")), "0.weight has 1 of 36 values that are not finite as float"),
        ("14.bias", lambda w: w.half() * 0 + 1e6, "14.bias has 3 of 3 values that are not finite as float32"),
        ("14.bias", lambda w: w.double() + 1e300, "14.bias has 3 of 3 values that are not finite as float32"),
        ("1.running_mean", lambda w: w + float("inf"), "1.running_mean has 4 of 4 values that are not finite"),
        ("1.running_var", lambda w: -w, "1.running_var has negative variances"),
        ("1.num_batches_tracked", lambda w: w + 0.5, "1.num_batches_tracked is float32, and counts or indices are"),
        ("14.weight", lambda w: w.to("meta"), "14.weight has no values (it is on the meta device)"),
        ("14.weight", lambda w: w.to_sparse(), "14.weight is sparse; save it dense"),
        ("14.weight", lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "14.weight is quantised; save it"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_values_that_are_no_weights(tmp_path, name, change, says):
    state = network(0).state_dict()
    torch.save({**state, name: change(state[name])}, tmp_path / "net.pt")
    target = network(1)
    assert f"net.pt holds what cannot be weights of this Sequential: {says}" in complaint(tmp_path / "net.pt", target)
    assert same(target, network(1))


def test_zeros_alone_are_no_network(tmp_path):
    torch.save(zeros(network(0).state_dict()), tmp_path / "net.pt")
    assert "holds a network whose weights are all 0" in complaint(tmp_path / "net.pt")


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))


def test_a_mask_may_be_infinite_where_the_networks_own_is(tmp_path):
    state = Masked().state_dict()
    torch.save(state, tmp_path / "net.pt")
    load_checkpoint(Masked(), tmp_path / "net.pt")
    torch.save({**state, "mask": state["mask"].T}, tmp_path / "net.pt")
    assert "mask has 3 of 9 values that are not finite" in complaint(tmp_path / "net.pt", Masked())


def test_a_folder_a_pipe_and_a_torchscript_archive(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    assert complaint(tmp_path).startswith(f"{tmp_path} is a folder; give the path of a")
    assert complaint(tmp_path / "pipe.pt").startswith(f"{tmp_path}/pipe.pt is not a regular file; give the path of a")
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    assert "is a TorchScript archive, which holds code; load it with torch.jit.load" in complaint(
        tmp_path / "script.pt"
    )


@pytest.mark.parametrize("ending", ["pt", "bin", "safetensors"])
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_the_content_says_what_a_file_is(tmp_path, ending, form):
    path, target = tmp_path / f"net.{ending}", network(1)
    (save_file if form == "safetensors" else torch.save)(network(0).state_dict(), path)
    load_checkpoint(target, path)
    assert same(network(0), target)


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
        f"{tmp_path}/net.pt holds no state dict, neither by itself nor under a key; save network.state_dict()"
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


class Tied(nn.Module):
    """Its last layer has the weight of its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.words.weight


@pytest.mark.parametrize("name", ["words.weight", "head.weight"])
def test_a_weight_of_two_layers_is_stored_once(tmp_path, name):
    """As safetensors.torch.save_model writes it."""
    values, target = torch.randn(6, 4), Tied()
    save_file({name: values}, tmp_path / "tied.safetensors")
    load_checkpoint(target, tmp_path / "tied.safetensors")
    assert torch.equal(target.words.weight, values) and target.head.weight is target.words.weight
    save_file({"other.weight": values}, tmp_path / "tied.safetensors")
    assert "missing: words.weight (6, 4), head.weight (6, 4)" in complaint(tmp_path / "tied.safetensors", Tied())
