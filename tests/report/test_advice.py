"""Advice on a budget that is missed: by what, with which effect, and the command that tries the first."""

import io
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgekd.bench.energy import NO_SENSOR
from edgekd.cli.run import print_result
from edgekd.recipe import load_recipe
from edgekd.report.advice import NextSteps, next_steps
from edgekd.report.html import render_html
from edgekd.report.markdown import render_markdown
from edgekd.report.schema import Report
from edgekd.report.table import render_verdict
from edgekd.tasks.registry import TASKS

QUICKSTART = Path(__file__).parents[2] / "recipes/quickstart.yaml"
ACCURACY = TASKS["classification"].metrics[0]
STAGES = {
    "distill": {"epochs": 12},
    "prune": {"macs": 0.5, "epochs": 8},
    "quantize": {"epochs": 3},
}
# Accuracy, time and size of teacher and students; the teacher's are 1.
USUAL = {
    "teacher": (0.99, 1.0, 1000),
    "distill": (0.985, 0.20, 100),
    "prune": (0.955, 0.12, 45),
    "quantize": (0.955, 0.10, 15),
}
MEGABYTE = 1000


def report(budget: dict[str, float], figures: dict[str, Any] = USUAL, given: Any = STAGES, **more: Any) -> Report:
    """A run of these stages, whose networks have ``figures``, judged by ``budget``."""
    rows = []
    for number, (model, (accuracy, time, size)) in enumerate(figures.items()):
        row = {
            **{"model": model, "role": "student" if number else "teacher", "device": "cpu", "threads": 1},
            **{"runtime": "onnxruntime", "precision": "float32", "accuracy": accuracy, "n": 400},
            **{"size_bytes": MEGABYTE * size, "macs": int(1e6 * time), "params": 1000},
            "latency_ms": {"p50": 2 * time, "n": 100},
            **({"latency_vs_teacher": {"ratio": time}} if number else {}),
        }
        rows.append(row)
    last = list(figures.values())[-1]
    values = {"accuracy_drop": 100 * (figures["teacher"][0] - last[0]), "latency_ratio": last[1]}
    values["size_ratio"] = last[2] / figures["teacher"][2]
    checks = [
        {"name": name, "bound": bound, "value": values[name], "unit": "", "met": values[name] <= bound}
        for name, bound in budget.items()
    ]
    done = [
        {"name": name, "key": "k", "seconds": 60.0, "options": options, "metrics": {"history": []}}
        for name, options in given.items()
    ]
    document = {
        **{"schema_version": 2, "name": "toy", "recipe_sha256": "0" * 64, "rows": rows, "stages": done},
        "budget": {"met": all(each["met"] for each in checks), "checks": checks},
        "deployed": {"model": list(figures)[-1], "place": "cpu, onnxruntime, 1 thread"},
        "command": "edgekd run recipes/quickstart.yaml --set prune.epochs=8 --fresh",
    }
    return Report.from_json({**document, **more})


def steps(*arguments: Any, **more: Any) -> NextSteps:
    found = next_steps(report(*arguments, **more))
    assert found is not None and 1 <= len(found.advice) <= 3
    # What is advised is a recipe, and nothing is advised twice.
    for each in found.advice:
        load_recipe(QUICKSTART, list(each.settings))
    assert len({each.settings for each in found.advice if each.settings}) == sum(bool(a.settings) for a in found.advice)
    assert shlex.split(found.command)[:2] == ["edgekd", "run"]
    return found


def test_a_budget_that_is_met_needs_no_advice():
    assert next_steps(report({"accuracy_drop": 5})) is None
    assert next_steps(Report.from_json({"name": "bare", "recipe_sha256": "0"})) is None


