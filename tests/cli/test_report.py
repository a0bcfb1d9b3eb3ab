import json
import subprocess
import sys

import pytest

from tests.report.sample import sample
from tests.report.search import write_search


@pytest.fixture
def finished(tmp_path):
    """Writes a run's report and gives its folder."""

    def write(called, **changed):
        folder = tmp_path / called
        folder.mkdir()
        (folder / "report.json").write_text(json.dumps({**sample(), "name": called, "profiles": [], **changed}))
        return folder

    return write


def test_one_run_gets_its_page_again(finished, edgekd, tmp_path):
    run = finished("one", stages=[])
    done = edgekd("report", run, "--markdown", tmp_path / "one.md")
    assert (done.code, done.err) == (0, "")
    first, *checks, last = done.out.splitlines()
    assert first == f"report  {run / 'report.html'}"
    assert "  accuracy drop: 0.600 points, at most 1 points: met (0.400 points to spare)" in checks
    assert last == "Budget not met: 2 of 4 checks failed"
    assert "<h1>one</h1>" in (run / "report.html").read_text()
    assert (tmp_path / "one.md").read_text().startswith("### one\n")


def test_several_get_one_page(finished, edgekd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = finished("one"), finished("two")
    done = edgekd("report", one, two / "report.json", "--json")
    assert done.code == 0
    assert "<h1>one compared with two</h1>" in (tmp_path / "comparison.html").read_text()
    assert not (one / "report.html").exists()
    document = json.loads(done.out)
    assert [run["run"] for run in document["runs"]] == ["one", "two"]
    assert document["pairs"][0]["accuracy"] == "0.0 points (0.0 to 0.0)"


def test_runs_of_one_name_are_told_apart_by_their_folders(finished, edgekd, tmp_path):
    one, two = finished("one", name="same"), finished("two", name="same")
    edgekd("report", one, two, "--out", tmp_path / "both.html")
    assert f"same ({one})" in (tmp_path / "both.html").read_text()


def test_what_holds_no_report_is_an_error_with_a_way_out(finished, edgekd, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    one = finished("one")
    wrong = {
        tmp_path / "empty": "holds no report.json: a run writes it when it ends",
        tmp_path / "nowhere": "cannot read",
        tmp_path / "broken": "is no JSON",
        tmp_path / "list.json": "give a run's folder or its report.json",
        one: "a run is given twice",
    }
    for path, says in wrong.items():
        done = edgekd("report", one, path)
        assert (done.code, done.out) == (1, "")
        assert says in done.err
        assert done.err.count("\n") == 1


def test_it_needs_no_torch(finished, tmp_path):
    run = finished("one", stages=[], rows=[])
    code = (
        "import sys; from edgekd.cli.main import main\n"
        f"sys.argv = ['edgekd', 'report', {str(run)!r}]\n"
        "try: main()\n"
        "finally: print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    # Matplotlib says so when it builds its cache of fonts, the first time on a machine.
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "set()")


def test_a_search_has_its_own_page_and_its_winner_is_compared(finished, edgekd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search = write_search(tmp_path / "fit")
    done = edgekd("report", search, "--markdown", tmp_path / "fit.md")
    assert (done.code, done.out.splitlines()) == (0, ["Budget met", f"report  {search / 'report.html'}"])
    assert (tmp_path / "fit.md").read_text().startswith("### invented")
    assert edgekd("report", search, finished("one")).code == 0
    assert "compared with one</h1>" in (tmp_path / "comparison.html").read_text()
