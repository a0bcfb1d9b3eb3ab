"""``edgekd predict --coco``: pycocotools makes of it, with the user's own annotations, what edgekd measures."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.bundle.predict import Predictor
from edgekd.data import Data, load_data
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.score import NamedBox

from .test_examples import packed, scene

# In the order of their ids, which have gaps as COCO's.
IDS = {"dog": 3, "a cat": 17, "neither": 90}
SIZES = ((70, 48), (34, 40), (96, 40), (33, 33))
IMAGES = (700, 12, 100, 5)
SIDE = 32


def write(root: Path, part: str, boxes: list[list[tuple[int, list[float]]]]) -> Path:
    """Write images with the category's id and the [x, y, width, height] of each of their ``boxes``."""
    images, annotations = [], []
    for number, (image, (width, height), own) in enumerate(zip(IMAGES, SIZES, boxes, strict=True)):
        file = root / part / "photos" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = scene(width, height, 3, seed=number + 10 * (part == "train"))
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file)
        images.append({"id": image, "file_name": f"photos/{number}.png", "width": width, "height": height})
        for category, box in own:
            about = {"id": len(annotations) + 1, "image_id": image, "category_id": category}
            annotations.append({**about, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": own, "name": name} for name, own in reversed(IDS.items())]
    path = root / f"{part}.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def near(found: tuple[NamedBox, ...], size: tuple[int, int], random: np.random.Generator) -> list[Any]:
    """Objects around the surest of the boxes that are found, one in five of another class."""
    objects = []
    for box in found[:30]:
        corners = np.array(box.box) + random.normal(0, 0.4, 4)
        x1, y1, x2, y2 = np.clip(corners, 0, [*size, *size]).tolist()
        if x2 - x1 > 2 and y2 - y1 > 2:
            label = random.choice([*IDS]) if random.random() < 0.2 else box.label
            objects.append((IDS[label], [x1, y1, x2 - x1, y2 - y1]))
    return objects


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_it_scores_as_edgekd_does(resize: str, tmp_path: Path, edgekd: Any) -> None:
    tools = pytest.importorskip("pycocotools.cocoeval", reason="pycocotools is not installed")
    from pycocotools.coco import COCO

    keys = Data(source="coco", path=tmp_path, image_size=SIDE, resize=resize, validation=0.25)
    write(tmp_path, "train", [[(own, [2.0, 3.0, 20.0, 15.0]) for own in IDS.values()]] * 4)
    truth = write(tmp_path, "test", [[(3, [1.0, 1.0, 9.0, 9.0])]] * 4)
    data = load_data(keys, kind=Detection)
    assert data.task.decoder()["categories"] == [3, 17, 90] and data.classes == tuple(IDS)

    predictor = Predictor(packed(tmp_path / "bundle", data.preprocess, data.task))
    photos = [tmp_path / "test/photos" / f"{number}.png" for number in range(4)]
    random, found = np.random.default_rng(0), list(predictor.stream(photos))
    kept = [each.prediction.kept for each in found]  # type: ignore[attr-defined]
    boxes = [near(own, size, random) for own, size in zip(kept, SIZES, strict=True)]
    write(tmp_path, "test", boxes)
    assert {category for own in boxes for category, _ in own} == set(IDS.values())

    data = load_data(keys, kind=Detection)
    ((inputs, stored),) = [(data.to_input(raw), stored) for raw, stored in data.test.stream([torch.arange(4)])]
    decoded = data.task.decode(predictor.decoded(inputs.numpy()))
    targets = data.task.targets(stored.numpy())
    expected = [metric.evidence(decoded, targets).value() for metric in data.task.metrics[:3]]
    assert 0.1 < expected[0] < 0.9

    done = edgekd("predict", tmp_path / "bundle", tmp_path / "test/photos", "--coco", truth)
    assert done.code == 0 and "not predicted" not in done.err
    results = json.loads(done.out)
    assert {each["image_id"] for each in results} == set(IMAGES)
    assert isinstance(predictor.task, Detection)
    assert min(each["score"] for each in results) < predictor.task.threshold
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth))
        judged = tools.COCOeval(annotated, annotated.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert [judged.stats[place] for place in (0, 1, 8)] == pytest.approx(expected, abs=1e-9)

    [first, *_] = predictor.predict(photos)
    assert {each["category_id"]: each["label"] for each in first["objects"]}.items() <= {  # type: ignore[attr-defined]
        (own, name) for name, own in IDS.items()
    }


def test_annotations_of_other_images_or_classes_are_refused(tmp_path: Path, edgekd: Any) -> None:
    task = Detection(tuple(IDS), categories=tuple(IDS.values()))
    truth = write(tmp_path, "test", [[(3, [1.0, 1.0, 9.0, 9.0])]] * 4)
    keys = Data(source="coco", path=tmp_path, image_size=SIDE, validation=0.25)
    write(tmp_path, "train", [[(own, [2.0, 3.0, 20.0, 15.0]) for own in IDS.values()]] * 4)
    preprocess = load_data(keys, kind=Detection).preprocess
    bundle, photos = packed(tmp_path / "bundle", preprocess, task), tmp_path / "test/photos"

    def said(file: Path) -> str:
        done = edgekd("predict", bundle, file, "--coco", truth)
        assert done.code == 1 and not done.out
        return str(done.err)

    done = edgekd("predict", bundle, photos / "1.png", "--coco", truth)
    assert done.code == 0 and {each["image_id"] for each in json.loads(done.out)} == {12}
    assert f"3 of 4 images of {truth} were not predicted" in done.err
    done = edgekd("predict", bundle, photos, photos / "2.png", "--coco", truth)
    twice = f"2.png and {photos / '2.png'} are both the image 100 of {truth}, whose boxes would count twice"
    assert done.code == 1 and not done.out and twice in done.err
    (tmp_path / "copies/photos").mkdir(parents=True)
    (tmp_path / "copies/photos/3.png").write_bytes((photos / "3.png").read_bytes())
    done = edgekd("predict", bundle, photos, tmp_path / "copies", "--coco", truth)
    assert done.code == 1 and "copies/photos/3.png are both the image 5" in done.err
    (photos / "1.png").rename(tmp_path / "1.png")
    assert f"1.png is no image of {truth}: predict those that it lists" in said(tmp_path / "1.png")
    document = json.loads(truth.read_text())
    document["categories"][-1]["name"] = "dogs"
    truth.write_text(json.dumps(document))
    assert f"{truth} has no category 'dog' (did you mean 'dogs'?)" in said(photos / "0.png")
    truth.write_text("[]")
    assert "is not COCO's format: it has no lists images, categories" in said(photos / "0.png")
    done = edgekd("predict", bundle, photos / "0.png", "--coco", truth, "--json")
    assert done.code == 1 and "--json, --csv and --coco: one of them at a time" in done.err


def test_boxes_are_refused_for_annotations_of_an_image_as_it_is_stored(tmp_path: Path, edgekd: Any) -> None:
    """Predict boxes upright: against those of the stored pixels none would count."""
    write(tmp_path, "train", [[(own, [2.0, 3.0, 20.0, 15.0]) for own in IDS.values()]] * 4)
    truth = write(tmp_path, "test", [[(3, [1.0, 1.0, 9.0, 9.0])]] * 4)
    keys = Data(source="coco", path=tmp_path, image_size=SIDE, validation=0.25)
    preprocess = load_data(keys, kind=Detection).preprocess
    bundle = packed(tmp_path / "bundle", preprocess, Detection(tuple(IDS), categories=tuple(IDS.values())))
    photo, orientation = tmp_path / "test/photos/0.png", Image.Exif()
    orientation[0x0112] = 6  # turned by a quarter
    with Image.open(photo) as stored:
        stored.save(photo, exif=orientation)
    done = edgekd("predict", bundle, photo, "--coco", truth)
    assert done.code == 1 and not done.out
    assert done.err.strip() == (
        f"error: {truth}, line 1: the image is said to have 70x48 pixels, and {photo} has 48x70 upright, as its EXIF "
        "data turn it: correct its size, and its boxes, or remove the orientation from the file"
    )
    document = json.loads(truth.read_text())
    document["images"][0] |= {"width": 48, "height": 70}
    truth.write_text(json.dumps(document))
    done = edgekd("predict", bundle, photo, "--coco", truth)
    assert done.code == 0 and json.loads(done.out)
    del document["images"][0]["width"]  # which pycocotools does not read
    truth.write_text(json.dumps(document))
    assert json.loads(edgekd("predict", bundle, photo, "--coco", truth).out) == json.loads(done.out)