def test_accuracy_comes_back_by_a_milder_cut_where_time_and_size_allow_it():
    found = steps({"accuracy_drop": 1.5, "latency_ratio": 0.15, "size_ratio": 0.05})
    assert found.advice[0].settings == ("prune.macs=0.76", "prune.epochs=16")
    assert str(found.advice[0]) == (
        "Cut less, and train for longer (prune.macs=0.76, prune.epochs=16): prune lost 3.0 of the 3.5 points; expected "
        "back: 2.3 points from the cut, about 7.43× faster · 41.2× smaller; about 1.0 minutes more."
    )
    expected = "edgekd run recipes/quickstart.yaml --set prune.macs=0.76 --set prune.epochs=16"
    assert found.command == expected


def test_accuracy_without_room_for_a_milder_cut_takes_training():
    found = steps({"accuracy_drop": 1.5, "latency_ratio": 0.101})
    assert found.advice[0].settings == ("distill.epochs=24", "prune.epochs=16")
    assert "prune lost 3.0 of the 3.5 points" in found.advice[0].effect
    assert found.advice[0].change == "Train for longer"


def test_time_takes_a_harder_cut():
    [first, *_] = steps({"accuracy_drop": 5, "latency_ratio": 0.08}).advice
    # A line through 1 and 0.5 of the MACs: 0.10 / 0.12 of 0.04 + 0.16 of the share.
    assert first.settings == ("prune.macs=0.3", "prune.epochs=16")
    assert first.effect.startswith("about 13.6× faster")


def test_beyond_a_mild_cut_half_of_the_gain_is_counted_on():
    stages, figures = {**STAGES, "prune": {"macs": 0.8, "epochs": 3}}, {**USUAL, "prune": (0.98, 0.16, 80)}
    [first, *_] = steps({"latency_ratio": 0.09}, figures, stages).advice
    # The line through both times would be content with 0.66.
    assert first.settings == ("prune.macs=0.53", "prune.epochs=7")


def test_no_cut_is_advised_that_the_stage_refuses():
    def named(least: float) -> list[str]:
        metrics = {"cuts": [{"least": least}], "least_depth": 0.5}
        cut = {"name": "prune", "key": "k", "options": STAGES["prune"], "metrics": metrics}
        stages = [{"name": name, "key": "k", "options": STAGES[name]} for name in ("distill", "quantize")]
        stages.insert(1, cut)
        return [str(each) for each in steps({"latency_ratio": 0.01}, stages=stages).advice]

    assert "prune.macs=0.17" in named(0.1605)[0] and "small and fast enough" in named(0.1605)[0]
    assert not any("prune.macs" in each for each in named(0.5))


@pytest.mark.parametrize(("least", "is_advised"), [(0.85, True), (0.86, False), (1.0, False), (None, False)])
def test_blocks_are_dropped_where_the_network_can_spare_them(least: float | None, is_advised: bool):
    stages = [{"name": name, "key": "k", "options": options, "metrics": {}} for name, options in STAGES.items()]
    stages[1]["metrics"] = {} if least is None else {"least_depth": least}
    found = [each.settings for each in steps({"latency_ratio": 0.08}, stages=stages).advice]
    assert (("prune.depth=0.85",) in found) is is_advised


def test_training_that_cannot_bring_the_loss_back_is_not_advised():
    worse = [{"validation_accuracy": 0.9}, {"validation_accuracy": 0.8}]
    stages = [
        {"name": name, "key": "k", "seconds": 60.0, "options": options, "metrics": {"history": worse}}
        for name, options in STAGES.items()
    ]
    figures = {**USUAL, "distill": (0.5, 0.2, 100), "prune": (0.49, 0.12, 45), "quantize": (0.489, 0.1, 15)}
    found = steps({"accuracy_drop": 2, "latency_ratio": 0.1}, figures, stages=stages)
    assert found.advice[0].settings == ("distill.epochs=24",)
    assert not any("gained" in each.effect or "quantize" in str(each) for each in found.advice)


