"""A profile's 8-bit types as torchao's specifications."""

import torch
from torchao.quantization.pt2e.quantizer import QuantizationSpec

from edgekd.export.profile import Profile
from edgekd.quantize.fake_quant import FakeQuantize


def activation_spec(profile: Profile) -> QuantizationSpec:
    """One range for the whole tensor, which follows a twentieth of the way what each batch shows."""
    symmetric = profile.activations == "symmetric"
    return QuantizationSpec(
        dtype=torch.int8 if symmetric else torch.uint8,
        quant_min=-128 if symmetric else 0,
        quant_max=127 if symmetric else 255,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        observer_or_fake_quant_ctr=FakeQuantize.with_args(float16_scales=profile.float16_scales),
    )


def weight_spec(profile: Profile, codes: tuple[int, int], ch_axis: int) -> QuantizationSpec:
    """One range per output channel, which follows the weights as they train."""
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=codes[0],
        quant_max=codes[1],
        qscheme=torch.per_channel_symmetric,
        ch_axis=ch_axis,
        observer_or_fake_quant_ctr=FakeQuantize.with_args(
            averaging=1.0, float16_scales=profile.float16_scales, ch_axis=ch_axis
        ),
    )
