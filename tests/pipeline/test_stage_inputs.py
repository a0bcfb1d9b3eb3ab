"""Which inputs of a stage changed since an earlier run of it."""

from dataclasses import replace

import pytest

from edgekd.pipeline.log import RunLog
from edgekd.pipeline.stage_inputs import StageInputs, why_again

FIRST = StageInputs(
    stage="prune",
    version=6,
    settings={"epochs": 2, "macs": 0.5, "needs": {"threads": 1}},
    start="a",
    teachers="b",
    samples={"fingerprint": "c", "batch_size": 64, "augment": ["crop"]},
    seed=0,
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {**FIRST.settings, "epochs": 4}}, "prune.epochs is 4, not 2"),
        ({"settings": {"epochs": 2, "macs": 0.5}}, "of the budget and targets, threads is left out, not 1"),
        ({"samples": {**FIRST.samples, "batch_size": 32}}, "data.batch_size is 32, not 64"),
        ({"samples": {**FIRST.samples, "augment": ()}}, 'data.augment is [], not ["crop"]'),
        ({"samples": {**FIRST.samples, "fingerprint": "d"}}, "the data changed"),
        ({"samples": {**FIRST.samples, "task_code": ("e",)}}, "the code of the task changed"),
        ({"start": "d"}, "it starts from another network"),
        ({"teachers": "d"}, "the teacher changed"),
        ({"seed": 1}, "the seed is 1, not 0"),
        ({"version": 7}, "this version of edgekd computes it otherwise"),
    ],
)
def test_each_input_is_named(change, said):
    assert why_again(replace(FIRST, **change), [FIRST]) == said
    assert replace(FIRST, **change).key != FIRST.key


def test_the_most_similar_earlier_run_is_compared():
    other = replace(FIRST, seed=3, start="z")
    assert why_again(replace(FIRST, seed=1), [FIRST, other]) == "the seed is 1, not 0"
    assert why_again(FIRST, []) is None
    assert why_again(FIRST, [FIRST]) == "its result is damaged or gone, or the stage has another place in the recipe"


def test_a_few_of_many_changes_are_named():
    many = {name: number for number, name in enumerate("abcde")}
    said = why_again(replace(FIRST, settings={**FIRST.settings, **many}), [FIRST])
    expected = "prune.a is 0, not left out; prune.b is 1, not left out; prune.c is 2, not left out; and 2 more"
    assert said == expected


def test_the_log_keeps_the_inputs_and_forgives_what_has_none(tmp_path):
    log = RunLog(tmp_path / "log.jsonl")
    log.write("stage", name="prune", key="older")
    log.write("stage", name="prune", key=FIRST.key, inputs=FIRST.to_json())
    log.write("stage", name="distill", key="other", inputs={"settings": 1})
    assert log.stage_inputs("prune") == [FIRST]
    assert log.stage_inputs("distill") == []
