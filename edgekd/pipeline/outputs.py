"""Files of a run that are made again only where what they are made of has changed, or they have."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import edgekd
from edgekd.errors import EdgekdError
from edgekd.files import canonical_json, read_object, sha256, sha256_file, write_json

PRODUCTS = "products.json"


def make_output(folder: Path, name: str, sources: Iterable[str], make: Callable[[], Any]) -> None:
    """Call ``make`` for the file or folder ``name`` unless it is, to the byte, what ``sources`` gave before.

    Args:
        folder: of the run.
        sources: the files and folders in it that ``name`` is made of, apart from edgekd and the packages that it uses.
    """
    key = sha256(canonical_json([digests(folder, sources), source_digest(), packages()]))
    known = _read(folder / PRODUCTS)
    if known.get(name) == [key, digests(folder, [name])]:
        return
    make()
    write_json(folder / PRODUCTS, {**known, name: [key, digests(folder, [name])]})


def _read(path: Path) -> Mapping[str, object]:
    try:
        return read_object(path, "it is made again")
    except EdgekdError:
        return {}


@cache
def source_digest() -> str:
    """Hash edgekd's own files."""
    root = Path(edgekd.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".jinja", ".yaml"))
    return sha256(canonical_json([[str(path.relative_to(root)), sha256_file(path)] for path in files]))


@cache
def packages() -> list[list[str]]:
    return sorted([str(each.name), each.version] for each in distributions())


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the hash of each file in ``folder`` that ``names`` name or hold."""
    wholes = [folder / name for name in names]
    paths = [path for whole in wholes for path in ([whole] if whole.is_file() else sorted(whole.rglob("*")))]
    return {str(path.relative_to(folder)): sha256_file(path) for path in paths if path.is_file()}
