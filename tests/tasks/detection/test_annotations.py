"""Three formats give the same boxes, and each mistake is named with its file and line."""

import json
import re

import numpy as np
import pytest
import torch

from edgekd.data import Data, load_data
from edgekd.errors import DataError
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.annotations import voc
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
    # The other formats have no ids of their own.
    assert data.task.decoder().get("categories") == ([5, 10] if source == "coco" else None)


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
        ("voc", {"ymin": 18, "ymax": 17}, r"line 6: the box \(.*, 18\)–\(.*, 17\) has no height"),
        ("voc", {"xmin": "left"}, "line 6: the box is no four numbers"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_and_line(source, change, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load(source, WRITERS[source](tmp_path, **change))


def test_a_box_of_one_pixel_is_legal_in_pascal_voc(tmp_path):
    found = voc.read(annotated.voc(tmp_path, ymin=18, ymax=18), "train")
    assert found.objects[0][1].tolist() == [1, 10, 17, 30, 18]


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


def test_labels_of_no_image_are_told(tmp_path, capsys):
    root = annotated.yolo(tmp_path)
    (root / "labels/train/1.txt").rename(root / "labels/train/one.txt")
    (root / "labels/train/classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match="no training image has an object of the class 'cat'"):
        load("yolo", root)
    assert "labels/train: no image has the name of one.txt: their objects are left out" in capsys.readouterr().err


def test_another_task_does_not_take_boxes(tmp_path):
    with pytest.raises(DataError, match="shape"):
        load_data(Data(source="voc", path=annotated.voc(tmp_path), image_size=20))


def test_cocos_own_folder_has_other_files_beside_those_of_boxes(tmp_path):
    annotated.coco(tmp_path)
    (tmp_path / "annotations").mkdir()
    for part, year in (("train", "train2017"), ("test", "val2017")):
        (tmp_path / f"{part}.json").rename(tmp_path / "annotations" / f"instances_{year}.json")
        (tmp_path / part).rename(tmp_path / year)
    for name in ("captions_train2017", "captions_val2017", "image_info_test2017", "person_keypoints_val2017"):
        (tmp_path / "annotations" / f"{name}.json").write_text("{}")
    data = load("coco", tmp_path)
    assert data.classes == annotated.NAMES and len(data.test) == 2


def test_numbers_and_ids_of_coco_are_checked(tmp_path):
    root = annotated.coco(tmp_path)
    path = root / "train.json"
    good = path.read_text()
    for old, new, said in (
        ('"image_id": 1', '"image_id": [1]', r"line \d+: annotation 7 is of the image \[1\], which is not in images"),
        ('"category_id": 5', '"category_id": {}', r"line \d+: annotation 7 has the category {}, which is unknown"),
        ('"id": 2,', '"id": "2",', r"line 9: the id is '2', that of the first 1: give only numbers, or only texts"),
        ('"id": 2,', '"id": null,', "line 9: an entry of images has no id: give a whole number or a text"),
        ('"width": 40', '"width": 40.5', "line 3: width of 1 is 40.5: give a whole number above 0"),
        ('"width": 40', '"width": -40', "line 3: width of 1 is -40: give a whole number above 0"),
    ):
        path.write_text(good.replace(old, new, 1))
        with pytest.raises(DataError, match=r"train\.json, " + said):
            load("coco", root)
    path.write_text(good.replace('"width": 40', '"width": 40.0').replace('"image_id": 1', '"image_id": 1.0'))
    assert len(load("coco", root).train) == 1


def test_one_picture_in_both_parts_is_told_whatever_the_number_of_objects(tmp_path):
    """Parts are filled up to different numbers of rows."""
    root = annotated.coco(tmp_path)
    annotated.picture(root / "test" / "2.png", 1)
    document = json.loads((root / "test.json").read_text())
    document["annotations"] = document["annotations"][:1]
    (root / "test.json").write_text(json.dumps(document))
    codes = {each.code for each in load("coco", root).warnings}
    assert {"test_samples_seen", "contradicting_labels"} <= codes
