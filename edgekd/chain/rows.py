"""The rows of a run's report: each network in each runtime."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.chain.abroad import Abroad, figures_for
from edgekd.chain.evaluate import PYTORCH, Exported
from edgekd.chain.measure import Measured
from edgekd.chain.names import ONNX_RUNTIME
from edgekd.chain.notes import disagreement, doubts
from edgekd.chain.teachers import ENSEMBLE, Together
from edgekd.files import sha256_file
from edgekd.recipe import Target
from edgekd.report import schema
from edgekd.stats.answers import write_answers
from edgekd.stats.proportion import wilson_interval


@dataclass(frozen=True)
class Rows:
    """``folder`` is the run's, ``labels`` (N,) the true classes of the test samples."""

    folder: Path
    labels: NDArray[Any]

    def pytorch(self, export: Exported) -> schema.Row:
        figures = export.figures
        return schema.Row(
            model=export.label,
            runtime="pytorch",
            precision=figures["precision_pytorch"],
            device="cpu",
            params=figures["params"],
            macs=figures["macs"],
            **self._accuracy(export.folder / PYTORCH),
        )

    def together(self, together: Together) -> schema.Row:
        figures = together.figures
        return schema.Row(
            model=ENSEMBLE,
            runtime="pytorch",
            precision="float32",
            device="cpu",
            params=figures["params"],
            macs=figures["macs"],
            **self._accuracy(together.folder / PYTORCH),
        )

    def other(self, export: Exported, other: Mapping[str, Any]) -> schema.Row:
        """The file for a runtime that is not here, with what ONNX Runtime makes of it step by step."""
        return schema.Row(
            model=export.label,
            runtime=other["runtime"],
            precision=other["precision"],
            device="cpu",
            built_for=other["profile"],
            size_bytes=other["size_bytes"],
            params=export.figures["params"],
            macs=export.figures["macs"],
            operators=other["operators"],
            int8_coverage=other["int8_coverage"],
            warnings=tuple(disagreement(export.label, other)),
            **self._file(export.folder / other["file"]),
            **self._accuracy(export.folder / other["predictions"]),
        )

    def runtime(self, export: Exported, target: Target | None, measured: Measured | None) -> schema.Row:
        figures = export.figures
        timing, notes = _timing(export, target, measured) if target and measured else ({}, [])
        return schema.Row(
            model=export.label,
            runtime=ONNX_RUNTIME,
            precision=figures["precision"],
            device="cpu",
            size_bytes=figures["size_bytes"],
            params=figures["params"],
            macs=figures["macs"],
            operators=figures["operators"],
            int8_coverage=figures["int8_coverage"],
            warnings=tuple(notes + doubts(export)),
            **self._file(export.onnx),
            expected_calibration_error=figures["expected_calibration_error"],
            reliability=tuple(schema.ConfidenceBin(**each) for each in figures["reliability"]),
            negative_log_likelihood=figures["negative_log_likelihood"],
            **timing,
            **self._accuracy(export.folder / figures["predictions"]),
        )

    def abroad(self, export: Exported, there: Abroad) -> schema.Row:
        """The file on a device of the book, with what it answers and takes there."""
        target, record = there.target, there.latency(export.label)
        figures = figures_for(export, target)
        assert figures is not None
        ratio = record.latency_vs_reference
        return schema.Row(
            model=export.label,
            runtime=target.runtime,
            precision=figures["precision"],
            device=target.device,
            threads=target.threads if target.runtime == ONNX_RUNTIME else None,
            size_bytes=figures["size_bytes"],
            params=export.figures["params"],
            macs=export.figures["macs"],
            operators=figures["operators"],
            int8_coverage=figures["int8_coverage"],
            latency_ms=schema.Latency(**record.latency_ms),
            latency_vs_teacher=schema.Ratio(**ratio) if ratio else None,
            energy_mj=1000 * record.energy["joules"] if record.energy else None,
            valid=record.valid,
            warnings=tuple(schema.Note(code=caution.code, message=caution.message) for caution in record.warnings),
            **self._file(export.folder / figures["file"]),
            **self._accuracy(there.predictions(export.label)),
        )

    def _file(self, path: Path) -> dict[str, Any]:
        return {"file": str(path.relative_to(self.folder)), "file_sha256": sha256_file(path)}

    def _accuracy(self, predictions: Path) -> dict[str, Any]:
        right = np.load(predictions) == self.labels
        n, correct = len(right), int(right.sum())
        return {
            "accuracy": correct / n,
            "accuracy_ci95": wilson_interval(correct, n),
            "n": n,
            "predictions": str(predictions.relative_to(self.folder)),
            "right": write_answers(right),
        }


def _timing(export: Exported, target: Target, measured: Measured) -> tuple[dict[str, Any], list[schema.Note]]:
    latency = measured.latency[export.label]
    ratio = latency.latency_vs_reference
    figures = {
        "threads": target.threads,
        "latency_ms": schema.Latency(**latency.latency_ms),
        "latency_vs_teacher": schema.Ratio(**ratio) if ratio else None,
        "peak_rss_bytes": measured.memory[export.label].peak_rss_bytes,
        "valid": latency.valid,
    }
    return figures, [schema.Note(code=caution.code, message=caution.message) for caution in latency.warnings]
