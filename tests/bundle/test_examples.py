"""The programs on a model card, run as they stand there, predict what ``edgekd predict`` predicts."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from PIL import Image

from edgekd.bundle.golden_images import PREDICTIONS
from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.errors import BundleError
from edgekd.files import sha256
from edgekd.images import planes, to_netpbm
from edgekd.preprocess import Preprocess
from edgekd.tasks.classification import Classification
from edgekd.tasks.detection import Detection
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.regression import Regression
from edgekd.tasks.regression.keypoints import Keypoints
from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.task import Task

from .models import maps_model, named_samples, picture_and_tokens, random_model
from .test_verify import reseal

COLOUR = Preprocess("image", (3, 12, 10), (0.4914, 0.48, 0.44), (0.2, 0.19, 0.25))
GREY = Preprocess("image", (1, 8, 8), (0.5,), (0.25,), upright=False, over_white=False)
LETTERBOX = Preprocess("image", (3, 12, 17), (0.5, 0.5, 0.5), (0.25, 0.5, 0.75), resize="letterbox")
VECTOR = Preprocess("vector", (40,), tuple(np.arange(40) / 7), tuple(0.5 + np.arange(40) / 9))
LABELS = ("a cat", "dög", "neither")
THRESHOLDS = (0.5, 0.125, 0.25)
# Where packages, and the releases of ONNX Runtime, put the headers.
HEADERS = [Path(each) for each in (os.environ.get("ONNXRUNTIME_INCLUDE"), "/usr/include/onnxruntime") if each]


def headers() -> Path | None:
    return next((path for path in HEADERS if (path / "onnxruntime_cxx_api.h").is_file()), None)


compiled = pytest.mark.skipif(
    not (headers() and shutil.which("g++")),
    reason="g++ and ONNX Runtime's headers are missing: 'apt install g++ libonnxruntime-dev' (Debian 13) brings them, "
    "or ONNXRUNTIME_INCLUDE names the folder of the headers",
)


def scene(width: int, height: int, channels: int, seed: int) -> np.ndarray:
    """Smooth shapes with a little noise, uint8 (C, H, W)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(image, np.int64) + random.integers(-20, 21, (height, width, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    return planes(image if channels == 3 else image.convert("L"))


def scenes(channels: int) -> dict[str, bytes]:
    sizes = ((131, 77), (10, 12), (7, 30), (4, 3))
    files = [to_netpbm(scene(*size, channels, seed), 1 << 18) for seed, size in enumerate(sizes)]
    return {f"image-{number}{suffix}": content for number, (suffix, content) in enumerate(files, 1)}


def model_for(task: Task, path: Path, shape: tuple[int, ...], batch: int | str) -> Path:
    if isinstance(task, Detection):
        return maps_model(path, shape, batch, {"cls.4": len(task.names), "box.4": 4}, 4)
    if isinstance(task, Segmentation):
        return maps_model(path, shape, batch, {"logits": len(task.names)}, 2)
    if isinstance(task, Keypoints) and task.image:
        return maps_model(path, shape, batch, {"logits": len(task.names)}, 2)
    return random_model(path, shape, batch, 2 * len(task.names) if isinstance(task, Keypoints) else len(task.names))


def packed(out: Path, preprocess: Preprocess, task: Task, batch: int | str = "N", **more: Any) -> Path:
    model = model_for(task, out.with_suffix(".onnx"), preprocess.shape, batch)
    fed = np.random.default_rng(5).normal(size=(4, *preprocess.shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    step = 4 if batch == "N" else int(batch)
    runs = [session.run(None, {"input": fed[i : i + step]}) for i in range(0, 4, step)]
    names = [each.name for each in session.get_outputs()]
    got = {name: np.concatenate(each) for name, each in zip(names, zip(*runs, strict=True), strict=True)}
    parts = {"models": {"float32": model}, "golden": (fed, got)}
    return pack(out, name="programs", task=task, preprocess=preprocess, **parts, **more)


def program(bundle: Path, language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", (bundle / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def printed_by_python(
    bundle: Path, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.chdir(bundle)
    monkeypatch.setattr("sys.argv", ["predict.py", file])
    exec(program(bundle, "python"), {})
    return capsys.readouterr().out.splitlines()


def library(folder: Path) -> Path:
    """The shared library of the installed wheel, under the names that a package of ONNX Runtime gives it."""
    found = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    folder.mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(found)
    return folder


def built(bundle: Path, libraries: Path) -> Path:
    """The program, compiled by the command that stands in its first line."""
    source = bundle.parent / "predict.cpp"
    source.write_text(program(bundle, "cpp"), encoding="utf-8")
    command = source.read_text(encoding="utf-8").splitlines()[0].removeprefix("// ")
    places = {"CPLUS_INCLUDE_PATH": str(headers()), "LIBRARY_PATH": str(libraries)}
    strict = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([*shlex.split(command), *strict], cwd=bundle, env={**os.environ, **places}, check=True)
    return source.with_suffix("")


def expected(bundle: Path, file: str) -> list[tuple[str, list[float]]]:
    """Labels with their numbers, such as probabilities, as ``edgekd predict`` gives them."""
    [found] = Predictor(bundle).predict([bundle / file])
    if "objects" in found:
        boxes = [(each["label"], each["score"], each["bbox"]) for each in found["objects"]]
        return [(label, [score, x, y, x + width, y + height]) for label, score, (x, y, width, height) in boxes]
    if "points" in found:
        scores = found.get("scores", {})
        return [(name, [*place, scores[name]] if scores else place) for name, place in found["points"].items()]
    if "values" in found or "shares" in found:
        return [(name, [value]) for name, value in (found.get("values") or found["shares"]).items()]
    if "labels" in found:
        return [(each["label"], [each["probability"]]) for each in found["top"] if each["label"] in found["labels"]]
    return [(found["label"], [found["probability"]])]


def assert_printed(lines: Sequence[str], wanted: Sequence[tuple[str, Sequence[float]]], within: float) -> None:
    wanted = sorted(wanted)
    width = len(wanted[0][1]) if wanted else 1
    found = sorted((label, list(map(float, values))) for label, *values in (line.rsplit(" ", width) for line in lines))
    assert [label for label, _ in found] == [label for label, _ in wanted]
    for (_, ours), (_, theirs) in zip(found, wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=within)


CASES = {
    "colour": (COLOUR, Classification(LABELS), 2),
    "grey": (GREY, Multilabel(LABELS, THRESHOLDS), "N"),
    "letterbox": (LETTERBOX, Classification(LABELS), "N"),
    "values": (GREY, Regression(("width", "height", "depth"), (1.0, 0.0, -3.0), (0.5, 2.0, 1.5)), 1),
    "vector": (VECTOR, Classification(LABELS), "N"),
    "points": (LETTERBOX, Keypoints(("nose", "left eye"), (6.0, 8.0, 5.0, 3.0), (2.0, 1.5, 1.0, 3.0)), "N"),
    "points of a vector": (VECTOR, Keypoints(("nose", "left eye"), (6.0, 8.0, 5.0, 3.0), (2.0, 1.5, 1.0, 3.0)), "N"),
    "heat maps": (LETTERBOX, Keypoints(("nose", "left eye"), image=(12, 17), sigma=0.75), "N"),
    "heat maps, stretched": (COLOUR, Keypoints(("nose", "left eye"), image=(12, 10)), 2),
    "masks": (LETTERBOX, Segmentation(LABELS), "N"),
    "masks, stretched": (COLOUR, Segmentation(LABELS), 2),
    "boxes": (LETTERBOX, Detection(LABELS, iou=0.3), "N"),
    "boxes, stretched": (COLOUR, Detection(LABELS, score=0.04, threshold=0.04), 1),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """A bundle, and files in it to predict."""
    preprocess, task, batch = CASES[request.param]
    if preprocess.kind == "image":
        images = scenes(preprocess.shape[0])
        return packed(tmp_path / "bundle", preprocess, task, batch, images=images), [
            f"golden/{name}" for name in images
        ]
    bundle = packed(tmp_path / "bundle", preprocess, task, batch)
    np.savetxt(tmp_path / "row.csv", np.linspace(-3, 9, 40)[None], "%.6g", ",")
    return bundle, ["../row.csv"]


def test_python(case, monkeypatch, capsys):
    bundle, files = case
    for file in files:
        assert_printed(printed_by_python(bundle, file, monkeypatch, capsys), expected(bundle, file), 2e-5)


@pytest.mark.parametrize("preprocess", [COLOUR, GREY, LETTERBOX], ids=["colour", "grey", "letterbox"])
def test_python_on_an_image_of_16_bits(preprocess, tmp_path, monkeypatch, capsys):
    bundle = packed(tmp_path / "bundle", preprocess, Classification(LABELS))
    pixels = scene(20, 14, 1, seed=3)[0].astype(np.uint16) * 257
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    found = printed_by_python(bundle, "../deep.png", monkeypatch, capsys)
    assert_printed(found, expected(bundle, "../deep.png"), 2e-5)


def test_what_is_no_image_is_answered_with_the_usage(tmp_path, monkeypatch, capsys):
    bundle = packed(tmp_path / "bundle", GREY, Classification(LABELS))
    for file in ("golden", "missing.png", "labels.txt"):
        with pytest.raises(SystemExit, match=rf"{file}.*; usage: predict.py IMAGE, such as picture.png$"):
            printed_by_python(bundle, file, monkeypatch, capsys)


NUMBERS = "row.csv, a line of 40 numbers with commas between them"


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("colour", "IMAGE, such as golden/image-1.ppm"),
        ("grey", "IMAGE, such as golden/image-1.pgm"),
        ("vector", NUMBERS),
    ],
    indirect=["case"],
)
def test_a_program_that_is_given_nothing_says_what_it_wants(case, wanted, monkeypatch, capsys):
    bundle, _ = case
    monkeypatch.setattr("sys.argv", ["predict.py"])
    with pytest.raises(SystemExit, match="^2$"):
        exec(program(bundle, "python"), {})
    assert capsys.readouterr().err == f"usage: predict.py {wanted}\n"


@compiled
def test_cpp(case):
    bundle, files = case
    if "```cpp" not in (bundle / "README.md").read_text(encoding="utf-8"):
        pytest.skip("the task has no program in C++")
    libraries = library(bundle.parent / "lib")
    run, there = built(bundle, libraries), {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    for wrong in ("golden", "labels.txt"):
        done = subprocess.run([run, wrong], cwd=bundle, env=there, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.startswith(f"{wrong} ")
    done = subprocess.run([run], cwd=bundle, env=there, capture_output=True, text=True)
    kind = Path(files[0]).suffix.removeprefix(".").upper()
    wanted = NUMBERS if kind == "CSV" else f"IMAGE, a binary {kind} file such as {files[0]}"
    assert (done.returncode, done.stderr) == (2, f"usage: {run} {wanted}\n")
    for file in files:
        done = subprocess.run([run, file], cwd=bundle, env=there, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert_printed(done.stdout.splitlines(), expected(bundle, file), 1e-4)


def test_several_inputs_in_python(tmp_path, monkeypatch, capsys):
    model, fed = picture_and_tokens(tmp_path / "two.onnx"), named_samples()
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    got = dict(zip(names, session.run(names, fed), strict=True))
    bundle = pack(
        tmp_path / "bundle",
        name="two",
        models={"float32": model},
        task=Classification(LABELS),
        preprocess=Preprocess("tensors", (), (), ()),
        golden=(fed, got),
    )
    np.savez(tmp_path / "one.npz", **{name: each[:1] for name, each in fed.items()})
    printed = printed_by_python(bundle, "../one.npz", monkeypatch, capsys)
    assert_printed(printed, expected(bundle, "../one.npz"), 1e-6)
    monkeypatch.setattr("sys.argv", ["predict.py"])
    with pytest.raises(SystemExit, match="^2$"):
        exec(program(bundle, "python"), {})
    names = ", ".join(each["name"] for each in json.loads((bundle / "manifest.json").read_text())["inputs"])
    assert capsys.readouterr().err == f"usage: predict.py samples.npz, which holds {names}, each (N, ...)\n"
    assert "```cpp" not in (bundle / "README.md").read_text()


def test_a_mask_is_written_where_the_program_is_told_a_file(tmp_path, monkeypatch, capsys):
    bundle = packed(tmp_path / "bundle", LETTERBOX, Segmentation(LABELS), images=scenes(3))
    [found] = Predictor(bundle).stream([bundle / "golden/image-1.ppm"])
    monkeypatch.chdir(bundle)
    monkeypatch.setattr("sys.argv", ["predict.py", "golden/image-1.ppm", str(tmp_path / "mask.png")])
    exec(program(bundle, "python"), {})
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == found.prediction.mask).all()
    said = json.loads((bundle / PREDICTIONS).read_text())
    assert "model.decoded.onnx" not in {path.name for path in bundle.iterdir()}
    assert said[0]["shares"] == pytest.approx(found.prediction.to_json()["shares"]) and "logits" not in said[0]
    assert Predictor(bundle).self_test().passed


HEAT_MAPS = Keypoints(LABELS, size=10.0, image=(12, 10))


@pytest.mark.parametrize("task", [Segmentation(LABELS), Detection(LABELS), HEAT_MAPS], ids=lambda task: task.name)
def test_a_file_that_decodes_itself(task, tmp_path):
    bundle = packed(tmp_path / "bundle", COLOUR, task, decoded_output=True)
    session = onnxruntime.InferenceSession(str(bundle / "model.decoded.onnx"), providers=["CPUExecutionProvider"])
    fed = np.load(bundle / "golden/input.npy")
    [rows] = session.run(None, {"input": fed})
    alike, compared = task.same_decoded(rows, Predictor(bundle).decoded(fed), 1e-3)
    assert alike.all() and compared > (5 if task is HEAT_MAPS else 20) and Predictor(bundle).self_test().passed
    [output] = session.get_outputs()
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert f"`model.decoded.onnx` takes the same and does the decoding itself: output `{output.name}` (batch" in card
    with pytest.raises(BundleError, match="--decoded-output: no file decodes the outputs of classification itself"):
        packed(tmp_path / "other", COLOUR, Classification(LABELS), decoded_output=True)
    model = onnx.load(bundle / "model.decoded.onnx")
    weight = next(each for each in model.graph.initializer if each.name.startswith("weight."))
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(weight)[::-1]), weight.name))
    onnx.save(model, bundle / "model.decoded.onnx")
    content = (bundle / "model.decoded.onnx").read_bytes()
    about = {"path": "model.decoded.onnx", "sha256": sha256(content), "bytes": len(content)}
    reseal(bundle, lambda found: [each.update(about) for each in found["files"] if each["path"] == about["path"]])
    with pytest.raises(
        BundleError, match=r"model\.decoded\.onnx: it does not predict what the outputs of the model mean; pack"
    ):
        Predictor(bundle).self_test()


def test_a_file_that_decodes_itself_is_compared_with_something(tmp_path):
    with pytest.raises(BundleError, match="predicts nothing on the golden samples.*lower the decoder's least score"):
        packed(tmp_path / "bundle", COLOUR, Detection(LABELS, score=0.9999, threshold=0.99995), decoded_output=True)
    bundle = packed(tmp_path / "bundle", COLOUR, Detection(LABELS, threshold=0.9999), decoded_output=True)
    assert Predictor(bundle).self_test().passed  # boxes below the user's threshold are compared as well


def test_a_task_without_a_program_has_neither_it_nor_golden_images(tmp_path, monkeypatch):
    monkeypatch.setattr(Classification, "code", lambda *_: "")
    bundle = packed(tmp_path / "bundle", COLOUR, Classification(LABELS), images=scenes(3))
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert "edgekd predict . picture.png" in card and "`edgekd predict` runs `model.onnx`." in card
    assert "need no edgekd" not in card and "```cpp" not in card and "Golden images" not in card
    assert not (bundle / PREDICTIONS).exists() and Predictor(bundle).self_test().passed


def test_golden_images_are_on_the_card_and_tested(tmp_path, monkeypatch):
    bundle = packed(tmp_path / "bundle", COLOUR, Classification(LABELS), images=scenes(3))
    said = json.loads((bundle / PREDICTIONS).read_text())
    assert [each["file"] for each in said] == [f"golden/image-{number}.ppm" for number in (1, 2, 3, 4)]
    assert [each["label"] for each in said] == [expected(bundle, each["file"])[0][0] for each in said]
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{each['file']}` | {each['label']} " in card for each in said)
    assert Predictor(bundle).self_test().passed
    again = packed(tmp_path / "again", COLOUR, Classification(LABELS), images=scenes(3))
    assert (again / PREDICTIONS).read_bytes() == (bundle / PREDICTIONS).read_bytes()
    nearest = Image.Resampling.NEAREST
    monkeypatch.setattr(Preprocess, "fit", lambda self, image: planes(image.resize((10, 12), nearest)))
    found = Predictor(bundle).self_test()
    assert not found.passed and found.max_abs_difference > found.tolerance
    with pytest.raises(BundleError, match="golden/image-1.ppm: .*not a readable image"):
        packed(tmp_path / "broken", COLOUR, Classification(LABELS), images={"image-1.ppm": b"P6 no"})
