"""How a network is built: its builder, then changes of its structure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError, ModelError
from edgekd.files import read_object
from edgekd.tasks.signature import Shape, Signature

SCHEMA_VERSION = 2
LARGEST_SIZE = 1 << 31
MODEL = "model.json"


@dataclass(frozen=True)
class Transform:
    """A change of a network's structure: the ``stage`` that made it applies it again from ``change``, plain JSON."""

    stage: str
    change: Any


@dataclass(frozen=True)
class Spec:
    """How to build a network.

    Attributes:
        transforms: in the order that they were made.
        code: :func:`edgekd.models.code_of` the builder; other code is another network.
        signature: what it takes and gives, where that is not one tensor ``input`` of ``input_shape`` and ``logits``.
    """

    builder: str
    input_shape: tuple[int, ...]
    num_classes: int
    args: dict[str, Any] = field(default_factory=dict)
    transforms: tuple[Transform, ...] = ()
    code: tuple[str, ...] = ()
    signature: Signature | None = None

    @property
    def inputs(self) -> Shape | Signature:
        """Return what the network takes, as the functions that compress and export networks do."""
        return self.signature or self.input_shape

    def then(self, stage: str, change: Any) -> "Spec":
        """Return this network after one more change."""
        return replace(self, transforms=(*self.transforms, Transform(stage, change)))

    def before(self, stage: str) -> "Spec":
        """Return this network without the changes that ``stage`` made."""
        return replace(self, transforms=tuple(each for each in self.transforms if each.stage != stage))

    def change_by(self, stage: str) -> Any:
        """Return the last change that ``stage`` made, or None if it made none."""
        return next((each.change for each in reversed(self.transforms) if each.stage == stage), None)

    def to_json(self) -> dict[str, Any]:
        content = {"schema_version": SCHEMA_VERSION, **asdict(replace(self, signature=None))}
        del content["signature"]
        return content if self.signature is None else {**content, "signature": self.signature.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Spec":
        """Read what :meth:`to_json` or an earlier version wrote.

        Raises:
            ValueError, KeyError, TypeError: it is no description of a network.
        """
        content = dict(document)
        if content.pop("schema_version") == 1:
            content["transforms"] = _transforms_of_version_1(content)
        content["transforms"] = tuple(Transform(**each) for each in content["transforms"])
        for key in ("input_shape", "code"):
            content[key] = tuple(content.get(key, ()))
        if "signature" in content:
            content["signature"] = Signature.from_json(content["signature"])
        spec = cls(**content)
        _must_be_typed(spec)
        return spec

    @classmethod
    def read(cls, folder: Path) -> "Spec":
        """Read the description of the network in ``folder``.

        Raises:
            ModelError: there is none, or it is damaged, or a later version wrote it.
        """
        try:
            document = read_object(folder / MODEL, "make it again")
            if document["schema_version"] not in (1, SCHEMA_VERSION):
                raise ModelError(f"{folder / MODEL} was written by another version of edgekd; make it again")
            return cls.from_json(document)
        except ModelError:
            raise
        except (EdgekdError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder} is not a network that edgekd saved, or is damaged: {error}") from error

    @property
    def builder_name(self) -> str:
        """Return the builder without the folder of its file, which says nothing about the network."""
        return Path(self.builder).name if self.code else self.builder


def _transforms_of_version_1(content: dict[str, Any]) -> list[dict[str, Any]]:
    # Cuts came first, and quantisation last.
    changes = [{"stage": "prune", "change": plan} for plan in content.pop("pruning", ())]
    quantization = content.pop("quantization", None)
    return changes + ([{"stage": "quantize", "change": quantization}] if quantization is not None else [])


def _must_be_typed(spec: Spec) -> None:
    sizes = (*spec.input_shape, spec.num_classes)
    checks = {
        "builder": isinstance(spec.builder, str),
        "args": isinstance(spec.args, dict),
        "input_shape, num_classes": all(type(size) is int and 0 < size < LARGEST_SIZE for size in sizes),
        "transforms": all(isinstance(each.stage, str) and _is_change(each.change) for each in spec.transforms),
        "code": all(isinstance(each, str) for each in spec.code),
    }
    for name, holds in checks.items():
        if not holds:
            raise TypeError(f"{name} is of another kind")


def _is_change(change: Any) -> bool:
    return isinstance(change, dict) or (isinstance(change, list) and all(isinstance(each, list) for each in change))
