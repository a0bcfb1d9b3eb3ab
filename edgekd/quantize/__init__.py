"""Quantisation: ``graph = prepare(network, (3, 32, 32))``, train it, ``convert(graph)``."""

import logging
from typing import TYPE_CHECKING

from edgekd.lazy import exporter
from edgekd.profiles import PROFILES as PROFILES
from edgekd.runtime import Profile as Profile

if TYPE_CHECKING:
    from edgekd.quantize.biases import round_biases as round_biases
    from edgekd.quantize.calibration import calibrate as calibrate
    from edgekd.quantize.fake_quant import FakeQuantize as FakeQuantize
    from edgekd.quantize.files import export_runtime as export_runtime
    from edgekd.quantize.qat import convert as convert
    from edgekd.quantize.qat import freeze_ranges as freeze_ranges
    from edgekd.quantize.qat import observe as observe
    from edgekd.quantize.qat import prepare as prepare
    from edgekd.quantize.quantizer import RuntimeQuantizer as RuntimeQuantizer
    from edgekd.quantize.registry import CALIBRATIONS as CALIBRATIONS

# PyTorch warns at each import of torchao that this registers enums by a deprecated way: nobody here can act on it.
logging.getLogger("torch.utils._pytree").addFilter(lambda record: "Enum subclass" not in record.getMessage())
# Recipes look up the names in this room's registries, and import no PyTorch.
__getattr__ = exporter(
    __name__,
    {
        "biases": ("round_biases",),
        "calibration": ("calibrate",),
        "fake_quant": ("FakeQuantize",),
        "files": ("export_runtime",),
        "qat": ("convert", "freeze_ranges", "observe", "prepare"),
        "quantizer": ("RuntimeQuantizer",),
        "registry": ("CALIBRATIONS",),
    },
)