def test_what_a_cut_without_training_lost_is_brought_back_by_the_next_training():
    stages = {"prune": {"macs": 0.95, "epochs": 0}, "distill": {"epochs": 6}, "quantize": {"epochs": 1}}
    figures = {
        "teacher": (0.866, 1.0, 44700),
        "prune": (0.737, 0.06, 1010),
        "distill": (0.855, 0.06, 1010),
        "quantize": (0.8545, 0.026, 285),
    }
    [first, *_] = steps({"accuracy_drop": 0.5}, figures, stages).advice
    assert first.settings == ("distill.epochs=12", "quantize.epochs=5")
    assert "prune and distill lost 1.1 of the 1.1 points" in first.effect
    # 8 bits bring back nothing that the cut lost.
    del stages["distill"], figures["distill"]
    [first, *_] = steps({"accuracy_drop": 0.5}, {**figures, "quantize": (0.736, 0.026, 285)}, stages).advice
    assert "prune.epochs=4" in first.settings


def test_size_takes_a_harder_cut():
    [first, *_] = steps({"size_ratio": 0.01}).advice
    assert first.settings == ("prune.macs=0.34", "prune.epochs=16")


def test_all_three_take_both():
    found = steps({"accuracy_drop": 1, "latency_ratio": 0.08, "size_ratio": 0.01})
    assert found.advice[0].settings == ("distill.epochs=24", "prune.macs=0.3", "prune.epochs=16", "quantize.epochs=7")
    assert "without the longer training it would lose" in found.advice[0].effect


def test_int8_is_left_out_where_it_is_slower():
    figures = {**USUAL, "quantize": (0.955, 0.14, 15)}
    found = steps({"latency_ratio": 0.13, "size_ratio": 0.05}, figures)
    [setting] = found.advice[0].settings
    assert [stage.name for stage in load_recipe(QUICKSTART, [setting]).stages] == ["distill", "prune"]
    assert found.advice[0].effect.startswith("on this processor the int8 file takes 1.17 times as long")
    assert "stages=" not in str(found.advice[0])


def test_a_recipe_without_a_cut_gets_one_before_int8():
    stages, figures = ({name: each[name] for name in each if name != "prune"} for each in (STAGES, USUAL))
    [setting] = steps({"latency_ratio": 0.05}, figures, stages).advice[0].settings
    loaded = load_recipe(QUICKSTART, [setting])
    assert [stage.name for stage in loaded.stages] == ["distill", "prune", "quantize"]
    assert loaded.stages[1].macs == pytest.approx(0.4, abs=0.05)


def test_a_recipe_without_int8_gets_it_where_that_is_enough():
    stages, figures = ({name: each[name] for name in each if name != "quantize"} for each in (STAGES, USUAL))
    found = steps({"size_ratio": 0.02}, figures, stages)
    assert found.advice[0].change == "Quantise to int8"
    assert "this processor has no VNNI" in found.advice[0].effect
    with_vnni = {"cpu": {"flags": ["avx512_vnni"]}}
    found = steps({"latency_ratio": 0.08}, figures, stages, environment=with_vnni)
    assert (found.advice[0].change, "0.6 of the time" in found.advice[0].effect) == ("Quantise to int8", True)
    # The budget was judged on a device that sent no flags: those of this machine say nothing of it.
    elsewhere = {**with_vnni, "devices": {"cpu": {"facts": {"architecture": "aarch64"}}}}
    found = steps({"size_ratio": 0.02}, figures, stages, environment=elsewhere)
    assert "0.6 of" not in found.advice[0].effect and "depends on the device's instructions" in found.advice[0].effect


def test_another_goal_of_pruning_is_replaced_by_its_macs():
    stages = {**STAGES, "prune": {"drop": 1.0, "epochs": 8, "depth": 0.7}}
    found = steps({"accuracy_drop": 1.5}, USUAL, stages)
    assert {"prune.drop=null", "prune.depth=null"} < set(found.advice[0].settings)


def test_stages_of_one_name_are_named_by_their_number():
    figures = {**USUAL, "again": (0.955, 0.10, 15)}
    del figures["quantize"]
    record = [
        {"name": name, "key": "k", "options": given}
        for name, given in [("distill", {"epochs": 2}), ("prune", {"macs": 0.5}), ("distill", {"epochs": 2})]
    ]
    found = next_steps(report({"accuracy_drop": 3.2, "latency_ratio": 0.1}, figures, {}, stages=record))
    assert found is not None and found.advice[0].settings == ("prune.epochs=10",)
    found = next_steps(report({"accuracy_drop": 0.2, "latency_ratio": 0.1}, figures, {}, stages=record))
    assert found is not None and "stages.0.epochs=6" in found.advice[0].settings


