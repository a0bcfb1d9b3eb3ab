"""TensorRT on a device: the release of its ``trtexec``, which builds and runs engines there."""

from edgekd.devices.facts import DeviceFacts
from edgekd.devices.jetson.release import parse_l4t_package, parse_nv_tegra_release
from edgekd.devices.runtime_probe import RuntimeProbe
from edgekd.runtimes.tensorrt.runtime import RUNTIME
from edgekd.runtimes.tensorrt.trtexec.command import is_known
from edgekd.runtimes.tensorrt.trtexec.output import dotted, parse_version


class TensorRTProbe(RuntimeProbe):
    """The probe of TensorRT, which tells its release in the banner of ``trtexec``."""

    def release(self, facts: DeviceFacts) -> str | None:
        """Return the release, as ``10.3.0``."""
        version = parse_version(facts.jetson.trtexec_banner)
        return dotted(version) if version else None

    def can_run(self, facts: DeviceFacts) -> bool:
        """Tell whether edgekd knows the flags of the ``trtexec`` there."""
        version = parse_version(facts.jetson.trtexec_banner)
        return version is not None and is_known(version)

    def missing(self, facts: DeviceFacts) -> list[str]:
        """Return how to get ``trtexec`` on a Jetson without it, and a release that is not known."""
        version = parse_version(facts.jetson.trtexec_banner)
        if version is None:
            jetson = facts.jetson
            is_jetson = parse_nv_tegra_release(jetson.nv_tegra_release) or parse_l4t_package(jetson.l4t_package)
            return ["trtexec, for TensorRT: 'sudo apt install libnvinfer-bin' there"] if is_jetson else []
        if is_known(version):
            return []
        return [f"TensorRT that edgekd knows: it is {dotted(version)}, and 8.2 to 11 are known"]


PROBE = TensorRTProbe(RUNTIME)
