import re

import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models.signature import find_signature
from edgekd.tasks.signature import OpenDimension, Signature, TensorSpec
from tests.several_tensors import LONGEST, VOCABULARY, image_and_text, tagger


def test_bare_tensors_are_input_and_logits():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    found = find_signature(network, torch.zeros(2, 3, 4))
    assert found == Signature((TensorSpec("input", (3, 4)),), (TensorSpec("logits", (3,)),))
    assert found.is_single
    assert network.training


def test_a_tuple_has_the_names_of_parameters_and_integers_the_bounds_of_their_embedding():
    _, found = image_and_text()
    assert found.inputs == (
        TensorSpec("image", (3, 16, 16)),
        TensorSpec("tokens", ("length",), "int64", (0.0, VOCABULARY - 1)),
    )
    assert found.outputs == (TensorSpec("logits", (4,)), TensorSpec("embedding", (12,)))
    assert found.open == (OpenDimension("length", 9),)
    assert not found.is_single


def test_a_dict_has_its_keys_and_outputs_follow_open_dimensions():
    _, found = tagger()
    assert [(each.name, each.shape) for each in found.outputs] == [("tags", ("length", 5)), ("score", (2,))]
    assert found.open == (OpenDimension("length", 9, None, LONGEST),)


def test_a_strided_output_has_a_dimension_of_its_own():
    network = nn.Conv1d(2, 4, 3, stride=2)
    found = find_signature(network, torch.zeros(2, 2, 16), open={"input": {2: "time"}})
    assert found.outputs[0].shape == (4, "logits_2")


def test_a_size_that_is_refused_becomes_a_limit():
    network, _ = tagger()
    axes = {"tokens": {1: "length"}, "mask": {1: "length"}}
    for length, most in ((9, None), (30, 30)):
        example = (torch.zeros(2, length, dtype=torch.int64), torch.ones(2, length))
        found = find_signature(network, example, open=axes)
        assert found.open == (OpenDimension("length", length, None, most),)
        assert found.outputs[0].shape == ("length", 5)


class Outer(nn.Module):
    def forward(self, x, y):
        return x.unsqueeze(2) + y.unsqueeze(1), torch.cat([x, y], 1)


def test_each_axis_follows_its_own_dimension():
    found = find_signature(Outer(), (torch.rand(2, 4), torch.rand(2, 4)), open={"x": {1: "rows"}, "y": {1: "columns"}})
    assert [each.shape for each in found.outputs] == [("rows", "columns"), ("output_1_1",)]


class Sorted(nn.Module):
    def forward(self, mask, tokens):
        return [tokens * mask, {"low": tokens.amin(1), "none": None}]


def test_keywords_are_put_in_the_order_of_parameters_and_outputs_named_by_their_place():
    example = {"tokens": torch.tensor([[3, 7], [1, 2]]), "mask": torch.full((2, 2), -30.0)}
    found = find_signature(Sorted(), example)
    assert [(each.name, each.bounds) for each in found.inputs] == [("mask", (-30.0, 1.0)), ("tokens", (1.0, 7.0))]
    assert [each.name for each in found.outputs] == ["output_0", "1.low"]


@pytest.mark.parametrize(
    ("network", "example", "options", "said"),
    [
        (nn.Linear(4, 2), torch.zeros(2, 5), {}, "Linear does not take inputs of (2, 5): "),
        (nn.Linear(4, 2), {"x": torch.zeros(2, 4)}, {}, "Linear.forward takes input, and the example has x: wrap"),
        (nn.Linear(4, 2), torch.zeros(2, 4), {"outputs": ("a", "b")}, "2 names are given for the 1 outputs logits"),
        (nn.Linear(4, 2), torch.zeros(2, 4), {"open": {"ids": {1: "n"}}}, "no input is named 'ids'; the inputs are"),
        (nn.Linear(4, 2), torch.zeros(2, 4), {"open": {"input": {0: "n"}}}, "axis 0 of 'input' cannot be named: "),
        (nn.Linear(4, 2), torch.zeros(2, 4), {"limits": {"n": (1, 2)}}, "limits are given for 'n', which no axis"),
        (Sorted(), (torch.zeros(2, 1), torch.zeros(3, 1)), {}, "the example's tensors have batches of [2, 3]: "),
        (nn.MSELoss(), (torch.zeros(2, 1), torch.zeros(2, 1)), {}, "gives 'logits' of shape () for 2 samples: "),
    ],
)
def test_refusals(network, example, options, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        find_signature(network, example, **options)
