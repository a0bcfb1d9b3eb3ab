"""How a network is built, as model.json says it."""

import json

import pytest

from edgekd.errors import ModelError
from edgekd.spec import MODEL, Spec, Transform
from edgekd.stages.network import build_spec
from edgekd.tasks.signature import Signature, TensorSpec

PLAN, QUANTIZATION = [["1", True, [0, 2]]], {"profile": "onnxruntime-x86", "placement": "int8"}
OLD = {
    **{"schema_version": 1, "builder": "mlp", "input_shape": [4], "num_classes": 2, "args": {"hidden": [3]}},
    **{"pruning": [PLAN, PLAN], "quantization": QUANTIZATION, "code": []},
}


def test_what_version_1_says_is_read_in_the_order_it_was_built_in():
    found = Spec.from_json(OLD)
    assert found.transforms == (
        Transform("prune", PLAN),
        Transform("prune", PLAN),
        Transform("quantize", QUANTIZATION),
    )
    assert found == Spec("mlp", (4,), 2, {"hidden": [3]}).then("prune", PLAN).then("prune", PLAN).then(
        "quantize", QUANTIZATION
    )
    assert Spec.from_json({**OLD, "pruning": [], "quantization": None}).transforms == ()


def test_what_is_written_is_read_again():
    spec = Spec("mlp", (4,), 2).then("quantize", QUANTIZATION).then("prune", PLAN)
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.to_json()["schema_version"] == 2


def test_a_signature_is_written_only_where_there_is_one():
    spec = Spec("mlp", (4,), 2)
    assert "signature" not in spec.to_json() and spec.inputs == (4,)
    signature = Signature((TensorSpec("ids", ("length",), "int64", (0, 9)),), (TensorSpec("tags", ("length", 3)),))
    several = Spec("mlp", (), 2, signature=signature).then("prune", PLAN)
    assert several.inputs == Spec.from_json(json.loads(json.dumps(several.to_json()))).inputs == signature


@pytest.mark.parametrize(
    "signature", [3, {}, {"inputs": [], "outputs": []}, {"inputs": [{"name": "a"}], "outputs": []}]
)
def test_a_damaged_signature(tmp_path, signature):
    (tmp_path / MODEL).write_text(json.dumps({**Spec("mlp", (4,), 2).to_json(), "signature": signature}))
    with pytest.raises(
        ModelError, match="is not a network that edgekd saved, or is damaged|a signature needs an input"
    ):
        Spec.read(tmp_path)


def test_changes_by_stage():
    spec = Spec("mlp", (4,), 2).then("prune", PLAN).then("prune", []).then("quantize", QUANTIZATION)
    assert (spec.change_by("prune"), spec.change_by("quantize"), spec.change_by("x")) == ([], QUANTIZATION, None)
    assert spec.before("prune").transforms == (Transform("quantize", QUANTIZATION),)


@pytest.mark.parametrize(
    "transforms",
    [None, 3, "x", [3], [{}], [{"stage": "prune"}], [{"stage": 3, "change": []}], [{"stage": "prune", "change": 3}],
     [{"stage": "prune", "change": [3]}], [{"stage": "prune", "change": [], "more": 1}]],
)  # fmt: skip
def test_damaged_transforms(tmp_path, transforms):
    (tmp_path / MODEL).write_text(json.dumps({**Spec("mlp", (4,), 2).to_json(), "transforms": transforms}))
    with pytest.raises(ModelError, match="is not a network that edgekd saved, or is damaged"):
        Spec.read(tmp_path)


@pytest.mark.parametrize(
    ("stage", "change", "reason"),
    [
        ("melt", {}, "changed by a stage 'melt' that this edgekd does not have; it has distill"),
        ("prune", [["gone", True, [0]]], "the channel plan names 'gone', which Sequential does not have"),
        ("prune", [["1", True]], "the channel plan holds"),
        ("prune", {"profile": "x"}, "does not fit mlp: a channel plan is a list, not a dict"),
        ("quantize", [["x"]], "does not fit mlp: a quantisation is a mapping, not a list"),
        ("factorize", {}, "does not fit mlp: a factorisation's plan is a list, not a dict"),
        ("quantize", {"profile": []}, "the change by quantize in model.json does not fit mlp"),
        ("distill", {}, "changes no network's structure"),
    ],
)
def test_changes_that_do_not_fit(stage, change, reason):
    with pytest.raises(ModelError, match=reason):
        build_spec(Spec("mlp", (4,), 2, {"hidden": [3]}).then(stage, change))
