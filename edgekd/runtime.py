"""Runtimes by name; their parts are imported when they are used."""

from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Literal

from edgekd.errors import MeasurementError
from edgekd.registry import Registry

# The folders below ``edgekd/runtimes``. The first is the runtime that is taken where none is named.
REGISTERED = (
    "onnxruntime",
    "tensorrt",
    "pytorch",
    "openvino",
)
DEFAULT = REGISTERED[0]

# Architectures of processors, as Linux, macOS and Windows spell them.
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
EIGHT_BITS, SEVEN_BITS = (-127, 127), (-64, 63)
# A dead channel has a range of zero and needs a scale above it. The value is exact in float16.
SMALLEST_SCALE = 2.0**-16


@dataclass(frozen=True)
class Profile:
    """Quantisation for one runtime: 8-bit activations per tensor, symmetric 8-bit weights per output channel.

    The first five fields say how a network is trained for it, the rest how its file is written.
    """

    name: str
    activations: Literal["affine", "symmetric"] = "affine"
    """Symmetric ranges have zero point 0 in int8; affine ones any zero point in uint8."""
    saturates: bool = False
    """The processor adds pairs of 8-bit products in 16 bits, so that weights must stay smaller."""
    float16_scales: bool = False
    """Scales are rounded to float16, so that a file with float16 types holds the trained ones to the bit."""
    shared_concat: bool = False
    """A concatenation's kernel copies codes, so that its inputs and its output need one range. A graph that is trained
    so serves the others too; one that is not gives this runtime a file whose concatenations are in float."""

    runtime: str | None = None
    """None for a profile that is only trained for, without files of its own."""
    kernels: tuple[str, ...] = ()
    """Operators that compute in int8."""
    activation_type: Literal["uint8", "int8"] | None = "uint8"
    """None for the trained types, uint8 of affine ranges and int8 of symmetric ones."""
    quantised_outputs: bool = True
    """Convolutions and sums have quantised outputs; otherwise only the inputs of int8 layers are quantised."""
    float16: bool = False
    """Types outside int8 are float16, with float32 inputs and outputs."""
    computes_float16: bool = False
    """A float16 file runs faster than a float32 one."""
    architectures: tuple[str, ...] = ()
    """Processors that its files are for: x86_64, aarch64; empty for any."""
    channels: int = 8
    """Widths that are multiples of this fill the runtime's kernels."""

    @property
    def training(self) -> tuple[str, bool, bool]:
        """Return what decides how a network is trained for it."""
        return self.activations, self.saturates, self.float16_scales

    def weight_range(self, nonnegative_input: bool) -> tuple[int, int]:
        """Return the smallest and the largest code of a layer's weights.

        Where the processor saturates, two products of the largest codes must fit in 16 bits. Symmetric codes of
        nonnegative inputs stay under 128, and 2·127·127 = 32258 fits. Otherwise 2·255·127 = 64770 does not, and
        weights have seven bits: 2·255·64 = 32640.
        """
        seven_bit_inputs = self.activations == "symmetric" and nonnegative_input
        return SEVEN_BITS if self.saturates and not seven_bit_inputs else EIGHT_BITS


@dataclass(frozen=True)
class Runtime:
    """A runtime: what can be said of it where it is not installed.

    Attributes:
        name: that of its folder below ``edgekd/runtimes``.
        title: its name in messages.
        sessions: the names that ``edgekd bench --runtime`` takes for it.
        loads: what it is given, in messages.
        suffixes: of the files that it loads; none where it loads networks of code.
        packages: those that it is imported from, of which one is enough.
        profiles: those that files are written for, the first for a processor that is not known.
        processor: the kind of processor that it computes on, in messages.
        devices: those of this machine on which a recipe's files are run and timed.
        takes_threads: the number of its threads is the user's choice.
        takes_precision: the precision of what a model has in float32 is the user's choice; else the file alone says it.
        one_input_remotely: on a device behind SSH it runs networks of one float input alone.
        records_kernels: its sessions record the times of their kernels, by which layers are timed and placed.
        deployment: a sentence for model cards on how a device loads ``{file}``, where it does not load the file itself.
        shipped: modules of its folder that the agent takes to a device. They keep to the standard library, NumPy, the
            runtime and ``edgekd.agent``, and to Python 3.8.
    """

    name: str
    title: str
    sessions: tuple[str, ...]
    loads: str
    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    profiles: tuple[Profile, ...] = ()
    processor: str = "CPU"
    devices: tuple[str, ...] = ()
    takes_threads: bool = True
    takes_precision: bool = False
    one_input_remotely: bool = False
    records_kernels: bool = False
    deployment: str = ""
    shipped: tuple[str, ...] = ()

    @property
    def runs_networks(self) -> bool:
        """Tell whether it runs networks of code, not files."""
        return not self.suffixes

    @property
    def is_installed(self) -> bool:
        """Tell whether one of its packages is there, without importing it."""
        return any(find_spec(package) is not None for package in self.packages)

    @property
    def asks_for_architecture(self) -> bool:
        """Tell whether a processor's architecture decides which profile its files are written for."""
        return len({profile.architectures for profile in self.profiles}) > 1

    def profile_for(self, architecture: str | None) -> Profile:
        """Return the profile whose files run on a processor of ``architecture``, or on one that is not known."""
        fitting = (each for each in self.profiles if not each.architectures or architecture in each.architectures)
        return next(fitting, self.profiles[0])

    def has(self, name: str) -> bool:
        """Tell whether the runtime's folder has a part ``name``."""
        return find_spec(f"edgekd.runtimes.{self.name}.{name}") is not None

    def part(self, name: str) -> ModuleType:
        """Import the module ``name`` of the runtime's folder.

        ``session`` has ``SESSION``, a subclass of :class:`edgekd.agent.session.Session`; ``profile`` has ``profile``,
        which times the layers of a workload; ``rules``, of a runtime with profiles, has ``TARGETS``, the
        linter's by profile.
        """
        return import_module(f"edgekd.runtimes.{self.name}.{name}")


def _record(name: str) -> Runtime:
    found: Runtime = import_module(f"edgekd.runtimes.{name}.runtime").RUNTIME
    return found


RUNTIMES: Registry[Runtime] = Registry("runtime", MeasurementError)
for _name in REGISTERED:
    RUNTIMES.late(_name)(partial(_record, _name))


@cache
def _sessions() -> Registry[Runtime]:
    found: Registry[Runtime] = Registry("runtime", MeasurementError)
    for runtime in RUNTIMES.values():
        found.update(dict.fromkeys(runtime.sessions, runtime))
    return found


def architecture_of(machine: str) -> str | None:
    """Return the name of a processor's architecture that profiles use, or None for one without files of its own."""
    return ARCHITECTURES.get(machine.lower())


def by_session(name: str) -> Runtime:
    """Return the runtime that ``edgekd bench --runtime`` calls ``name``.

    Raises:
        MeasurementError: there is none, with the nearest name.
    """
    return _sessions().find(name)
