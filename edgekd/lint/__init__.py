"""Which layers of an ONNX file will run in int8 on a target, which rule decides, and what to change."""

from edgekd.lint.conduct import lint as lint
from edgekd.lint.result import Lint as Lint
from edgekd.lint.result import LintedLayer as LintedLayer
from edgekd.lint.result import LintFinding as LintFinding
from edgekd.lint.target import TARGETS as TARGETS
