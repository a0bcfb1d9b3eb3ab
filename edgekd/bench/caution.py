"""What makes a figure doubtful: a code for machines, a sentence for people."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Caution:
    code: str
    message: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)
