from pathlib import Path

import pytest

from edgekd.data import DataSet
from edgekd.errors import RecipeError
from edgekd.recipe.open_fields import OpenRange
from edgekd.search.opening import open_space
from edgekd.search.reach import within_reach

RECIPE = """\
name: small
data: {source: digits}
teacher: {model: small_cnn, args: {width: 16}, train: {epochs: 1}}
"""
STAGES = "student: {model: small_cnn}\nstages: [distill, prune: {macs: {search: %s}, check_latency: false}]\n"


def test_cuts_begin_where_the_networks_allow(few_digits: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    found = within_reach(open_space(path), few_digits)
    # Three convolutions and no residual block; half of the widths is a network of its own.
    assert {arm.name for arm in found.space.arms} == {
        "teacher",
        "teacher by widths",
        "small_cnn",
        "small_cnn by widths",
    }
    assert "teacher by blocks" in found.left_out
    cut = found.space.arms[1].cut
    assert cut is not None and isinstance(cut.values, OpenRange) and 0.05 < cut.values.low < cut.values.high == 0.95
    assert found.narrowed["teacher by widths"] == f"stages.prune.macs from {cut.values}"

    path.write_text(RECIPE + STAGES % "[0.05, 0.1]")
    with pytest.raises(RecipeError) as error:
        within_reach(open_space(path), few_digits)
    assert str(error.value).startswith(f"{path}:5: stages.prune.macs: small_cnn keeps ")
