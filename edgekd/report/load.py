"""Reports of finished runs, read from their folders."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from edgekd.errors import EdgekdError, first_line
from edgekd.files import read_object
from edgekd.report.schema import Report

NAME = "report.json"
# In the folder of a search.
WINNER, JOURNAL = "winner", "journal.jsonl"


def load_report(path: Path) -> Report:
    """Load the report of a run from its folder or its report.json; of a search, that of its winner's run.

    Raises:
        EdgekdError: nothing is there, or it is no report of this schema version.
    """
    path = run_folder_of(path)
    if path.is_dir() and not (path / NAME).exists():
        if (path / JOURNAL).is_file():
            raise EdgekdError(
                f"{path} holds a search without a winner's report: the same command goes on with it, and 'edgekd "
                f"report {path}' alone shows what it tried"
            )
        raise EdgekdError(
            f"{path} holds no {NAME}: a run writes it when it ends, and the same 'edgekd run' goes on from where it "
            "was; or give another run's folder"
        )
    file = path / NAME if path.is_dir() else path
    document = read_object(file, f"give a run's folder or its {NAME}")
    return Report.from_json(document, file)


def run_folder_of(path: Path) -> Path:
    """Return the folder of the winner's run where ``path`` is a search's, and any other path as it is."""
    winner = path / WINNER
    return winner if (winner / NAME).is_file() and not (path / NAME).exists() else path


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn errors in drawing a report into an :class:`EdgekdError`: a stage's metrics may be anything."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, yaml.YAMLError) as error:
        raise EdgekdError(
            f"the report {name[:100]!r} holds a value that cannot be shown ({type(error).__name__}: "
            f"{first_line(error)[:200]}); take it again from the run that wrote it"
        ) from error


def named(paths: Sequence[Path], reports: Sequence[Report]) -> list[str]:
    """Return the reports' names, with their paths where two have the same name."""
    names = [report.name for report in reports]
    return [f"{name} ({path})" if names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]
