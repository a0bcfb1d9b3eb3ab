"""A linter for ONNX files: which layers run in int8 on a target, and why."""

from edgekd.lint.linter import lint as lint
from edgekd.lint.result import Lint as Lint
from edgekd.lint.result import LintedLayer as LintedLayer
from edgekd.lint.result import LintFinding as LintFinding
from edgekd.lint.target import TARGETS as TARGETS
