"""The machine: versions, GPU, driver, and which modules of edgekd can be imported."""

import pkgutil
import platform
import subprocess
from collections.abc import Iterator
from importlib import import_module, metadata
from typing import Any

PACKAGES = (
    *("torch", "torchvision", "triton", "numpy", "torchao", "torch-pruning", "lightning-fabric", "pytorch-lightning"),
    *("onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "pydantic", "safetensors"),
    *("scipy", "scikit-learn", "psutil", "pytest", "rich", "typer"),
)
FIELDS = "name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit"


def measure(device: str, quick: bool) -> Iterator[tuple[str, Any]]:
    yield "python", platform.python_version()
    yield "packages", {name: version(name) for name in PACKAGES}
    yield "nvidia_smi", nvidia_smi()
    yield "torch", torch_facts()
    yield "driver", attempt(driver_gpu)
    yield "probe", attempt(lambda: probe(device))
    yield "imports", imports()
    from edgekd.bench import fingerprint

    yield "fingerprint", fingerprint().to_json()


def goals(figures: dict[str, Any], device: str) -> list[dict[str, Any]]:
    return []


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def nvidia_smi() -> dict[str, str] | str:
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv,noheader"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"absent: {type(error).__name__}"
    values = done.stdout.strip().splitlines()[:1] or [done.stderr.strip()[:200]]
    return dict(zip(FIELDS.split(","), (each.strip() for each in values[0].split(",")), strict=False))


def torch_facts() -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
    }
    facts["available"] = torch.cuda.is_available()
    if facts["available"]:
        about = torch.cuda.get_device_properties(0)
        facts |= {"gpu": about.name, "capability": f"{about.major}.{about.minor}", "memory_bytes": about.total_memory}
        facts |= {"multiprocessors": about.multi_processor_count, "cudnn": torch.backends.cudnn.version()}
        facts["bfloat16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    return facts


def driver_gpu() -> dict[str, str]:
    from edgekd.runtimes.tensorrt.gpu import current_gpu

    gpu = current_gpu()
    return {"name": gpu.name, "capability": gpu.capability}


def probe(device: str) -> str:
    from edgekd.devices.local import probe_local
    from edgekd.devices.registry import Device

    return str(probe_local(Device(device)))[:1000]


def attempt(function: Any) -> Any:
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"


def imports() -> dict[str, Any]:
    """Import every module of edgekd and return how many could be, and the others by the reason."""
    import edgekd

    names = [each.name for each in pkgutil.walk_packages(edgekd.__path__, "edgekd.") if "__main__" not in each.name]
    failed: dict[str, list[str]] = {}
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            failed.setdefault(f"{type(error).__name__}: {str(error)[:120]}", []).append(name)
    return {"modules": len(names), "imported": len(names) - sum(map(len, failed.values())), "failed": failed}
