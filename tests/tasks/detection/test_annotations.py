"""Three formats give the same boxes, and each mistake is named with its file and line."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.data import Data, load_data
from edgekd.errors import DataError
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.annotations import coco, voc
from tests.tasks.detection import annotated

WRITERS = {"coco": annotated.coco, "yolo": annotated.yolo, "voc": annotated.voc}


def load(source, root, **options):
    return load_data(Data(source=source, path=root, image_size=20, validation=0.2, **options), kind=Detection)


@pytest.mark.parametrize("source", WRITERS)
def test_each_format_gives_the_same_boxes_of_the_resized_images(source, tmp_path):
    data = load(source, WRITERS[source](tmp_path))
    assert data.classes == annotated.NAMES and data.test.labels.dtype == torch.float32
    targets = data.task.targets(data.test.labels.numpy())
    # Images of 40x20 are stretched to 20x20. YOLO's are all plain.
    expected, kinds = [[1, 4, 6, 20], [5, 0, 15, 18], [10, 2, 15, 10]], [0, 1, 0]
    found = 2 if source == "yolo" else 3
    np.testing.assert_allclose(targets["boxes"][0], expected[:found], atol=1e-4)
    assert targets["classes"].tolist() == [kinds[:found], [-1] * found]
    for name, of in (("crowd", "coco"), ("difficult", "voc")):
        assert targets[name][0].tolist() == [False, False, source == of][:found]
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
        ("coco", {"bbox": [40, 4, 0.5, 10]}, r"line 29: annotation 8: nothing of the box \(40, 4\)–\(40.5, 14\) is in"),
        ("coco", {"bbox": [20, 4, 1e-9, 10]}, "line 29: annotation 8: nothing of the box"),
        ("coco", {"bbox": [1, 2, float("nan"), 4]}, r"NaN is no number, in line \d+"),
        ("coco", {"iscrowd": "0"}, "line 29: annotation 8 has iscrowd '0'; give 0 or 1"),
        ("coco", {"id": 7}, "line 29: the id 7 is also that of line 17"),
        ("yolo", {"line": "1 20 10 8 8"}, r"train.1\.txt, line 3: 20 10 8 8 are pixels; YOLO's labels are shares"),
        ("yolo", {"line": "2 .5 .5 .1 .1"}, r"line 3: the class 2 is unknown: there are 2"),
        ("yolo", {"line": "1 .5 .5 0 .1"}, "line 3: the box .* has no width"),
        ("yolo", {"line": "-1 .5 .5 .1 .1"}, "line 3: the class -1 is unknown"),
        ("yolo", {"line": "1 nan .5 .1 .1"}, "line 3: the box .* is not finite"),
        ("yolo", {"line": "1 .5 .5 .1 .1_0"}, "line 3: '1 .5 .5 .1 .1_0' is not"),
        ("yolo", {"line": "1 .5 .5 .1"}, "line 3: '1 .5 .5 .1' is not 'class x y width height'"),
        ("yolo", {"line": "1 .9 .5 .5 .5"}, "line 3: the box .* lies outside of its image of 40x20 pixels"),
        ("voc", {"xmax": 90}, r"train.1\.xml, line 6: the box .* lies outside"),
        ("voc", {"ymin": 18, "ymax": 17}, r"line 6: the box \(.*, 18\)–\(.*, 17\) has no height"),
        ("voc", {"xmin": "left"}, "line 6: the box is no four numbers"),
        ("voc", {"xmin": "nan"}, "line 6: the box .* is not finite"),
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
    with pytest.raises(DataError, match="no training image has an object; add some"):
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


def edited(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("1.png", "2.png"), r"train\.json, line 9: the file_name '2.png' is given twice"),
        (("dog", "cat"), r"train\.json, line \d+: the name 'cat' is given twice"),
        (("2.png", "3.png"), r"train\.json, line 9: the image '3.png' is not in .*train"),
        (("1.png", "0.png"), r"train\.json, line 3: the image '0.png' is in none of"),
        (('"width": 40', '"width": 41'), r"train\.json, line 3: the image is said to have 41x20 pixels"),
    ],
)
def test_images_and_categories_of_coco_are_named_by_their_line(change, said, tmp_path):
    root = annotated.coco(tmp_path)
    edited(root / "train.json", change)
    with pytest.raises(DataError, match=said):
        load("coco", root)


def test_lines_are_those_of_the_section_whatever_else_has_its_name(tmp_path):
    root = annotated.coco(tmp_path, category_id=6)
    edited(root / "train.json", ("{\n", '{"info": {"annotations": [1, "}"]},\n'))
    with pytest.raises(DataError, match=r"line 29: annotation 8 has the category 6"):
        load("coco", root)


def test_shares_in_place_of_pixels_are_told(tmp_path):
    root = annotated.coco(tmp_path)
    document = json.loads((root / "train.json").read_text())
    for each in document["annotations"]:
        each["bbox"] = [0.1, 0.2, 0.5, 0.5]
    (root / "train.json").write_text(json.dumps(document, indent=1))
    with pytest.raises(DataError, match=r"train\.json, line 17: all boxes lie within one pixel, as shares"):
        load("coco", root)


def test_one_file_of_annotations_is_read_and_several_are_told(tmp_path):
    annotated.coco(tmp_path)
    folder = tmp_path / "annotations"
    folder.mkdir()
    for part, name in (("train", "trains_train.json"), ("test", "trains_val.json")):
        (tmp_path / f"{part}.json").rename(folder / name)
    assert coco.find_file(tmp_path, "train").name == "trains_train.json"
    assert coco.find_file(tmp_path, "test").name == "trains_val.json"
    (folder / "train_old.json").write_text("{}")
    with pytest.raises(DataError, match=r"several files with annotations of train images: .*train_old.*trains_train"):
        load("coco", tmp_path)


def test_trainval_is_no_part_of_validation(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_trainval.json").write_text("{}")
    assert coco.find_file(tmp_path, "train").name == "instances_trainval.json"
    with pytest.raises(DataError, match="no annotations of test images"):
        coco.find_file(tmp_path, "test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: [cat, no]\n", "data.yaml, line 1: the name False is no text; write it in quotes"),
        ("nc: 3\nnames: [cat, dog]\n", "data.yaml, line 2: there are 2 names, and nc is 3"),
        ("nc: 2\nnames: {0: cat, a: dog}\n", r"data.yaml, line 2: names are numbered \[0, 'a'\]; number them from 0"),
        ("names: {1: cat, 2: dog}\n", r"names are numbered \[1, 2\]"),
        ("names:\n", "data.yaml, line 1: names is None; give a list"),
        ("a: 1\nnames: [cat\n", "data.yaml, line 3: cannot be read"),
        ("names: 2024-13-45\n", "data.yaml.* cannot be read"),
    ],
)
def test_names_of_yolos_classes(text, said, tmp_path):
    root = annotated.yolo(tmp_path)
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=said):
        load("yolo", root)


def test_an_empty_line_would_move_all_classes_below(tmp_path):
    root = annotated.yolo(tmp_path)
    (root / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError, match=r"classes.txt names dog, cat, and .*data.yaml cat, dog: remove the wrong one"):
        load("yolo", root)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n\n")
    assert load("yolo", root).classes == annotated.NAMES
    (root / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match=r"classes.txt, line 2: the line is empty"):
        load("yolo", root)
    (root / "classes.txt").write_text("\n")
    with pytest.raises(DataError, match=r"classes.txt, line 1: the line is empty"):
        load("yolo", root)


def test_a_test_set_without_any_label_is_told(tmp_path):
    root = annotated.yolo(tmp_path)
    (root / "labels/val/1.txt").write_text("")
    with pytest.raises(DataError, match="no test image has an object, so that nothing can be measured"):
        load("yolo", root)
    (root / "labels/val").rename(root / "labels/validation")
    with pytest.raises(DataError, match="there is no folder .*labels/val with the labels of .*images/val"):
        load("yolo", root)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("<width>40</width>", "<width>0</width>"), r"2\.xml, line 3: the image's size is 0x20"),
        (("<width>40</width>", ""), r"2\.xml, line 3: the image's size is missing"),
        (("<width>40</width>", "<width>41</width>"), r"2\.xml, line 3: the image is said to have 41x20 pixels"),
        (("2.png", "1.png"), r"2\.xml: its image .*1.png is also that of .*1.xml: correct its <filename>"),
        (("<annotation>", '<?xml version="1.0" encoding="none"?><annotation>'), r"2\.xml, line 1: no XML"),
    ],
)
def test_images_of_pascal_voc(change, said, tmp_path):
    root = annotated.voc(tmp_path)
    edited(root / "train/2.xml", change)
    with pytest.raises(DataError, match=said):
        load("voc", root)


def test_a_class_that_no_training_image_has(tmp_path):
    root = annotated.voc(tmp_path)
    edited(root / "test/1.xml", ("dog", "cow"))
    with pytest.raises(DataError, match=r"test/1\.xml, line 6: the class 'cow' is unknown"):
        load("voc", root)


def test_images_without_xml_are_told(tmp_path, capsys):
    root = annotated.voc(tmp_path)
    annotated.picture(root / "train/3.png", 3)
    assert len(voc.read(root, "train").files) == 2
    assert "train: left out for want of annotations: 3.png" in capsys.readouterr().err


def test_the_lists_of_vocdevkit_are_checked(tmp_path):
    annotated.voc(tmp_path / "made")
    for folder, ending in (("Annotations", "xml"), ("JPEGImages", "png")):
        (tmp_path / folder).mkdir()
        for part in ("train", "test"):
            for n in (1, 2):
                source = tmp_path / "made" / part / f"{n}.{ending}"
                source.rename(tmp_path / folder / f"{part}{n}.{ending}")
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "test.txt").write_text("test1\ntest2\n")
    (lists / "train.txt").write_text("train1\ntrain2\n")
    for part in ("train", "test"):
        for n in (1, 2):
            edited(tmp_path / f"Annotations/{part}{n}.xml", (f"{n}.png", f"{part}{n}.png"))
    assert len(load("voc", tmp_path).test) == 2
    for text, said in (
        ("train1\n\ntrain3\n", r"train\.txt, line 3: there is no .*train3\.xml"),
        ("train1\ntrain2\ntrain1\n", r"train\.txt, line 3: 'train1' is also in line 1"),
        ("\n", r"train\.txt, line 1: it lists no image"),
    ):
        (lists / "train.txt").write_text(text)
        with pytest.raises(DataError, match=said):
            load("voc", tmp_path)


def test_a_category_that_no_image_has_is_told_and_keeps_its_place(tmp_path, capsys):
    """As in a part of COCO, or where a tool lists a class of its own before all others."""
    root = annotated.coco(tmp_path)
    for part in ("train", "test"):
        edited(root / f"{part}.json", ('"categories": [', '"categories": [{"id": 1, "name": "cow"},'))
    data = load("coco", root)
    assert data.classes == ("cow", "cat", "dog") and data.task.decoder()["categories"] == [1, 5, 10]
    assert data.task.targets(data.test.labels.numpy())["classes"].tolist() == [[1, 2, 1], [-1, -1, -1]]
    assert "no training image has an object of 'cow', so that none can be found" in capsys.readouterr().err
    document = json.loads((root / "test.json").read_text())
    del document["annotations"][0]  # the other one of its category is a crowd
    (root / "test.json").write_text(json.dumps(document))
    assert [each.message for each in load("coco", root).warnings if each.message.startswith("test samples:")] == [
        "test samples: no image has an object of 'cow', 'cat': box mAP leaves these classes out"
    ]


@pytest.mark.parametrize("ending", ["txt", "TXT"])
def test_labels_as_other_systems_write_them(ending, tmp_path):
    """With a byte order mark, Windows' ends of lines, and the ending in capitals."""
    expected = load("yolo", annotated.yolo(tmp_path / "a")).test.labels
    root = annotated.yolo(tmp_path / "b")
    for part in ("train", "val"):
        path = root / "labels" / part / "1.txt"
        content = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
        path.unlink()
        path.with_suffix(f".{ending}").write_bytes(content)
    assert torch.equal(load("yolo", root).test.labels, expected)
    (root / "labels/train/1.tXt").write_text("")
    with pytest.raises(DataError, match=r"labels/train/1\..* and .*labels/train/1\..* are labels of one image"):
        load("yolo", root)


