"""Results in COCO's format, which pycocotools scores against the annotations of the images that were predicted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from edgekd.errors import DataError
from edgekd.folders import several
from edgekd.log import get_logger
from edgekd.nearest import among
from edgekd.tasks.detection.annotations import must_be_of_size
from edgekd.tasks.detection.annotations.coco import Id, ListedImage, read_lists

if TYPE_CHECKING:
    from edgekd.tasks.detection.score import PredictedBoxes

logger = get_logger(__name__)


def coco_results(
    found: Iterable[tuple[str, PredictedBoxes]], names: Sequence[str], annotations: Path
) -> Iterator[dict[str, object]]:
    """Yield ``image_id``, ``category_id``, ``bbox`` and ``score`` of every box that the decoder keeps.

    Ids are those of the file ``annotations``: of images by their files' names, of categories by ``names``. Mean average
    precision reads boxes below the threshold too, and as they are before they are clipped to the image. Images of the
    file that are not predicted are logged: they count as without a box.

    Args:
        found: predictions by their images' files.

    Raises:
        DataError: the file cannot be read, or lacks an image or a category, or an image is predicted twice or of
            another size than the file says.
    """
    images, categories = read_lists(annotations)
    lacking = next((name for name in names if name not in categories), None)
    if lacking is not None:
        raise DataError(
            f"{annotations} has no category {lacking!r}{among(lacking, categories)}: give the annotations of this "
            "bundle's data"
        )
    by_file = {PurePath(name).as_posix(): image for name, image in images.items()}
    predicted: dict[Id, str] = {}
    lost = []
    for file, boxes in found:
        image = _image_of(file, by_file, annotations)
        if image.id in predicted:
            raise DataError(
                f"{predicted[image.id]} and {file} are both the image {image.id!r} of {annotations}, whose boxes would "
                "count twice: name one of them"
            )
        predicted[image.id] = file
        if image.size and boxes.size:
            must_be_of_size(image.size, boxes.size, Path(file), image.where)
        if boxes.boxes is None:
            lost.append(file)
        for each in boxes.kept:
            yield {"image_id": image.id, **each.to_json(categories[each.label])}
    if lost:
        logger.warning(
            f"of {len(lost)} of {len(predicted)} images the outputs are not finite, so that they have no boxes: "
            f"{several(lost)}"
        )
    if left_out := len(images) - len(predicted):
        logger.warning(f"{left_out} of {len(images)} images of {annotations} were not predicted: name their folder too")


def _image_of(file: str, images: Mapping[str, ListedImage], annotations: Path) -> ListedImage:
    """Find the image by the end of the file's path, since names in annotations may have folders in front."""
    parts = Path(file).absolute().parts
    found = next((end for start in range(len(parts)) if (end := "/".join(parts[start:])) in images), None)
    if found is None:
        raise DataError(f"{file} is no image of {annotations}: predict those that it lists")
    return images[found]
