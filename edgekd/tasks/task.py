"""The protocol of a task. Nothing outside of ``edgekd.tasks`` knows what a class or a label is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

Stored = TypeVar("Stored")  # an array or a tensor
Language = Literal["python", "cpp"]  # of programs on a model card

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto
    from PIL import Image
    from torch import Tensor

    from edgekd.geometry import Geometry, Tile
    from edgekd.ranges import Range
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import Breakdown, NamedPredictions, Pictures
    from edgekd.tasks.metric import Metric
    from edgekd.tasks.reduction import OutputReduction
    from edgekd.tasks.signature import Signature

    # Outputs and targets, each tensor (N, ...) by its name. An entry ``known`` of targets is False where the sample,
    # or the label of a sample, has not been annotated.
    Tensors = Mapping[str, Tensor]
    Arrays = Mapping[str, NDArray[Any]]
    # Of one sample, without the batch; None where any size is taken.
    OutputShape = tuple[int | None, ...]
    # All that one output may have.
    OutputShapes = Sequence[OutputShape]


@dataclass(frozen=True)
class DecoderOption:
    """An option of a task's decoder that its user chooses, a number.

    Attributes:
        is_judged: whether the task's first metric depends on it, by which trainings are judged.
    """

    values: Range
    description: str
    is_judged: bool = True


class Details(Protocol):
    """A task's figures beyond its metrics, as reports keep them."""

    def to_json(self) -> JsonObject: ...


class SamplePrediction(Protocol):
    """The prediction of one sample, as people and programs read it. Where outputs are not finite, there is none."""

    def to_json(self) -> JsonObject: ...

    def to_text(self) -> str:
        """Return one line for people."""

    def to_cells(self) -> dict[str, str]:
        """Return cells of CSV by their columns, the same ones for all samples."""


@runtime_checkable
class PictureFiles(Protocol):
    """A prediction of one sample that is a picture too."""

    def to_files(self) -> Mapping[str, bytes]:
        """Return files that hold the prediction, by the endings of their names, such as ``mask.png``."""


@runtime_checkable
class DecodesInGraph(Protocol):
    """A task whose outputs an ONNX file can decode itself; ``decoded_output`` describes what the file then gives."""

    decoded_output: ClassVar[str]

    def decoded_graph(self, model: ModelProto) -> ModelProto:
        """Return a copy of ``model`` whose one output holds the rows of :meth:`Task.to_rows`: ModelError."""

    def same_decoded(self, rows: NDArray[Any], outputs: Arrays, rounding: float) -> tuple[NDArray[np.bool_], int]:
        """Return in which samples (N,) a file's ``rows`` are what ``outputs`` mean, and how much was compared.

        What is closer than ``rounding`` to another prediction may differ, and is not compared.
        """


@runtime_checkable
class JoinsTargets(Protocol):
    """A task whose targets can be put together with their images, since an image may have any number of them."""

    def join_targets(self, stored: NDArray[Any], tiles: Sequence[Tile]) -> NDArray[Any]:
        """Return the stored targets (N, ...) of images that are put together of ``tiles`` of those of ``stored``."""


@runtime_checkable
class GivesResults(Protocol):
    """A task whose predictions tools of others score, against the annotations of the files that were predicted."""

    def results(self, found: Iterable[tuple[str, Any]], annotations: Path) -> Iterator[dict[str, object]]:
        """Yield what is predicted in ``found``, pairs of a file and its prediction, by the ids of ``annotations``.

        Raises:
            DataError: the annotations cannot be read, or are of other files.
        """


@runtime_checkable
class PlacesInImage(Protocol):
    """A prediction of places in one image, such as boxes, which can be shown there."""

    def drawn_on(self, picture: Image.Image) -> Image.Image:
        """Return a copy of ``picture``, of the file's size, in RGB and with the prediction drawn on it."""


