from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.files import sha256, sha256_file
from edgekd.tasks.evidence_file import EvidenceFile, compared_by_file, read_evidence, write_evidence
from edgekd.tasks.metric import Correct, Evidence, Metric
from edgekd.tasks.multilabel import Multilabel
from tests.tasks.multilabel.drawn import drawn, partly

ADVICE = "run the recipe again"
METRICS = Multilabel.metrics


@dataclass(frozen=True, eq=False)
class MeanError(Evidence):
    errors: np.ndarray

    def values(self, weights):
        return weights @ self.errors / weights.sum(1)


def evidence():
    logits, targets = drawn(share=0.2)
    task, given = Multilabel(tuple("abcdef")), partly(targets)
    predictions = task.decode({"logits": logits})
    return {metric.name: metric.evidence(predictions, given) for metric in METRICS}


@pytest.fixture
def kept(tmp_path):
    return EvidenceFile("evidence.npz", write_evidence(tmp_path / "evidence.npz", evidence()))


def again(folder: Path, **arrays: np.ndarray) -> EvidenceFile:
    np.savez(folder / "evidence.npz", **arrays)
    return EvidenceFile("evidence.npz", sha256_file(folder / "evidence.npz"))


def test_it_is_read_as_it_was_written(kept, tmp_path):
    found = read_evidence(tmp_path, kept, METRICS, ADVICE)
    for name, before in evidence().items():
        assert type(found[name]) is type(before)
        assert found[name].value() == before.value()
        assert all((found[name].arrays()[field] == rows).all() for field, rows in before.arrays().items())


def test_the_same_evidence_has_the_same_bytes(kept, tmp_path):
    assert write_evidence(tmp_path / "other/name.npz", evidence()) == kept.sha256
    assert sha256((tmp_path / "evidence.npz").read_bytes()) == kept.sha256


def test_a_metric_of_ones_own(tmp_path):
    mae = Metric("mae", "error", "mm", "lower", "bootstrap", lambda found, targets: MeanError(found), lambda: MeanError)
    named = EvidenceFile("e.npz", write_evidence(tmp_path / "e.npz", {"mae": MeanError(np.array([1.0, 2.5]))}))
    assert read_evidence(tmp_path, named, [mae], ADVICE)["mae"].value() == 1.75


def test_right_and_wrong_are_kept_as_bits_in_a_row_instead():
    accuracy = Metric("accuracy", "accuracy", "%", "higher", "mcnemar", Correct, lambda: Correct)
    assert compared_by_file([accuracy, *METRICS]) == list(METRICS)


def refuses(folder: Path, named: EvidenceFile, says: str) -> None:
    with pytest.raises(DataError) as found:
        read_evidence(folder, named, METRICS, ADVICE)
    assert says in str(found.value)
    assert str(found.value).endswith(f"; {ADVICE}")


def test_a_missing_file(kept, tmp_path):
    (tmp_path / kept.file).unlink()
    refuses(tmp_path, kept, "evidence.npz: No such file")


def test_another_file(kept, tmp_path):
    other = {name: each.joined(each) for name, each in evidence().items()}
    write_evidence(tmp_path / kept.file, other)
    refuses(tmp_path, kept, f"is not the evidence that was kept (sha256 {sha256_file(tmp_path / kept.file)[:12]}, not")


@pytest.mark.parametrize("name", ["../evidence.npz", "/etc/passwd", "a/../../evidence.npz"])
def test_a_file_elsewhere(kept, tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    refuses(folder, EvidenceFile(name, kept.sha256), "is outside of")


def test_a_folder_of_a_run_may_be_a_link(kept, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/measurements").symlink_to(tmp_path)
    named = EvidenceFile(f"measurements/{kept.file}", kept.sha256)
    assert set(read_evidence(tmp_path / "run", named, METRICS, ADVICE)) == {"map", "macro_f1"}


def test_a_loop_of_links(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    refuses(tmp_path, EvidenceFile("loop", "0" * 64), "loop")


def arrays(**changed: np.ndarray) -> dict[str, np.ndarray]:
    found = {f"{name}.{field}": rows for name, each in evidence().items() for field, rows in each.arrays().items()}
    return {name: rows for name, rows in {**found, **changed}.items() if rows is not None}


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"map.scores": None}, "has no array 'map.scores'"),
        ({"map.scores": np.array([{}], object)}, "Python objects"),
        ({"map.scores": np.zeros(300)}, "(N, labels) in each array, not scores (300,), labels (300, 6)"),
        ({"map.scores": np.zeros((300, 5))}, "(N, labels) in each array"),
        ({"map.scores": np.zeros((299, 6))}, "not as many in each array: scores 299, labels 300, known 300"),
        ({"map.scores": np.full((300, 6), "a")}, "scores is <U1"),
        ({"macro_f1.labels": np.zeros((300, 6))}, "labels is float64"),
        ({"macro_f1.known": np.array(True)}, "macro_f1.known is a single value"),
    ],
)
def test_arrays_that_are_no_evidence(tmp_path, changed, says):
    refuses(tmp_path, again(tmp_path, **arrays(**changed)), says)


def test_no_archive(tmp_path):
    (tmp_path / "evidence.npz").write_text("map")
    refuses(tmp_path, EvidenceFile("evidence.npz", sha256(b"map")), "cannot be read as a .npz of plain arrays")


def test_a_header_that_promises_more_than_there_is(tmp_path):
    import zipfile

    good = again(tmp_path, **arrays())
    with zipfile.ZipFile(tmp_path / good.file) as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist()}
    members["map.scores.npy"] = members["map.scores.npy"].replace(b"(300, 6)", b"(9**9,6)")
    with zipfile.ZipFile(tmp_path / good.file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refuses(tmp_path, EvidenceFile(good.file, sha256_file(tmp_path / good.file)), "evidence.npz")
