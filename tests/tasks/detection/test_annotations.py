"""Three formats give the same boxes, and each mistake is named with its file and line."""

import re

import numpy as np
import pytest
import torch

from edgekd.data import Data, load_data
from edgekd.errors import DataError
from edgekd.tasks.detection import Detection
from tests.tasks.detection import annotated

WRITERS = {"coco": annotated.coco, "yolo": annotated.yolo, "voc": annotated.voc}


def load(source, root, **options):
    return load_data(Data(source=source, path=root, image_size=20, validation=0.2, **options), kind=Detection)


@pytest.mark.parametrize("source", WRITERS)
def test_each_format_gives_the_same_boxes_of_the_resized_images(source, tmp_path):
    data = load(source, WRITERS[source](tmp_path))
    assert data.classes == annotated.NAMES and data.test.labels.dtype == torch.float32
    targets = data.task.targets(data.test.labels.numpy())
    # Images of 40x20 are stretched to 20x20. YOLO's have no crowds.
    expected, kinds = [[1, 4, 6, 20], [5, 0, 15, 18], [10, 2, 15, 10]], [0, 1, 0]
    found = 2 if source == "yolo" else 3
    np.testing.assert_allclose(targets["boxes"][0], expected[:found], atol=1e-4)
    assert targets["classes"].tolist() == [kinds[:found], [-1] * found]
    assert targets["crowd"][0].tolist() == [False, False, True][:found]
    assert data.task.known(data.test.labels.numpy()).tolist() == [True, True]


def test_boxes_are_letterboxed_with_their_images(tmp_path):
    data = load("voc", annotated.voc(tmp_path), resize="letterbox")
    found = data.test.labels[0, :, 1:].numpy()
    np.testing.assert_allclose(found, [[1, 7, 6, 15], [5, 5, 15, 14], [10, 6, 15, 10]], atol=1e-4)


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        ("coco", {"bbox": [30, 0, 30, 10]}, r"train\.json, line 29: annotation 8: the box \(30, 0\)–\(60, 10\) lies"),
        ("coco", {"bbox": [10, 4, 0, 10]}, r"line 29: annotation 8: the box .* has no width"),
        ("coco", {"category_id": 6}, r"line 29: annotation 8 has the category 6, which is unknown"),
        ("coco", {"image_id": 9}, "line 29: annotation 8 is of the image 9, which is not in images"),
        ("coco", {"bbox": [1, 2, 3]}, r"line 29: annotation 8 has the bbox \[1, 2, 3\]; give"),
        ("yolo", {"line": "1 20 10 8 8"}, r"train.1\.txt, line 3: 20 10 8 8 are pixels; YOLO's labels are shares"),
        ("yolo", {"line": "2 .5 .5 .1 .1"}, r"line 3: the class 2 is unknown: there are 2"),
        ("yolo", {"line": "1 .5 .5 0 .1"}, "line 3: the box .* has no width"),
        ("yolo", {"line": "1 .5 .5 .1"}, "line 3: '1 .5 .5 .1' is not 'class x y width height'"),
        ("yolo", {"line": "1 .9 .5 .5 .5"}, "line 3: the box .* lies outside of its image of 40x20 pixels"),
        ("voc", {"xmax": 90}, r"train.1\.xml, line 6: the box .* lies outside"),
        ("voc", {"ymin": 18, "ymax": 18}, "line 6: the box .* has no height"),
        ("voc", {"xmin": "left"}, "line 6: the box is no four numbers"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_and_line(source, change, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load(source, WRITERS[source](tmp_path, **change))


def test_files_that_are_missing_or_damaged_say_what_is_expected(tmp_path):
    for source, expected in (("coco", "train.json"), ("yolo", "classes.txt"), ("voc", "JPEGImages")):
        with pytest.raises(DataError, match=re.escape(str(tmp_path)) + f".*expected.*{expected}"):
            load(source, tmp_path)
    root = annotated.voc(tmp_path / "voc")
    (root / "train/1.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>')
    with pytest.raises(DataError, match="1.xml, line 1: no XML that can be read .it declares a document type"):
        load("voc", root)
    root = annotated.coco(tmp_path / "coco")
    (root / "test.json").write_text("{")
    with pytest.raises(DataError, match=r"test\.json is no JSON"):
        load("coco", root)


def test_another_task_does_not_take_boxes(tmp_path):
    with pytest.raises(DataError, match="shape"):
        load_data(Data(source="voc", path=annotated.voc(tmp_path), image_size=20))
