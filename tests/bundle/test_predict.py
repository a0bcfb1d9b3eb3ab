import csv
import dataclasses
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from edgekd.bundle.inputs import files_in
from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.bundle.verify import verify
from edgekd.cli.bundle import app as bundle_app
from edgekd.cli.predict import predict as predict_command
from edgekd.errors import BundleError, DataError
from edgekd.files import sha256
from edgekd.preprocess import Preprocess
from edgekd.tasks.classification import Classification
from edgekd.tasks.detection import Detection
from edgekd.tasks.regression import Regression

from .conftest import LABELS, computing
from .models import golden_of, linear_model, vector_model
from .test_examples import COLOUR, packed, scenes
from .test_verify import reseal

RUN = CliRunner()


def test_it_predicts_what_is_in_the_picture(bundle: Path, draw: Callable[[str], Path]) -> None:
    found = Predictor(bundle).predict([draw("left"), draw("right"), draw("dark")])
    assert [each["label"] for each in found] == ["left", "right", "dark"]
    assert found[0]["file"].endswith("left.png")
    # left: mean 0 of the whole, +1 on the left, -1 on the right, times 0.99
    expected = np.exp([0, 0.99, -0.99]) / np.exp([0, 0.99, -0.99]).sum()
    assert np.isclose(found[0]["probability"], expected[1], atol=1e-6)
    assert [best["label"] for best in found[0]["top"]] == ["left", "dark", "right"]
    assert np.isclose(sum(best["probability"] for best in found[0]["top"]), 1)


def test_boxes_are_those_at_a_threshold_of_ones_own(bundle: Path, tmp_path: Path, edgekd: Any) -> None:
    images = scenes(3)
    boxes, photos = packed(tmp_path / "boxes", COLOUR, Detection(LABELS), images=images), tmp_path / "boxes/golden"

    def scores(*threshold: object) -> list[float]:
        done = edgekd("predict", boxes, *(photos / name for name in images), "--json", *threshold)
        assert done.code == 0
        return [each["score"] for image in json.loads(done.out) for each in image["objects"]]

    usual, lower, higher = scores(), scores("--threshold", 0.2), scores("--threshold", 0.8)
    assert sorted(each for each in lower if each >= 0.5) == sorted(usual)
    assert sorted(each for each in lower if each >= 0.8) == sorted(higher)
    assert len(lower) > len(usual) > len(higher) > 0 and min(lower) >= 0.2
    for folder, threshold, says in (
        (boxes, 0.01, "threshold of the detector's decoder is 0.01, and it drops boxes below its score, 0.05"),
        (bundle, 0.3, f"{bundle}: a bundle for classification has no threshold to set: leave it out"),
    ):
        done = edgekd("predict", folder, photos, "--threshold", threshold)
        assert done.code == 1 and says in done.err


def test_a_damaged_picture_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "part.png").write_text("no")
    with pytest.raises(DataError, match=r"part\.png"):
        Predictor(bundle).predict([tmp_path / "part.png"])


def test_the_command_goes_on_past_it(bundle: Path, draw: Callable[[str], Path], tmp_path: Path, edgekd: Any) -> None:
    broken = tmp_path / "part.png"
    broken.write_text("no")
    left, right = draw("left"), draw("right")
    done = edgekd("predict", bundle, left, broken, right, "--csv", "--batch", 1)
    assert done.code == 1
    assert [row["file"] for row in csv.DictReader(io.StringIO(done.out))] == [str(left), str(right)]
    said, last = done.err.splitlines()
    assert said.startswith("error: ") and str(broken) in said
    assert last == "error: 1 of 3 files were not predicted; mend or remove them"


def test_a_changed_bundle_does_not_run(bundle: Path) -> None:
    (bundle / "labels.txt").write_text("other\n")
    with pytest.raises(BundleError, match=r"labels\.txt"):
        Predictor(bundle)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_filled_up(parts: dict[str, Any], tmp_path: Path, batch: int) -> None:
    model = linear_model(tmp_path / "fixed.onnx", batch)
    fed, got = golden_of(model, 6)
    parts |= {"models": {"float32": model}, "golden": (fed[:5], got[:5])}
    predictor = Predictor(pack(tmp_path / "bundle", **parts))
    assert predictor.self_test().passed and predictor.self_test().n == 5
    assert np.allclose(predictor.run(fed[:4]), got[:4])


def test_the_self_test(bundle: Path) -> None:
    result = Predictor(bundle).self_test()
    assert result.passed and result.alike == result.judged <= result.n == 4
    assert result.max_abs_difference < 1e-6


