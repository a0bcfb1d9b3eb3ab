"""The commands that need no training: what they print, how fast, and what they do not import."""

import json
import resource
import subprocess
import sys

import pytest


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edgekd", *map(str, arguments)], capture_output=True, text=True)


def processor_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_within_four_tenths_of_a_second():
    times = []
    for _ in range(5):
        # Processor time is what a start takes on an idle machine; waiting for a neighbour is not edgekd's.
        before = processor_seconds_of_children()
        assert run("--help").returncode == 0
        times.append(processor_seconds_of_children() - before)
    assert min(times) < 0.4


@pytest.mark.parametrize(
    "command", [["--help"], ["recipe", "schema"], ["bundle", "--help"], ["bench", "--help"], ["predict", "--help"]]
)
def test_commands_that_need_no_torch_do_not_import_it(command):
    program = (
        "import sys; sys.argv = ['edgekd', *sys.argv[1:]]\n"
        "from edgekd.cli.main import main\n"
        "try: main()\n"
        "finally: sys.stderr.write(str('torch' in sys.modules))"
    )
    outcome = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True)
    assert outcome.returncode == 0
    assert outcome.stderr == "False"


def test_init_writes_a_recipe_that_checks(edgekd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert edgekd("init").code == 0
    assert edgekd("recipe", "check", "recipe.yaml").code == 0
    again = edgekd("init")
    assert (again.code, again.err) == (
        1,
        "error: recipe.yaml is there already: name another file, or remove it first\n",
    )


def test_the_schema_is_json(edgekd):
    assert json.loads(edgekd("recipe", "schema").out)["properties"]["stages"]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(edgekd, tmp_path):
    from tests.toy import write_recipe

    outcome = edgekd("run", write_recipe(tmp_path), "--out", tmp_path / "run", "--dry-run")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == "toy: teacher -> distill -> prune -> quantize"
    assert "360 training, 40 validation, 100 test samples" in outcome.out
    assert not (tmp_path / "run").exists()
