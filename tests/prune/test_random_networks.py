"""Networks composed at random: pruned they run, answer as the masked network does, reload to the bit and export."""

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import edgekd
from edgekd.artifact import capture
from edgekd.errors import ModelError
from edgekd.export import export_onnx
from edgekd.models import code_of, count_parameters
from edgekd.preprocess import Preprocess
from edgekd.prune import Prunable
from edgekd.prune.halves import HALVES
from edgekd.prune.plan import Plan, apply_plan
from edgekd.spec import Spec, Transform
from edgekd.train.device import lay_out
from tests.prune.blocks import BLOCKS, NORMALISES
from tests.prune.masked import masked
from tests.prune.random_networks import CLASSES, HEADS, SHAPE, build_seed, composed, drawn

FILE = Path(__file__).with_name("random_networks.py")


def halved(network: nn.Module) -> tuple[nn.Module, Plan] | None:
    """Half of what each group can lose, or None where the network says with a reason that nothing can go."""
    try:
        prunable = Prunable(network, SHAPE, round_to=1)
    except ModelError as error:
        assert "Unpruned: " in str(error) and "prune.ignore" in str(error)
        return None
    keeps = [prunable.rounded(group, len(group.scores) // 2) for group in prunable.groups]
    smaller, plan = prunable.cut(keeps)
    assert count_parameters(smaller) < count_parameters(network)
    assert all(left.layers and left.reason for left in prunable.unpruned)
    return smaller.eval(), plan


def check(network: nn.Module, normalises: bool) -> None:
    found = halved(network)
    if found is None:
        return
    halves: Plan = [entry for entry in found[1] if entry[1] == HALVES]
    smaller, whole = found[0].double(), apply_plan(copy.deepcopy(network), halves, SHAPE).double()
    x = torch.randn(3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        given, expected = smaller(x), masked(whole, smaller)(x)
    assert given.shape == (3, CLASSES)
    if not normalises:
        assert float((given - expected).abs().max()) <= 1e-9 * float(expected.abs().max())


@pytest.mark.parametrize("kind", BLOCKS)
def test_each_block(kind):
    check(composed([kind], "pooled"), kind in NORMALISES)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_each_head(head, raw):
    check(composed(["plain"], head, raw), normalises=False)


def check_number(seed: int) -> None:
    check(build_seed(seed), not NORMALISES.isdisjoint(drawn(seed)[0]))


@pytest.mark.parametrize("seed", range(30))
def test_composed(seed):
    check_number(seed)


@pytest.mark.slow
def test_three_hundred_more():
    failed = []
    for seed in range(1000, 1300):
        try:
            check_number(seed)
        except Exception as error:
            failed.append((seed, drawn(seed), repr(error)))
    assert failed == []


@pytest.mark.parametrize("seed", range(12))
def test_reloaded_to_the_bit(seed, tmp_path):
    found = halved(build_seed(seed))
    if found is None:
        return
    smaller, plan = found
    builder = f"{FILE}:build_seed"
    args = {"seed": seed}
    spec = Spec(
        builder,
        SHAPE,
        CLASSES,
        args,
        transforms=(Transform("prune", plan),),
        code=code_of(builder, SHAPE, CLASSES, args),
    )
    capture(smaller, spec).save(tmp_path)
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(edgekd.load(tmp_path)(x), lay_out(smaller)(x))


# Gates, halves, shuffles and folded weights; a recurrent layer takes the exporter many seconds.
EXPORTED = (("spatial_gate", "glu", "weight_norm"), ("chunks_multiplied", "pixel_shuffle", "squeeze_excite"))


@pytest.mark.parametrize("kinds", EXPORTED, ids="-".join)
def test_exported(kinds, tmp_path):
    found = halved(composed(kinds, "pooled"))
    assert found is not None
    file = export_onnx(found[0], tmp_path / "pruned.onnx", Preprocess("image", SHAPE, (0.5,) * 3, (0.5,) * 3))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = found[0](x).numpy()
    given = session.run(None, {"input": x.numpy()})[0]
    np.testing.assert_allclose(given, expected, atol=1e-4 * abs(expected).max())
