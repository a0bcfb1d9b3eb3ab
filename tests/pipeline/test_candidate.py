"""Recipes that are tried without their test set, on a toy run's stages."""

from pathlib import Path

from edgekd.data import load_data
from edgekd.pipeline.candidate import ScoredFile, try_recipe
from edgekd.recipe import load_recipe
from edgekd.records.candidate_figures import Figures
from tests.toy import write_recipe


def test_stages_are_taken_from_the_cache_and_the_file_is_scored_on_the_validation_samples(
    toy_again: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(tmp_path))
    stages = sorted(path.name for path in (toy_again / "stages").iterdir() if path.name[0] != ".")
    found = try_recipe(recipe, tmp_path / "trial", toy_again)
    assert sorted(path.name for path in (toy_again / "stages").iterdir() if path.name[0] != ".") == stages
    data = load_data(recipe.data, recipe.seed, recipe.kind)
    assert found.n == len(data.validation)
    assert found.size_bytes < found.teacher_size_bytes and found.macs < found.teacher_macs
    assert found.ms is None
    [teacher, last] = sorted((tmp_path / "trial/exports").iterdir())
    values = [ScoredFile(folder).evidence(data).value() for folder in (teacher, last)]
    assert found.value == values[1]
    assert abs(found.drop - (values[0] - values[1])) < 1e-9
    assert 0 < found.error < 0.5
    assert Figures.from_json(found.to_json()) == found
    assert not (tmp_path / "trial/report.json").exists()
    # The networks themselves are as good, and no file is written.
    quick = try_recipe(recipe, tmp_path / "quick", toy_again, filed=False)
    assert abs(quick.drop - found.drop) < 0.2
    assert not (tmp_path / "quick/exports").exists()
