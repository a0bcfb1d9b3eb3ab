"""The tables of the documentation are those of the recorded figures, and the records are of full runs."""

import sys
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import pages

    return pages


def test_their_tables_are_the_recorded_ones(pages):
    for page in pages.PAGES:
        text = (ROOT / page).read_text()
        assert pages.filled(text) == text


def test_no_table_is_missing_and_each_record_is_of_a_full_run(pages):
    texts = "".join((ROOT / page).read_text() for page in pages.PAGES)
    for table, (record, _) in pages.TABLES.items():
        assert f"<!-- table: {table} -->\n\n|" in texts
        assert pages.recorded(record)["quick"] is False


def said(page: str) -> str:
    """The words of a page, without its line breaks."""
    return " ".join((ROOT / f"docs/{page}.md").read_text().split())


def test_figures_on_the_search_are_the_recorded_ones(pages):
    figures, page = pages.recorded("fit"), said("fit")
    fewer = figures["times_fewer_epochs"]
    low, high = fewer["ci95"]
    assert f"TPE trains {fewer['ratio']:.2f} times as many epochs ({low:.2f}–{high:.2f})" in page
    assert f"one grid of {sum(figures['steps'].values())} students" in page
    assert f"The winner alone takes {figures['searches']['by hand']['epochs']:.0f} epochs" in page
    assert (len(figures["budgets"]), len(figures["seeds"])) == (5, 10)


def test_figures_on_the_search_on_cifar10_are_the_recorded_ones(pages):
    figures, page = pages.recorded("fit_cifar10"), said("fit")
    assert len(figures["seeds"]) == 3 and figures["quick"] is False
    assert f"three seeds of {sum(figures['steps'].values())} students" in page
    fewer = figures["times_fewer_epochs"]
    low, high = fewer["ci95"]
    assert f"TPE trains {fewer['ratio']:.2f} times as many epochs there ({low:.2f}–{high:.2f})" in page
    missed = [each for each in figures["outcomes"] if each["search"] == "fit" and not each["kept"]]
    assert len(missed) == 2 and len({(each["seed"], each["arm"], each["share"]) for each in missed}) == 1
    drops = (100 * missed[0][each] for each in ("drop", "test_drop"))
    assert "loses {:.1f} points on the validation and {:.1f} on the test samples".format(*drops) in page


def test_figures_on_the_speed_of_distillation_are_the_recorded_ones(pages):
    steps, speed, page = pages.recorded("student_step"), pages.recorded("distill_throughput"), said("distillation")
    ways = {name.removesuffix(", batch 64"): way for name, way in steps["ways"].items()}
    usual = "bfloat16, channels last"
    assert f"give {ways[usual]['images_per_second']:,.0f} images/s" in page and steps["usual"] == f"{usual}, batch 64"
    others = ("bfloat16, channels first", "float32, channels last", f"{usual}, compiled")
    times = (ways[other]["times_the_usual"] for other in others)
    told = "{:.2f} of that speed in channels-first layout, {:.2f} in float32, and {:.2f} compiled".format(*times)
    assert told in page
    seconds = steps["compilation"][f"{usual}, compiled, batch 64"]
    assert f"compiled by `torch.compile`, after {seconds:.0f} seconds" in page
    assert 2 < speed["cache"]["pays_after_epochs"] < 3 and "pays for itself in the third epoch" in page


def test_figures_on_pruning_are_the_recorded_ones(pages):
    gain, networks = pages.recorded("prune_pareto")["taught_over_plain"], pages.recorded("prune_zoo")["rows"]
    page = said("pruning")
    assert f"A teacher adds {gain['points']:.2f} points " + "({:.2f} to {:.2f})".format(*gain["ci95"]) in page
    busy = [row["ratio"]["by latency"]["ratio"] for row in pages.recorded("prune_latency_busy")["rows"]]
    assert f"Pruned beside two busy processes, they take {min(busy):.3f} to {max(busy):.3f}" in page
    times = [row["ratio"] for row in networks if "ratio" in row]
    assert f"All {len(networks)} classification networks" in page and not any(row["error"] for row in networks)
    assert f"They take {min(times):.2f} to {max(times):.2f} of the unpruned networks' time" in page
    dense = pages.recorded("prune_dense")["rows"]
    assert f"All {len(dense)} detectors, segmentation networks" in page and not any(row["error"] for row in dense)


