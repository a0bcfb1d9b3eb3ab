"""A report of the layers that a Jetson's DLA takes: an opt-in, and no speed-up by itself."""

from pathlib import Path

from edgekd.bench.events import reading_response
from edgekd.devices.probe import Probe, probe_remote
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError
from edgekd.runtimes.tensorrt.remote.engines import BUILD_S, builder_of, engine_of, parse_build_result, timing_job
from edgekd.runtimes.tensorrt.trtexec.dla import DlaReport, parse_dla


def dla_report(remote: Remote, model: Path, core: int = 0, probe: Probe | None = None) -> DlaReport:
    """Build ``model`` for the DLA ``core``, with the GPU as fallback, and parse the log of the build.

    A DLA takes float16 and fixed shapes: up to TensorRT 10 a float32 file is built in float16, in 11 its types rule.

    Raises:
        DeviceError: no trtexec or no such core there, a file with Q/DQ, or a log that does not show where layers went.
    """
    if not model.is_file():
        raise DeviceError(f"no such file: {model}; give an ONNX file")
    builder = builder_of(probe or probe_remote(remote))
    engine = engine_of(builder, model, 0, 1, core)
    if engine.quantised:
        raise DeviceError(f"{model} is quantised by Q/DQ, which a DLA does not take: give the float file")
    remote.push(model, engine.onnx)
    request = timing_job([engine], [])
    try:
        with reading_response(remote.device.name):
            logs = [
                parse_build_result(event).log for event in remote.events(request, BUILD_S) if event["event"] == "engine"
            ]
    except DeviceError as error:
        if "Cannot create DLA engine" in str(error):
            raise DeviceError(
                f"{remote.device.name} has no DLA core {core}; Orin Nano, Nano and Thor have none"
            ) from error
        raise
    report = parse_dla("".join(logs))
    if not report.on_dla and not report.on_gpu:
        raise DeviceError(
            f"the log of trtexec on {remote.device.name} does not show where layers went; please report it with the "
            "versions that 'edgekd devices probe' shows"
        )
    return report
