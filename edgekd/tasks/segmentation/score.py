"""Masks from logits. NumPy alone, for readers of bundles and reports without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import ModelError
from edgekd.formatting import percent
from edgekd.tasks.logits import names_in_file
from edgekd.tasks.segmentation.masks import IGNORED, palette, png, resized
from edgekd.tasks.tensor_spec import LOGITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto
    from PIL import Image

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.task import Language

    Masks = NDArray[np.uint8]

# Of pixels whose logits are not finite. No class has this number, so they are never predicted correctly.
NO_CLASS = IGNORED
# Of the operators that decode inside a file, as they are written here.
LEAST_OPSET = 13
# Of a sample's pixels, the share that two networks predict alike from which on they agree.
AGREEING = 0.99

# Lines of a program that makes a mask of ``logits`` (classes, H, W) without edgekd, for model cards.
CODE: dict[Language, str] = {
    "python": """\
classes = logits.argmax(0).astype(np.uint8)


def nearest(count, scale, first, whole, size):
    places = np.floor((np.arange(count) + 0.5) * scale + first + 1e-9)  # in the network's image
    return ((places + 0.5) * size / whole).astype(int)


rows = nearest(height, down, top, inputs.shape[2], classes.shape[0])
columns = nearest(width, across, left, inputs.shape[3], classes.shape[1])
mask = classes[rows[:, None], columns]  # the class of each pixel of the file
if len(sys.argv) > 2:
    Image.fromarray(mask).save(sys.argv[2])
shares = np.bincount(mask.ravel(), minlength=len(labels)) / mask.size
for best in np.argsort(-shares, kind="stable"):
    if shares[best]:
        print(labels[best], shares[best])
""",
    "cpp": """\
const auto sizes = outputs[0].GetTensorTypeAndShapeInfo().GetShape();
const int64_t rows = sizes[2], columns = sizes[3];
std::vector<int64_t> counts(labels.size());
for (int y = 0; y < height; y++)
  for (int x = 0; x < width; x++) {  // a pixel of the file, its place in the network's image, and in the logits
    const int64_t row = (std::floor((y + 0.5) * down + top + 1e-9) + 0.5) * rows / H;
    const int64_t column = (std::floor((x + 0.5) * across + left + 1e-9) + 0.5) * columns / W;
    const float* here = logits + row * columns + column;
    size_t best = 0;
    for (size_t c = 1; c < labels.size(); c++)
      if (here[c * rows * columns] > here[best * rows * columns]) best = c;
    counts[best]++;
  }
for (size_t c = 0; c < labels.size(); c++)
  if (counts[c]) std::printf("%s %.6f\\n", labels[c].c_str(), counts[c] / (double(width) * height));
""",
}


@dataclass(frozen=True, eq=False)
class MaskPredictions:
    """``classes`` (N, H, W) of ``count``, for each position, :data:`NO_CLASS` where logits are not finite."""

    classes: Masks
    count: int


def decode(logits: NDArray[Any]) -> MaskPredictions:
    """Return the class with the largest logit of each position, the first of equal ones; logits (N, classes, H, W)."""
    with np.errstate(invalid="ignore"):
        found = np.where(np.isfinite(logits).all(1), logits.argmax(1), NO_CLASS)
    return MaskPredictions(found.astype(np.uint8), logits.shape[1])


def with_classes(model: ModelProto) -> ModelProto:
    """Return a copy of ``model`` with the one output ``classes`` (N, H, W), uint8, in place of its outputs.

    Classes are those of :func:`decode`, :data:`NO_CLASS` where logits are not finite.

    Raises:
        ModelError: the file is of an opset below 13.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    if (opset := next((each.version for each in model.opset_import if not each.domain), 0)) < LEAST_OPSET:
        raise ModelError(f"masks are decoded in files of opset {LEAST_OPSET} or above, not of {opset}: export it again")

    found = ModelProto()
    found.CopyFrom(model)
    outputs = {each.name: each for each in found.graph.output}
    logits = outputs[names_in_file(list(outputs), {LOGITS: ()})[LOGITS]]
    sizes = [each.dim_param or each.dim_value or None for each in logits.type.tensor_type.shape.dim]
    output, parts = "classes", ("largest", "index", "difference", "sum", "lost", "axes", "none")
    largest, index, difference, total, lost, axes, none = (f"{output}/{part}" for part in parts)
    found.graph.node.extend(
        helper.make_node(operator, inputs, [given], name=f"{output}/{operator}", **attributes)
        for operator, inputs, given, attributes in (
            ("ArgMax", [logits.name], largest, {"axis": 1, "keepdims": 0}),
            ("Cast", [largest], index, {"to": TensorProto.UINT8}),
            ("Sub", [logits.name] * 2, difference, {}),  # NaN where a logit is not finite, else 0
            ("ReduceSum", [difference, axes], total, {"keepdims": 0}),
            ("IsNaN", [total], lost, {}),
            ("Where", [lost, none, index], output, {}),
        )
    )
    constants: dict[str, NDArray[Any]] = {axes: np.array([1], np.int64), none: np.array(NO_CLASS, np.uint8)}
    found.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    del found.graph.output[:]
    found.graph.output.append(helper.make_tensor_value_info(output, TensorProto.UINT8, [sizes[0], *sizes[2:]]))
    return found


