"""A bundle of a picture and of tokens of any number, to logits, an embedding and one number for each sample."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.bundle.diff import Difference, diff
from edgekd.bundle.manifest import Manifest
from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.bundle.score import score
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError, DataError
from edgekd.preprocess import Preprocess

from .conftest import computing
from .models import TABLE, named_samples, picture_and_tokens
from .test_verify import reseal

TAKEN_AS_THEY_ARE = Preprocess("tensors", (), (), ())
Arrays = dict[str, np.ndarray]


def expected(given: Arrays) -> Arrays:
    """What the network is by hand."""
    left, right = given["image"][..., :4].sum((1, 2, 3)) / 32, given["image"][..., 4:].sum((1, 2, 3)) / 32
    embedding = TABLE[given["tokens"]].mean(1)
    logits = np.stack([-(left + right) / 2, left, right], 1) + embedding
    return {"logits": logits, "embedding": embedding, "peak": embedding.max(1)}


def outputs_of(model: Path, given: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return dict(zip(("embedding", "logits", "peak"), session.run(None, given), strict=True))


@pytest.fixture
def several(parts: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    model = picture_and_tokens(tmp_path / "several.onnx", most=9)
    golden = named_samples(), outputs_of(model, named_samples())
    return {**parts, "models": {"float32": model}, "preprocess": TAKEN_AS_THEY_ARE, "golden": golden}


@pytest.fixture
def found(several: dict[str, Any], tmp_path: Path) -> Path:
    return pack(tmp_path / "several", **several)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_its_manifest_and_golden_samples(found: Path) -> None:
    manifest = verify(found)
    document = json.loads((found / "manifest.json").read_text())
    assert document["schema_version"] == 2, "readers of one input refuse it"
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert document["inputs"] == [
        {"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]},
        {"name": "tokens", "datatype": "INT64", "shape": [-1, -1], "bounds": [0, 3]},
    ]
    assert [(each["name"], each["shape"]) for each in document["outputs"]] == [
        *(("embedding", [-1, 3]), ("logits", [-1, 3]), ("peak", [-1]))
    ]
    kept = {path.stem: np.load(path) for path in (found / "golden").iterdir()}
    assert sorted(kept) == ["embedding", "image", "logits", "peak", "tokens"]
    assert kept["tokens"].dtype == np.int64
    for name, each in expected(named_samples()).items():
        np.testing.assert_allclose(kept[name], each, atol=1e-5)
        said = document["self_test"]["outputs"][name]
        assert said == {"step": pytest.approx(np.ptp(each) / 255, rel=1e-5), "steps": 0.25}


def test_the_same_parts_give_the_same_bytes(several: dict[str, Any], found: Path, tmp_path: Path) -> None:
    again = pack(tmp_path / "again", **several)
    assert (again / "manifest.json").read_bytes() == (found / "manifest.json").read_bytes()
    assert diff(verify(found), verify(again)) == []


@pytest.mark.parametrize("batch", ["batch", 3])
def test_all_outputs_by_name(several: dict[str, Any], tmp_path: Path, batch: int | str) -> None:
    model = picture_and_tokens(tmp_path / "fixed.onnx", batch)
    golden = named_samples(3), outputs_of(model, named_samples(3))
    predictor = Predictor(pack(tmp_path / "fixed", **several | {"models": {"float32": model}, "golden": golden}))
    assert predictor.self_test().passed
    for n, length in ((1, 1), (7, 4), (8, 9)):
        given = named_samples(n, length)
        got = predictor.outputs(given, batch=4)
        assert list(got) == ["embedding", "logits", "peak"]
        for name, each in expected(given).items():
            np.testing.assert_allclose(got[name], each, atol=1e-5)
        np.testing.assert_array_equal(predictor.run(given), got["logits"])


@pytest.mark.parametrize("output", ["logits", "embedding", "peak"])
def test_the_self_test_tries_every_output(found: Path, edgekd: Callable[..., Any], output: str) -> None:
    good = Predictor(found).self_test()
    assert (good.passed, good.n, good.judged, set(good.others)) == (True, 4, 4, {"embedding", "peak"})
    wrong = computing(found, lambda each: each + 0.02, output).self_test()
    assert not wrong.passed and wrong.alike == wrong.judged, "all predictions are the same"
    assert ("apart" in wrong.describe()) == (output != "logits")
    assert not computing(found, lambda each: each * np.nan, output).self_test().passed
    assert not computing(found, lambda each: each[:, None], output).self_test().passed if output != "logits" else True
    done = edgekd("bundle", "verify", found, "--self-test")
    assert "4 golden samples within 0.25 steps" in done.out and "embedding, peak within theirs" in done.out
    document = json.loads(edgekd("bundle", "verify", found, "--self-test", "--json").out)
    assert set(document["self_test"]["others"]) == {"embedding", "peak"}


def test_each_output_has_a_range_of_its_own(several: dict[str, Any], tmp_path: Path) -> None:
    given, outputs = several["golden"]
    moved = {**outputs, "peak": outputs["peak"] + np.float32(0.001)}
    wide = {**moved, "peak": moved["peak"] * np.float32([1, 1, 1, 1])}
    with pytest.raises(BundleError, match=r"'peak' is 0\.001 apart, allowed"):
        pack(tmp_path / "moved", **several | {"golden": (given, wide), "steps": 0.01})
    assert pack(tmp_path / "moved", **several | {"golden": (given, wide), "steps": 2.0})


def test_files_of_samples(found: Path, edgekd: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    one = {name: each[:1] for name, each in named_samples().items()}
    npz(tmp_path / "in" / "a.npz", **one)
    npz(tmp_path / "in" / "b.npz", **named_samples(5, 7), labels=np.zeros(5))
    predicted = [each["label"] for each in Predictor(found).predict([tmp_path / "in" / "b.npz"], batch=2)]
    assert predicted == [("dark", "left", "right")[each] for each in expected(named_samples(5, 7))["logits"].argmax(1)]
    done = edgekd("predict", found, tmp_path / "in", "--csv", "--batch", 2)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [Path(row["file"]).name for row in rows] == ["a.npz", *["b.npz"] * 5]
    assert [row["row"] for row in rows] == list("001234")
    assert [row["label"] for row in rows[1:]] == predicted
    assert "labels left out" in done.err
    listed = json.loads(edgekd("predict", found, tmp_path / "in", "--json").out)
    assert [each.get("row") for each in listed] == [None, 0, 1, 2, 3, 4]


def tokens(*rows: list[int], dtype: type = np.int64) -> np.ndarray:
    return np.array(rows, dtype)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"tokens": None}, r"has no 'tokens'; it holds image; save them with np.savez\(FILE, image=..., tokens=...\)"),
        ({"tokens": None, "token": tokens([1])}, "has no 'tokens' .did you mean 'token'..; it holds image, token"),
        ({"tokens": tokens([1], [2], dtype=np.int32)}, r"tokens is int32, .*: convert it with .astype\('int64'\)"),
        ({"image": np.zeros((2, 1, 8, 8))}, "image is float64, the network takes float32"),
        ({"image": np.zeros((2, 1, 8, 9), np.float32)}, r"image is of the shape .*, the network takes \(N, 1, 8, 8\)"),
        ({"tokens": tokens([1, 2], [1, 2])[..., None]}, r"tokens is of the shape .*, the network takes \(N, length\)"),
        ({"tokens": np.zeros((2, 0), np.int64)}, r"tokens is of the shape \(2, 0\)"),
        ({"tokens": tokens([1], [2], [3])}, "image 2, tokens 3; give each input one row for each sample"),
        ({"image": np.zeros((0, 1, 8, 8), np.float32), "tokens": np.zeros((0, 2), np.int64)}, "image 0, tokens 0"),
        ({"tokens": tokens([1, 2], [3, 4])}, r"row 1 \(from 0\) holds 4, the network takes 0 to 3"),
        ({"tokens": tokens([1, -1], [3, 3])}, r"row 0 \(from 0\) holds -1, the network takes 0 to 3"),
        ({"tokens": np.ones((2, 10), np.int64)}, "tokens has 10 in 'length', the network takes 1 to 9: cut or pad"),
        ({"image": np.full((2, 1, 8, 8), np.nan, np.float32)}, "image: row 0 .* holds nan, no finite float32"),
        ({"tokens": np.array(["a", "b"])}, "tokens is <U1"),
        ({"tokens": np.array([{}, {}])}, "holds Python objects"),
    ],
)  # fmt: skip
def test_samples_that_do_not_fit_are_refused(found: Path, tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    arrays = {**named_samples(2), **changed}
    file = npz(tmp_path / "wrong.npz", **{name: each for name, each in arrays.items() if each is not None})
    with pytest.raises(DataError, match=says) as refused:
        Predictor(found).predict([file])
    assert str(file) in str(refused.value)


def test_what_is_no_archive_is_refused(found: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"PNG")
    (tmp_path / "b.npz").write_bytes(b"PK")
    for name, says in (("a.png", "takes image, tokens; save them with"), ("b.npz", "cannot be read as a .npz"),
                       ("c.npz", "c.npz")):  # fmt: skip
        with pytest.raises(DataError, match=says):
            Predictor(found).predict([tmp_path / name])


def test_inputs_of_one_size_must_be_alike(several: dict[str, Any], tmp_path: Path) -> None:
    """A name is one size, in every input that has it."""
    model = onnx.load(several["models"]["float32"])
    model.graph.input[0].type.tensor_type.shape.dim[3].ClearField("dim_value")
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "length"
    onnx.save(model, tmp_path / "alike.onnx")
    given = named_samples(4, 8)
    golden = given, outputs_of(tmp_path / "alike.onnx", given)
    changed = {"models": {"float32": tmp_path / "alike.onnx"}, "golden": golden}
    predictor = Predictor(pack(tmp_path / "alike", **several | changed))
    with pytest.raises(DataError, match="'length' is 8 in image and 5 in tokens: make them alike"):
        predictor.predict([npz(tmp_path / "two.npz", **named_samples())])


def test_its_score(found: Path) -> None:
    given = named_samples(50)
    labels = expected(given)["logits"].argmax(1)
    labels[:10] = (labels[:10] + 1) % 3
    for batch in (7, 100):
        got = score(found, {**given, "labels": labels}, labels, batch)
        assert (got.n, got.headline.value) == (50, 0.8)
    with pytest.raises(DataError, match="samples: has no 'tokens'"):
        score(found, {"image": given["image"]}, labels)
    with pytest.raises(DataError, match="image 50, tokens 49"):
        score(found, {**given, "tokens": given["tokens"][1:]}, labels)


def test_samples_by_name_for_one_input_are_refused(bundle: Path) -> None:
    with pytest.raises(DataError, match="one array is expected, and there are several: image, tokens"):
        score(bundle, named_samples(), np.zeros(4, int))


def test_one_input_of_numbers(several: dict[str, Any], tmp_path: Path) -> None:
    """Taken as it is too, from a file that names it; golden samples keep the names of one input and one output."""
    model = onnx.load(several["models"]["float32"])
    del model.graph.input[0], model.graph.node[:2], model.graph.node[3], model.graph.node[2]
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "one.onnx")
    given = {"tokens": named_samples()["tokens"]}
    golden = given, TABLE[given["tokens"]].mean(1)
    folder = pack(tmp_path / "one", **several | {"models": {"float32": tmp_path / "one.onnx"}, "golden": golden})
    assert sorted(path.name for path in (folder / "golden").iterdir()) == ["input.npy", "output.npy"]
    assert json.loads((folder / "manifest.json").read_text())["schema_version"] == 2
    assert Predictor(folder).self_test().passed
    [alone] = Predictor(folder).predict([npz(tmp_path / "one.npz", tokens=tokens([2, 2]))])
    assert alone["label"] == "left"


def test_a_picture_to_several_outputs(parts: dict[str, Any], tmp_path: Path) -> None:
    """Prepared as pictures are, with every output tested."""
    model = onnx.load(parts["models"]["float32"])
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["N", 64]))
    onnx.save(model, tmp_path / "two.onnx")
    fed, logits = parts["golden"][0], None
    session = onnxruntime.InferenceSession(str(tmp_path / "two.onnx"), providers=["CPUExecutionProvider"])
    logits, flat = session.run(None, {"input": fed})
    changed = parts | {"models": {"float32": tmp_path / "two.onnx"}}
    with pytest.raises(BundleError, match="golden outputs are logits; the model gives logits, flat: give them all"):
        pack(tmp_path / "two", **changed | {"golden": (fed, logits)})
    raw = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), np.uint8)
    fed = parts["preprocess"].apply(raw)
    logits, flat = session.run(None, {"input": fed})
    folder = pack(tmp_path / "two", **changed | {"golden": (fed, {"logits": logits, "flat": flat}), "raw": raw})
    assert json.loads((folder / "manifest.json").read_text())["schema_version"] == 2
    assert set(Predictor(folder).self_test().others) == {"flat"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda given, got: given.pop("tokens"), "golden input: has no 'tokens'"),
        (lambda given, got: given.update(tokens=given["tokens"] + 2), "golden input: tokens: row . .from 0. holds"),
        (lambda given, got: got.pop("peak"), "golden outputs are embedding, logits; the model gives .* give them all"),
        (lambda given, got: got.update(peak=got["peak"][1:]), "golden output 'peak' is .3,., expected"),
        (lambda given, got: got.update(logits=got["logits"][:, 1:]), "expected .4, 3.: one logit per label"),
        (lambda given, got: got["embedding"].fill(np.inf), "NaN or infinity"),
        (lambda given, got: got.update(embedding=got["embedding"] + 1), "'embedding' is 1 apart"),
    ],
)
def test_golden_samples_that_do_not_fit_are_refused(
    several: dict[str, Any], tmp_path: Path, change: Callable[[Arrays, Arrays], object], says: str
) -> None:
    change(*several["golden"])
    with pytest.raises(BundleError, match=says):
        pack(tmp_path / "wrong", **several)


@pytest.mark.parametrize("name", ["a/b", "con", "raw", "Logits", "a:b"])
def test_tensors_whose_names_are_no_files_are_refused(several: dict[str, Any], tmp_path: Path, name: str) -> None:
    model = onnx.load(several["models"]["float32"])
    model.graph.output[2].name = model.graph.node[-1].output[0] = name
    onnx.save(model, tmp_path / "odd.onnx")
    given, got = several["golden"]
    golden = given, {name if each == "peak" else each: array for each, array in got.items()}
    with pytest.raises(BundleError, match="rename the network's inputs and outputs"):
        pack(tmp_path / "odd", **several | {"models": {"float32": tmp_path / "odd.onnx"}, "golden": golden})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["inputs"][1].update(bounds=[0]), "bounds are two numbers"),
        (lambda d: d["inputs"][1].update(bounds=[0, 1.5]), "an item is no int"),
        (lambda d: d["inputs"][1].update(limits=[]), "limits missing or unknown"),
        (lambda d: d.update(schema_version=1), "decoder, task missing or unknown"),
    ],
)
def test_a_malformed_manifest_is_refused(found: Path, change: Callable[[dict[str, Any]], object], says: str) -> None:
    reseal(found, change)
    with pytest.raises(BundleError, match=says):
        verify(found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["self_test"].pop("outputs"), "self-test cannot be read"),
        (lambda d: d["self_test"].update(outputs=7), "self-test cannot be read"),
        (lambda d: d["self_test"]["outputs"].pop("peak"), "self-test cannot be read"),
        (lambda d: d["self_test"]["outputs"]["peak"].update(step="x"), "self-test cannot be read"),
        (lambda d: d["inputs"][1].update(datatype="INT32"), "are not the manifest's"),
        (lambda d: d["outputs"][0].update(shape=[-1, 4]), "are not the manifest's"),
        (lambda d: d["inputs"].pop(), "are not the manifest's"),
    ],
)
def test_forged_parts_are_refused(found: Path, change: Callable[[dict[str, Any]], object], says: str) -> None:
    reseal(found, change)
    with pytest.raises(BundleError, match=says):
        Predictor(found).self_test()


def test_forged_golden_samples_are_refused(found: Path, tmp_path: Path) -> None:
    predictor = Predictor(found)
    whole = predictor.contents
    forged = [
        ("tokens", named_samples()["tokens"].astype(np.int32)),
        ("tokens", named_samples(3)["tokens"]),
        ("image", named_samples(4)["image"][..., 1:]),
        ("peak", np.array(["a"] * 4)),
        ("peak", np.float32(1)),
        ("embedding", np.zeros((4, 4))),
    ]
    for name, array in forged:
        np.save(tmp_path / "forged.npy", array)
        predictor.contents = {**whole, f"golden/{name}.npy": (tmp_path / "forged.npy").read_bytes()}
        with pytest.raises(BundleError, match=f"golden samples of '{name}' are .*pack it again"):
            predictor.self_test()
    np.save(tmp_path / "forged.npy", np.full((4, 5), 99))
    predictor.contents = {**whole, "golden/tokens.npy": (tmp_path / "forged.npy").read_bytes()}
    with pytest.raises(BundleError, match="ONNX Runtime cannot run it on these inputs"):
        predictor.self_test()


def test_raw_input_is_refused(several: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is for images; this network takes several inputs"):
        pack(tmp_path / "raw", **several, raw=np.zeros((4, 1, 8, 8), np.uint8))


def test_triton_config(found: Path) -> None:
    """A shape of no dimensions but the batch is one of size 1 to Triton."""
    config = (found / "triton/halves/config.pbtxt").read_text()
    assert "max_batch_size: 64" in config
    assert '  name: "tokens"\n  data_type: TYPE_INT64\n  dims: [-1]\n}' in config
    assert '  name: "image"\n  data_type: TYPE_FP32\n  dims: [1, 8, 8]\n}' in config
    assert '  name: "peak"\n  data_type: TYPE_FP32\n  dims: [1]\n  reshape { shape: [ ] }\n}' in config
    assert '  name: "logits"\n  data_type: TYPE_FP32\n  dims: [3]\n  label_filename: "labels.txt"\n}' in config
    assert config.count("label_filename") == 1


def test_card_and_show(found: Path, edgekd: Callable[..., Any]) -> None:
    card = (found / "README.md").read_text()
    assert "edgekd predict . samples.npz" in card and "pipeline_tag" not in card
    assert "- Input `image`: FP32, batch × 1 × 8 × 8." in card
    assert "- Input `tokens`: INT64, batch × any, whole numbers from 0 to 3." in card
    assert "- Output `embedding`: FP32, batch × 3." in card and "- Output `logits`: " in card
    shown = edgekd("bundle", "show", found).out.splitlines()
    assert "input  tokens  INT64 [-1, -1] from 0 to 3" in shown and "output  peak  FP32 [-1]" in shown


def test_an_input_that_differs_is_named(found: Path, several: dict[str, Any], tmp_path: Path) -> None:
    model = onnx.load(several["models"]["float32"])
    table = numpy_helper.from_array(np.vstack([TABLE, TABLE[:1]]), "table")
    model.graph.initializer[-1].CopyFrom(table)
    onnx.save(model, tmp_path / "other.onnx")
    other = pack(tmp_path / "other", **several | {"models": {"float32": tmp_path / "other.onnx"}})
    assert Difference("inputs", "tokens bounds", (0, 3), (0, 4)) in diff(verify(found), verify(other))


def test_a_task_that_this_edgekd_does_not_know(bundle: Path, edgekd: Callable[..., Any]) -> None:
    """A newer one packed it; verify passes it, so show must say what it can."""
    reseal(bundle, lambda document: document.update(task="pose", decoder={}, schema_version=2))
    done = edgekd("bundle", "show", bundle)
    assert "task  pose" in done.out and "\nquantized  " in done.out
    assert "knows no task 'pose', so its metrics are not shown; read it with the edgekd that packed it" in done.out
