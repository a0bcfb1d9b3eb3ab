"""Low-rank factors in networks with several inputs and outputs."""

import torch

from edgekd.factorize import apply_plan, factorize
from edgekd.models.size import count_macs
from tests.several_tensors import batches, image_and_text


def test_layers_of_every_input_are_factorised_and_a_new_network_follows_the_plan():
    network, signature = image_and_text(width=32)
    found = factorize(network, signature, macs=0.6, round_to=4)
    assert found.after == count_macs(found.network, signature) <= 0.6 * count_macs(network, signature)
    assert {"conv2", "mix"} <= {layer.path for layer in found.layers}
    again = apply_plan(image_and_text(width=32)[0], found.plan)
    again.load_state_dict(found.network.state_dict())
    for sample in batches(signature):
        assert all(map(torch.equal, again(*sample), found.network(*sample)))


def test_energy_that_is_almost_all_keeps_both_outputs():
    network, signature = image_and_text()
    with torch.no_grad():
        network.mix.weight.copy_(torch.outer(torch.randn(24), torch.randn(16)))
    found = factorize(network, signature, energy=0.999999, round_to=1)
    assert [layer.path for layer in found.layers] == ["mix"]
    for sample in batches(signature):
        for ours, theirs in zip(network(*sample), found.network(*sample), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
