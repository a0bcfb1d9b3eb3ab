"""A training's progress on standard error: a bar in a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from edgekd.formatting import hundredths
from edgekd.log import get_logger
from edgekd.progress import is_drawn
from edgekd.tasks.metric import Metric
from edgekd.train import distributed
from edgekd.train.checkpoint import State
from edgekd.train.history import Epoch

logger = get_logger(__name__)


class StageProgress:
    """Progress of one stage's training, shown by rank 0; a context manager, because a live bar must be removed."""

    def __init__(self, name: str, epochs: int, per_epoch: int, state: State, metric: Metric):
        self.name, self.epochs, self.per_epoch, self.metric = name, epochs, per_epoch, metric
        self.started, self.first = time.monotonic(), state.step
        self.bar: Any = None
        self.shown = distributed.is_rank_zero()
        if state.step and self.shown:
            logger.info(f"  {name}: goes on from step {state.step} of {epochs * per_epoch}")

    def __enter__(self) -> StageProgress:
        if self.shown and is_drawn():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("  {task.description}"), BarColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
            self.task = self.bar.add_task(self.name, total=self.epochs * self.per_epoch, completed=self.first)
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def step(self, state: State) -> None:
        """Move the bar to the step of ``state``."""
        if self.bar is not None:
            self.bar.update(self.task, completed=state.step)

    def epoch(self, entry: Epoch) -> None:
        """Log an epoch that has ended."""
        if not self.shown:
            return
        agreement = f"agreement {hundredths(entry.metrics['agreement'], 2)} %  " if "agreement" in entry.metrics else ""
        # The task's first metric comes first.
        value = next(iter(entry.metrics.values()))
        is_share = self.metric.unit == "%"
        shown = f"{hundredths(value, 2)} %" if is_share else self.metric.precisely(value)
        validation = f"validation {shown}  "
        line = (
            f"  {self.name} {entry.number}/{self.epochs}  loss {entry.loss:.4f}  "
            f"{validation}{agreement}{time.monotonic() - self.started:.0f} s"
        )
        logger.info(line)  # rich prints above a live bar what comes to standard error
