"""A function in the place of worker processes."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekd.strict_json import JsonObject


class FunctionRunner:
    """Does jobs by calling ``do``, in as many threads as there are ``slots``."""

    def __init__(self, do: Callable[..., JsonObject], slots: int = 1):
        self.do, self.slots, self.log = do, slots, Path("worker.log")

    def run(self, job: str, **fields: Any) -> JsonObject:
        return self.do(job, **fields)

    def stop(self) -> None:
        pass

    def __enter__(self) -> "FunctionRunner":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass
