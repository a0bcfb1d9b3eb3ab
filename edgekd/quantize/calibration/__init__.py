"""Calibration of activation ranges: ``calibrate(graph, batches, "entropy")``; one file per method."""

from edgekd.quantize.calibration.collect import calibrate, collect
from edgekd.quantize.calibration.entropy import entropy
from edgekd.quantize.calibration.histogram import Histogram
from edgekd.quantize.calibration.minmax import minmax
from edgekd.quantize.calibration.mse import mse
from edgekd.quantize.calibration.percentile import percentile
from edgekd.quantize.calibration.states import as_float, checked_batches, float_copy, freeze_calibrated

__all__ = [
    "Histogram",
    "as_float",
    "calibrate",
    "checked_batches",
    "collect",
    "entropy",
    "float_copy",
    "freeze_calibrated",
    "minmax",
    "mse",
    "percentile",
]
