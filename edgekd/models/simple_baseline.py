"""Heat maps of points from any backbone: Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation" (2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgekd.errors import ModelError, first_line
from edgekd.models.modes import in_evaluation
from edgekd.models.pyramid_detector import ConvNorm

# The deviation of the last layer's weights in the paper's code: maps are near 0 at first, as most of a map is to be.
SMALL = 0.001


class SimpleBaseline(nn.Module):
    """A backbone up to its last map, enlarged step by step, and a map for each point.

    The paper's transposed convolutions, which few runtimes compute in int8, are a 1x1 convolution, upsampling to the
    nearest value and a 3x3 convolution here.

    Args:
        trunk: gives maps (N, before, h, w).
        before: their channels.
        steps: how often they are enlarged to twice the size.
        channels: of each step.
        maps: of the output (N, maps, 2 ** steps * h, 2 ** steps * w).
    """

    def __init__(self, trunk: nn.Module, before: int, steps: int, channels: int, maps: int):
        super().__init__()
        self.trunk = trunk
        widths = [before, *[channels] * steps]
        self.narrow = nn.ModuleList(ConvNorm(width, channels, kernel=1) for width in widths[:-1])
        self.smooth = nn.ModuleList(ConvNorm(channels, channels) for _ in range(steps))
        self.head = nn.Conv2d(widths[-1], maps, 1)
        nn.init.normal_(self.head.weight, std=SMALL)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.trunk(x)
        for narrow, smooth in zip(self.narrow, self.smooth, strict=True):
            x = smooth(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest"))
        found: Tensor = self.head(x)
        return found


def on_backbone(
    name: str, backbone: nn.Module, input_shape: tuple[int, ...], maps: int, stride: int, channels: int
) -> SimpleBaseline:
    """Build a :class:`SimpleBaseline`, which gives ``maps`` of a cell for ``stride`` x ``stride`` pixels.

    Args:
        name: of the backbone, for messages.
        backbone: a network for images of ``input_shape``, whose layers behind its last map are left out.

    Raises:
        ModelError: the backbone has no map, or its last one cannot become one of this stride.
    """
    if len(input_shape) != 3:
        raise ModelError(f"simple_baseline takes images (channels, height, width), and the data gives {input_shape}")
    trunk, (before, *size) = _trunk(name, backbone, input_shape)
    wanted = [side / stride for side in input_shape[1:]]
    steps = next((each for each in range(8) if [side << each for side in size] == wanted), None)
    if steps is None:
        height, width = input_shape[1:]
        raise ModelError(
            f"the last map of {name} is {size[1]}x{size[0]} for an image of {width}x{height}, and a map of stride "
            f"{stride} is {wanted[1]:g}x{wanted[0]:g}, not 1, 2, 4 or more times as large: choose another stride, or "
            "set data.image_size to a multiple of the backbone's own"
        )
    return SimpleBaseline(trunk, before, steps, channels, maps)


class _Shapes(fx.Interpreter):
    """Runs a traced network, and notes the shape of one sample of each node that gives a tensor."""

    def __init__(self, traced: fx.GraphModule):
        super().__init__(traced)
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:
        value: object = super().run_node(n)
        if isinstance(value, Tensor):
            self.found[n] = tuple(value.shape[1:])
        return value


def _trunk(name: str, network: nn.Module, input_shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the network up to its last map of more than one cell, and the shape of that."""
    try:
        traced = fx.symbolic_trace(network)
        shapes = _Shapes(traced)
        with in_evaluation(traced), torch.no_grad():
            shapes.run(torch.zeros(2, *input_shape))
    except Exception as error:  # of tracing as of the network, whatever they raise
        raise ModelError(f"{name} is no backbone: it cannot be traced by torch.fx: {first_line(error)}") from error
    maps = [node for node, shape in shapes.found.items() if len(shape) == 3 and shape[1] * shape[2] > 1]
    if not maps or maps[-1].op == "placeholder":
        raise ModelError(f"{name} is no backbone: it makes no maps of an image {input_shape}")
    [output] = (node for node in traced.graph.nodes if node.op == "output")
    output.args = (maps[-1],)
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced, shapes.found[maps[-1]]
