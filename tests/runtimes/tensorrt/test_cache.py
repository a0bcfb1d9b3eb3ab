import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgekd.bench.plan import Workload
from edgekd.bench.runtimes import open_session
from edgekd.errors import ExportError, MeasurementError, StorageError
from edgekd.runtimes.tensorrt import engine_for, incompatibility, read_record
from edgekd.runtimes.tensorrt.record import record_path
from tests.runtimes.tensorrt.graphs import one_conv


@pytest.fixture
def model(rtx, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(one_conv())
    return path


def test_an_engine_is_built_once(model, tmp_path):
    folder = tmp_path / "engines"
    engine = engine_for(model, folder, "SM89")
    written = engine.stat()
    assert engine_for(model, folder, "SM89") == engine
    assert engine.stat().st_mtime_ns == written.st_mtime_ns
    assert sorted(path.name for path in folder.glob("*.engine*")) == [engine.name, record_path(engine).name]


def test_its_record_says_what_it_was_built_from(rtx, model, tmp_path):
    engine = engine_for(model, tmp_path, "SM89", batches=(1, 2, 4), workspace_bytes=1 << 26)
    content = json.loads(record_path(engine).read_text())
    assert content == {
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "library": "tensorrt_rtx",
        "version": rtx.__version__,
        "capability": "SM89",
        "gpu": "",
        "min_batch": 1,
        "batch": 2,
        "max_batch": 4,
        "workspace_bytes": 1 << 26,
        "engine_sha256": hashlib.sha256(engine.read_bytes()).hexdigest(),
    }
    assert content["model_sha256"][:16] in engine.name
    assert f"tensorrt_rtx-{rtx.__version__}-SM89" in engine.name


def test_whatever_differs_makes_another_engine(model, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(one_conv(scale=0.1))
    engines = {
        engine_for(model, tmp_path, "SM89"),
        engine_for(model, tmp_path, "SM86"),
        engine_for(other, tmp_path, "SM89"),
        engine_for(model, tmp_path, "SM89", batches=(1, 1, 2)),
        engine_for(model, tmp_path, "SM89", workspace_bytes=1 << 26),
    }
    assert len(engines) == 5


@pytest.mark.parametrize("damage", ["engine", "record", "no record", "foreign record"])
def test_a_damaged_engine_is_built_again(model, tmp_path, damage):
    engine = engine_for(model, tmp_path, "SM89")
    record = record_path(engine)
    if damage == "engine":
        engine.write_bytes(engine.read_bytes()[:-1])
    elif damage == "record":
        record.write_text("{")
    elif damage == "no record":
        record.unlink()
    else:
        record.write_text(json.dumps({**json.loads(record.read_text()), "version": "1.0"}))
    assert engine_for(model, tmp_path, "SM89") == engine
    assert read_record(engine).engine_sha256 == hashlib.sha256(engine.read_bytes()).hexdigest()


def test_two_at_once_leave_one_engine_and_its_record(model, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: engine_for(model, tmp_path / "engines", "SM89"), range(2))
    assert first == second
    assert read_record(first).engine_sha256 == hashlib.sha256(first.read_bytes()).hexdigest()


def test_a_refused_model_leaves_nothing(rtx, tmp_path):
    model = tmp_path / "affine.onnx"
    model.write_bytes(one_conv(zero=3))
    with pytest.raises(ExportError, match="Non-zero zero point"):
        engine_for(model, tmp_path / "engines", "SM89")
    assert list((tmp_path / "engines").glob("*.engine*")) == []


def test_paths_that_cannot_be(model, tmp_path):
    with pytest.raises(ExportError, match=r"no such file: .*missing\.onnx"):
        engine_for(tmp_path / "missing.onnx", tmp_path, "SM89")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        engine_for(model, model / "engines", "SM89")


def test_without_a_gpu_nothing_is_made(model, tmp_path, no_gpu):
    with pytest.raises(ExportError, match="no engine can be built here"):
        engine_for(model, tmp_path / "engines")
    assert not (tmp_path / "engines").exists()


def test_an_engine_without_a_record_passes(tmp_path):
    engine = tmp_path / "trtexec.engine"
    engine.write_bytes(b"engine")
    assert incompatibility(engine) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "10.3.0"}, "was built by tensorrt_rtx 10.3.0, which tensorrt_rtx .* cannot load"),
        ({"library": "tensorrt"}, "was built by tensorrt "),
        ({"max_batch": "8"}, "is no record of an engine"),
        ({"unknown": 1}, "is no record of an engine"),
    ],
)
def test_engines_from_elsewhere_are_refused(model, tmp_path, changes, words):
    engine = engine_for(model, tmp_path, "SM89")
    record = record_path(engine)
    record.write_text(json.dumps({**json.loads(record.read_text()), **changes}))
    assert re.search(words, incompatibility(engine))


def test_an_engine_for_a_gpu_that_is_not_here(model, tmp_path, no_gpu):
    assert "cannot be judged: " in incompatibility(engine_for(model, tmp_path, "SM89"))


@pytest.mark.gpu
def test_the_gpu_here_is_compared(rtx, model, tmp_path, gpu):
    known = [name for name in rtx.ComputeCapability.__members__ if name.startswith("SM")]
    other = next(name for name in known if name != gpu.capability)
    engine = engine_for(model, tmp_path, other)
    assert f"was built for {other} and this machine has {gpu.name}" in incompatibility(engine)
    with pytest.raises(MeasurementError, match=f"was built for {other}"):
        open_session(Workload(str(engine), "tensorrt", "cuda"))
    if gpu.capability in known:
        assert incompatibility(engine_for(model, tmp_path, gpu.capability)) == ""
