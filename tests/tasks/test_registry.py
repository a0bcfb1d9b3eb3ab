import re

import pytest

from edgekd.errors import RecipeError
from edgekd.tasks.registry import TASKS


def test_a_task_is_found_by_its_name():
    for name, task in TASKS.items():
        assert TASKS.find(name).name == name
        made = task(("a", "b"))
        assert task(made.names, **made.decoder()).decoder() == made.decoder()
        assert task.metrics and all(metric.title for metric in task.metrics)
        assert all(getattr(made, option) in each.values for option, each in task.decoder_options.items())
        for option in task.decoder_options:
            assert getattr(task(made.names, **{option: getattr(made, option)}), option) == getattr(made, option)
        assert task.kind_of_names in ("classes", "labels", "values", "points")
    tags = [TASKS[name].pipeline_tags.get("image") for name in ("detection", "segmentation", "keypoints", "regression")]
    assert tags == ["object-detection", "image-segmentation", "keypoint-detection", None]


def test_an_unknown_one_names_the_nearest():
    said = f"unknown task 'multi-label' (did you mean 'multilabel'?); known: {', '.join(sorted(TASKS))}"
    with pytest.raises(RecipeError, match=f"^{re.escape(said)}$"):
        TASKS.find("multi-label")