def same_classes(rows: Masks, logits: NDArray[Any], rounding: float) -> tuple[NDArray[np.bool_], int]:
    """Return in which samples (N,) ``rows`` (N, H, W) are the classes of ``logits``, and how many pixels were compared.

    Where the two largest logits differ by ``rounding`` or less, either is right, and is not compared.
    """
    expected = decode(logits).classes
    if rows.shape != expected.shape:
        return np.zeros(len(logits), bool), 0
    with np.errstate(invalid="ignore"):
        best = np.partition(logits, -2, axis=1)[:, -2:] if logits.shape[1] > 1 else None
        compared = (expected == NO_CLASS) | (best is None or best[:, 1] - best[:, 0] > rounding)
    found: NDArray[np.bool_] = ((rows == expected) | ~compared).all((1, 2))
    return found, int(compared.sum())


def of_rows(rows: NDArray[Any], count: int) -> MaskPredictions:
    """Return the predictions that rows (N, H, W) of ``count`` classes mean; below 0 is where logits were not finite."""
    return MaskPredictions(np.where(rows < 0, NO_CLASS, rows).astype(np.uint8), count)


def agree(ours: MaskPredictions, theirs: MaskPredictions) -> NDArray[np.bool_]:
    """Return of which samples (N,) two networks predict :data:`AGREEING` of the pixels alike.

    Pixels whose logits are not finite agree with nothing.
    """
    classes = resized(theirs.classes, ours.classes.shape[1:])
    alike = (ours.classes == classes) & (classes != NO_CLASS)
    found: NDArray[np.bool_] = alike.mean((1, 2)) >= AGREEING
    return found


def settled(logits: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Return in which samples (N,) the two largest logits of :data:`AGREEING` pixels differ by above ``tolerance``."""
    if logits.shape[1] == 1:
        return np.ones(len(logits), bool)
    best = np.partition(logits, -2, axis=1)
    found: NDArray[np.bool_] = (best[:, -1] - best[:, -2] > tolerance).mean((1, 2)) >= AGREEING
    return found


@dataclass(frozen=True, eq=False)
class PredictedMask:
    """The mask (H, W) of one sample of the classes ``names``, and each one's share of its pixels, the largest first."""

    mask: Masks
    shares: tuple[tuple[str, float], ...]
    names: tuple[str, ...]

    def to_json(self) -> JsonObject:
        height, width = self.mask.shape
        return {"height": height, "width": width, "shares": dict(self.shares)}

    def to_text(self) -> str:
        return ", ".join(f"{name} {percent(share)}" for name, share in self.shares) or "no class"

    def to_cells(self) -> dict[str, str]:
        return {"shares": "|".join(f"{name}={share:.6g}" for name, share in self.shares)}

    def to_files(self) -> dict[str, bytes]:
        """Return the mask as a PNG of indices, each of which is a class, with a palette to look at."""
        return {"mask.png": png(self.mask, self.names)}

    def drawn_on(self, picture: Image.Image) -> Image.Image:
        from PIL import Image

        return Image.blend(picture.convert("RGB"), Image.fromarray(palette(self.names)[self.mask]), 0.5)


def sample_predictions(
    predictions: MaskPredictions, names: Sequence[str], geometry: Sequence[Geometry] | None = None
) -> list[PredictedMask]:
    """Return each sample's mask with the classes that are in it, in the file's size where ``geometry`` is given."""
    found = []
    for index, mask in enumerate(predictions.classes):
        if geometry is not None:
            way = geometry[index]
            [mask] = way.inverse().resample(resized(mask[None], way.after), IGNORED)
        found.append(PredictedMask(mask, _shares(mask, names), tuple(names)))
    return found


def _shares(mask: Masks, names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    counts = np.bincount(mask.ravel(), minlength=len(names))[: len(names)]
    order = np.argsort(-counts, kind="stable")
    return tuple((names[index], float(counts[index] / mask.size)) for index in order if counts[index])
