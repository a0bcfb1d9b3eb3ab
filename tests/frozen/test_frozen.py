"""What earlier versions wrote still reads and says the same, and three recipes still give the same bytes."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bundle.predict import Predictor
from edgekd.gate.subject import subject_of
from edgekd.report.deployed import deployed
from edgekd.report.schema import Report
from tests.frozen import products
from tests.frozen.commands import help_texts, printers, shown
from tests.frozen.recipes import RECIPES
from tests.frozen.record import NETWORKS, WRITTEN, logits


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return products.made(tmp_path_factory.mktemp("products"))


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(WRITTEN, tmp_path / "written"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_networks_and_files(now, recipe):
    recorded = json.loads(products.RECORDED.read_text())
    if now["versions"] != recorded["versions"]:
        pytest.skip(f"the products were recorded with {recorded['versions']}")
    if now["kernels"] != recorded["kernels"]:
        pytest.skip("this processor computes otherwise than the one that the products were recorded on")
    ours, theirs = (
        {path: digest for path, digest in each["products"].items() if path.startswith(recipe)}
        for each in (now, recorded)
    )
    assert ours == theirs


@pytest.mark.parametrize("name", ["teacher", "pruned", "quantized", *NETWORKS])
def test_a_saved_network_gives_what_it_gave(name):
    expected = np.array(json.loads((WRITTEN / name / "logits.json").read_text()))
    np.testing.assert_allclose(logits(WRITTEN / name), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "version"), [("report.json", 1), ("report-2.json", 2)])
def test_a_report_is_read_whole(name, version):
    document = json.loads((WRITTEN / name).read_text())
    report = Report.from_json(document)
    assert (report.schema_version, json.loads(json.dumps(report.to_json()))) == (version, document)
    row = deployed(report)
    assert row is not None and (row.model, row.place) == ("quantized", "cpu, onnxruntime, 1 thread")
    assert list(subject_of(document).rows) == ["cpu, pytorch", "cpu, onnxruntime, 1 thread"]


as_printed = pytest.mark.skipif(
    json.loads((WRITTEN / "printed.json").read_text()) != printers(), reason="recorded with another Typer or Rich"
)


@as_printed
def test_commands_say_the_same_of_what_was_written(written):
    assert shown(written) == (WRITTEN / "commands.txt").read_text()


def test_a_bundle_predicts_the_classes_that_it_predicted():
    found = list(Predictor(WRITTEN / "bundle").predict([WRITTEN / "bundle/golden/input.npy"]))
    assert [each["label"] for each in found] == list("01230123")


@as_printed
def test_help():
    assert help_texts() == (WRITTEN / "help.txt").read_text()