def spoil(bundle: Path, **self_test: Any) -> Predictor:
    predictor = Predictor(bundle)
    predictor.manifest = dataclasses.replace(predictor.manifest, self_test=self_test)
    return predictor


def test_the_self_test_fails_on_other_outputs(bundle: Path) -> None:
    shifted = computing(bundle, lambda logits: logits + 10).self_test()
    assert not shifted.passed and shifted.alike == shifted.judged
    assert not computing(bundle, lambda logits: logits[:, ::-1]).self_test().passed


def test_classes_closer_than_the_tolerance_are_not_judged(bundle: Path) -> None:
    assert spoil(bundle, step=1.0, steps=1e9).self_test().judged == 0
    with pytest.raises(BundleError, match="self-test"):
        spoil(bundle).self_test()


def forge(bundle: Path, name: str, content: bytes) -> None:
    """Replaces a file and seals the manifest again, as somebody would who means harm."""
    (bundle / name).write_bytes(content)

    def change(document: dict[str, Any]) -> None:
        entry = next(file for file in document["files"] if file["path"] == name)
        entry.update(sha256=sha256(content), bytes=len(content))

    reseal(bundle, change)


def npy(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def promising(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + b"\0" * 64


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(npy(np.array([print], object), allow_pickle=True), id="pickle"),
        pytest.param(pickle.dumps(print), id="bare pickle"),
        pytest.param(promising((1 << 40, 1, 8, 8)), id="a header that promises terabytes"),
        pytest.param(npz(), id="zip"),
        pytest.param(npy(np.zeros((4, 1, 8, 9), np.float32)), id="another shape"),
        pytest.param(npy(np.zeros((0, 1, 8, 8), np.float32)), id="empty"),
        pytest.param(npy(np.float32(1)), id="a number"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_forged_golden_samples_are_refused(bundle: Path, content: bytes) -> None:
    forge(bundle, "golden/input.npy", content)
    with pytest.raises(BundleError, match="pack it again"):
        Predictor(bundle).self_test()


def test_what_was_verified_is_what_is_used(bundle: Path, draw: Callable[[str], Path]) -> None:
    predictor = Predictor(bundle)
    for name in ("model.int8.onnx", "golden/input.npy", "golden/output.npy", "manifest.json"):
        (bundle / name).write_bytes(b"something else")
    assert predictor.self_test().passed
    assert predictor.predict([draw("left")])[0]["label"] == "left"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", b"right\nleft\ndark\n"),
        ("triton/halves/labels.txt", b"right\nleft\ndark\n"),
        ("triton/halves/config.pbtxt", b'name: "halves"\n'),
        ("triton/halves/1/model.onnx", b"another"),
    ],
)
def test_the_self_test_holds_what_is_there_twice_against_the_manifest(bundle: Path, name: str, content: bytes) -> None:
    forge(bundle, name, content)
    verify(bundle)
    with pytest.raises(BundleError, match=f"{name} contradicts the manifest"):
        Predictor(bundle).self_test()


@pytest.mark.parametrize(
    ("key", "text"),
    [("labels", '["left", "dark", "right"]'), ("labels", "{"), ("preprocess", "{}"), ("preprocess", "[" * 5000)],
)
def test_the_self_test_holds_what_the_model_says_against_the_manifest(
    parts: dict[str, Any], tmp_path: Path, key: str, text: str
) -> None:
    model = onnx.load(parts["models"]["int8"])
    model.metadata_props.add(key=f"edgekd.{key}", value=text)
    onnx.save(model, parts["models"]["int8"])
    with pytest.raises(BundleError, match=f"the model's own {key} are not the manifest's"):
        pack(tmp_path / "other", **parts)


def test_weights_in_the_working_directory_are_not_read(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(bundle / "model.int8.onnx")
    weight = model.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(weight.raw_data)
    onnx.external_data_helper.set_external_data(weight, "weights.bin", offset=0, length=len(weight.raw_data))
    weight.ClearField("raw_data")
    forge(bundle, "model.int8.onnx", model.SerializeToString())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="cannot load it"):
        Predictor(bundle)


@pytest.mark.parametrize("where", ["../secret.bin", "/etc/passwd"])
def test_a_model_that_reads_files_outside_is_refused(bundle: Path, where: str) -> None:
    (bundle.parent / "secret.bin").write_bytes(b"\0" * 4096)
    model = onnx.load(bundle / "model.int8.onnx")
    weight = model.graph.initializer[0]
    size = len(weight.raw_data)
    onnx.external_data_helper.set_external_data(weight, where, offset=0, length=size)
    weight.ClearField("raw_data")
    forge(bundle, "model.int8.onnx", model.SerializeToString())
    verify(bundle)
    with pytest.raises(BundleError, match="cannot load it"):
        Predictor(bundle)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["inputs"][0].update(name="other"), "not the manifest's"),
        (lambda d: d["outputs"][0].update(shape=[-1, 30000]), "not the manifest's"),
        (lambda d: d["preprocess"].update(shape=[1, 8, 9]), "does not give what the model takes"),
        (lambda d: d["preprocess"].update(shape=[1, 1 << 40, 8]), "does not give what the model takes"),
    ],
)
def test_a_manifest_that_is_not_the_models_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    reseal(bundle, change)
    with pytest.raises(BundleError, match=says):
        Predictor(bundle)


