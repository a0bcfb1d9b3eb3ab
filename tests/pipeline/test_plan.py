"""What cannot work is found before any time is spent, and a changed file of the user's is another network."""

import json

import pytest

from edgekd.cli.run import print_plan
from edgekd.data import load_data
from edgekd.errors import EdgekdError, ModelError
from edgekd.pipeline.evaluate import ExportNode
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.plan import plan, resolve_training
from edgekd.recipe import load_recipe
from tests.toy import RECIPE, run_stages, write_recipe

NETS = """
import torch
from torch import nn

SIGN = 1.0

class Signed(nn.Sequential):
    def forward(self, x):
        return SIGN * super().forward(x)

def good(num_classes):
    return Signed(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, num_classes))

def small(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes))

def seven(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
    def forward(self, x):
        return self.layer(x.flatten(1)), x

def pair():
    return Pair()

def frozen(num_classes):
    return good(num_classes).requires_grad_(False)

def empty():
    return nn.Flatten()

def leaves():
    raise SystemExit

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer("number", torch.ones(1, dtype=torch.int64))
    def forward(self, x):
        return self.layer(x.flatten(1)) * (self.number + self.number)

def counting():
    return Counting()
"""

DATA = "name: own\ndata: {source: digits, train_limit: 200, test_limit: 50, batch_size: 50}\n"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)

    def make(teacher: str, stages: str = "[{quantize: {epochs: 0}}]", more: str = "", epochs: int = 0):
        text = f"{DATA}teacher: {{model: 'nets.py:{teacher}', train: {{epochs: {epochs}}}}}\nstages: {stages}\n{more}"
        return load_recipe(write_recipe(tmp_path, text))

    return make


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("seven", "gives shape (4, 7); expected logits of shape (4, 10) for input of shape (4, 1, 8, 8)"),
        ("pair", "gives a tuple; expected logits of shape (4, 10)"),
        ("frozen", "has no parameter that can be trained"),
        ("empty", "has no parameter that can be trained"),
        ("leaves", "fails"),
    ],
)
def test_a_network_that_does_not_fit(recipe, network, reason):
    with pytest.raises(ModelError) as error:
        plan(recipe(network))
    assert reason in str(error.value)
    assert f"nets.py:{network}" in str(error.value)


def test_a_network_for_images_and_data_of_vectors(tmp_path):
    text = RECIPE.replace("model: small_cnn\n  args: {width: 16}", "model: small_cnn").replace(
        "source: digits,", "source: breast_cancer,"
    )
    with pytest.raises(ModelError, match="small_cnn does not take this data: expected logits of shape"):
        plan(load_recipe(write_recipe(tmp_path, text)))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["prune.importance=bogus"], "unknown importance 'bogus'"),
        (["prune.ignore=[nothere]"], "'nothere' matches no layer"),
        (["prune.ignore=['*']"], "has no channels to prune"),
        (["prune.macs=0.001"], "pruning cannot reach 0% of the MACs"),
        (["prune.depth=0.5"], "has no residual block that it can spare; leave depth out"),
        (
            ["prune.macs=null", "prune.latency=0.5", "targets=[{device: orin, runtime: tensorrt}]"],
            "prune.latency is measured on the first target, and orin with tensorrt cannot be timed: put cpu or",
        ),
    ],
)
def test_a_pruning_that_cannot_be_is_found_before_training(tmp_path, settings, reason):
    with pytest.raises(EdgekdError) as error:
        plan(load_recipe(write_recipe(tmp_path), settings))
    assert reason in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/toy.yaml:11: stages.1.prune: ")


def test_a_share_out_of_reach_tells_where_the_multiples_of_widths_come_from(tmp_path):
    path = write_recipe(tmp_path)
    settings = ["prune.macs=0.2", "targets=[{device: orin, runtime: tensorrt}]"]
    said = r"multiples of 32 the least is \d+%; raise the target or max_ratio, or lower round_to; your targets"
    block, way_out = r" widths are multiples of 32 \(TensorRT's block\)", ": add 'round_to: 8' to this stage$"
    with pytest.raises(EdgekdError, match=f"{said}'{block}{way_out}"):
        plan(load_recipe(path, ["prune.round_to=null", *settings]))
    settings[1] = "targets=[{device: cpu}, {device: orin, runtime: tensorrt}]"
    shared = rf"{said} \(ONNX Runtime, TensorRT\) share one training, whose{block}{way_out}"
    with pytest.raises(EdgekdError, match=shared):
        plan(load_recipe(path, ["prune.round_to=null", *settings]))
    with pytest.raises(EdgekdError, match=r"multiples of 64 the least is \d+%; raise the target or .* round_to$"):
        plan(load_recipe(path, ["prune.round_to=64", *settings]))


VIEWS = """
import torch.nn as nn

class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3))
        self.last = nn.Linear(288, 10)

    def forward(self, x):
        return self.last(self.b(self.a(x).relu()).relu().view(-1, 288))

def views(): return Views()
"""


