from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekd.search import fit as driver
from edgekd.search.opening import open_space
from edgekd.search.space import Space
from tests.search.formulas import RECIPE, FormulaWorker


@pytest.fixture
def open_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Space]:
    monkeypatch.setattr(driver, "Worker", FormulaWorker)
    monkeypatch.setattr(FormulaWorker, "jobs", [])
    report = SimpleNamespace(budget=SimpleNamespace(met=True, checks=()))
    monkeypatch.setattr(driver, "load_report", lambda folder: report)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return lambda *budget: open_space(path, [*budget] or ["budget.accuracy_drop=1.0"])
