import json
import math
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from edgekd.errors import EdgekdError
from edgekd.report.schema import Report, Row


def test_round_trip_keeps_everything(sample: dict[str, Any]) -> None:
    assert Report.from_json(Report.from_json(sample).to_json()) == Report.from_json(sample)
    assert json.loads(json.dumps(Report.from_json(sample).to_json())) == Report.from_json(sample).to_json()


def test_what_was_not_measured_is_absent() -> None:
    row = Row(model="teacher", runtime="pytorch", precision="float32")
    assert row.to_json() == {
        "model": "teacher",
        "runtime": "pytorch",
        "precision": "float32",
        "valid": True,
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 3}, "schema_version"),
        ({"rows": [{"model": "teacher"}]}, r"rows\.0\.runtime"),
        ({"rows": [{"model": "a", "runtime": "b", "precision": "c", "accuracy": 97.2}]}, "accuracy"),
        ({"budget": {"met": True}}, "checks"),
    ],
)
def test_wrong_documents_are_refused_by_key(sample: dict[str, Any], change: dict[str, Any], says: str) -> None:
    with pytest.raises(EdgekdError, match=f"run.json: .*{says}"):
        Report.from_json(sample | change, "run.json")


def test_nan_is_not_a_figure() -> None:
    with pytest.raises(ValidationError):
        Row(model="a", runtime="b", precision="c", accuracy=math.nan)


def test_torch_stays_out() -> None:
    imports = "import sys, edgekd.report.html, edgekd.report.table, edgekd.report.markdown"
    code = f"{imports}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
