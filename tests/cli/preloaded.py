"""What a run imports on its way: a server that has it forks runs of 3 seconds instead of 6."""

from edgekd.cli import main, run  # noqa: F401
from edgekd.data import load_data
from edgekd.export.onnx_file import to_onnx
from edgekd.models import build
from edgekd.pipeline import run as pipeline_run  # noqa: F401
from edgekd.recipe import Data

to_onnx(
    build("small_cnn", load_data(Data(source="digits")).input_shape, 10, width=2), None, "0123456789", inputs=(1, 8, 8)
)
