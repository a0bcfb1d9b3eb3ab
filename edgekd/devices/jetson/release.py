"""The Jetson Linux (L4T), JetPack and GPU of a board, parsed from the files and packages that name them."""

from __future__ import annotations

import re
from dataclasses import dataclass

# jetson_stats' table of July 2026; for messages, nothing is decided by it.
JETPACKS = {
    **{"32.6.1": "4.6", "32.7.1": "4.6.1", "32.7.2": "4.6.2", "32.7.3": "4.6.3", "32.7.4": "4.6.4", "32.7.5": "4.6.5"},
    **{"32.7.6": "4.6.6", "34.1.1": "5.0.1DP", "35.1.0": "5.0.2", "35.2.1": "5.1", "35.3.1": "5.1.1"},
    **{"35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4", "35.6.1": "5.1.5", "35.6.2": "5.1.5"},
    **{"35.6.3": "5.1.5", "35.6.4": "5.1.6", "36.2.0": "6.0DP", "36.3.0": "6.0", "36.4.0": "6.1"},
    **{"36.4.2": "6.1(rev1)", "36.4.3": "6.2", "36.4.4": "6.2.1", "36.4.7": "6.2.1", "36.5.0": "6.2.2"},
    **{"38.2.0": "7.0", "38.2.1": "7.0", "38.2.2": "7.0", "38.4.0": "7.1", "39.0.0": "7.2EA", "39.2.0": "7.2"},
}
CAPABILITIES = {"tegra210": "5.3", "tegra186": "6.2", "tegra194": "7.2", "tegra234": "8.7", "tegra264": "11.0"}

RELEASE = re.compile(r"# R([0-9]{1,3}) \(release\), REVISION: ([0-9]{1,3}(?:\.[0-9]{1,3}){0,2})(?=[,\s]|$)", re.ASCII)
DETAIL = re.compile(r"(GCID|BOARD|EABI|DATE): ([^,\n]+)")
PACKAGE = re.compile(r"^nvidia-l4t-core\s+([0-9]{1,3}(?:\.[0-9]{1,3}){1,2})(?:-|\s|$)", re.ASCII | re.MULTILINE)
SOC = re.compile(r"tegra[0-9]{3}")


@dataclass(frozen=True)
class Release:
    """A release of Jetson Linux, ``36.4.4``; ``board`` is what the image was built for, not the actual module."""

    l4t: str
    board: str | None = None
    date: str | None = None

    @property
    def jetpack(self) -> str | None:
        return JETPACKS.get(self.l4t)


def parse_nv_tegra_release(text: str) -> Release | None:
    """Parse the first line of ``/etc/nv_tegra_release``.

    >>> parse_nv_tegra_release("# R36 (release), REVISION: 4.4, BOARD: generic").jetpack
    '6.2.1'
    """
    first = text.partition("\n")[0]
    match = RELEASE.match(first)
    if not match:
        return None
    details = dict(DETAIL.findall(first))
    return Release(three(f"{match[1]}.{match[2]}"), details.get("BOARD"), details.get("DATE", "").strip() or None)


def parse_l4t_package(text: str) -> Release | None:
    """Parse ``dpkg-query --show nvidia-l4t-core``, for containers, which have no ``/etc/nv_tegra_release``."""
    match = PACKAGE.search(text)
    return Release(three(match[1])) if match else None


def three(version: str) -> str:
    parts = [str(int(part)) for part in version.split(".")]
    return ".".join([*parts, "0", "0"][:3])


def soc_of(compatible: str) -> str | None:
    """Return the SoC, such as ``tegra234``, from ``/proc/device-tree/compatible``, whose words end in NUL."""
    found = SOC.search(compatible)
    return found[0] if found else None


def compute_capability(compatible: str) -> str | None:
    """Return the GPU's compute capability, such as ``8.7``, or None if the SoC is unknown."""
    return CAPABILITIES.get(soc_of(compatible) or "")