def test_figures_on_quantisation_are_the_recorded_ones(pages):
    page, files = said("quantization"), pages.recorded("one_training")["rows"]
    assert f"at most {-min(row['points'] for row in files):.2f} points less accurate than the trained graph" in page
    assert f"the same prediction on {100 * min(row['agreement'] for row in files):.1f} % of the images or more" in page

    networks = pages.recorded("tensorrt_files")["rows"]
    counts, seconds = set(), []
    for gpu in networks[0]["engines"]:
        engines = [row["engines"][gpu] for row in networks]
        layers = [[engine["layers"].get(kind, {}) for engine in engines] for kind in ("correlation", "gemm")]
        assert all(set(found) <= {"int8"} for kind in layers for found in kind)
        counts.add(tuple(sum(found.get("int8", 0) for found in kind) for kind in layers))
        seconds += [engine["seconds"] for engine in engines]
    [(convolutions, products)] = counts
    assert f"all {convolutions} convolutions and {products} matrix products of {len(networks)} networks" in page
    assert f"in {min(seconds):.1f} to {max(seconds):.1f} seconds a network" in page

    chains = {(each["order"], each["teacher"]): each for each in pages.recorded("chain_order")["chains"]}
    first = chains["prune-distil-QAT", "in all"]["over_taught_order"]
    assert "by {:.2f} points ({:.2f} to +{:.2f})".format(first["points"], *first["ci95"]).replace("-", "−") in page
    taught = chains["distil-prune-QAT", "in all"]["over_teacher_in_distil"]
    assert "adds {:.2f} points ({:.2f} to {:.2f})".format(taught["points"], *taught["ci95"]) in page

    dense = pages.recorded("tensorrt_dense")["rows"]
    found = [[row["engines"][gpu]["layers"]["correlation"] for row in dense] for gpu in dense[0]["engines"]]
    assert all(set(layers) == {"int8"} for engines in found for layers in engines)
    [convolutions] = {sum(layers["int8"] for layers in engines) for engines in found}
    assert f"all {convolutions} convolutions of {len(dense)} networks for boxes, masks and points" in page

    differences = [row["difference"]["ci95"] for row in pages.recorded("quantize_accuracy")["questions"]]
    assert all(low < 0 < high for low, high in differences)


def test_figures_on_the_gate_are_the_recorded_ones(pages):
    found = {(each["lost"], each["won"]): each for each in pages.recorded("gate/false_alarms")["accuracy_by_won"]}
    failed, warned = found[70, 40], found[110, 80]
    assert f"70 predictions lost and 40 gained failed in {failed['count']} of {failed['of']} draws" in said("ci")
    assert warned["count"] == 0 and "110 lost and 80 gained failed in none" in said("ci")

    rows = pages.recorded("gate/by_task")["rows"]
    failed, caught = sum(row["failed"]["count"] for row in rows), [row["caught"].values() for row in rows]
    planted = sum(row["faulty"] * len(row["caught"]) for row in rows)
    assert f"{failed} of {sum(row['networks'] for row in rows)} unchanged networks failed" in said("ci")
    assert f"{sum(each['count'] for row in caught for each in row)} of {planted} with a planted fault" in said("ci")


def test_figures_on_latency_are_the_recorded_ones(pages):
    found = [row["ratio"] for row in pages.recorded("harness/against_others")["rows"]]
    assert f"within {100 * max(abs(each - 1) for each in found):.0f} % of those of a bare loop" in said("benchmarking")


def test_figures_on_several_labels_are_the_recorded_ones(pages):
    teacher, *_, last = pages.recorded("multilabel")["rows"]
    shown = f"of {100 * last['map']:.1f} %, the teacher {100 * teacher['map']:.1f} %"
    assert f"{shown}, and is {1 / last['latency_vs_teacher']['ratio']:.2f}× faster" in said("tasks")


def test_figures_on_what_boxes_are_learned_from_are_the_recorded_ones(pages):
    ways = {way: f"{100 * mean(maps):.1f} %" for way, maps in pages.recorded("distill_boxes")["students"].items()}
    taught = f"{ways['distributions (ld)']} with `ld` and {ways['overlap (kd)']} with `kd`"
    assert f"{ways['labels']} from labels alone, {taught}" in said("detection")


def test_figures_on_threads_are_the_recorded_ones(pages):
    cases = {case["way"]: case for case in pages.recorded("train_neighbours")["cases"] if case["busy"] == 2}
    every, fitting = (f"{cases[way]['times_as_long']:.2f} times" for way in ("all", "fitting"))
    assert f"took {every} as long with two threads, and {fitting} with those that a run takes" in said("runs")
