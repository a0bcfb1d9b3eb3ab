from collections.abc import Callable

import onnx
import pytest

from edgekd.lint import Lint, LintedLayer, lint


@pytest.fixture
def found() -> Callable[..., LintedLayer]:
    """The layer ``layer`` of a model under a target; ONNX Runtime's graph must bear the rules out."""

    def call(model: onnx.ModelProto, target: str = "onnxruntime-x86-vnni", name: str = "layer") -> LintedLayer:
        result: Lint = lint(model, target)
        assert not result.disagreements
        if target.startswith("onnxruntime") and not result.refused:
            assert result.confirmed_by.startswith("ONNX Runtime")
        return next(layer for layer in result.layers if layer.name == name)

    return call
