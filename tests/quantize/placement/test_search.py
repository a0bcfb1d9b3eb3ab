"""Placement in the real runtime, on this machine's clock."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgekd.bench.plan import Plan
from edgekd.errors import ExportError
from edgekd.export import deploy
from edgekd.quantize.placement import (
    Bounds,
    MetricBound,
    PlacementResult,
    choose_untimed,
    search,
    search_placement,
)
from edgekd.tasks.classification import Classification
from edgekd.tasks.metric import Correct
from edgekd.user_cache import cache_folder
from tests.deploy.traced import traced

[ACCURACY] = Classification.metrics
TARGET, SECONDS = "onnxruntime-x86", 0.05


def accurate(share: float) -> Bounds:
    return Bounds(MetricBound(ACCURACY, share))


def kept() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache_folder().glob("placement-*.json")}


@pytest.fixture(scope="module")
def model():
    return traced("residual").model


@pytest.fixture(scope="module")
def placed(model) -> PlacementResult:
    with pytest.MonkeyPatch.context() as patch:
        # An inference takes microseconds, and beside other tests no warm-up ever comes to rest.
        patch.setattr(search, "Plan", partial(Plan, warmup_s=0.02))
        return search_placement(model, TARGET, seconds=SECONDS)


def test_what_is_chosen_is_not_slower_than_float(placed, model):
    names = [each.name for each in placed.candidates]
    assert names[:2] == ["int8", "float"]
    assert len(set(names)) == len(names) <= 5
    [chosen] = [each for each in placed.candidates if each.name == placed.chosen]
    assert chosen.ratio <= 1.0
    assert chosen.keep_float == placed.keep_float
    assert chosen.ratio <= min(each.ratio for each in placed.candidates) / 0.99
    deploy(model, TARGET, placed.keep_float)


def test_the_float_twin_is_what_others_are_measured_against(placed):
    [twin] = [each for each in placed.candidates if each.name == "float"]
    assert (twin.ratio, twin.keep_float) == (1.0, ("",))
    for each in placed.candidates:
        if each.name != "float" and each.ci95 is not None:
            assert 0 < each.ci95[0] <= each.ratio <= each.ci95[1]


class Measured(Exception):
    pass


@pytest.fixture
def no_measuring(monkeypatch):

    def measure(plan, *_):
        raise Measured

    monkeypatch.setattr("edgekd.bench.target.measure", measure)


def test_it_is_measured_once(placed, model, no_measuring):
    before = kept()
    assert before
    assert search_placement(model, TARGET, seconds=SECONDS) == placed
    assert kept() == before


def test_or_again_when_asked_to(placed, model, no_measuring):
    with pytest.raises(Measured):
        search_placement(model, TARGET, seconds=SECONDS, fresh=True)


@pytest.mark.parametrize("content", ["{}", "", '{"candidates": [1]}'])
def test_a_damaged_document_is_measured_again(placed, model, no_measuring, content):
    whole = {path: path.read_bytes() for path in kept()}
    for path in whole:
        path.write_text(content)
    with pytest.raises(Measured):
        search_placement(model, TARGET, seconds=SECONDS)
    for path, before in whole.items():
        path.write_bytes(before)


def test_another_judge_is_asked_again(placed, model):
    """The times are kept, what is accurate enough is not: fastest first, until one is taken."""
    asked: list[bytes] = []

    def float_only(path: Path) -> Correct:
        asked.append(path.read_bytes())
        return Correct(np.full(100, b"QLinear" not in asked[-1] and b"QuantizeLinear" not in asked[-1]))

    judged = search_placement(model, TARGET, seconds=SECONDS, bounds=accurate(0.9), evidence=float_only)
    assert judged.chosen == "float"
    assert asked[-1] == deploy(model, TARGET, ("",)).SerializeToString(deterministic=True)
    faster = [each for each in judged.candidates if each.ratio * 0.99 < 1.0 and each.name != "float"]
    assert [each.accepted for each in faster] == [False] * len(faster)
    again = search_placement(model, TARGET, seconds=SECONDS)
    assert (again.chosen, again.candidates) == (placed.chosen, again.candidates)
    assert all(each.accepted for each in again.candidates)


def test_where_none_is_accurate_enough_it_is_not_slower_than_float(placed, model):
    wrong = Correct(np.full(100, False))
    refused = search_placement(model, TARGET, seconds=SECONDS, bounds=accurate(0.5), evidence=lambda _: wrong)
    [chosen] = [each for each in refused.candidates if each.name == refused.chosen]
    assert (refused.missed, chosen.is_slower) == (("accuracy",), False)
    assert not any(each.accepted for each in refused.candidates)


def test_where_nothing_can_be_timed(model):
    assert choose_untimed(model, "tensorrt", Bounds(), None).keep_float == ()
    size = len(deploy(model, "tensorrt").SerializeToString(deterministic=True))
    assert choose_untimed(model, "tensorrt", Bounds(size_bytes=size), None).missed == ()
    placed = choose_untimed(
        model, "tensorrt", accurate(0.9), lambda path: Correct(np.full(100, path.name == "float.onnx"))
    )
    assert placed.chosen == "float"


@pytest.mark.parametrize("target", ["tensorrt", "portable"])
def test_what_is_not_measured_here(model, target):
    with pytest.raises(ExportError, match=f"placement is measured in ONNX Runtime, OpenVINO; {target} is another"):
        search_placement(model, target)
