"""A network in PyTorch: eager, through torch.compile, or replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgekd.agent.session import Session
from edgekd.bench.plan import Workload
from edgekd.errors import MeasurementError, first_line
from edgekd.models.copies import copied
from edgekd.precision import set_ieee_float32
from edgekd.tasks.signature import INPUT, Signature
from edgekd.tasks.tensors import output_tensors, shapes_of
from edgekd.userfile import call, is_reference, load_function

if TYPE_CHECKING:
    from edgekd.agent.clock import Call

EAGER, COMPILED, CUDA_GRAPH = "pytorch", "pytorch-compiled", "pytorch-cudagraph"
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
WARM_UP_BEFORE_CAPTURE = 3


class TorchSession(Session):
    """A network in PyTorch: ``model`` is ``path.py:function``, which takes the workload's args.

    The network is in eval mode and keeps its own memory layout: a function that wants channels_last gives its
    network so. Products of float32 are IEEE float32: TF32 is off. The input is one tensor of ``shape`` in [0, 1).
    Compiling and capturing are part of the first run.
    """

    def __init__(self, workload: Workload, *args: Any, network: nn.Module | None = None, **rest: Any):
        self._network = network
        super().__init__(workload, *args, **rest)

    @classmethod
    def of(
        cls,
        network: nn.Module,
        shape: tuple[int, ...],
        runtime: str = EAGER,
        device: str = "cpu",
        precision: str | None = None,
        threads: int = 1,
    ) -> TorchSession:
        """Make a session of a copy of ``network``, to time in a loop of one's own.

        From then on PyTorch computes with ``threads`` threads in this process, and without TF32.

        >>> session = TorchSession.of(nn.Linear(8, 4), shape=(1, 8))
        >>> tuple(session.run().shape)
        (1, 4)
        """
        workload = Workload(type(network).__name__, runtime, device, tuple(shape), precision)
        return cls(workload, threads, shape[0], network=copied(network))

    def load(self) -> None:
        self._dtype = self._precision()
        self.device = self._device()
        set_threads(self.threads)
        network = self._network if self._network is not None else build(self.workload)
        set_ieee_float32()  # the user's code may have changed it
        try:
            self.network = network.eval().to(self.device, self._dtype)
        except Exception as error:
            raise MeasurementError(f"{self._name} does not move to {self.device}: {first_line(error)}") from error
        self.input_names = [each.name for each in self._signature.inputs] if self._signature else [INPUT]
        self.providers = [provider(self.device)]

    @property
    def _name(self) -> str:
        return self.workload.model

    def _precision(self) -> torch.dtype | None:
        precision = self.workload.precision
        if precision is not None and precision not in PRECISIONS:
            raise MeasurementError(
                f"PyTorch is not timed in {precision!r}; --precision is one of {', '.join(PRECISIONS)}, "
                "or left out for the network's own"
            )
        return PRECISIONS[precision] if precision else None

    def _device(self) -> torch.device:
        name, runtime = self.workload.device, self.workload.runtime
        if name not in ("cpu", "cuda"):
            raise MeasurementError(f"PyTorch is timed on cpu and cuda, not on {name!r}; give --device cpu or cuda")
        if runtime == CUDA_GRAPH and name == "cpu":
            raise MeasurementError(f"{CUDA_GRAPH} is for CUDA only; on a CPU time {EAGER} or {COMPILED}")
        if name == "cuda" and not torch.cuda.is_available():
            raise MeasurementError(
                f"PyTorch {torch.__version__} finds no CUDA device here; give --device cpu, "
                "or install the driver and a CUDA build of torch"
            )
        return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device("cpu")

    @cached_property
    def _signature(self) -> Signature | None:
        if self.workload.signature is None:
            return None
        return Signature.from_json(dict(self.workload.signature)).sized(**self.workload.sizes)

    def place_inputs(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        like = torch.empty(0, device=self.device, dtype=self._dtype or own_dtype(self.network))
        if self._signature is not None:
            self.inputs = self._signature.example(self.batch, like, random)
        else:
            shape = shape_in_force(self.workload, self.batch)
            self.batch = shape[0] if shape else 1
            self.inputs = (torch.rand(shape, generator=random).to(like),)
        self._forward: Call | None = None

    @torch.inference_mode()
    def run(self) -> Any:
        try:
            forward = self._forward or self._prepare()
            outputs = forward()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        except torch.OutOfMemoryError as error:
            raise MeasurementError(
                f"{self._name} needs more memory than {self.providers[0]} has at {shapes_of(self.inputs)}; "
                "give a smaller --batch"
            ) from error
        except Exception as error:  # whatever a user's network raises
            raise MeasurementError(self._complaint(error)) from error
        return outputs

    def _prepare(self) -> Call:
        network, inputs = self.network, self.inputs
        if self.workload.runtime == CUDA_GRAPH:
            self._forward = capture(network, inputs)
        elif self.workload.runtime == COMPILED:
            # The shape is fixed, so a second network of the same class is not to be compiled for any.
            compiled = torch.compile(network, dynamic=False)
            # Beyond its limit of shapes for one class PyTorch would run the network eagerly, with no more than a log.
            with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
                compiled(*inputs)
            self._forward = lambda: compiled(*inputs)
        else:
            self._forward = lambda: network(*inputs)
        return self._forward

    def _complaint(self, error: Exception) -> str:
        kinds = ", ".join(str(each.dtype).removeprefix("torch.") for each in self.inputs)
        at = f"at the shape {shapes_of(self.inputs)} in {kinds}: {first_line(error)}"
        if self.workload.runtime == EAGER:
            return f"{self._name} does not run {at}"
        return f"{self._name} does not run as {self.workload.runtime} {at}; see whether it does as {EAGER}"

    @torch.inference_mode()
    def outputs(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the network's outputs for ``feeds``, by the names of its signature, or by their place.

        NumPy has no bfloat16: such outputs are widened to float32.
        """
        tensors = [torch.from_numpy(feeds[name]).to(self.device) for name in self.input_names]
        inputs = [each.to(self._dtype) if each.is_floating_point() and self._dtype else each for each in tensors]
        found = self.network(*inputs)
        named = self._signature.named(found) if self._signature else output_tensors(found)
        floats = {name: each.float() if each.dtype == torch.bfloat16 else each for name, each in named.items()}
        return {name: each.cpu().numpy() for name, each in floats.items()}

    def transfers(self) -> dict[str, Call]:
        if self.device.type != "cuda":
            return {}
        outputs = [value for value in tree_leaves(self.run()) if isinstance(value, Tensor)]
        arrived = [torch.empty_like(value, device="cpu").pin_memory() for value in outputs]
        inputs = list(self.inputs)
        sent = [each.cpu().pin_memory() for each in inputs]
        return {
            "in": lambda: copy(sent, inputs, self.device),
            "out": lambda: copy(outputs, arrived, self.device),
        }


