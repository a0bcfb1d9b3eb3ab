"""Plans as JSON: the same structure from a fresh build, and what is refused."""

import json

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.factorize import apply_plan, factorize
from edgekd.models import build
from tests.factorize.networks import Everything, Mobile, Sequence

IMAGE = (3, 16, 16)
NETWORKS = {
    "resnet8": (lambda: build("resnet8", IMAGE, 10), IMAGE),
    "mobile": (Mobile, IMAGE),
    "sequence": (Sequence, (8, 32)),
    "everything": (Everything, (3, 8, 8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_plan_through_json_gives_the_same_bits(name):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    found = factorize(make(), shape, energy=0.6, round_to=4)
    torch.manual_seed(1)
    fresh = apply_plan(make(), json.loads(json.dumps(found.plan)))
    assert str(fresh) == str(found.network)
    fresh.load_state_dict(found.network.state_dict(), strict=True)
    x = torch.randn(4, *shape)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), found.network.eval()(x))


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ([["layer1", "svd", [8]]], "names 'layer1', which Sequential does not have"),
        ([["", "svd", [8]]], "names '', which Sequential does not have"),
        ([["2", "svd", [8]]], "names '2', which is a ReLU here"),
        ([["1", "svd", [8]], ["1", "svd", [8]]], "names '1' twice; factorise again"),
    ],
)
def test_a_plan_for_another_network(plan, says):
    network = build("mlp", IMAGE, 10)
    before = str(network)
    with pytest.raises(ModelError) as error:
        apply_plan(network, [["5", "svd", [2]], *plan])
    assert str(error.value) == f"the factorisation's plan {says}"
    assert str(network) == before


@pytest.mark.parametrize("ranks", [[65], [0], [8, 8], []])
def test_ranks_for_another_layer(ranks):
    with pytest.raises(ModelError, match="^svd takes ranks from 1 to .64. of Linear"):
        apply_plan(build("mlp", IMAGE, 10), [["3", "svd", ranks]])


@pytest.mark.parametrize(
    "entry", [["1", "cp", [8]], ["1"], [1, "svd", [8]], ["1", "svd", 8], ["1", "svd", ["8"]], ["1", "svd", [True]], []]
)
def test_an_entry_that_is_none(entry):
    with pytest.raises(ModelError) as error:
        apply_plan(build("mlp", IMAGE, 10), [entry])
    assert str(error.value) == (
        f"the factorisation's plan holds {entry}, which is not [layer, method, ranks] with a method of spatial, "
        "svd, tucker; factorise again, or bring back the file as it was saved"
    )


def test_a_layer_goes_under_all_its_names():
    network = apply_plan(Sequence(), [["blocks.0", "tucker", [8, 8]]])
    assert network.block is network.blocks[0]
    assert isinstance(network.block, nn.Sequential)
