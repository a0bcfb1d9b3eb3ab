import pytest
import torch

from edgekd.distill.balance import GradientBalance


def test_factors_are_the_ratios_of_gradient_norms():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    terms = [weight.square().sum(), 10 * weight.sum()]
    factors = GradientBalance(2)(terms, [weight])
    assert factors == pytest.approx([1.0, 10.0 / (10 * 2**0.5)])  # ‖2w‖ = 10 over ‖10, 10‖


def test_norms_are_measured_now_and_then_and_averaged():
    weight = torch.ones(1, requires_grad=True)
    balance = GradientBalance(2, every=2, momentum=0.5)
    found = [balance([weight.sum(), scale * weight.sum()], [weight])[1] for scale in (2.0, 100.0, 4.0)]
    assert found == pytest.approx([1 / 2, 1 / 2, 1 / 3])


def test_terms_without_a_gradient_are_left_alone():
    weight, other = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    balance = GradientBalance(2)
    assert balance([weight.sum(), other.sum()], [weight]) == [1.0, 1.0]


def test_it_goes_on_from_its_state():
    weight = torch.ones(1, requires_grad=True)
    first = GradientBalance(2, every=3)
    for scale in (1.0, 2.0):
        first([weight.sum(), scale * weight.sum()], [weight])
    second = GradientBalance(2, every=3)
    second.load_state_dict(first.state_dict())
    for scale in (3.0, 4.0):
        terms = [weight.sum(), scale * weight.sum()]
        assert first(terms, [weight]) == second(terms, [weight])


def test_norms_stay_where_they_are_read():
    assert {each.device.type for each in GradientBalance(2).to("meta").buffers()} == {"cpu"}
