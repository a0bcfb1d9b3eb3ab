import pytest
import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.models import build


@pytest.mark.parametrize("args", [{}, {"neck": "pan", "block": "c2f", "strides": (4, 8, 16), "depth": 2}])
def test_maps_by_stride(args):
    network = build("pyramid_detector", (3, 64, 32), num_classes=5, width=8, **args).eval()
    with torch.no_grad():
        found = network(torch.zeros(2, 3, 64, 32))
    expected = {}
    for stride in args.get("strides", (8, 16)):
        size = (64 // stride, 32 // stride)
        expected |= {f"cls.{stride}": (2, 5, *size), f"box.{stride}": (2, 4, *size)}
    assert {name: tuple(each.shape) for name, each in found.items()} == expected
    # Before training few positions are taken for objects, and boxes have a size.
    assert found["cls.8"].sigmoid().max() < 0.1 and found["box.8"].min() > 0


def test_sides_of_boxes_as_distributions_over_bins():
    network = build("pyramid_detector", (3, 64, 32), num_classes=5, width=8, bins=16).eval()
    with torch.no_grad():
        found = network(torch.zeros(2, 3, 64, 32))
        for head in network.heads:
            chances = head.box[1].bias.view(4, 16).softmax(1)
            # They begin at the same mean as distances do.
            assert (chances * torch.arange(16)).sum(1).tolist() == pytest.approx([1.5] * 4, abs=0.01)
    shapes = {name: tuple(each.shape) for name, each in found.items()}
    assert shapes == {
        **{"cls.8": (2, 5, 8, 4), "bins.8": (2, 64, 8, 4)},
        **{"cls.16": (2, 5, 4, 2), "bins.16": (2, 64, 4, 2)},
    }


def test_raw_heads_of_torchvision_give_what_its_own_box_coder_takes():
    detection = pytest.importorskip("torchvision.models.detection")
    network = build("torchvision/detection/ssdlite320_mobilenet_v3_large", (3, 96, 96), num_classes=4).eval()
    with torch.no_grad():
        found = network(torch.zeros(2, 3, 96, 96))
    count = found["scores"].shape[1]
    shapes = {"scores": (2, count, 5), "anchors": (2, count, 4), "deltas": (2, count, 4), "scales": (2, 4)}
    assert {name: tuple(each.shape) for name, each in found.items()} == shapes
    assert found["scales"][0].tolist() == [10, 10, 5, 5]
    assert isinstance(
        detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).head, type(network.head)
    )

    class Heads(nn.Module):
        def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
            return {name: levels[0].flatten(2) for name in ("cls_logits", "bbox_regression")}

    network.backbone, network.head = nn.Conv2d(3, 4, 3), Heads()
    dynamic = {"images": {0: torch.export.Dim("batch")}}
    graph = torch.export.export(network, (torch.zeros(2, 3, 96, 96),), dynamic_shapes=dynamic).module()
    assert graph(torch.zeros(5, 3, 96, 96))["anchors"].shape == (5, count, 4)


@pytest.mark.parametrize(
    ("name", "shape", "args", "message"),
    [
        ("pyramid_detector", (3, 60, 64), {}, "images of multiples of that, and these are 64x60"),
        ("pyramid_detector", (3, 64, 64), {"strides": (4, 16)}, "without a gap"),
        ("pyramid_detector", (3, 64, 64), {"neck": "bifpn"}, "neck of a detector is 'bifpn'; it is fpn or pan"),
        ("pyramid_detector", (3, 64, 64), {"bins": 1}, "bins of a detector is 1; give 2 or more"),
        ("pyramid_detector", (30,), {}, "takes images"),
        ("torchvision/detection/ssdlite320", (3, 64, 64), {}, "no detector 'ssdlite320'"),
        ("torchvision/detection/fasterrcnn_mobilenet_v3_large_fpn", (3, 64, 64), {}, "has no single head"),
        ("torchvision/detection/ssd300_vgg16", (1, 64, 64), {}, "takes 3-channel images"),
    ],
)
def test_what_does_not_fit_is_refused(name, shape, args, message):
    with pytest.raises(ModelError, match=message):
        build(name, shape, num_classes=4, **args)
