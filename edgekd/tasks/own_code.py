"""Hashes of the code of a user's own task, on which everything depends that the task scores, decodes or teaches."""

import secrets
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from edgekd.tasks.metric import Metric, SharedEvidence
from edgekd.tasks.task import Task
from edgekd.usercode import is_users
from edgekd.userhash import module_digests


@cache
def code_of(kind: type[Task]) -> tuple[str, ...]:
    """Hash the user's files that the task ``kind`` and its metrics are made of; edgekd's own tasks have none.

    Code that lies in no file, such as a notebook's, has another hash in each process.
    """
    parts = [*kind.__mro__, *(part for metric in kind.metrics for part in _parts(metric))]
    modules = dict.fromkeys(getattr(part, "__module__", None) or type(part).__module__ for part in parts)
    return tuple(digest for name in modules for digest in _digests_of(name))


def _parts(metric: Metric) -> Iterator[object]:
    yield from (type(metric), metric.evidence_type())
    functions: list[object] = [metric.evidence]
    while functions:
        function = functions.pop()
        if isinstance(function, SharedEvidence):
            functions += [function.shared, function.evidence]
        elif isinstance(function, partial):
            functions.append(function.func)
        else:
            yield function


def _digests_of(module: str) -> tuple[str, ...]:
    if module.partition(".")[0] in sys.stdlib_module_names:
        return ()
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return (secrets.token_hex(16),)
    return module_digests(Path(file)) if is_users(Path(file)) else ()