def test_command_verify(bundle: Path) -> None:
    done = RUN.invoke(bundle_app, ["verify", str(bundle)], catch_exceptions=False)
    assert done.output == "ok: halves, 9 files as packed\n"
    done = RUN.invoke(bundle_app, ["verify", str(bundle), "--json", "--self-test"], catch_exceptions=False)
    assert json.loads(done.output)["self_test"]["passed"] is True
    (bundle / "labels.txt").unlink()
    with pytest.raises(BundleError, match=r"labels\.txt is missing"):
        RUN.invoke(bundle_app, ["verify", str(bundle)], catch_exceptions=False)


def test_command_show(bundle: Path) -> None:
    text = RUN.invoke(bundle_app, ["show", str(bundle)], catch_exceptions=False).output
    assert "input  input  FP32 [-1, 1, 8, 8]" in text and "labels  dark, left, right" in text
    assert "\nquantized  " in text
    shown = json.loads(RUN.invoke(bundle_app, ["show", str(bundle), "--json"], catch_exceptions=False).output)
    assert shown == json.loads(json.dumps(verify(bundle).to_json()))


def test_command_predict(bundle: Path, draw: Callable[[str], Path]) -> None:
    app = Typer()
    app.command()(predict_command)
    files = [str(draw("left")), str(draw("right"))]
    text = RUN.invoke(app, [str(bundle), *files, "--top", "2"], catch_exceptions=False).output.splitlines()
    assert text[0].endswith("left.png: left 66.2 %, dark 24.6 %") and len(text) == 2
    found = json.loads(RUN.invoke(app, [str(bundle), *files, "--json"], catch_exceptions=False).output)
    assert [each["label"] for each in found] == ["left", "right"]


def test_pictures_of_a_classifier_are_refused(
    edgekd: Any, bundle: Path, draw: Callable[[str], Path], tmp_path: Path
) -> None:
    done = edgekd("predict", bundle, draw("left"), "--pictures", tmp_path / "shown")
    assert (done.code, done.out) == (1, "") and "leave --pictures out" in done.err
    assert not (tmp_path / "shown").exists()


def test_the_verify_command_starts_light(bundle: Path) -> None:
    code = (
        "import sys; from edgekd.cli.bundle import app; app(['verify', sys.argv[1]], standalone_mode=False);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'onnx', 'onnxruntime')))"
    )
    subprocess.run([sys.executable, "-c", code, bundle], check=True, timeout=30)


@pytest.fixture
def pictures(draw: Callable[[str], Path], tmp_path: Path) -> Path:
    """A folder with pictures on two levels, and what is no picture."""
    folder = tmp_path / "parts"
    (folder / "deeper").mkdir(parents=True)
    for side, place in (("left", "a.png"), ("right", "deeper/B.PNG"), ("dark", ".hidden.png")):
        draw(side).rename(folder / place)
    (folder / "notes.txt").write_text("of the pictures")
    return folder


def test_folders_are_searched(pictures: Path) -> None:
    assert files_in([pictures, pictures / "deeper/B.PNG"], "image") == [
        (pictures / "a.png", Path("a.png")),
        (pictures / "deeper" / "B.PNG", Path("deeper/B.PNG")),
        (pictures / "deeper" / "B.PNG", Path("B.PNG")),
    ]
    with pytest.raises(DataError, match=r"deeper: holds no tables \(\.npy \.csv\)"):
        files_in([pictures / "deeper"], "vector")