def test_pascal_voc_as_other_systems_write_it(tmp_path):
    root = annotated.voc(tmp_path)
    edited(root / "train/1.xml", ("<filename>1.png</filename>", "<filename>1</filename>"))
    (root / "train/1.png").rename(root / "train/1.PNG")
    assert [path.name for path in voc.read(root, "train").files] == ["1.PNG", "2.png"]
    lists, found = tmp_path / "ImageSets/Main", tmp_path / "Annotations"
    lists.mkdir(parents=True)
    (root / "test").rename(found)
    (lists / "test.txt").write_bytes(b"\xef\xbb\xbf1\r\n2\r\n")
    assert voc.find_files(tmp_path, "test") == [found / "1.xml", found / "2.xml"]


def test_a_size_that_is_not_upright_is_told_so(tmp_path):
    root = annotated.coco(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (annotated.WIDTH, annotated.HEIGHT)).save(root / "test/2.png", exif=turned)
    said = (
        "said to have 40x20 pixels, and .*2.png has 20x40 upright, as its EXIF data turn it: correct its size, and its "
        "boxes, or remove the orientation from the file$"
    )
    with pytest.raises(DataError, match=said):
        load("coco", root)
    Image.new("RGB", (annotated.HEIGHT, annotated.WIDTH)).save(root / "test/2.png")
    with pytest.raises(DataError, match=r"40x20 pixels, and .*2.png has 20x40: correct its size, and its boxes$"):
        load("coco", root)
