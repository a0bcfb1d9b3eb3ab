"""Samples from a function of the user's, which a recipe names as ``path.py:function``."""

from collections.abc import Mapping

from edgekd import userfile
from edgekd.data.arrays import LAYOUT, class_names, from_arrays
from edgekd.data.layouts import parts_among
from edgekd.data.named import from_named_arrays
from edgekd.data.options import Data
from edgekd.data.raw import RawData
from edgekd.errors import DataError
from edgekd.tasks.classification import Classification
from edgekd.tasks.task import Task


def from_function(data: Data, kind: type[Task] = Classification) -> RawData:
    """Call ``path.py:function``, which returns ``{"train": (x, y), "test": (x, y), "classes": [...]}``.

    It may have ``"val"`` too. Where a network takes several inputs, each ``x`` is a mapping of their arrays by name.
    """
    function = userfile.load_function(data.source, DataError)
    content = userfile.call(function, data.source, DataError, {}, data.args)
    try:
        names = parts_among(content, data, data.source)
        pairs = {part: (content[name][0], content[name][1]) for part, name in names.items()}
        named = content.get("classes")
        classes = class_names(list(named)) if named is not None else None
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(
            f"{data.source} must return {{'train': (x, y), 'test': (x, y), 'classes': [...]}} with {LAYOUT}; "
            f"it gave a {type(content).__name__}"
        ) from error
    if all(isinstance(x, Mapping) for x, _ in pairs.values()):
        return from_named_arrays(data.source, pairs, classes, kind)
    return from_arrays(data.source, data, pairs, classes, kind)
