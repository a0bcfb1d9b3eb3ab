"""CIFAR-10 for the studies of accuracy: a fixed subset to train on, a teacher, and work that is kept.

Networks start from public checkpoints of CIFAR-10, which JPEG has changed here; the teacher, ResNet-56, is
accustomed to it once, for one epoch of the subset. Batches are small, since few epochs are better spent on many steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peers import x86_profile
from torch import Tensor
from torch.fx import GraphModule

from edgekd.artifact_cache import ArtifactCache
from edgekd.data import DataSet, load_data
from edgekd.export import export_onnx, runtime_logits
from edgekd.files import canonical_json, make_folder, sha256, sha256_file, write_bytes
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.runner import StageRunner
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.start import starts_of
from edgekd.profiles import PROFILES
from edgekd.quantize.files import to_runtime
from edgekd.quantize.qdq import to_qdq
from edgekd.recipe import Recipe, Stage, Student, Teacher, Train, load_recipe
from edgekd.stages.network import quantization_of, restore
from edgekd.tasks.tensors import only

ROOT = Path(__file__).parents[1]
BATCH_SIZE, TEACHER_LR = 32, 0.002
ONNX = "model.onnx"


@dataclass(frozen=True)
class Study:
    """The recipe that all runs vary, their data, and the folder in which finished work is found again."""

    recipe: Recipe
    data: DataSet
    folder: Path

    def run(self, seed: int, stages: Sequence[Stage], student: Student | None = None) -> list[StageResult]:
        """The teacher and every stage's network."""
        changed = {"seed": seed, "stages": tuple(stages), "student": student or self.recipe.student}
        recipe = self.recipe.model_copy(update=changed)
        log = RunLog(self.folder / "log.jsonl", recipe.written)
        return StageRunner(recipe, self.data, starts_of(recipe, self.data), NodeCache(self.folder), log).run()[1]

    def limited(self, count: int) -> "Study":
        """The same with ``count`` of its training samples, the rest as it is."""
        order = torch.randperm(len(self.data.train), generator=torch.Generator().manual_seed(0))
        return replace(self, data=replace(self.data, train=self.data.train.select(order[:count].sort().values)))

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.data.test.labels.numpy()

    def counts(self) -> dict[str, int]:
        data = self.data
        return {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}


def prepare_study(
    folder: Path,
    train_limit: int | None,
    test_limit: int | None = None,
    teacher_limit: int | None = None,
    validation: float = 0.1,
    images: Path | None = None,
    checkpoint: Path | None = None,
) -> Study:
    """Loads the data, of whose training samples ``validation`` is held out, and accustoms the teacher to it.

    The teacher sees ``teacher_limit`` of its training samples. ``images`` are other class folders than CIFAR-10's, and
    ``checkpoint`` one of the teacher for them.
    """
    settings = [f"data.batch_size={BATCH_SIZE}", f"data.validation={validation}"]
    given = {
        **{"data.train_limit": train_limit, "data.test_limit": test_limit},
        **{"data.path": images and images.absolute(), "teacher.checkpoint": checkpoint and checkpoint.absolute()},
    }
    settings += [f"{key}={value}" for key, value in given.items() if value]
    recipe = load_recipe(ROOT / "recipes/cifar10.yaml", settings)
    study = Study(recipe, load_data(recipe.data), make_folder(folder))
    fine = recipe.teacher.model_copy(update={"train": Train(epochs=1, lr=TEACHER_LR)})
    few = study.limited(teacher_limit) if teacher_limit else study
    [teacher] = replace(few, recipe=recipe.model_copy(update={"teacher": fine})).run(0, ())
    # From here on a checkpoint like any other, so that no seed trains a teacher of its own.
    fixed = Teacher(model=fine.model, args=fine.args, checkpoint=teacher.folder / "weights.safetensors")
    return replace(study, recipe=recipe.model_copy(update={"teacher": fixed}))


def as_student(done: StageResult) -> Student:
    """The network of a finished stage, to start from."""
    spec = done.artifact.spec
    return Student(model=spec.builder, args=spec.args, checkpoint=done.folder / "weights.safetensors")


def exported(study: Study, done: StageResult) -> Path:
    """The ONNX file of a stage's network."""
    store, key = ArtifactCache(study.folder / "files"), sha256(canonical_json(["export", done.content]))

    def fill(new: Path) -> None:
        write_file(done, new / ONNX, study.data)

    folder = store.keep(done.label, key, fill)
    return folder / ONNX


def write_file(done: StageResult, path: Path, data: DataSet) -> None:
    network, quantization = restore(done.artifact), quantization_of(done.artifact.spec)
    if not isinstance(network, GraphModule) or not quantization.profile:
        export_onnx(network, path, data.preprocess, data.classes)
        return
    trained = quantization.profile
    target = x86_profile() if PROFILES.find(trained).runtime is None else trained
    qdq = to_qdq(network, data.preprocess, data.classes)
    write_bytes(path, to_runtime(qdq, network, trained, target).SerializeToString(deterministic=True))


def calibration(data: DataSet, seed: int, count: int) -> Tensor:
    """The training images that the quantize stage calibrates on, as the network takes them, (count, C, H, W)."""
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:count]
    return torch.cat([only(data.to_input(raw)) for raw, _ in data.train.stream(chosen.split(data.batch_size))])


def answers(study: Study, file: Path) -> NDArray[np.int64]:
    """The classes that ONNX Runtime answers on the test set."""
    store = ArtifactCache(study.folder / "answers")
    key = sha256(canonical_json([sha256_file(file), study.data.fingerprint]))

    def fill(new: Path) -> None:
        np.save(new / "answers.npy", runtime_logits(file, study.data.inputs(study.data.test)).argmax(1).numpy())

    folder = store.keep("answers", key, fill)
    return np.load(folder / "answers.npy")
