"""Bad input: exit code 1, one message that tells the way out, never a traceback, and nothing left behind."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.toy import RECIPE, write_recipe

FOLDER_DATA = "data: {source: folder, path: pictures, image_size: 8, batch_size: 4}"
DIGITS_DATA = "data: {source: digits, train_limit: 400, test_limit: 100, batch_size: 50}"


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def pictures(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 4) -> Path:
    for part in ("train", "test"):
        for number, name in enumerate(classes):
            folder = root / "pictures" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(np.full((8, 8, 3), 40 * number + index, np.uint8)).save(folder / f"{index}.png")
    return root / "pictures"


@pytest.fixture
def refused(edgekd, tmp_path):
    """Runs a recipe that cannot work and gives its message."""

    def run(text: str, *arguments: str) -> str:
        outcome = edgekd("run", write_recipe(tmp_path, text), "--out", tmp_path / "run", *arguments)
        assert outcome.code == 1, outcome.err
        assert outcome.out == ""
        assert "Traceback" not in outcome.err
        [message] = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert not (tmp_path / "run" / "report.json").exists()
        return message.removeprefix("error: ")

    return run


def test_unknown_key(refused, tmp_path):
    message = refused(replaced(RECIPE, "macs: 0.6", "mcas: 0.6"))
    assert message.startswith(f"{tmp_path}/toy.yaml:11: ")
    assert "unknown key" in message
    assert "did you mean 'macs'?" in message


def test_wrong_type(refused, tmp_path):
    message = refused(replaced(RECIPE, "batch_size: 50", "batch_size: many"))
    assert message == f"{tmp_path}/toy.yaml:3: data.batch_size: expected a whole number of at least 1, got 'many'"


def test_a_stage_order_that_cannot_be(refused):
    text = replaced(RECIPE, "  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}\n", "") + ""
    text = replaced(text, "budget:", "  - prune: {macs: 0.6}\nbudget:")
    assert "prune cannot follow quantize; it may come first, or after distill, factorize or prune" in refused(text)


def test_missing_recipe(edgekd, tmp_path):
    outcome = edgekd("run", tmp_path / "nowhere.yaml")
    assert outcome.code == 1
    assert outcome.err.startswith("error: ")
    assert "nowhere.yaml" in outcome.err


def test_missing_checkpoint(refused, tmp_path):
    message = refused(replaced(RECIPE, "  train: {epochs: 2, lr: 0.1}", "  checkpoint: gone.pt"))
    says = f"teacher.checkpoint: there is no {tmp_path}/gone.pt; give the path of a .safetensors, .pt or .pth file"
    assert message == f"{tmp_path}/toy.yaml:7: {says}"


def test_checkpoint_for_another_network(refused, tmp_path):
    torch.save({"state_dict": {"module.conv1.weight": torch.zeros(16, 3, 3, 3)}}, tmp_path / "other.pt")
    message = refused(replaced(RECIPE, "  train: {epochs: 2, lr: 0.1}", "  checkpoint: other.pt"))
    assert "other.pt is not a checkpoint of this Sequential: missing: 0.weight (16, 1, 3, 3)" in message
    assert "unexpected: module.conv1.weight (16, 3, 3, 3)" in message


class Bomb:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def plain_pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (torch.save, "and code in a checkpoint is never run; save network.state_dict() alone"),
        (plain_pickle, "cannot be read as a checkpoint"),
    ],
)
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(refused, tmp_path, write, reason):
    marker = tmp_path / "it-ran"
    write({"state_dict": Bomb(marker)}, tmp_path / "bomb.pt")
    assert reason in refused(replaced(RECIPE, "  train: {epochs: 2, lr: 0.1}", "  checkpoint: bomb.pt"))
    assert not marker.exists()


def test_missing_image_folder(refused, tmp_path):
    message = refused(replaced(RECIPE, DIGITS_DATA, FOLDER_DATA))
    assert message.endswith(f": data.path: there is no {tmp_path}/pictures; give the folder or file of the data")
    (tmp_path / "pictures").mkdir()
    message = refused(replaced(RECIPE, DIGITS_DATA, FOLDER_DATA))
    assert message.endswith(
        f":3: data.path: there is no folder {tmp_path}/pictures/train: an image folder holds train/<class>/* and "
        "test/<class>/*"
    )


def test_empty_class_folder(refused, tmp_path):
    for part in ("train", "test"):
        (pictures(tmp_path) if part == "train" else tmp_path / "pictures").joinpath(part, "bird").mkdir()
    message = refused(replaced(RECIPE, DIGITS_DATA, FOLDER_DATA))
    assert f"{tmp_path}/pictures/train/bird holds no images" in message


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_corrupt_image(refused, tmp_path, in_memory):
    broken = pictures(tmp_path) / "train" / "cat" / "2.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(noise).save(broken)
    broken.write_bytes(broken.read_bytes()[:100])
    message = refused(replaced(RECIPE, DIGITS_DATA, FOLDER_DATA.replace("}", f", in_memory: {in_memory}}}")))
    assert str(broken) in message


def test_one_class_only(refused, tmp_path):
    pictures(tmp_path, classes=("cat",))
    message = refused(replaced(RECIPE, DIGITS_DATA, FOLDER_DATA))
    assert "has one class only (cat): there is nothing to tell apart; add another" in message


def test_a_student_bigger_than_the_teacher(refused):
    message = refused(replaced(RECIPE, "student: {model: small_cnn, args: {width: 8}}", "student: {model: resnet20}"))
    assert "student resnet20 has 272,186 parameters, more than the 24,058 of the teacher small_cnn" in message
    assert "name a smaller student, or leave student out" in message


def test_unknown_network(refused):
    message = refused(replaced(RECIPE, "student: {model: small_cnn,", "student: {model: smal_cnn,"))
    assert ":8: student.model: unknown model 'smal_cnn' (did you mean 'small_cnn'?)" in message


def test_a_pruning_target_out_of_reach(refused):
    message = refused(replaced(RECIPE, "{macs: 0.6, round_to: 2", "{macs: 0.01, round_to: 8"))
    assert "pruning cannot reach 1% of the MACs" in message


def test_a_training_that_diverges(refused):
    message = refused(replaced(RECIPE, "train: {epochs: 2, lr: 0.1}", "train: {epochs: 2, lr: 1.0e+18}"))
    assert message.startswith("teacher: the loss became nan in epoch 1; lower lr (now 1e+18), or set clip_norm")


def test_a_read_only_place(refused, tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    assert "choose another folder with --out" in refused(RECIPE)


def test_a_bad_override(refused):
    assert "--set" in refused(RECIPE, "--set", "prune.mcas=0.4")


def test_a_command_that_does_not_exist(edgekd):
    outcome = edgekd("rnu")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: No such command 'rnu'.")


JUNK = st.sampled_from(
    ["{", "- x", "null", "'" + "a" * 50, "[1, 2", "!!python/object:os.system {}", "-1", "1e999", "~", "model: 3", "\t"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, len(RECIPE.splitlines()) - 1), junk=JUNK, swap=st.booleans())
def test_no_mutation_of_a_recipe_gives_a_traceback(edgekd, tmp_path, line, junk, swap):
    lines = RECIPE.splitlines()
    lines[line] = junk if swap else lines[line] + junk
    outcome = edgekd("run", write_recipe(tmp_path, "\n".join(lines)), "--dry-run")
    assert outcome.code in (0, 1)
    assert "Traceback" not in outcome.err
    if outcome.code:
        assert outcome.err.count("error: ") == 1
