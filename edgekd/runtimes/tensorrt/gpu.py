"""The GPU of this machine, queried from NVIDIA's driver itself: neither torch nor TensorRT is needed for it."""

import ctypes
import sys
from dataclasses import dataclass

from edgekd.errors import ExportError

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Gpu:
    """A GPU: the driver's ``name`` for it, and its compute ``capability`` as in ``SM89``."""

    name: str
    capability: str


def current_gpu() -> Gpu:
    """Return the first GPU that CUDA_VISIBLE_DEVICES leaves, on which TensorRT builds and runs.

    Raises:
        ExportError: there is no driver, or it finds no GPU.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise ExportError(f"this machine has no NVIDIA driver ({error})") from error
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    _ask(driver, driver.cuInit(0))
    _ask(driver, driver.cuDeviceGet(ctypes.byref(device), 0))
    _ask(driver, driver.cuDeviceGetName(name, len(name), device))
    _ask(driver, driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device))
    _ask(driver, driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device))
    return Gpu(name.value.decode(errors="replace"), f"SM{major.value}{minor.value}")


def _ask(driver: ctypes.CDLL, result: int) -> None:
    if result == 0:
        return
    text = ctypes.c_char_p()
    driver.cuGetErrorString(result, ctypes.byref(text))
    reason = (text.value or b"unknown error").decode(errors="replace")
    raise ExportError(f"NVIDIA's driver gives no GPU: {reason} (CUDA error {result})")
