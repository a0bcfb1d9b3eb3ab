"""Small networks, one of each of torchvision's families, to be named as ``tests/prune/zoo.py:function``."""

from functools import partial

from torch import nn
from torchvision import models
from torchvision.models import convnext, densenet, maxvit, regnet, resnet, swin_transformer

SHAPE = (3, 64, 64)
CLASSES = 10


def resnext() -> nn.Module:
    return resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=CLASSES, groups=8, width_per_group=8)


def regnet_y() -> nn.Module:
    blocks = regnet.BlockParams.from_init_params(depth=4, w_0=16, w_a=16.0, w_m=2.0, group_width=8, se_ratio=0.25)
    return regnet.RegNet(blocks, num_classes=CLASSES)


def dense() -> nn.Module:
    return densenet.DenseNet(16, (3, 3), 32, num_classes=CLASSES)


def shufflenet() -> nn.Module:
    return models.ShuffleNetV2([2, 2, 2], [24, 48, 96, 192, 128], num_classes=CLASSES)


def squeezenet() -> nn.Module:
    return models.squeezenet1_1(weights=None, num_classes=CLASSES)


def mobilenet_v3() -> nn.Module:
    return models.mobilenet_v3_small(weights=None, width_mult=0.5, num_classes=CLASSES)


def mnasnet() -> nn.Module:
    return models.mnasnet0_5(weights=None, num_classes=CLASSES)


def efficientnet() -> nn.Module:
    make = models.efficientnet.MBConvConfig
    blocks = [make(1, 3, 1, 16, 16, 1), make(4, 3, 2, 16, 24, 2), make(4, 5, 2, 24, 40, 2)]
    return models.EfficientNet(blocks, dropout=0.1, num_classes=CLASSES)


def vgg() -> nn.Module:
    """The last layer before the head is flattened with four places for each channel."""
    return nn.Sequential(
        models.vgg.make_layers([16, "M", 32, "M", 64, "M", 64, "M"], batch_norm=True),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(nn.Linear(256, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, CLASSES)),
    )


def googlenet() -> nn.Module:
    return models.googlenet(weights=None, num_classes=CLASSES, aux_logits=True, init_weights=False)


def convnext_small() -> nn.Module:
    blocks = [convnext.CNBlockConfig(32, 64, 2), convnext.CNBlockConfig(64, None, 2)]
    return models.ConvNeXt(blocks, layer_scale=0.5, num_classes=CLASSES)


def vit() -> nn.Module:
    network = models.VisionTransformer(64, 16, 2, 4, 64, 512, num_classes=CLASSES)
    # torchvision starts it at zero, and then the logits are zero whatever comes before.
    nn.init.normal_(network.heads.head.weight)
    return network


def swin() -> nn.Module:
    return models.SwinTransformer([4, 4], 32, [2, 2], [2, 4], [4, 4], num_classes=CLASSES)


def swin_v2() -> nn.Module:
    merge, block = swin_transformer.PatchMergingV2, swin_transformer.SwinTransformerBlockV2
    return models.SwinTransformer(
        [4, 4], 32, [2, 2], [2, 4], [4, 4], num_classes=CLASSES, block=block, downsample_layer=merge
    )


def maxvit_small() -> nn.Module:
    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
    return maxvit.MaxVit((64, 64), 16, 4, [16, 32], [1, 1], 8, 0.0, norm_layer=norm, num_classes=CLASSES)
