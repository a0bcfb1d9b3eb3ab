import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgekd

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")

# The file alone, since torch takes seconds to import and the pages are the allocator's.
MEMORY = Path(edgekd.__file__).parent / "train/memory.py"
# In processes of their own: page faults count pages that the system had taken back, or never gave.
SCRIPT = """
import resource, runpy, sys
import numpy as np
from contextlib import nullcontext
keep_freed_memory = runpy.run_path(sys.argv[2])["keep_freed_memory"]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    blocks = [np.ones(40 << 18, np.float32) for _ in range(3)]
    del blocks

with keep_freed_memory() if sys.argv[1] == "kept" else nullcontext():
    for _ in range(2):
        step()
    before = faults()
    for _ in range(4):
        step()
    inside = faults() - before
print(inside, [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")][0])
"""
# 3 blocks of 40 MiB in each of 4 steps.
PAGES = 4 * 3 * 40 * 256
SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def run(kind, **more):
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment = kept | {"NUMPY_MADVISE_HUGEPAGE": "0"} | more
    done = subprocess.run([sys.executable, "-c", SCRIPT, kind, MEMORY], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [int(part) for part in done.stdout.split()]


def test_steps_get_the_pages_that_earlier_ones_freed_and_the_system_has_them_afterwards():
    (kept, resident), (plain, resident_without) = run("kept"), run("plain")
    assert plain > 0.9 * PAGES
    assert kept < 0.1 * PAGES
    assert resident < resident_without + (40 << 10)


def test_settings_of_the_environment_stay():
    kept, _ = run("kept", MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="1048576")
    assert kept > 0.9 * PAGES
