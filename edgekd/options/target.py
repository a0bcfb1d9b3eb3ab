"""Where a network must run."""

from typing import Literal

from pydantic import Field

from edgekd.options.section import Section, Text


class Target(Section):
    """A device and the runtime on it."""

    device: Text = Field(
        default="cpu", description="cpu, or a registered device; nothing is measured on one that is not there"
    )
    runtime: Literal["onnxruntime", "tensorrt"] = Field(
        default="onnxruntime", description="what runs the network there"
    )
    threads: int = Field(default=1, ge=1, description="threads that the runtime may use")
    architecture: Literal["x86_64", "aarch64"] | None = Field(
        default=None, description="of the device's processor, where the device is not registered and cannot be asked"
    )

    @property
    def place(self) -> tuple[str, str, int | None]:
        """Return what tells two targets apart: TensorRT has no threads, and a device one architecture."""
        return self.device, self.runtime, self.threads if self.runtime == "onnxruntime" else None
