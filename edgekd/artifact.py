"""A network on disk: ``model.json`` says how to build it, ``weights.safetensors`` holds its tensors. No pickle."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from edgekd.errors import EdgekdError, ModelError
from edgekd.files import canonical_json, read_content, read_object, sha256, sha256_file, write_bytes

SCHEMA_VERSION = 1
LARGEST = 1 << 38  # bytes of weights
LARGEST_SIZE = 1 << 31
MODEL, WEIGHTS = "model.json", "weights.safetensors"


@dataclass(frozen=True)
class Spec:
    """How to build a network: the builder with its arguments, then the cuts, then the quantisation.

    ``code`` is :func:`edgekd.models.code_of` the builder: other code is another network.
    """

    builder: str
    input_shape: tuple[int, ...]
    num_classes: int
    args: dict[str, Any] = field(default_factory=dict)
    pruning: tuple[list[list[Any]], ...] = ()
    quantization: dict[str, Any] | None = None
    code: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @property
    def builder_name(self) -> str:
        """The builder without the folder that its file lies in, which says nothing about the network."""
        return Path(self.builder).name if self.code else self.builder


@dataclass(frozen=True)
class Artifact:
    """A network as data; :func:`edgekd.load` builds it."""

    spec: Spec
    tensors: dict[str, Tensor]

    def save(self, folder: Path) -> None:
        write_bytes(folder / MODEL, canonical_json(self.spec.to_json()))
        write_bytes(folder / WEIGHTS, save(self.tensors))

    @staticmethod
    def load(folder: Path) -> "Artifact":
        """Raises :class:`ModelError` where ``folder`` holds no artifact, or a damaged one."""
        try:
            content = read_object(folder / MODEL, "make it again")
            if content.pop("schema_version") != SCHEMA_VERSION:
                raise ModelError(f"{folder / MODEL} was written by another version of edgekd; make it again")
            for key in ("input_shape", "pruning", "code"):
                content[key] = tuple(content.get(key, ()))
            spec = Spec(**content)
            must_be_typed(spec)
            return Artifact(spec, load(read_content(folder / WEIGHTS, limit=LARGEST)))
        except ModelError:
            raise
        except (EdgekdError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ModelError(f"{folder} is not a network that edgekd saved, or is damaged: {error}") from error

    @property
    def sha256(self) -> str:
        return sha256(canonical_json(self.spec.to_json()) + save(self.tensors))


def content_of(folder: Path) -> str:
    """Hash the network in ``folder``, wherever its builder's file lies."""
    content = read_object(folder / MODEL, "make it again", ModelError)
    if content.get("code"):
        content["builder"] = Path(content["builder"]).name
    return sha256(canonical_json([sha256(canonical_json(content)), sha256_file(folder / WEIGHTS)]))


def must_be_typed(spec: Spec) -> None:
    """Raise TypeError where a field holds something else than it says."""
    sizes = (*spec.input_shape, spec.num_classes)
    checks = {
        "builder": isinstance(spec.builder, str),
        "args": isinstance(spec.args, dict),
        "input_shape, num_classes": all(type(size) is int and 0 < size < LARGEST_SIZE for size in sizes),
        "pruning": all(isinstance(cut, list) and all(isinstance(each, list) for each in cut) for cut in spec.pruning),
        "quantization": spec.quantization is None or isinstance(spec.quantization, dict),
        "code": all(isinstance(each, str) for each in spec.code),
    }
    for name, holds in checks.items():
        if not holds:
            raise TypeError(f"{name} is of another kind")


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, also those that a state dict leaves out (observers keep their ranges there)."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def capture(network: nn.Module, spec: Spec) -> Artifact:
    """``network`` as data, independent of the live one."""
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors_of(network).items()}
    return Artifact(spec, tensors)


def fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copies ``tensors`` into ``network``, all of them and nothing less."""
    own = tensors_of(network)
    different = [n for n in own.keys() | tensors.keys() if n not in own or n not in tensors]
    if different:
        raise ModelError(f"the weights are for another network: {sorted(different)[0]!r} is on one side only")
    for name, value in own.items():
        if value.shape != tensors[name].shape:
            if isinstance(value, nn.Parameter):
                theirs, ours = tuple(tensors[name].shape), tuple(value.shape)
                raise ModelError(f"the weights are for another network: {name!r} is {theirs} in them, {ours} in it")
            # Observers start without a range and take their shape from the first batch.
            value.data = value.data.new_empty(tensors[name].shape)
        value.data.copy_(tensors[name])
