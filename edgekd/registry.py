"""Registries: a dict with a decorator, and an error that names the nearest entry."""

from collections import UserDict
from collections.abc import Callable, Iterator
from typing import TypeVar

from edgekd.errors import EdgekdError
from edgekd.nearest import among

T = TypeVar("T")


class Registry(UserDict[str, T]):
    """Names to entries of one kind.

    >>> losses = Registry("loss")
    >>> @losses.register("kd")
    ... def kd(): ...
    >>> losses.find("kd") is kd
    True

    Args:
        kind: what messages call an entry.
        error: what :meth:`find` raises.
    """

    def __init__(self, kind: str, error: type[EdgekdError] = EdgekdError):
        super().__init__()
        self.kind = kind
        self.error = error
        self._late: dict[str, Callable[[], T]] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self.data and name in self._late:
            self.data[name] = self._late[name]()
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        return name in self.data or name in self._late

    def __iter__(self) -> Iterator[str]:
        return iter({**self._late, **self.data})

    def __len__(self) -> int:
        return len({**self._late, **self.data})

    def register(self, *names: str) -> Callable[[T], T]:
        def add(entry: T) -> T:
            for name in names:
                self[name] = entry
            return entry

        return add

    def late(self, name: str) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Register under ``name`` the entry that the decorated function imports when it is first used.

        Its name is known before, without what the entry needs.
        """

        def add(find: Callable[[], T]) -> Callable[[], T]:
            self._late[name] = find
            return find

        return add

    def find(self, name: str) -> T:
        if name not in self:
            raise self.error(f"unknown {self.kind} {name!r}{among(name, sorted(self))}")
        return self[name]