class Task(Protocol):
    """The purpose of a network; frozen, made of the names of its classes or labels and of its decoder's options.

    Targets are stored by data sets as one array (N, ...), of the type and the shape that the task chooses: whole
    numbers, floats, masks, or boxes filled up to one number. The task alone says what of it is known.

    Methods of arrays need NumPy alone, methods of tensors import PyTorch when they are called.
    """

    name: ClassVar[str]
    metrics: ClassVar[Sequence[Metric]]  # the first is the budget's and the ladder's
    outputs: ClassVar[str]  # their kind, which targets have too: classes, labels, values, boxes or masks
    kind_of_names: ClassVar[str]  # classes, labels, values or points
    pipeline_tags: ClassVar[Mapping[str, str]]  # of model hubs, by the kind of input
    breakdown_key: ClassVar[str | None]  # of a report, which keeps the breakdown there; None if there is none
    decoder_options: ClassVar[Mapping[str, DecoderOption]]  # those that a recipe may set, by name
    # Of the loss on targets where a recipe leaves it out; a teacher's has the rest.
    hard_weight: ClassVar[float]

    def __init__(self, names: tuple[str, ...], **options: Any) -> None: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of classes or labels, in the order of outputs."""

    @property
    def output_shapes(self) -> Mapping[str, OutputShapes]:
        """Return the shapes that the outputs which the task decodes may have, by name, the usual one first.

        Each begins with the size of the network's last layer. Empty where any outputs are decoded, as the task judges.
        """

    @classmethod
    def read_targets(cls, raw: NDArray[Any], count: int, where: str) -> NDArray[Any]:
        """Return a user's array for ``count`` samples as data sets store it: DataError."""

    @classmethod
    def numbered(cls, stored: NDArray[Any], where: str) -> tuple[str, ...]:
        """Return names of classes or labels, for training targets whose user has given none: DataError."""

    @classmethod
    def known(cls, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which samples (N,) have a target that is known, at least in part."""

    @classmethod
    def unknown(cls, like: NDArray[Any], count: int) -> NDArray[Any]:
        """Return the stored targets of ``count`` samples of which nothing is known, of the type and shape of others."""

    @classmethod
    def contradict(cls, ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
        """Return whether the stored targets of two equal samples cannot both be right."""

    def move_targets(self, stored: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
        """Return stored targets (N, ...) of images that were moved; ``stored`` itself where they do not move along."""

    def adapted(self, stored: NDArray[Any], size: tuple[int, int] | None = None) -> Task:
        """Return this task with the options that follow from training targets, such as their scale.

        Args:
            size: height and width of the network's image; None where inputs are no images.
        """

    def must_be_named(self, stored: NDArray[Any], where: str) -> None:
        """Refuse targets that :attr:`names` do not fit: DataError."""

    def must_fit(self, stored: NDArray[Any], size: tuple[int, int], where: str) -> None:
        """Refuse targets that cannot be of images of ``size``, height and width: DataError."""

    def must_be_learnable(self, stored: NDArray[Any], where: object, advice: str = "") -> None:
        """Refuse training targets from which nothing can be learned: DataError, with ``advice`` to get more."""

    @classmethod
    def must_be_measurable(cls, stored: NDArray[Any], part: str, where: object) -> None:
        """Refuse validation or test targets, of a ``part``, by which no network can be judged: DataError."""

    def describe(self, stored: NDArray[Any]) -> str:
        """Return the target of one sample for a message."""

    def targets(self, stored: Stored) -> dict[str, Stored]:
        """Return targets by name from the array or tensor (N, ...) that data sets store."""

    def reduction(self, shapes: Mapping[str, tuple[int, ...]]) -> OutputReduction:
        """Return what a device sends of outputs of these shapes, of one sample, for the same rows as of all of them.

        Of ``classes`` these are what :meth:`to_rows` gives.
        """

    def to_rows(self, outputs: Arrays) -> NDArray[Any]:
        """Return what metrics and comparisons need of outputs: (N, ...), one array of any type, as evaluations keep it.

        Of outputs that are NaN it is what predicts nothing.
        """

    def from_rows(self, rows: NDArray[Any]) -> Any:
        """Return the predictions that rows of :meth:`to_rows` mean, as :attr:`metrics` take them."""

    def is_finite(self, rows: NDArray[Any]) -> bool:
        """Return whether all outputs that rows of :meth:`to_rows` are of were finite numbers."""

    def check(self, signature: Signature, targets: Arrays) -> None:
        """Refuse a network or targets that are not the task's: ModelError, DataError."""

    def check_targets(self, targets: Arrays) -> None:
        """Refuse targets that are not the task's: DataError."""

    def check_outputs(self, outputs: Tensors, network: str) -> None:
        """Refuse outputs that are not what the losses take, such as probabilities: ModelError naming ``network``."""

    def warnings(self, targets: Arrays) -> list[str]:
        """Return what makes metrics on these targets say less than they seem to."""

    def strata(self, targets: Arrays) -> NDArray[np.int64] | None:
        """Return the group (N,) that each sample is drawn from when samples are split, or None to draw from all."""

    def loss(self, outputs: Tensors, targets: Tensors, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """Return what the outputs lose against the targets, by term; what is not known counts nothing."""

    def soft_loss(
        self, student: Tensors, teacher: Tensors, targets: Tensors, temperature: float | None = None
    ) -> dict[str, Tensor]:
        """Return what the student's outputs lose against the teacher's, by term; None takes the usual temperature."""

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        """Return how far each sample's outputs are from the reference's, in nats: (N,), at least 0 but for rounding."""

    def fitted(self, outputs: Callable[[], Arrays], targets: Arrays) -> Task:
        """Return this task with the options of :meth:`decode` that are best on validation samples.

        ``outputs`` gives a network's outputs for them, and is called only where there is something to choose.
        """

    def decode(self, outputs: Arrays) -> Any:
        """Return the predictions that the outputs mean, as :attr:`metrics` take them."""

    def details(self, outputs: Arrays, targets: Arrays) -> Details:
        """Return further figures: by class or label, and how far probabilities are to be trusted."""

    def breakdown(
        self, before: NamedPredictions, after: NamedPredictions, targets: Arrays, runtime: str,
        pictures: Pictures | None = None,
    ) -> Breakdown | None:  # fmt: skip
        """Return the metric of each class or label for two networks' predictions of the same samples in ``runtime``.

        It is None for tasks whose samples have neither. A task with places in images shows them over ``pictures``.
        """

    @staticmethod
    def breakdown_from_json(document: JsonObject) -> Breakdown:
        """Read what :meth:`Breakdown.to_json` wrote: pydantic's ValidationError if it is none."""

    def decoder(self) -> JsonObject:
        """Return the options of :meth:`decode` as JSON: ``type(task)(names, **decoder)`` decodes alike."""

    def agree(self, ours: Any, theirs: Any) -> NDArray[np.bool_]:
        """Return which samples (N,) two networks predict alike."""

    def settled(self, outputs: Arrays, tolerances: Mapping[str, float]) -> NDArray[np.bool_]:
        """Return for which samples (N,) the outputs are further than their tolerances from another prediction."""

    def describe_outputs(self, outputs: Mapping[str, OutputShape]) -> str:
        """Return how a file's ``outputs`` are decoded, for the readers of a model card: plain words on one line."""

    def code(self, language: Language, outputs: Mapping[str, OutputShape] | None = None, of_image: bool = True) -> str:
        """Return the lines of a program that print the prediction of one sample; none where there is no program.

        They stand on model cards, where ``labels`` are known and the array ``logits``, or of a task that decodes
        outputs of any names all of them as ``outputs``. Of an image ``width`` and ``height`` are known, and that its
        pixel x, y is x · ``across`` + ``left``, y · ``down`` + ``top`` of the network's image.

        Args:
            outputs: the shapes of the file's outputs by name; ``logits`` of the usual shape if left out.
            of_image: False where inputs come from no image file: places then stay in the network's units.
        """

    def sample_predictions(
        self, predictions: Any, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> Sequence[SamplePrediction]:
        """Return each sample's prediction by names, with the ``top`` most probable classes or labels.

        Args:
            geometry: of images, each sample's way from the file's pixels to the network's: (1, ...) each. Predicted
                places are then in the file's pixels, else in the network's.
        """
