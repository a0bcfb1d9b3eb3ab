"""What a runtime's int8 kernels take, as data."""

from dataclasses import dataclass

import torch
from torchao.quantization.pt2e import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import QuantizationSpec

from edgekd.errors import ModelError
from edgekd.registry import Registry

# A dead channel's range is zero; its scale must be above it.
SMALLEST_SCALE = 2.0**-16


@dataclass(frozen=True)
class Profile:
    """Ranges of 8-bit activations (per tensor, affine) and weights (per output channel, symmetric)."""

    name: str
    activation_range: tuple[int, int] = (0, 255)
    weight_range: tuple[int, int] = (-127, 127)

    def activation(self) -> QuantizationSpec:
        low, high = self.activation_range
        return QuantizationSpec(
            dtype=torch.uint8,
            quant_min=low,
            quant_max=high,
            qscheme=torch.per_tensor_affine,
            observer_or_fake_quant_ctr=FakeQuantize.with_args(
                observer=MovingAverageMinMaxObserver, averaging_constant=0.05, eps=SMALLEST_SCALE
            ),
        )

    def weight(self) -> QuantizationSpec:
        low, high = self.weight_range
        return QuantizationSpec(
            dtype=torch.int8,
            quant_min=low,
            quant_max=high,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
            # A constant of 1 follows the weights as they train, instead of where they were.
            observer_or_fake_quant_ctr=FakeQuantize.with_args(
                observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=SMALLEST_SCALE
            ),
        )


PROFILES: Registry[Profile] = Registry("quantisation profile", ModelError)

# uint8 with a zero point of 0 after ReLU is what lets ONNX Runtime absorb the ReLU into the convolution.
PROFILES["onnxruntime-x86-vnni"] = Profile("onnxruntime-x86-vnni")
# AVX2 without VNNI adds pairs of 8-bit products in 16 bits, which overflow: 2·255·127 > 32767. With weights
# of 7 bits they cannot (2·255·64 = 32640), so one file gives the same answers on every x86 processor.
PROFILES["onnxruntime-x86"] = Profile("onnxruntime-x86", weight_range=(-64, 63))
