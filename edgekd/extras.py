"""Packages that a plain ``pip install edgekd`` leaves out, by the extra that brings them."""

EXTRAS = {
    "train": (
        *("torch", "torchvision", "torchao", "torch_pruning", "lightning_fabric", "safetensors", "sklearn"),
        *("onnx_ir", "onnxscript", "packaging", "jinja2", "matplotlib"),
    ),
    "timm": ("timm",),
    "tensorboard": ("tensorboard",),
    "openvino": ("openvino",),
    "ray": ("ray",),
}


def how_to_install(module: str | None) -> str | None:
    """Return one line for a ``module`` that is missing, or None if no extra brings its package."""
    package = (module or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return f"this needs {package}, which is not installed here: pip install 'edgekd[{extra}]'"
    return None
