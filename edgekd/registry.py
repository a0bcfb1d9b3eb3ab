"""Registries: a dict with a decorator, and an error that names the nearest entry."""

from collections.abc import Callable
from typing import TypeVar

from edgekd.errors import EdgekdError
from edgekd.nearest import nearest

T = TypeVar("T")


class Registry(dict[str, T]):
    """Names to entries of one kind.

    >>> losses = Registry("loss")
    >>> @losses.register("kd")
    ... def kd(): ...
    >>> losses.find("kd") is kd
    True
    """

    def __init__(self, kind: str, error: type[EdgekdError] = EdgekdError):
        super().__init__()
        self.kind = kind
        self.error = error

    def register(self, *names: str) -> Callable[[T], T]:
        def add(entry: T) -> T:
            for name in names:
                self[name] = entry
            return entry

        return add

    def find(self, name: str) -> T:
        if name not in self:
            known = ", ".join(sorted(self))
            raise self.error(f"unknown {self.kind} {name!r}{nearest(name, self)}; known: {known}")
        return self[name]
