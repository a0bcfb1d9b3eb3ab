import pytest

from edgekd.errors import ExportError
from edgekd.runtimes.tensorrt.gpu import DRIVER, current_gpu


def test_without_a_gpu_the_reason_is_given(no_gpu):
    with pytest.raises(ExportError, match=f"no NVIDIA driver .*{DRIVER}|NVIDIA's driver gives no GPU: .*CUDA error"):
        current_gpu()


@pytest.mark.gpu
def test_the_driver_says_what_torch_says(gpu):
    torch = pytest.importorskip("torch")
    major, minor = torch.cuda.get_device_capability(0)
    assert (gpu.name, gpu.capability) == (torch.cuda.get_device_name(0), f"SM{major}{minor}")
