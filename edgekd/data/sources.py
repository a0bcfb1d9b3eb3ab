"""Data sources that a recipe may name; each imports what it needs when it is loaded, so that PyTorch can wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.data import layouts
from edgekd.errors import DataError
from edgekd.registry import Registry

if TYPE_CHECKING:
    from edgekd.data.raw import RawData, SourceKeys
    from edgekd.tasks.task import Task


Load = Callable[["SourceKeys", "type[Task]"], "RawData"]
# Refuses a path that does not lead to what the source reads, without reading any sample.
Layout = Callable[[Path], object]


@dataclass(frozen=True)
class Source:
    """An entry of :data:`SOURCES`.

    Attributes:
        load: reads the samples that a recipe's section ``data`` describes, with targets of the task that is asked for
            or, where it knows one kind alone, those that it has.
        images: whether they are images, whatever the section says.
        layout: refuses a ``path`` that lacks what the source reads there; None where it needs no ``path``.
        targets: their kind, which is that of a task's outputs; None where the task decides.
    """

    load: Load
    images: bool
    layout: Layout | None = None
    targets: str | None = None

    @property
    def needs_path(self) -> bool:
        """Return whether the section must have a ``path``."""
        return self.layout is not None


SOURCES: Registry[Source] = Registry("data source", DataError)


def source(
    *names: str, images: bool, layout: Layout | None = None, targets: str | None = None
) -> Callable[[Load], Load]:
    """Register a function that loads data under ``names``."""

    def register(load: Load) -> Load:
        SOURCES.register(*names)(Source(load, images, layout, targets))
        return load

    return register


@source("digits", images=True)
def digits(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load 1,797 handwritten digits of 8x8 grey pixels (Alpaydin and Kaynak, 1998)."""
    from edgekd.data import sklearn_sets

    return sklearn_sets.digits(data)


@source("breast_cancer", images=False)
def breast_cancer(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load 569 vectors of 30 measurements of cell nuclei, malignant or benign (Street et al., 1993)."""
    from edgekd.data import sklearn_sets

    return sklearn_sets.breast_cancer(data)


@source("folder", images=True, layout=layouts.image_folder)
def folder(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load images in ``train/<class>/*`` and ``test/<class>/*`` and, if given, ``val/<class>/*``."""
    from edgekd.data.folder import load_folder

    return load_folder(data)


@source("masks", images=True, layout=layouts.mask_folder, targets="masks")
def masks(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load ``train/images/*`` and ``test/images/*``, with masks of the same names in ``masks`` next to them."""
    from edgekd.data.masks import load_masks

    return load_masks(data, kind)


@source("npz", images=False, layout=layouts.archive)
def npz(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load a NumPy archive of images or vectors."""
    from edgekd.data.arrays import load_npz

    return load_npz(data, kind)


@source("csv", images=False, layout=layouts.table_folder)
def tables(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load tables, ``train.csv`` and ``test.csv``, with their targets in the last column or in columns ``target.*``."""
    from edgekd.data.tables import load_tables

    return load_tables(data, kind)


@source("coco", images=True, layout=layouts.coco, targets="boxes")
def coco(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load images with boxes from COCO's JSON, ``train.json`` and ``test.json``."""
    from edgekd.data.annotated import load_annotated
    from edgekd.tasks.detection.annotations import coco

    return load_annotated(data, kind, coco)


@source("yolo", images=True, layout=layouts.yolo, targets="boxes")
def yolo(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load images with boxes from YOLO's text files in ``labels/train`` and ``labels/test``."""
    from edgekd.data.annotated import load_annotated
    from edgekd.tasks.detection.annotations import yolo

    return load_annotated(data, kind, yolo)


@source("voc", images=True, layout=layouts.voc, targets="boxes")
def voc(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load images with boxes from Pascal VOC's XML."""
    from edgekd.data.annotated import load_annotated
    from edgekd.tasks.detection.annotations import voc

    return load_annotated(data, kind, voc)


@source("mnist", "fashion_mnist", "cifar10", "cifar100", images=True)
def torchvision_set(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load one of torchvision's data sets."""
    from edgekd.data.torchvision_sets import load_torchvision

    return load_torchvision(data)
