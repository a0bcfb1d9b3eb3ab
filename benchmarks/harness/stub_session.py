"""A runtime that does nothing, so that nothing but the harness is left."""

from typing import Any

from numpy.typing import NDArray

from edgekd.agent.session import Session

PLACE = f"{__name__}:Stub"


class Stub(Session):
    """A model that is loaded and run in no time."""

    def load(self) -> None:
        self.providers: list[str] = []

    def place_inputs(self, seed: int) -> None:
        self.batch = 1

    def run(self) -> None:
        return None

    def outputs(self, feeds: object) -> dict[str, NDArray[Any]]:
        return {}
