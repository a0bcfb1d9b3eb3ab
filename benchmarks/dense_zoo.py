"""Networks for boxes, masks and points: torchvision's, edgekd's, and small ones of ``dense/`` after papers."""

from pathlib import Path

from zoo import ZooNetwork

SIDE, CLASSES, POINTS = 64, 5, 17
HERE = Path(__file__).with_name("dense")

CSP = (
    *("c2f", "c2f_distributed", "c3k2_attention", "c3_anchors", "csp_mish", "elan", "gelan", "inverted", "focus"),
    *("gated", "reparametrised", "shuffled", "darknet", "tiny", "weighted"),
)
MASKS = (
    *("unet_transposed", "unet_shuffled", "unet_bilinear", "unet_gated", "unet_residual", "unet_group_norm"),
    *("unet_instance_norm", "unet_separable", "unet_nested", "unet_of_unets", "inverted_unet", "linknet"),
    *("pyramid_pooling", "two_paths", "high_resolution"),
)
POSES = (
    *("deconvolutions", "depthwise_deconvolutions", "pixel_shuffle", "shuffled_heat_maps", "high_resolution_pose"),
    *("hourglass", "refined", "bins", "mean_position", "centres"),
)
SSDLITE, SSD, FCOS = "ssdlite320_mobilenet_v3_large", "ssd300_vgg16", "fcos_resnet50_fpn"
ONE_STAGE = (SSDLITE, "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", FCOS, SSD)
# SSD is made for one size. At 64 the last level of FCOS is one pixel, of which PyTorch computes no GroupNorm whose
# groups were cut to one channel.
SIDES = {SSD: 300, FCOS: 256}
SEGMENTATION = (
    *("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50", "deeplabv3_resnet50"),
    *("fcn_resnet101", "deeplabv3_resnet101"),
)
# Of two-stage detectors, with the shape of what they take.
PARTS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "fasterrcnn_box_head": ("boxes", (256, 7, 7), CLASSES),
    "maskrcnn_mask_head": ("masks", (256, 14, 14), CLASSES),
    "keypointrcnn_head": ("points", (256, 14, 14), POINTS),
    "fasterrcnn_first_stage": ("boxes", (3, SIDE, SIDE), CLASSES),
    "keypointrcnn_first_stage": ("points", (3, SIDE, SIDE), POINTS),
}


def dense_networks() -> dict[str, ZooNetwork]:
    """Return the networks by name, small ones first."""
    image = (3, SIDE, SIDE)
    found = [
        *(ZooNetwork(name, f"{HERE / 'csp.py'}:{name}", image, CLASSES, "boxes") for name in CSP),
        *(ZooNetwork(name, f"{HERE / 'unets.py'}:{name}", image, CLASSES, "masks") for name in MASKS),
        *(ZooNetwork(name, f"{HERE / 'poses.py'}:{name}", image, POINTS, "points") for name in POSES),
        ZooNetwork("unet", "unet", image, CLASSES, "masks"),
        ZooNetwork("pyramid_detector", "pyramid_detector", image, CLASSES, "boxes"),
        *(
            ZooNetwork(name, f"{HERE / 'torchvision_parts.py'}:{name}", shape, classes, kind)
            for name, (kind, shape, classes) in PARTS.items()
        ),
        *(ZooNetwork(name, f"torchvision/segmentation/{name}", image, CLASSES, "masks") for name in SEGMENTATION),
        *(
            ZooNetwork(
                name,
                f"torchvision/detection/{name}",
                (3, SIDES.get(name, SIDE), SIDES.get(name, SIDE)),
                CLASSES,
                "boxes",
            )
            for name in ONE_STAGE
        ),
    ]
    return {each.name: each for each in found}
