"""The statistics of the accuracy benchmarks, and that their studies compare what they say they compare."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from edgekd.data import load_data
from edgekd.errors import EdgekdError
from edgekd.recipe import Data
from edgekd.spec import Spec
from edgekd.stages.job import Job

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def test_difference_against_scipy():
    from paired import difference

    random = np.random.default_rng(0)
    theirs = [random.random(400) < 0.7 for _ in range(3)]
    ours = [right ^ (random.random(400) < 0.1) for right in theirs]
    found = difference(ours, theirs)
    each = 100 * (np.array(ours, float) - np.array(theirs, float))
    assert found["points"] == pytest.approx(each.mean())
    assert found["by_seed"] == pytest.approx(each.mean(1))
    by_sample, by_seed = each.mean(0), each.mean(1)
    samples = stats.norm.interval(0.95, each.mean(), by_sample.std(ddof=1) / math.sqrt(400))
    seeds = stats.t.interval(0.95, 2, each.mean(), stats.sem(by_seed))
    assert found["samples_ci95"] == pytest.approx(samples, abs=1e-4)
    assert found["seeds_ci95"] == pytest.approx(seeds, rel=5e-3)
    assert found["ci95"] in (found["samples_ci95"], found["seeds_ci95"])
    assert found["ci95"][1] == max(found["samples_ci95"][1], found["seeds_ci95"][1])


def test_one_seed_has_an_interval_of_samples_alone():
    from paired import difference

    found = difference([np.array([True, True, False, True])], [np.array([True, False, False, False])])
    assert found["points"] == 50
    assert "seeds_ci95" not in found


def test_answers_are_kept_as_bits():
    from paired import packed, unpacked

    right = np.random.default_rng(0).random(1003) < 0.5
    text = packed(right)
    assert len(text) == 4 * math.ceil(math.ceil(1003 / 8) / 3)
    assert (unpacked(text, 1003) == right).all()


def test_peers_calibrate_on_the_images_of_the_quantize_stage():
    from cifar10 import calibration

    from edgekd.recipe import Quantize
    from edgekd.stages.quantize.work import _batches

    data = load_data(Data(source="digits", train_limit=300, test_limit=50, batch_size=16))
    spec = Spec("small_cnn", data.input_shape, 10, {})
    job = Job("quantize", nn.Identity(), spec, Quantize(calibration_batches=4), data, 7, None, Path(), print)
    assert torch.equal(calibration(data, 7, 64), torch.cat(list(_batches(job, 4))))
    assert not torch.equal(calibration(data, 8, 64), torch.cat(list(_batches(job, 4))))


def test_a_peer_that_fails_says_why(tmp_path):
    from peers import quantise, runs

    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    made = quantise("ORT defaults", broken, tmp_path / "int8.onnx", np.zeros((1, 3, 4, 4), np.float32))
    assert made.file is None
    assert made.error and "DecodeError" in made.error
    assert "InvalidProtobuf" in (runs(broken, np.zeros((1, 3, 4, 4), np.float32)) or "")
    with pytest.raises(EdgekdError, match="unknown peer 'NNFC'"):
        quantise("NNFC", broken, broken, np.zeros((1, 3, 4, 4), np.float32))


def test_statistics_are_those_of_the_random_images():
    from int8_files import STATISTICS, build_network, random_images

    network = build_network("cifar_resnet20")
    batches = random_images("cifar_resnet20", STATISTICS)
    with torch.no_grad():
        means = torch.stack([network.conv1(images).mean((0, 2, 3)) for images in batches]).mean(0)
    assert torch.allclose(network.bn1.running_mean, means, atol=1e-5)


def test_goals_come_from_the_measured_rounds():
    from int8_files import FLOAT, OURS, Entry
    from quantize_peers import goals, row

    def latency(ms: float) -> dict:
        rounds = [[ms * 1e6 * (1 + 0.01 * (number % 3))] * 4 for number in range(6)]
        return {"latency_ms": {"p50": ms}, "round_medians_ns": rounds}

    times = {FLOAT: latency(6.0), OURS: latency(2.0), "NNCF": latency(1.6), "ORT defaults": latency(4.0)}
    entries = {name: Entry(Path("x"), None, 1.0, 0, 21) for name in times}
    entries["ORT QUInt8/QInt8 per channel"] = Entry(None, "it fails", 1.0)
    found = row("resnet18", entries, times)
    assert found["fastest_peer"] == "NNCF"
    assert found["files"]["ORT QUInt8/QInt8 per channel"] == {"error": "it fails", "seconds": 1.0}
    values = [(entry["value"], entry["met"]) for entry in goals([found])]
    assert (
        values
        == [(pytest.approx(1.25), False), (pytest.approx(1 / 3), True), (pytest.approx(3), True)] + [(0, True)] * 2
    )
    without = row("mobilenet_v2", {FLOAT: entries[FLOAT]}, {FLOAT: times[FLOAT]})
    assert [(entry["value"], entry["met"]) for entry in goals([without])] == [(1, False)] * 2
    alone = row("mobilenet_v2", entries, {FLOAT: times[FLOAT], OURS: times[OURS]})
    assert [entry["value"] for entry in goals([alone])[-2:]] == [0, 1]


def test_in_openvino_neither_its_float_nor_its_bfloat16_may_be_faster():
    from int8_files import FLOAT, OURS, Entry
    from openvino_files import BFLOAT16, NNCF, OURS_ORT, workload_of
    from quantize_peers import goals, row

    def latency(ms: float) -> dict:
        rounds = [[ms * 1e6 * (1 + 0.01 * (number % 3))] * 4 for number in range(6)]
        return {"latency_ms": {"p50": ms}, "round_medians_ns": rounds}

    times = {
        FLOAT: latency(6.0),
        BFLOAT16: latency(1.8),
        NNCF: latency(2.0),
        OURS: latency(2.0),
        OURS_ORT: latency(9.0),
    }
    found = row("resnet18", {name: Entry(Path("x"), None, 1.0, 0, 21) for name in times}, times, (NNCF,))
    values = [(entry["value"], entry["met"]) for entry in goals([found])]
    assert values == [
        *((pytest.approx(1.0), True), (pytest.approx(1 / 3, rel=0.01), True)),
        *((pytest.approx(1.11, rel=0.01), False), (0, True), (0, True)),
    ]
    precisions = [workload_of(method, Path("x")).precision for method in (FLOAT, BFLOAT16, OURS_ORT)]
    assert precisions == [None, "bfloat16", None]
    assert workload_of(OURS_ORT, Path("x")).runtime == "onnxruntime"


def test_small_mobilenet_keeps_four_pixels_a_side():
    from networks import mobilenet_v2_cifar

    from edgekd.models import count_macs

    network = mobilenet_v2_cifar().eval()
    assert network.features(torch.zeros(1, 3, 32, 32)).shape[2:] == (4, 4)
    assert count_macs(network, (3, 32, 32)) == pytest.approx(14e6, rel=0.01)


def test_goals_are_of_costs_where_these_were_measured():
    from int8_files import OURS
    from quantize_peers import ratio

    from edgekd.errors import MeasurementError

    cost = {"p50": 2.0, "rounds": 30, "of": 30, "taken": 0.0}
    known = {"cost_ms": cost, "latency_vs_reference": {"ratio": 0.8, "ci95": [0.5, 1.0]}}
    found = ratio({OURS: {"cost_ms": cost}, "NNCF": known}, "NNCF")
    assert found == {"ratio": 1.25, "ci95": [1.0, 2.0]}
    with pytest.raises(MeasurementError, match="others left no ratio of edgekd to NNCF"):
        ratio({OURS: {"cost_ms": cost}, "NNCF": {"cost_ms": cost}}, "NNCF")


def test_rows_of_other_networks_stay_if_they_were_measured_alike(tmp_path):
    from quantize_peers import other_rows

    about = {"settings": {"seconds": 2.0}, "cpu": {"model": "A"}}
    rows = [{"network": "resnet18"}, {"network": "resnet50"}]
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"settings": {"seconds": 2.0}, "environment": {"cpu": {"model": "A"}}, "rows": rows}))
    assert other_rows(path, about, ["resnet50"]) == [{"network": "resnet18"}]
    with pytest.raises(SystemExit, match="was measured with other settings, cpu: give another --json"):
        other_rows(path, {"settings": {"seconds": 3.0}, "cpu": {"model": "B"}}, ["resnet50"])