def test_a_report_of_an_earlier_version_has_no_options():
    document = report({"accuracy_drop": 1.5}).to_json()
    for stage in document["stages"]:
        del stage["options"]
        stage["metrics"]["history"] = [{"epoch": 1}, {"epoch": 2}]
    found = next_steps(Report.from_json(document))
    assert found is not None and "prune.epochs=6" in found.advice[0].settings


def test_what_was_not_measured_is_measured_again():
    document = report({"latency_ratio": 0.05}).to_json()
    del document["budget"]["checks"][0]["value"]
    found = next_steps(Report.from_json(document))
    assert found is not None
    assert found.command == "edgekd run recipes/quickstart.yaml --set prune.epochs=8"
    assert found.advice[0].change == "Run the same command again on a quieter machine"


def test_energy_is_not_measured_again_where_no_sensor_is():
    document = report({"latency_ratio": 0.05}).to_json()
    document["budget"]["checks"][0] = {"name": "energy_mj", "bound": 2.0, "unit": "mJ", "met": False, "note": NO_SENSOR}
    found = next_steps(Report.from_json(document))
    assert found is not None and found.command is None
    [advice] = found.advice
    assert str(advice) == f"Measure where power can be read, or leave out budget.energy_mj: {NO_SENSOR}."


def test_few_validation_samples_are_named():
    data = {"name": "d", "fingerprint": "0" * 64, "classes": ["a"], "train": 900, "validation": 100, "test": 400}
    stages = {"distill": STAGES["distill"]}
    figures = {"teacher": USUAL["teacher"], "distill": (0.9, 0.2, 100)}
    found = steps({"accuracy_drop": 1.5}, figures, stages, data=data)
    assert found.advice[2].settings == ("data.validation=0.25",) or "data.validation=0.25" in str(found.advice)
    assert "100 validation samples, which show differences above 8.5 points; the budget allows 1.5 points" in str(found)
    given = steps({"accuracy_drop": 1.5}, figures, stages, data={**data, "validation_of": "validation"})
    assert "validation samples" not in str(given)


def test_an_option_at_its_limit_is_no_advice():
    stages = {"prune": {"macs": 0.5, "epochs": 8, "rewind": 8, "sensitivity": 60, "depth": 0.7}}
    figures = {"teacher": USUAL["teacher"], "prune": (0.955, 0.12, 1000)}
    missed = report({"accuracy_drop": 1.5, "latency_ratio": 0.12}, figures, stages)
    found = next_steps(missed)
    assert found is not None and found.command is None
    said = "Name a larger student: after prune this one stands at about 8.33× faster · −3.5 points."
    assert [str(each) for each in found.advice] == [said]
    assert said in render_html(missed) and "This tries the first" not in render_html(missed) + render_markdown(missed)


def test_every_rendering_ends_with_the_way_and_the_verdict():
    missed = report({"accuracy_drop": 1.5})
    found = next_steps(missed)
    assert found is not None
    file = io.StringIO()
    Console(file=file, width=80).print(render_verdict(missed))
    *_, heading, command, whole = file.getvalue().splitlines()
    assert (heading, command.strip(), whole.strip()) == (
        "This tries the first:",
        found.command,
        "Budget not met: 1 of 1 checks failed",
    )
    assert found.command in render_html(missed)
    assert f"This tries the first: `{found.command}`\n" in render_markdown(missed)
    assert "To meet the budget" not in render_markdown(report({"accuracy_drop": 5}))


def test_a_command_longer_than_the_terminal_is_whole(capsys, tmp_path):
    missed = report({"accuracy_drop": 0.1}, command=f"edgekd run {'long/' * 40}recipe.yaml")
    print_result(missed, tmp_path)
    assert next_steps(missed).command in capsys.readouterr().out
