import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import EdgekdError
from edgekd.options import Budget
from edgekd.report.fit_page import (
    about_pictures,
    facts,
    fit_headline,
    fit_verdict,
    kinds,
    render_fit,
    render_fit_markdown,
    trial_columns,
    without_folders,
    write_fit_page,
)
from edgekd.report.fit_plots import coordinate_columns, coordinates, front_alt, importances
from edgekd.report.fit_record import SearchCandidate, is_fit, read_fit, short_names
from edgekd.report.load import load_report

from .search import ARMS, write_search


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_search(tmp_path_factory.mktemp("fits") / "invented")


def test_what_a_search_came_to_is_read_from_its_folder(folder: Path) -> None:
    fit = read_fit(folder)
    assert is_fit(folder) and not is_fit(folder / "winner")
    assert [trial.number for trial in fit.front] == [3, 7, 6, 5]
    assert fit.winner is not None and fit.winner.number == 6
    assert fit.largest_drop == 0.01
    # Between two shares that were priced costs lie on a line of logarithms.
    between = fit.trials[5].__class__(list(ARMS)[1], 0.8)
    at = np.log(0.8 / 0.6) / np.log(1 / 0.6)
    assert fit.cost(between) == pytest.approx(0.175 * (0.25 / 0.175) ** at)
    shares = importances(fit)
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == {"kind", "kept", "training"}
    assert fit.measured == {"latency": {6: 0.21, 7: 0.14}, "energy": {7: 0.3}}


def test_without_bounds_there_is_no_budget_to_be_met(folder: Path) -> None:
    free = replace(read_fit(folder), budget=Budget())
    assert (fit_headline(free), fit_verdict(free)) == ("No budget set", "none")
    assert fit_headline(read_fit(folder)) == "Budget met"


def test_the_page_has_every_trial_and_the_recipe_in_full(folder: Path) -> None:
    page = render_fit(read_fit(folder))
    assert "Budget met" in page and "loss is NaN" in page and "won" in page
    assert "resnet8 width 16 &lt;b&gt;" in page and "<b>" not in page
    assert "budget: {accuracy_drop: 1.0, latency_ratio: 0.5}" in page
    assert page.count("<figure>") == 3
    assert "Measured latency" in page and "Measured energy" in page
    text = render_fit_markdown(read_fit(folder))
    assert text.count("\n|") == 2 + 9


def test_the_page_does_not_say_in_which_folder_the_data_lie(folder: Path) -> None:
    recipe = (
        "data:\n  path: /home/ada lovelace/my parts/\n  source: data.py:load  # and/or\n"
        "teacher: {model: '/home/ada/net.py:make'}\n"
        'student:\n  checkpoint: {choice: [/home/ada/a.pt, "/home/ada/b.pt"]}\n'
    )
    page = render_fit(replace(read_fit(folder), recipe=recipe))
    assert "ada" not in page and "lovelace" not in page
    assert without_folders(recipe) == (
        "data:\n  path: …/my parts\n  source: data.py:load  # and/or\n"
        "teacher: {model: '…/net.py:make'}\n"
        'student:\n  checkpoint: {choice: […/a.pt, "…/b.pt"]}\n'
    )


def test_a_search_that_goes_on_has_a_page_too(tmp_path: Path) -> None:
    running = write_search(tmp_path / "running", ended=False)
    assert "The search has not ended" in write_fit_page(running).read_text()
    (running / "journal.jsonl").write_text("no\n")
    with pytest.raises(EdgekdError, match="is no record of a search"):
        read_fit(running)


def test_a_higher_error_is_a_change_above_zero_and_without_times_size_is_the_cost(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "regression")
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()[:-1]]
    journal[0]["objective"] = "mae"
    for number, event in enumerate(journal):
        if "figures" in event:
            event["figures"] |= {"ms": None, "teacher_ms": None, "macs": 1, "size_bytes": 900 + number}
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in journal))
    for name in ("winner.yaml", "forecast.yaml"):
        (folder / name).write_text("name: invented\ntask: regression\nbudget: {drop: {mae: 0.01}}\nstages: []\n")
    fit = read_fit(folder)
    assert fit.winner is not None and fit.winner.figures is not None
    change, (low, high) = fit.change(fit.winner.figures)
    assert change == pytest.approx(0.008) and low < change < high
    assert dict(facts(fit))["On validation"].startswith("+0.008")
    assert dict(facts(fit))["Made best"] == "mean absolute error"
    assert dict(facts(fit))["Corrected for having been chosen"].startswith("+0.009")
    assert "+0.008" in front_alt(fit) or fit.winner not in fit.front
    assert min(map(float, coordinate_columns(fit)["change"])) > 0
    assert fit.cost_name == "size"
    again = dict(facts(replace(fit, summary={**fit.summary, "tested": 2})))
    assert again["Winners on the test samples"].startswith("2,")
    assert "Winners on the test samples" not in dict(facts(fit))
    own = {
        each.share: each.figures.size_bytes / 80_000
        for each in fit.priced
        if each.figures and each.arm == next(iter(ARMS))
    }
    # A smaller share costs no more than a larger one.
    assert own[0.3] > own[0.5]
    assert fit.cost(SearchCandidate(next(iter(ARMS)), 0.3)) == pytest.approx(own[0.5])


