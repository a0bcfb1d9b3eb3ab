"""Processes on GPUs, from lines as nvidia-smi prints them."""

import pytest

from edgekd.agent.gpu import others_in, others_on
from edgekd.agent.launches import on_gpu

ONE, TWO = "GPU-5a6e2b0c-7f1d-11ee-b962-0242ac120002", "GPU-9c1d4e7a-7f1d-11ee-b962-0242ac120002"
LINES = f"{ONE}, 4242\n{ONE}, 17\n{ONE}, 4243\n{TWO}, 99\n"


@pytest.mark.parametrize(
    ("lines", "ours", "others"),
    [
        (LINES, [4242, 4243], 1),
        (LINES, [4242], 2),
        (LINES, [4242, 4243, 17], 0),
        (LINES, [99], 0),
        (LINES, [99, 4242], 2),
        (LINES, [5], None),
        ("", [5], None),
        (f"{ONE}, [N/A]\n", [5], None),
    ],
    ids=["one", "two", "none", "another GPU", "both GPUs", "a container", "nothing", "no numbers"],
)
def test_others_are_those_on_the_same_gpu(lines, ours, others):
    assert others_in(lines, ours) == others


def test_the_program_is_asked_for_what_is_read(tmp_path, monkeypatch):
    """By a test double of it: no machine of the tests need have a GPU."""
    program = tmp_path / "nvidia-smi"
    wanted = "--query-compute-apps=gpu_uuid,pid --format=csv,noheader"
    program.write_text(f'#!/bin/sh\n[ "$*" = "{wanted}" ] || exit 1\necho "{ONE}, 4242"\necho "{ONE}, 17"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert others_on([4242]) == 1
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert others_on([4242]) is None


@pytest.mark.parametrize(("devices", "found"), [(["cpu", "cpu"], False), (["cpu", "cuda"], True)])
def test_it_is_looked_at_where_a_model_runs_there(devices, found):
    models = {str(number): {"workload": {"device": device}} for number, device in enumerate(devices)}
    assert on_gpu({"models": models}) == found
