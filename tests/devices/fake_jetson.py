"""A test double: a folder of scripts that answer as a Jetson's tools do, with the samples of the research."""

from pathlib import Path

from tests.devices.jetson.samples import NVPMODEL, TEGRASTATS

ANSWERS = {
    "dpkg-query": "nvidia-l4t-core\t36.4.4-20250616085344\n",
    "trtexec": "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b26] # trtexec --help\n",
    "nvpmodel": NVPMODEL,
    "tegrastats": TEGRASTATS["Orin Nano, loaded, sudo"] + "\n",
}


def fake_jetson(folder: Path) -> Path:
    folder.mkdir()
    for name, answer in ANSWERS.items():
        (folder / f"{name}.txt").write_text(answer)
        (folder / name).write_text(f"#!/bin/sh\nexec cat '{folder / name}.txt'\n")
        (folder / name).chmod(0o755)
    return folder
