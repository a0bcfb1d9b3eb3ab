"""A report of what a Jetson's DLA takes of a network: an opt-in, and no speed-up by itself."""

from pathlib import Path

from edgekd.devices.engines import BUILD_S, builder_of, built_of, engine_of
from edgekd.devices.jetson.dla import DlaReport, parse_dla
from edgekd.devices.probe import Probe, probed
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError


def dla_report(remote: Remote, model: Path, core: int = 0, found: Probe | None = None) -> DlaReport:
    """Builds ``model`` for the DLA ``core`` with the GPU for what it does not take, and reads the log of that.

    A DLA takes float16 and fixed shapes; the file's own Q/DQ is not for it.

    Raises:
        DeviceError: no trtexec or no such core there, or its log does not say where layers went.
    """
    if not model.is_file():
        raise DeviceError(f"no such file: {model}; give an ONNX file")
    builder = builder_of(found or probed(remote))
    engine = engine_of(builder, model, 0, 1, core)
    remote.put(model, engine.onnx)
    request = {"job": "tensorrt", "engines": {engine.file: engine.request}, "runs": [], "lock_clocks": False}
    logs = [built_of(event).log for event in remote.events(request, BUILD_S) if event["event"] == "engine"]
    report = parse_dla("".join(logs))
    if not report.on_dla and not report.on_gpu:
        raise DeviceError(
            f"the log of trtexec on {remote.device.name} does not say where layers went: has the board a DLA? "
            "Orin Nano and Nano have none"
        )
    return report
