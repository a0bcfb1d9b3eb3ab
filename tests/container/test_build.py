"""The Dockerfile and what builds it agree; `make container` builds it for real, in minutes, as root."""

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_a_build_sees_what_it_copies_and_nothing_else():
    copied = {word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for word in shlex.split(line)[:-1]}
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_build_names_what_is_no_bundle(tmp_path):
    done = subprocess.run([ROOT / "tests/container/build.sh", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path} is no bundle: make quickstart makes runs/quickstart/bundle\n"
