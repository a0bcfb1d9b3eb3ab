"""A piece of a run, and the one way in which a run makes whatever it keeps."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from edgekd.artifact_cache import SUMS, ArtifactCache

R = TypeVar("R")


class Node(ABC, Generic[R]):
    """A function of other nodes' results, options, data and a seed, with a key that hashes all of these.

    Attributes:
        within: the folder of the run that results of this kind are kept in.
        name: of the result's folder, before the start of its key.
    """

    within: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    @abstractmethod
    def key(self) -> str: ...

    @abstractmethod
    def fill(self, folder: Path, workplace: Path) -> None:
        """Write the result into the empty ``folder``.

        Args:
            workplace: may be made, and then keeps unfinished work from which a node that was killed goes on.
        """

    @abstractmethod
    def read(self, folder: Path) -> R:
        """Return the result that :meth:`fill` wrote, now or before."""

    def holds(self, folder: Path) -> bool:
        """Return whether a result from before still counts; what was measured in trouble is better measured again."""
        return True

    def found(self, folder: Path) -> None:
        """Take note that the result was there."""


class NodeCache:
    """The results of a run's nodes, in the run's ``folder``.

    Args:
        shared: a folder of results that several runs share. One is made there, once for all of them, and each run gets
            a copy of what it needs, which takes no room where the disk has hard links.
    """

    def __init__(self, folder: Path, shared: Path | None = None):
        self.folder = folder
        self.shared = NodeCache(shared) if shared else None
        self._caches: dict[str, ArtifactCache] = {}

    def make(self, node: Node[R]) -> R:
        """Return the node's result, made now unless it is there, undamaged, from before."""
        with self._entry(node) as (folder, made):
            if not made:
                node.found(folder)
            return node.read(folder)

    @contextmanager
    def _entry(self, node: Node[Any]) -> Iterator[tuple[Path, bool]]:
        """Give the node's folder, and whether it was made just now."""
        cache, made = self._cache(node.within), [False]
        # Without a lock, so that results may lie in a folder that is read only.
        if type(node).holds is Node.holds and (found := cache.find(node.name, node.key)):
            yield found, False
            return

        def fill(folder: Path) -> None:
            if self.shared:
                with self.shared._entry(node) as (entry, made[0]):
                    _copy(entry, folder)
            else:
                made[0] = True
                node.fill(folder, cache.workplace(node.name, node.key))

        with cache.kept(node.name, node.key, fill, node.holds) as folder:
            yield folder, made[0]

    def _cache(self, within: str) -> ArtifactCache:
        if within not in self._caches:
            self._caches[within] = ArtifactCache(self.folder / within)
        return self._caches[within]


def _copy(entry: Path, folder: Path) -> None:
    for path in sorted(entry.iterdir()):
        if path.name != SUMS and path.is_file():
            try:
                (folder / path.name).hardlink_to(path)
            except OSError:  # another disk, or one without hard links
                shutil.copyfile(path, folder / path.name)
