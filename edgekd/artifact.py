"""A network on disk, without pickle: ``model.json`` and ``weights.safetensors``."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from edgekd.errors import EdgekdError, ModelError
from edgekd.files import canonical_json, read_content, read_object, sha256, sha256_file, write_bytes
from edgekd.spec import MODEL, Spec

LARGEST = 1 << 38  # bytes of weights
WEIGHTS = "weights.safetensors"


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
        """Read the network in ``folder``.

        Raises:
            ModelError: it holds none, or a damaged one.
        """
        spec = Spec.read(folder)
        try:
            return Artifact(spec, load(read_content(folder / WEIGHTS, limit=LARGEST)))
        except (EdgekdError, SafetensorError) as error:
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


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer, also those that a state dict leaves out, such as observers' ranges."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def capture(network: nn.Module, spec: Spec) -> Artifact:
    """Return ``network`` as data, independent of the live one."""
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors_of(network).items()}
    return Artifact(spec, tensors)


def fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy ``tensors`` into ``network``, all of them and nothing less."""
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