def build(workload: Workload) -> nn.Module:
    if not is_reference(workload.model):
        raise MeasurementError(
            f"{workload.model}: PyTorch needs code that builds the network; name it as path/to/file.py:function"
        )
    function = load_function(workload.model, MeasurementError)
    network = call(function, workload.model, MeasurementError, {}, dict(workload.args))
    if not isinstance(network, nn.Module):
        raise MeasurementError(f"{workload.model} gives a {type(network).__name__}; it must return a torch.nn.Module")
    return network


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    with suppress(RuntimeError):  # PyTorch takes it once only, and not after its pool has started
        torch.set_num_interop_threads(1)


def provider(device: torch.device) -> str:
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"


def own_dtype(network: nn.Module) -> torch.dtype:
    return next((weight.dtype for weight in network.parameters() if weight.is_floating_point()), torch.float32)


def shape_in_force(workload: Workload, batch: int) -> tuple[int, ...]:
    shape = workload.shape
    if shape is None:
        raise MeasurementError(
            f"{workload.model}: a PyTorch network does not say what it takes; give --shape, such as --shape 1,3,224,224"
        )
    if batch == 1 or (shape and shape[0] == batch):
        return tuple(shape)
    if not shape or shape[0] != 1:
        raise MeasurementError(f"{workload.model}: --shape {shape} fixes another batch than {batch}; leave out --batch")
    return (batch, *shape[1:])


def capture(network: nn.Module, inputs: Sequence[Tensor]) -> Call:
    """Capture ``network(*inputs)`` as a CUDA graph and return the call that replays it into the captured outputs."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_BEFORE_CAPTURE):
            network(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = network(*inputs)

    def replay() -> Any:
        graph.replay()
        return outputs

    return replay


@torch.inference_mode()
def copy(sources: list[Tensor], targets: list[Tensor], device: torch.device) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source, non_blocking=True)
    torch.cuda.synchronize(device)


SESSION = TorchSession
