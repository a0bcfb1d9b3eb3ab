import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgekd.quantize.patches import MATRIX_PRODUCTS, MatrixProduct


def exported(layer: nn.Module, x: Tensor) -> tuple[GraphModule, Node]:
    graph = torch.export.export(layer.eval(), (x,)).module()
    assert isinstance(graph, GraphModule)
    [node] = [node for node in graph.graph.nodes if node.target in MATRIX_PRODUCTS]
    return graph, node


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Conv2d(3, 6, 3), (2, 3, 7, 9)),
        (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), groups=2), (2, 4, 7, 9)),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4), (2, 4, 6, 6)),
        (nn.Conv2d(3, 6, 3, dilation=2, stride=3), (2, 3, 11, 12)),
        (nn.Conv2d(3, 6, (4, 3), padding="same", dilation=(1, 2)), (2, 3, 7, 9)),
        (nn.Conv2d(3, 6, 3, padding="valid"), (2, 3, 7, 9)),
        (nn.Conv1d(3, 6, 3, stride=2, padding=1), (2, 3, 9)),
        (nn.Conv1d(4, 6, 4, padding="same", groups=2), (2, 4, 9)),
        (nn.Linear(5, 6), (4, 5)),
        (nn.Linear(5, 6), (2, 3, 5)),
    ],
)
@torch.no_grad()
def test_columns_times_rows_are_the_layers_outputs(layer, shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    _, node = exported(layer, x)
    output, weight = layer(x), layer.weight
    product = MatrixProduct.of(node, weight)
    chosen = torch.randperm(product.positions(output))[:10]
    columns = product.columns(x, output, chosen)
    ours = torch.bmm(columns, product.rows(weight).transpose(1, 2)) + layer.bias.reshape(product.groups, 1, -1)
    torch.testing.assert_close(ours, product.outputs(output, chosen), rtol=1e-5, atol=1e-5)


def test_positions_are_samples_times_pixels():
    layer, x = nn.Conv2d(3, 6, 3), torch.randn(2, 3, 7, 9)
    _, node = exported(layer, x)
    assert MatrixProduct.of(node, layer.weight).positions(layer(x)) == 2 * 5 * 7
