"""The installed TensorRT: ``tensorrt`` 10 and 11 and ``tensorrt_rtx`` share the calls that edgekd makes."""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from edgekd.errors import EdgekdError, ExportError, first_line

PACKAGES = ("tensorrt", "tensorrt_rtx")
LAYER_LIST = "Layers:"
ECHO = "catchCudaError"  # follows every other error where there is no driver, and adds nothing
PLACE = re.compile(r"\s*In \w+ at /\S+:\d+\b")


def library(error: type[EdgekdError] = ExportError) -> Any:
    """Import the installed package, ``tensorrt`` before ``tensorrt_rtx``.

    Raises:
        error: none is installed, or the one that is does not load.
    """
    for name in PACKAGES:
        try:
            return import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise error(f"{name} is installed but lacks {missing.name}; install it again") from missing
        except (ImportError, OSError, RuntimeError) as reason:
            raise error(f"{name} is installed but does not load: {first_line(reason)}; install it again") from reason
    raise error("TensorRT is not installed here; 'pip install edgekd[tensorrt]' brings it")


def version(trt: Any) -> str:
    """Return package and version, as ``tensorrt_rtx 1.7.1.116``: an engine belongs to both."""
    return f"{trt.__name__} {trt.__version__}"


def builds_ahead(trt: Any) -> bool:
    """Return whether the library builds for other GPUs: TensorRT for RTX does, TensorRT times kernels on this one."""
    return bool(trt.__name__ == "tensorrt_rtx")


@cache
def _logger_of(trt: Any) -> Any:
    class Errors(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.forget()

        def forget(self) -> None:
            self.errors: list[str] = []
            self.layers = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
            elif message.startswith(LAYER_LIST):
                self.layers = message

        def last(self) -> str:
            errors = [text for message in self.errors if (text := plain(message))]
            return f": {errors[-1]}" if errors else ""

    return Errors()


def errors_of(trt: Any) -> Any:
    """Return a logger that prints nothing; its ``last()`` is the last error, for a message to the user.

    It is one logger for the process, emptied here: TensorRT goes on with the first that it was given and ignores
    all later ones for as long as any of its objects lives.
    """
    logger = _logger_of(trt)
    logger.forget()
    return logger


def plain(message: str) -> str:
    """Return ``message`` on one line of at most 300 characters, without locations in TensorRT's own source."""
    lines = [line for line in message.splitlines() if ECHO not in line]
    return " ".join(PLACE.sub("", " ".join(lines)).split())[:300]


def decoded(call: Callable[[], str]) -> str:
    """Return what a binding returns, or nothing if a damaged file makes it bytes that are no text."""
    with suppress(UnicodeDecodeError):
        return call()
    return ""
