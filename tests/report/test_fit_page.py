from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import EdgekdError
from edgekd.report.fit_page import render_fit, render_fit_markdown, write_fit_page
from edgekd.report.fit_plots import importances
from edgekd.report.fit_record import is_fit, read_fit

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


def test_the_page_has_every_trial_and_the_recipe_in_full(folder: Path) -> None:
    page = render_fit(read_fit(folder))
    assert "Budget met" in page and "loss is NaN" in page and "won" in page
    assert "resnet8 width 16 &lt;b&gt;" in page and "<b>" not in page
    assert "budget: {accuracy_drop: 1.0, latency_ratio: 0.5}" in page
    assert page.count("<figure>") == 3
    text = render_fit_markdown(read_fit(folder))
    assert text.count("\n|") == 2 + 9


def test_a_search_that_goes_on_has_a_page_too(tmp_path: Path) -> None:
    running = write_search(tmp_path / "running", ended=False)
    assert "The search has not ended" in write_fit_page(running).read_text()
    (running / "journal.jsonl").write_text("no\n")
    with pytest.raises(EdgekdError, match="is no record of a search"):
        read_fit(running)
