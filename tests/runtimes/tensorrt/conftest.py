import pytest

from edgekd.errors import ExportError
from edgekd.runtimes.tensorrt.gpu import current_gpu
from tests.devices.conftest import clean, sshd

__all__ = ["clean", "sshd"]


@pytest.fixture
def rtx():
    """TensorRT for RTX where it is the one that edgekd takes."""
    trt = pytest.importorskip(
        "tensorrt_rtx", reason="'pip install tensorrt-rtx' brings what is missing here", exc_type=ImportError
    )
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        return trt
    pytest.skip("tensorrt is installed too and is taken first")


@pytest.fixture
def no_gpu():
    try:
        gpu = current_gpu()
    except ExportError:
        return
    pytest.skip(f"there is a GPU: {gpu.name}")


@pytest.fixture
def gpu():
    try:
        return current_gpu()
    except ExportError as error:
        pytest.skip(str(error))
