"""NVIDIA's GPUs of this machine, as ``nvidia-smi`` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekd.agent.system import output_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NVIDIA_SMI = "nvidia-smi"


def asked(question: str, figures: str) -> str | None:
    """Return the values that are asked for, a line each, with commas; None where there is no answer."""
    return output_of([NVIDIA_SMI, f"--query-{question}={figures}", "--format=csv,noheader"], succeeds=True)


def names() -> str | None:
    """Return the names of all GPUs, a line each; None where there is none."""
    return asked("gpu", "name")


def others_on(ours: Sequence[int]) -> int | None:
    """Return how many other processes have the GPUs that the processes ``ours`` compute on.

    None where that cannot be seen, as in a container whose processes have other numbers outside.
    """
    return others_in(asked("compute-apps", "gpu_uuid,pid") or "", ours)


def others_in(lines: str, ours: Sequence[int]) -> int | None:
    pairs = [tuple(word.strip() for word in line.split(",")) for line in lines.splitlines() if "," in line]
    known = {(gpu, int(pid)) for gpu, pid in pairs if pid.isdigit()}
    used = {gpu for gpu, pid in known if pid in ours}
    return len({pid for gpu, pid in known if gpu in used} - set(ours)) if used else None