def test_the_command_says_what_it_leaves_out_and_turns_what_lies(edgekd: Any, bundle: Path, tmp_path: Path) -> None:
    """The left half is white once the picture is turned as its EXIF orientation says."""
    photos = tmp_path / "photos"
    (photos / "__MACOSX").mkdir(parents=True)
    pixels = np.zeros((8, 8), np.uint8)
    pixels[4:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(photos / "a.JFIF", "JPEG", exif=exif, quality=100)
    for name in ("b.heic", "._a.jfif", "__MACOSX/a.png"):
        (photos / name).write_bytes(b"x")
    done = edgekd("predict", bundle, photos, "--csv")
    assert done.err == f"{photos}: left out: 1 file that is no images (.heic)\n"
    assert [row[:2] for row in csv.reader(io.StringIO(done.out))][1:] == [[str(photos / "a.JFIF"), "left"]]


def test_the_batch_changes_nothing(bundle: Path, pictures: Path) -> None:
    files = [each.path for each in files_in([pictures] * 3, "image")]
    one, five = (Predictor(bundle).predict(files, batch=batch) for batch in (1, 5))
    assert one == five and len(one) == 6


def test_it_holds_a_batch_at_a_time(bundle: Path, pictures: Path) -> None:
    read: list[Path] = []

    def watched() -> Iterator[Path]:
        for _ in range(10):
            read.append(pictures / "a.png")
            yield pictures / "a.png"

    found = Predictor(bundle).stream(watched(), batch=4)
    next(found)
    assert len(read) == 4
    assert len(list(found)) == 9


def test_command_predict_on_a_folder(edgekd: Any, bundle: Path, pictures: Path) -> None:
    done = edgekd("predict", bundle, pictures, "--top", 2, "--batch", 1, "--csv")
    assert done.code == 0
    header, *rows = csv.reader(io.StringIO(done.out))
    assert header == ["file", "label", "probability", "label_2", "probability_2"]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (str(pictures / "a.png"), "left", "dark"),
        (str(pictures / "deeper" / "B.PNG"), "right", "dark"),
    ]
    expected = np.exp(0.99) / np.exp([0, 0.99, -0.99]).sum()
    assert float(rows[0][2]) == pytest.approx(expected, abs=1e-6)


def test_command_predict_on_rows(edgekd: Any, tmp_path: Path) -> None:
    model = vector_model(tmp_path / "rows.onnx")
    fed = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    vector = Preprocess("vector", (2,), (0.0, 0.0), (1.0, 1.0))
    packed = pack(tmp_path / "b", name="rows", models={"float32": model}, task=Classification(("a,\"b", "c")),
                  preprocess=vector, golden=(fed, fed))  # fmt: skip
    (tmp_path / "rows.csv").write_text("1,0\n0,1\n")
    done = edgekd("predict", packed, tmp_path / "rows.csv", "--csv", "--top", 9)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["row"], row["label"], row["label_2"]) for row in rows] == [("0", 'a,"b', "c"), ("1", "c", 'a,"b')]


def test_values_that_are_called_as_columns_of_the_command_are_written_too(edgekd: Any, tmp_path: Path) -> None:
    model, fed = vector_model(tmp_path / "rows.onnx"), np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    vector, task = Preprocess("vector", (2,), (0.0, 0.0), (1.0, 1.0)), Regression(("row", "file"), (5.0, 7.0))
    parts = {"models": {"float32": model}, "golden": (fed, fed)}
    bundle = pack(tmp_path / "b", name="rows", task=task, preprocess=vector, **parts)
    (tmp_path / "rows.csv").write_text("1,0\n0,1\n")
    done = edgekd("predict", bundle, tmp_path / "rows.csv", "--csv")
    header, *rows = csv.reader(io.StringIO(done.out))
    assert header == ["file", "row", "row", "file"]
    file = str(tmp_path / "rows.csv")
    assert rows == [[file, "0", "6", "7"], [file, "1", "5", "8"]]


def test_command_predict_names_the_damaged_picture(edgekd: Any, bundle: Path, pictures: Path) -> None:
    (pictures / "deeper" / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:40])
    for form in ([], ["--json"], ["--csv"]):
        done = edgekd("predict", bundle, pictures, *form)
        said, error, _ = done.err.splitlines()
        assert done.code == 1 and said.endswith("left out: 1 file that is no images (.txt)")
        assert "deeper/broken.png: not a readable image" in error
    assert edgekd("predict", bundle, pictures, "--json", "--csv").code == 1


def test_help_of_predict_and_verify_needs_no_torch() -> None:
    for words in (["predict", "--help"], ["bundle", "verify", "--help"]):
        code = (
            "import sys; from edgekd.cli.main import main; sys.argv[0] = 'edgekd'\n"
            "try: main()\n"
            "finally: sys.stderr.write(str(sorted({'torch', 'numpy', 'onnx', 'onnxruntime'} & set(sys.modules))))"
        )
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "[]")
