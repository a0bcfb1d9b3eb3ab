"""The pytest plugin: a test takes the fixture ``assert_no_regression`` and calls it with a run and a baseline."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.gate.check import check
from edgekd.gate.policy import load_policy
from edgekd.gate.subject import load_subject
from edgekd.gate.verdict import Verdict

Assertion = Callable[..., Verdict]


def regression_free(report: Path | str, baseline: Path | str, policy: Path | str | None = None) -> Verdict:
    """Return the verdict if nothing failed.

    Args:
        report: a run's folder or its report.json.
        baseline: what ``edgekd baseline promote`` wrote, or another report.
        policy: a TOML file; without it ``./pyproject.toml`` is looked at.

    Raises:
        AssertionError: a metric failed; the message says which, by how much and how surely.
        EdgekdError: a file cannot be read, or the two cannot be compared.
    """
    rules = load_policy(Path(policy) if policy is not None else None)
    verdict = check(load_subject(Path(baseline)), load_subject(Path(report)), rules)
    if not verdict.passed:
        lines = [f"{each.metric} ({each.where}): {each.what}; {each.advice}" for each in verdict.at("fail")]
        raise AssertionError("\n".join([verdict.headline(), *lines]))
    return verdict


@pytest.fixture
def assert_no_regression() -> Assertion:
    """Return :func:`regression_free`."""
    return regression_free
