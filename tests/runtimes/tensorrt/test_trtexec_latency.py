import numpy as np
import pytest

from edgekd.errors import MeasurementError
from edgekd.runtimes.tensorrt.trtexec.latency import latency_ms, query_warnings
from edgekd.runtimes.tensorrt.trtexec.output import Query


def queries(compute: object, enqueue: float = 0.1, h2d: float = 0.2, d2h: float = 0.1) -> list[Query]:
    times = np.atleast_1d(np.asarray(compute, float))
    return [Query(one, h2d + one + d2h, h2d, d2h, enqueue, float(number)) for number, one in enumerate(times)]


def test_percentiles_of_the_raw_samples():
    found = latency_ms(queries(np.arange(1, 501)))
    assert (found.n, found.min, found.mean) == (500, 1.0, 250.5)
    assert [found.p50, found.p90, found.p99] == [250.0, 450.0, 495.0]
    assert found.ci95_p50[0] < 250 < found.ci95_p50[1]
    assert latency_ms(queries(np.arange(1, 501)), copies=True).p50 == pytest.approx(250.3)


def test_no_p99_of_few_and_no_figure_of_none():
    assert latency_ms(queries([1.0] * 399)).p99 is None
    with pytest.raises(MeasurementError, match="no queries"):
        latency_ms([])


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (queries([1.0] * 9, enqueue=0.81), "enqueue_bound"),
        (queries([1.0] * 9, h2d=1.0), "transfer_bound"),
        (queries([0.97, 1.03] * 9), "cov_high"),  # a standard deviation of exactly 3 % of the mean
    ],
)
def test_warnings(given, code):
    assert [warning.code for warning in query_warnings(given)] == [code]


def test_a_quiet_run_has_no_warning():
    assert query_warnings(queries([0.98, 1.02] * 9, enqueue=0.8, h2d=0.9)) == []