def test_unpruned_layers_are_named_before_training(tmp_path, capsys):
    (tmp_path / "views.py").write_text(VIEWS)
    text = f"{DATA}teacher: {{model: 'views.py:views', train: {{epochs: 0}}}}\nstages: [{{prune: {{macs: 0.6}}}}]\n"
    recipe = load_recipe(write_recipe(tmp_path, text), ["prune.round_to=1"])
    planned = plan(recipe)
    [note] = planned.notes
    print_plan(recipe, planned)
    assert capsys.readouterr().out.splitlines()[-1] == note
    assert note.startswith("prune    unpruned: b: view needs this width (shape")
    with pytest.raises(ModelError, match="has no channels to prune.*Unpruned: b: view needs this width"):
        plan(load_recipe(write_recipe(tmp_path, text), ["prune.ignore=[a]"]))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["distill.method=kdd"], "unknown distillation method 'kdd' (did you mean 'kd'?)"),
        (["distill.options={betta: 2}", "distill.method=dkd"], "dkd has no option 'betta' (did you mean 'beta'?)"),
        (["distill.method=fitnet", "distill.pairs=[[9x, '0']]"], "has no layer '9x'"),
        (["distill.method=fitnet", "distill.pairs=[['0', '14']]"], "choose layers that both give maps"),
        (["distill.also=[{method: crd, pairs: [['0', '0'], ['4', '4']]}]"], "crd compares one pair of layers"),
        (["distill.options={temperature: 0}"], "temperature must be a number above 0, got 0"),
    ],
)
def test_a_distillation_that_cannot_be_is_found_before_training(tmp_path, settings, reason):
    with pytest.raises(EdgekdError) as error:
        plan(load_recipe(write_recipe(tmp_path), settings))
    assert reason in str(error.value)


def test_sums_of_whole_numbers_stay_as_they_are(recipe, tmp_path):
    made = recipe("counting", "[{quantize: {epochs: 0, rungs: [ptq], calibration: minmax, placement: int8}}]")
    last = run_stages(made, tmp_path / "run")[-1]
    exported = NodeCache(tmp_path / "run").make(ExportNode(last, 1, load_data(made.data, made.seed), made.targets))
    assert exported.evaluation.here.parity.agreement > 0.9


def test_changed_code_is_another_network_for_every_stage(recipe, tmp_path, capsys):
    more = "student: {model: 'nets.py:small'}\ntargets: [{device: elsewhere, architecture: x86}]\n"
    made = recipe("good", "[{distill: {epochs: 1, lr: 0.01}}]", more, epochs=1)
    before = run_stages(made, tmp_path / "run")
    (tmp_path / "nets.py").write_text(NETS.replace("SIGN = 1.0", "SIGN = -1.0"))
    capsys.readouterr()
    after = run_stages(made, tmp_path / "run")
    assert "done before" not in capsys.readouterr().err
    assert {stage.key for stage in before}.isdisjoint(stage.key for stage in after)


def test_a_network_of_changed_code_is_not_loaded(recipe, tmp_path):
    import edgekd

    run_stages(recipe("good", more="targets: [{device: elsewhere, architecture: x86}]\n"), tmp_path / "run")
    stage = next((tmp_path / "run" / "stages").glob("00-teacher-*"))
    edgekd.load(stage)
    (tmp_path / "nets.py").write_text(NETS + "\n# another line\n")
    with pytest.raises(ModelError, match=r"nets.py:good has changed since this network was saved"):
        edgekd.load(stage)


def test_weights_that_the_last_step_broke_are_not_a_result(tmp_path):
    settings = [
        "teacher.train.lr=1.0e+30",
        "teacher.train.epochs=1",
        "data.batch_size=360",
        "teacher.train.schedule=constant",
    ]
    with pytest.raises(EdgekdError, match=r"^teacher: the (loss|validation accuracy) became nan"):
        run_stages(load_recipe(write_recipe(tmp_path), settings), tmp_path / "run")
    assert not list((tmp_path / "run" / "stages").glob("[0-9]*"))


def test_a_torn_line_of_the_log_costs_no_other(tmp_path):
    log = RunLog(tmp_path / "log.jsonl")
    log.write("stage", key="first", seconds=1.0)
    with log.path.open("a") as file:
        file.write('{"event": "stage", "key": "torn"')
    log.write("stage", key="second", seconds=2.0)
    assert (log.seconds_of("first"), log.seconds_of("second")) == (1.0, 2.0)
    assert len(log.path.read_text().splitlines()) == 3
    assert json.loads(log.path.read_text().splitlines()[-1])["key"] == "second"


def test_the_length_of_a_recovery_follows_from_the_data_where_it_is_left_out(tmp_path):
    text = RECIPE.replace("check_latency: false, epochs: 1}", "check_latency: false}")
    left_out, given = (load_recipe(write_recipe(tmp_path, each)) for each in (text, RECIPE))
    data = load_data(left_out.data)
    # 360 samples in batches of 50 are 7 steps.
    assert [stage.epochs for stage in resolve_training(left_out, data).stages] == [2, 43, 1]
    assert resolve_training(given, data).sha256 == given.sha256
