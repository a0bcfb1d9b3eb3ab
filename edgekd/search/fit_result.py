"""The end of a search, and what its command makes of it."""

from dataclasses import dataclass

from edgekd.report.fit_record import MADE_NOTHING
from edgekd.report.schema import Report
from edgekd.search.study import Finish
from edgekd.strict_json import JsonObject


@dataclass(frozen=True)
class FitResult:
    """The end of a search.

    Attributes:
        report: of the winner's run; None where no student could be made.
        finish: why the search ended, and with what.
        summary: what ``fit.json`` holds.
    """

    report: Report | None
    finish: Finish
    summary: JsonObject

    @property
    def is_untried(self) -> bool:
        """Tell whether the time was over before any candidate was trained: the budget is neither met nor missed."""
        return self.report is None and self.finish.unreachable is None

    @property
    def made_nothing(self) -> bool:
        """Tell whether all that was tried failed: the budget is neither met nor missed."""
        return bool(self.summary.get(MADE_NOTHING))

    @property
    def met(self) -> bool:
        """Tell whether the deployed file keeps every bound on the test samples and on its target."""
        return keeps_budget(self.report)


def keeps_budget(report: Report | None) -> bool:
    """Tell whether a winner's report meets its budget, where there are both; without a winner nothing is kept."""
    return report is not None and (report.budget is None or report.budget.met)
