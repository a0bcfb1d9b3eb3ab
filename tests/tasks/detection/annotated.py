"""One small data set in three formats, and with mistakes."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("cat", "dog")
# Of the two images of each part: class and corners; the second image has no object.
BOXES = ((0, 2, 4, 12, 20), (1, 10, 0, 30, 18))
# In formats that have them.
CROWD = (0, 20, 2, 30, 10)
WIDTH, HEIGHT = 40, 20


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def coco(root: Path, **changes: object) -> Path:
    for seed, part in enumerate(("train", "test")):
        images = [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in (1, 2)]
        for image in images:
            picture(root / part / image["file_name"], 10 * seed + image["id"])
        found = []
        for n, (kind, x1, y1, x2, y2) in enumerate((*BOXES, CROWD)):
            about = {"id": 7 + n, "image_id": 1, "category_id": 5 * (kind + 1), "iscrowd": int(n == 2)}
            found.append({**about, "bbox": [x1, y1, x2 - x1, y2 - y1]})
        found[1] |= changes
        document = {"images": images, "annotations": found}
        document["categories"] = [{"id": 5 * (n + 1), "name": name} for n, name in enumerate(NAMES)]
        (root / f"{part}.json").write_text(json.dumps(document, indent=1))
    return root


def yolo(root: Path, line: str | None = None) -> Path:
    for seed, part in enumerate(("train", "val")):
        for n in (1, 2):
            picture(root / "images" / part / f"{n}.png", 10 * seed + n)
        labels = root / "labels" / part
        labels.mkdir(parents=True)
        lines = [
            f"{kind} {(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT} {(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}"
            for kind, x1, y1, x2, y2 in BOXES
        ]
        (labels / "1.txt").write_text("\n".join([*lines, *([line] if line else [])]) + "\n")
    (root / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
    return root


def voc(root: Path, **changes: object) -> Path:
    for seed, part in enumerate(("train", "test")):
        for n in (1, 2):
            picture(root / part / f"{n}.png", 10 * seed + n)
            objects = []
            for place, (kind, x1, y1, x2, y2) in enumerate((*BOXES, CROWD) if n == 1 else ()):
                each = {"name": NAMES[kind], "xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
                each["difficult"] = int(place == 2)
                each |= changes if kind else {}
                about = "".join(f"<{key}>{each.pop(key)}</{key}>" for key in ("name", "difficult"))
                corners = "".join(f"<{key}>{value}</{key}>" for key, value in each.items())
                objects.append(f"<object>{about}\n<bndbox>{corners}</bndbox></object>")
            size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
            body = "\n".join(["<annotation>", f"<filename>{n}.png</filename>", size, *objects, "</annotation>"])
            (root / part / f"{n}.xml").write_text(body)
    return root
