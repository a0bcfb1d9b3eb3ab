import json
import os
import shutil
from pathlib import Path

import pytest

from edgekd.artifact_cache import ArtifactCache
from edgekd.errors import EdgekdError, StorageError
from edgekd.pipeline.folder import MARKER, begin, run_folder
from edgekd.pipeline.run import run
from edgekd.recipe import load_recipe
from edgekd.scratch import hold
from tests.toy import SHORT, write_recipe

OWN = ["bundle", "exports", "log.jsonl", "measurements", "recipe.lock.yaml", "report.html", "report.json", "stages"]


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What tells whether anything was touched, by path."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_ino, path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


@pytest.fixture
def finished(toy_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_run, tmp_path / "run"))


@pytest.mark.parametrize("name", [*OWN, "tensorboard", "edgekd-run.json"])
def test_a_folder_with_a_runs_names_is_refused_and_untouched(tmp_path, name):
    folder = tmp_path / "project"
    folder.mkdir()
    if "." in name:
        (folder / name).write_text("theirs")
    else:
        (folder / name).mkdir()
        (folder / name / "letter").write_text("dear")
    if name == "edgekd-run.json":
        (folder / name).unlink()
        (folder / name).symlink_to("nowhere")
    before = snapshot(folder)
    for fresh in (False, True):
        with pytest.raises(StorageError, match=f"holds {name}, where a run writes: choose another folder with --out"):
            run(load_recipe(write_recipe(tmp_path, SHORT)), folder, fresh=fresh)
    assert snapshot(folder) == before


@pytest.mark.parametrize("lock", ["text", "folder", "link"])
def test_a_lock_of_others_is_refused(tmp_path, lock):
    place = tmp_path / ".lock"
    place.write_text("npm") if lock == "text" else place.mkdir() if lock == "folder" else place.symlink_to("nowhere")
    if lock == "folder":
        (place / "file").touch()
    with pytest.raises(StorageError, match=r"holds \.lock"), run_folder(tmp_path):
        pass


def test_a_projects_folder_without_such_names_is_taken_and_its_files_stay(tmp_path):
    for name in (
        ".env.template",
        ".cache.original",
        ".model.json.abc12_de",
        "README.md",
        "src/report.json",
        ".git/lock",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "stages").mkdir()  # nothing can be lost of it
    before = snapshot(tmp_path)
    for fresh in (False, True):
        with run_folder(tmp_path):
            begin(tmp_path, fresh)
    after = snapshot(tmp_path)
    assert {name: after.get(name) for name in before} == before
    assert after.keys() - before.keys() == {".lock", MARKER}


def test_a_run_of_an_earlier_version_is_adopted(finished):
    (finished / MARKER).unlink()
    with run_folder(finished):
        begin(finished, fresh=False)
    assert (finished / MARKER).is_file()


def test_starting_over_removes_what_runs_made_and_nothing_else(finished):
    entry = next((finished / "stages").glob("01-*"))
    stay = ["notes.txt", "stages/notes.txt", ".env.template", "exports/mine/model.onnx", "tensorboard/mine.txt"]
    for name in stay:
        (finished / name).parent.mkdir(exist_ok=True)
        (finished / name).write_text("theirs")
    for name in (f"stages/{entry.name}/notes.txt", "bundle/notes.txt"):
        (finished / name).write_text("theirs")
    (finished / "tensorboard/events.out.tfevents.1.host").touch()
    with run_folder(finished):
        begin(finished, fresh=True)
    left = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    aside = {name for name in left if name.startswith("edgekd-aside/bundle/")}
    assert "edgekd-aside/bundle/notes.txt" in aside
    kept = {name for name in left if name.startswith(f"stages/{entry.name}/")}
    assert f"stages/{entry.name}/notes.txt" in kept
    assert left - aside - kept == {*stay, ".lock", MARKER}


def test_a_start_that_fails_leaves_a_finished_run_as_it_was(finished, tmp_path):
    text = SHORT.replace("source: digits", f"source: folder, path: {tmp_path / 'nowhere'}").replace(
        ", train_limit: 400, test_limit: 100", ""
    )
    before = snapshot(finished)
    with pytest.raises(EdgekdError):
        run(load_recipe(write_recipe(tmp_path, text)), finished, fresh=True)
    assert snapshot(finished) == before


@pytest.mark.parametrize("name", ["stages", "log.jsonl", "report.json", "bundle", MARKER])
@pytest.mark.parametrize("kind", ["broken link", "link", "pipe", "the other kind"])
def test_what_blocks_a_run_is_moved_aside(finished, tmp_path, name, kind):
    place, is_file = finished / name, (finished / name).is_file()
    (tmp_path / "outside").write_text("theirs")
    place.unlink() if is_file else shutil.rmtree(place)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "the other kind":
        place.mkdir() if is_file else place.write_text("theirs")
    else:
        place.symlink_to("nowhere" if kind == "broken link" else tmp_path / "outside")
    stood = place.lstat().st_ino
    with run_folder(finished):
        begin(finished, fresh=False)
    assert (finished / "edgekd-aside" / name).lstat().st_ino == stood
    assert (tmp_path / "outside").read_text() == "theirs"


def test_stages_may_lie_on_another_disk_and_a_fresh_start_leaves_them(finished, tmp_path):
    elsewhere = (finished / "stages").rename(tmp_path / "elsewhere")
    (finished / "stages").symlink_to(elsewhere)
    before = snapshot(elsewhere)
    with run_folder(finished):
        begin(finished, fresh=False)
        assert (finished / "stages").is_symlink()
        begin(finished, fresh=True)
    assert not (finished / "stages").exists()
    assert snapshot(elsewhere) == before


@pytest.mark.parametrize("holds", ["nothing", "entries", "letters"])
def test_a_new_run_may_share_folders_of_entries_and_no_others(tmp_path, holds):
    shared, run = tmp_path / "shared", tmp_path / "run"
    shared.mkdir()
    run.mkdir()
    (run / "stages").symlink_to(shared)
    if holds == "entries":
        ArtifactCache(shared).keep("00-teacher", "0" * 64, lambda folder: (folder / "weights").touch())
    elif holds == "letters":
        (shared / "letter").touch()
        with pytest.raises(StorageError, match="holds stages"), run_folder(run):
            pass
        return
    with run_folder(run):
        begin(run, fresh=False)
    assert (run / "stages").is_symlink()


def test_one_run_at_a_time_and_no_trace_of_the_second(tmp_path):
    with run_folder(tmp_path), pytest.raises(StorageError, match="another run is at work in"), run_folder(tmp_path):
        pass
    with hold(tmp_path / ".lock"):
        pass


def test_the_marker_says_whose_the_folder_is(finished):
    assert json.loads((finished / MARKER).read_text()) == {"edgekd": "run", "schema_version": 1}
