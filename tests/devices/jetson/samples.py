"""What the tools of a Jetson printed, as research/devices.md quotes it."""

from pathlib import Path

TEGRASTATS = {}
for line in (Path(__file__).parent / "tegrastats.txt").read_text().splitlines()[1:]:
    if line.startswith("# "):
        board = line[2:].split(" [")[0]
    else:
        TEGRASTATS[board] = line

NV_TEGRA_RELEASE = {
    "R32": "# R32 (release), REVISION: 7.1, GCID: 29689809, BOARD: t186ref, EABI: aarch64, "
    "DATE: Wed Feb  2 21:33:23 UTC 2022\n",
    "R34": "# R34 (release), REVISION: 1.1, GCID: 30414990, BOARD: t186ref, EABI: aarch64, "
    "DATE: Tue May 17 04:20:55 UTC 2022\n",
    "R35": "# R35 (release), REVISION: 3.1, GCID: 32790763, BOARD: t186ref, EABI: aarch64, "
    "DATE: Wed Mar 15 07:54:12 UTC 2023\n",
    "R36": "# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64, "
    "DATE: Mon Jun 16 16:07:13 UTC 2025\n"
    "# KERNEL_VARIANT: oot\n"
    "TARGET_USERSPACE_LIB_DIR=nvidia\n"
    "TARGET_USERSPACE_LIB_DIR_PATH=/usr/lib/aarch64-linux-gnu/nvidia\n",
}

NVPMODEL = "NV Power Mode: MAXN\n0\n"
NVPMODEL_MODES = "POWER_MODEL: ID=0 NAME=MAXN\nPM_CONFIG: DEFAULT=…\n"

JETSON_CLOCKS = (
    "SOC family:tegra234  Machine:NVIDIA Orin Jetson-Small Developer Kit\n"
    "Online CPUs: 0-11\n"
    "cpu0: Online=1 Governor=schedutil MinFreq=115200 MaxFreq=2201600 CurrentFreq=2112000 IdleStates: WFI=1 c7=1\n"
    "EMC MinFreq=204 MaxFreq=3199 CurrentFreq=3199 FreqOverride=1\n"
)
