"""Jobs of a worker whose trainings are left out."""

from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from edgekd.errors import ModelError
from edgekd.pipeline import folder as run_folder
from edgekd.scratch import hold
from edgekd.search import worker
from edgekd.search.space import Arm, Space
from tests.recipe.conftest import SMALL


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    recipe = tmp_path / "001.yaml"
    recipe.write_text(SMALL)
    place = {"recipe": str(recipe), "folder": str(tmp_path / "001"), "cache": str(tmp_path)}
    return {"job": "try", **place, "timed": False, "filed": False, "teacher_ms": None}


def test_a_job_waits_for_what_a_lost_node_left(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    waits, done = Event(), Event()
    monkeypatch.setattr(run_folder.logger, "warning", lambda text: waits.set())

    def fails(*_: object, **__: object) -> None:
        done.set()
        raise ModelError("no cut keeps 0.1: the least is 0.2")

    monkeypatch.setattr(worker, "try_recipe", fails)
    lock = Path(job["folder"]) / run_folder.LOCK
    lock.parent.mkdir()
    thread = Thread(target=worker.carry_out, args=(job,))
    with hold(lock):
        thread.start()
        assert waits.wait(10) and not done.is_set()
    thread.join(10)
    assert done.is_set()


def test_a_reason_is_without_its_place_in_the_candidate_s_recipe(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        try:
            raise ModelError("no cut keeps 0.1: the least is 0.2")
        except ModelError as error:
            raise ModelError(f"{job['recipe']}:5: stages.1.prune: {error}") from error

    monkeypatch.setattr(worker, "try_recipe", fails)
    found = worker.carry_out(job)
    assert (found["error"], found["kind"]) == ("no cut keeps 0.1: the least is 0.2", "ModelError")


def test_files_of_a_space_are_those_that_its_arms_name() -> None:
    arms = [
        Arm("a", {}, written={"/a/parts": "parts"}),
        Arm("b", {}, written={"/a/parts": "parts", "/a/n.py:Net": "n.py:Net"}),
    ]
    assert Space(Path("r.yaml"), {}, tuple(arms)).files == (Path("/a/parts"), Path("/a/n.py"))
