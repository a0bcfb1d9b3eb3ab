"""Files for TensorRT: an engine is built of the ONNX file, where TensorRT and its GPU are or ahead of time."""

from pathlib import Path

from edgekd.deploy.writer import Built, Writer
from edgekd.errors import ExportError
from edgekd.runtimes.tensorrt.cache import engine_for


class TensorRTWriter(Writer):
    """The writer of TensorRT, which takes the ONNX file as its profile has it written."""

    def build(self, path: Path, folder: Path, capability: str | None) -> Built:
        """Build the engine for the GPU of this machine, or ahead of time for ``capability``, such as ``SM89``."""
        try:
            return Built(engine_for(path, folder, capability))
        except ExportError as error:
            if capability is not None:
                raise
            return Built(reason=str(error))


WRITER = TensorRTWriter()
