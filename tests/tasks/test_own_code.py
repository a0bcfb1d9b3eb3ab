"""The code that a task is made of: none of edgekd's own, all of a user's."""

import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from edgekd.files import sha256_file
from edgekd.tasks.metric import Metric, SharedEvidence
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.own_code import code_of
from edgekd.tasks.registry import TASKS
from edgekd.usercode import is_users

HERE = sha256_file(Path(__file__))


@pytest.mark.parametrize("name", TASKS)
def test_edgekds_own_tasks_have_none(name):
    assert code_of(TASKS[name]) == ()


def with_metric(evidence, evidence_type=Multilabel.metrics[0].evidence_type):
    metric = Metric("labels", "labels", "", "higher", "bootstrap", evidence, evidence_type)
    return type("Labelled", (Multilabel,), {"metrics": (metric,), "__module__": Multilabel.__module__})


def of_ours(found, targets=None): ...


@pytest.mark.parametrize("evidence", [
    of_ours, partial(of_ours, targets={}), SharedEvidence(of_ours, Multilabel.metrics[0].evidence),
    SharedEvidence(Multilabel.metrics[0].evidence, partial(of_ours)),
])  # fmt: skip
def test_the_file_of_a_function_counts_however_it_is_given(evidence):
    assert is_users(Path(__file__))
    assert code_of(with_metric(evidence))[0] == HERE
    assert code_of(with_metric(Multilabel.metrics[0].evidence)) == ()


def test_modules_that_a_file_imports_count_by_name_and_content(tmp_path, monkeypatch):
    (tmp_path / "units.py").write_text("FACTOR = 1\n")
    found = []
    for name, units in (("one", "units"), ("same", "units"), ("none", "math")):
        file = tmp_path / f"{name}.py"
        file.write_text(f"import {units}\n")
        module = ModuleType(name)
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, name, module)
        found.append(code_of(type("Own", (Multilabel,), {"__module__": name})))
    assert found[0] == found[1] and len(found[0]) == 2
    assert found[2] == (sha256_file(tmp_path / "none.py"),)


def test_code_in_no_file_is_never_found_again():
    first, second = (type("Own", (Multilabel,), {"__module__": "a_notebook"}) for _ in range(2))
    assert code_of(first) == code_of(first) != code_of(second)