def test_a_search_without_a_winner_is_not_compared_with_runs(tmp_path: Path) -> None:
    running = write_search(tmp_path / "running", ended=False)
    with pytest.raises(EdgekdError, match="holds a search without a winner's report: the same command goes on with it"):
        load_report(running)


def test_each_metric_that_is_bounded_has_its_changes_and_the_page_says_of_which_less_is_better(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "regression")
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()[:-1]]
    for event in journal:
        if "figures" in event:
            event["figures"]["others"] = {"rmse": [0.5, 0.1], "r2": [0.04, 0.01]}
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in journal))
    for name in ("winner.yaml", "forecast.yaml"):
        text = "name: invented\ntask: regression\nbudget: {drop: {rmse: 1, r2: 0.05}}\nstages: []\n"
        (folder / name).write_text(text)
    fit = read_fit(folder)
    assert fit.winner is not None and fit.winner.figures is not None
    assert fit.changes(fit.winner.figures) == {
        "mean absolute error": "+0.00800 (+0.000160 to +0.0158)",
        "root mean squared error": "+0.500 (+0.304 to +0.696)",
        "coefficient of determination": "−0.0400 (−0.0596 to −0.0204)",
    }
    headings = {column.heading: column for column in trial_columns(fit)}
    assert headings["Coefficient of determination to the teacher"].cell(fit.winner).startswith("−0.0400 ")
    assert "−0.0400 (−0.0596 to −0.0204) of coefficient of determination to" in dict(facts(fit))["On validation"]
    page = about_pictures(fit)
    assert "Less is better of mean absolute error and root mean squared error." in page
    # None is drawn where the metric of the picture has no bound.
    assert "dotted line" not in page and "dotted line" in about_pictures(replace(fit, budget=Budget(drop={"mae": 1})))
    assert all(map(fit.keeps_drops, (fit.winner.figures,)))
    assert not fit.keeps_drops(replace(fit.winner.figures, others={"r2": [0.06, 0.01]}))


def test_a_damaged_recipe_of_the_winner_is_said(tmp_path: Path) -> None:
    search = write_search(tmp_path / "search")
    (search / "winner.yaml").write_text("name: [")
    with pytest.raises(EdgekdError, match="holds a value that cannot be shown \\(ParserError: "):
        write_fit_page(search)


def test_coordinates_of_one_last_name_are_all_there(folder: Path) -> None:
    """A sweep of two stages' epochs, and of an argument that is called as a coordinate of all searches is."""
    fit = read_fit(folder)
    names = ("stages.distill.epochs", "stages.prune.epochs", "student.args.kind")
    choices = [dict(zip(names, (each, 9 - each, f"k{each}"), strict=True)) for each in range(9)]
    trials = tuple(replace(trial, choices=own) for trial, own in zip(fit.trials, choices, strict=True))
    fit = replace(fit, trials=trials)
    columns = coordinate_columns(fit)
    assert columns["stages.distill.epochs"] == list(range(8))
    assert columns["stages.prune.epochs"] == list(range(9, 1, -1))
    assert columns["kind"][0] == next(iter(ARMS)) and columns["student.args.kind"][0] == "k0"
    assert {"stages.distill.epochs", "stages.prune.epochs", "kind"} <= {each.heading for each in trial_columns(fit)}
    assert short_names(["stages.distill.epochs", "stages.prune.macs"]) == {
        "stages.distill.epochs": "epochs",
        "stages.prune.macs": "macs",
    }


def test_no_change_has_no_sign_among_the_coordinates(folder: Path) -> None:
    fit = read_fit(folder)
    least = min(figures.drop for _, figures, _ in fit.known)
    trials = tuple(
        replace(trial, figures=trial.figures and replace(trial.figures, drop=trial.figures.drop - least))
        for trial in fit.trials
    )
    *_, lowest, highest, _ = (text.get_text() for text in coordinates(replace(fit, trials=trials)).axes[0].texts)
    assert highest == "0" and lowest.startswith("−")


def test_a_kind_that_was_left_and_won_all_the_same_is_said_to_have_won(folder: Path) -> None:
    fit = read_fit(folder)
    assert fit.winner is not None
    left = replace(fit, left={**fit.left, fit.winner.arm: "others were better after short trainings (level 1)"})
    assert kinds(left)[fit.winner.arm][2] == "won"


def test_the_costs_of_a_search_that_was_moved_are_those_of_its_last_machine(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "moved")
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()[:-1]]
    again = [{**event, "machine": "new"} for event in events if event["event"] in ("price", "timed")]
    for event in again:
        event.get("figures", {})["teacher_ms"] = 1.0
    old = [{**event, "machine": "old"} if event["event"] in ("price", "timed") else event for event in events]
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in [*old, *again]))
    fit = read_fit(folder)
    assert len(fit.priced) == len(again) - 2
    assert {each.figures and each.figures.teacher_ms for each in fit.priced} == {1.0}
    assert fit.measured == read_fit(write_search(tmp_path / "stayed")).measured


def test_a_drop_of_as_much_as_is_allowed_is_within_it(folder: Path) -> None:
    """0.7 / 100 is a hair below 7 / 1000."""
    fit = replace(read_fit(folder), budget=Budget(accuracy_drop=0.7))
    figures = fit.known[0][1]
    assert fit.largest_drop is not None and fit.largest_drop < 7 / 1000
    assert fit.keeps_drops(replace(figures, drop=7 / 1000)) and not fit.keeps_drops(replace(figures, drop=8 / 1000))
