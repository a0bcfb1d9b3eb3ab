import json
import os
import resource
import signal
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.data import DataSet, InMemory, Streamed
from edgekd.data.augment import augment_with
from edgekd.data.views import Views
from edgekd.distill import cache as module
from edgekd.distill.cache import TeacherCache, cache_bytes
from edgekd.errors import StorageError, TrainingError
from edgekd.files import sha256
from edgekd.models import build
from edgekd.preprocess import Preprocess

SAMPLES, BATCH, CLASSES = 150, 32, 10
VIEWS = Views(2, seed=3)
# The teacher is copied before it is run, so what it counts is kept outside of it.
CALLS: list[int] = []


def hooked(network: nn.Module, at_call: Callable[[int], object] | None = None) -> nn.Module:
    """The same network, which counts its calls, and does something before each."""
    network = deepcopy(network)

    def count(_: nn.Module, inputs: tuple[Tensor]) -> None:
        CALLS.append(len(inputs[0]))
        if at_call is not None:
            at_call(len(CALLS))

    network.register_forward_pre_hook(count)
    return network


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 64)
    CALLS.clear()


@pytest.fixture(scope="module")
def data() -> DataSet:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (SAMPLES, 3, 12, 12), dtype=torch.uint8, generator=generator)
    samples = InMemory(raw, torch.arange(SAMPLES) % CLASSES)
    scale = Preprocess("image", (3, 12, 12), (0.5, 0.4, 0.3), (0.2, 0.2, 0.3))
    few = samples.select(torch.arange(20))
    return DataSet("noise", tuple("abcdefghij"), scale, samples, few, few, BATCH, ("crop", "flip"))


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    network = build("resnet8", (3, 12, 12), CLASSES, width=8)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 2)
    return network


def opened(folder: Path, teacher: nn.Module, data: DataSet, views: Views = VIEWS, **options) -> TeacherCache:
    return TeacherCache.open(folder, teacher, data, views, float32=True, **options)


def everything(cache: TeacherCache) -> Tensor:
    return torch.stack([cache.logits(view, torch.arange(SAMPLES)) for view in range(cache.views.count)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, resnet: nn.Module, data: DataSet) -> Tensor:
    return everything(opened(tmp_path_factory.mktemp("whole"), resnet, data))


@pytest.mark.parametrize("channels_last", [True, False])
def test_logits_are_those_of_live_batches_to_the_bit(tmp_path, resnet, data, channels_last):
    teacher = deepcopy(resnet).train()
    cache = opened(tmp_path, teacher, data, channels_last=channels_last)
    assert teacher.training and teacher.conv1.weight.is_contiguous(), "the teacher itself is left as it was"
    layout = torch.channels_last if channels_last else torch.contiguous_format
    live = build("resnet8", (3, 12, 12), CLASSES, width=8).eval()
    live.load_state_dict(resnet.state_dict())
    live.to(memory_format=layout)
    for epoch in range(3):
        view = VIEWS.of_epoch(epoch)
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for indices in order.split(BATCH)[:-1]:
            drawn = VIEWS.uniforms(view, indices, 3)
            inputs = data.to_input(augment_with(data.train.raw[indices], data.augment, drawn))
            with torch.no_grad():
                logits = live(inputs.contiguous(memory_format=layout))
            assert torch.equal(cache.logits(view, indices), logits)


def test_every_batch_is_full_and_every_view_is_computed_once(tmp_path, resnet, data, whole, capsys):
    cache = opened(tmp_path, hooked(resnet), data)
    probe, chunks = 1, 2 + 2 + 1
    assert [BATCH] * (probe + VIEWS.count * chunks) == CALLS
    assert torch.equal(everything(cache), whole)
    assert not torch.equal(whole[0], whole[1])
    said = f"2 views of 150 samples, 10 numbers each, 12.0 kB to write in {cache.folder}"
    assert capsys.readouterr().err == f"  teacher's outputs: {said}\n"
    CALLS.clear()
    assert torch.equal(everything(opened(tmp_path, hooked(resnet), data)), whole)
    assert CALLS == [BATCH], "finished, it costs one batch to be believed"


def test_the_file_is_an_array_of_numpy_with_a_digest_for_each_chunk(tmp_path, resnet, data, whole):
    cache = opened(tmp_path, resnet, data)
    array = np.load(cache.folder / "logits.npy", mmap_mode="r")
    assert array.dtype == np.float32 and np.array_equal(array, whole.numpy())
    assert array.nbytes == cache.size_bytes == cache_bytes(SAMPLES, 2, CLASSES) == 12_000
    assert (cache.folder / "logits.npy").stat().st_size == 12_128
    index = json.loads((cache.folder / "index.json").read_text())
    expected = {
        str(start): {"logits.npy": sha256(array[:, start : start + 64].tobytes())} for start in range(0, 150, 64)
    }
    assert index["sha256"] == expected
    assert sorted(path.name for path in cache.folder.iterdir()) == ["index.json", "logits.npy"]


def test_features_are_kept_too(tmp_path, resnet, data, whole):
    layers = ("layer2", "linear:input")
    cache = opened(tmp_path, resnet, data, layers=layers)
    indices = torch.tensor([149, 3, 70])
    maps, vectors = (cache.features(path, 1, indices) for path in layers)
    assert maps.shape == (3, 16, 6, 6) and vectors.shape == (3, 32)
    weight, bias = resnet.linear.weight.detach(), resnet.linear.bias.detach()
    torch.testing.assert_close(vectors @ weight.T + bias, whole[1, indices])
    assert torch.equal(everything(cache), whole)
    assert cache.size_bytes == cache_bytes(SAMPLES, 2, CLASSES + 16 * 6 * 6 + 32)
    with pytest.raises(TrainingError, match=r"no features of 'layer3' \(did you mean 'layer2'\?\): open it with that"):
        cache.features("layer3", 0, indices)
    with pytest.raises(TrainingError, match="has views 0 to 1, and no view 2"):
        cache.logits(2, indices)


def test_half_the_room(tmp_path, resnet, data, whole):
    cache = opened(tmp_path, resnet, data, dtype="float16")
    assert cache.logits(0, torch.arange(2)).dtype == torch.float32
    assert torch.equal(everything(cache), whole.half().float())
    assert cache.size_bytes == cache_bytes(SAMPLES, 2, CLASSES, "float16") == 6_000
    with pytest.raises(TrainingError, match="cannot be stored as 'float'"):
        opened(tmp_path, resnet, data, dtype="float")


def test_streamed_images_are_read_once_for_all_views(tmp_path, resnet, data, whole):
    read: list[int] = []

    def image(key: np.int64) -> Tensor:
        read.append(int(key))
        return data.train.raw[int(key)]

    samples = Streamed(image, np.arange(SAMPLES), data.train.labels, lambda keys: "same", workers=0)
    streamed = DataSet("noise", data.classes, data.preprocess, samples, data.validation, data.test, BATCH, data.augment)
    assert torch.equal(everything(opened(tmp_path, resnet, streamed)), whole)
    assert read[BATCH : BATCH + SAMPLES] == list(range(SAMPLES))
    assert len(read) == BATCH + 5 * BATCH


def test_fewer_samples_than_a_batch(tmp_path, resnet, data):
    few = DataSet("few", data.classes, data.preprocess, data.test, data.test, data.test, BATCH)
    cache = opened(tmp_path, hooked(resnet), few, Views(1))
    assert CALLS == [20, 20]
    assert cache.logits(0, torch.arange(20)).shape == (20, CLASSES)


def test_what_the_answers_depend_on_has_a_cache_of_its_own(tmp_path, resnet, data):
    other = build("resnet8", (3, 12, 12), CLASSES, width=8)
    other.load_state_dict(resnet.state_dict())
    with torch.no_grad():
        other.linear.bias[0] += 1e-6
    parts = (data.train, data.validation, data.test)
    unchanged = DataSet("noise", data.classes, data.preprocess, *parts, BATCH)
    smaller = DataSet("noise", data.classes, data.preprocess, *parts, 16, data.augment)
    fewer = data.train.select(torch.arange(1, SAMPLES))
    other_data = DataSet("noise", data.classes, data.preprocess, fewer, *parts[1:], BATCH, data.augment)
    caches = [
        opened(tmp_path, resnet, data),
        opened(tmp_path, other, data),
        opened(tmp_path, resnet, unchanged),
        opened(tmp_path, resnet, smaller),
        opened(tmp_path, resnet, other_data),
        opened(tmp_path, resnet, data, Views(1, VIEWS.seed)),
        opened(tmp_path, resnet, data, Views(2, VIEWS.seed + 1)),
        opened(tmp_path, resnet, data, key="code"),
        opened(tmp_path, resnet, data, dtype="float16"),
        opened(tmp_path, resnet, data, layers=["linear:input"]),
    ]
    assert len({cache.folder for cache in caches}) == len(caches)
    assert opened(tmp_path, resnet, data).folder == caches[0].folder


@pytest.mark.parametrize("name", ["logits.npy", "index.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damage_is_noticed_said_and_mended(tmp_path, resnet, data, whole, capsys, name, damage):
    cache = opened(tmp_path, resnet, data)
    path = cache.folder / name
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    capsys.readouterr()
    CALLS.clear()
    assert torch.equal(everything(opened(tmp_path, hooked(resnet), data)), whole)
    if name == "logits.npy":
        lost = {"flipped": 22, "cut": 150, "gone": 150}[damage]
        warning = f"warning: {cache.folder} is not as it was written; the outputs on {lost} samples are computed again"
        assert capsys.readouterr().err.splitlines()[0] == warning
        assert len(CALLS) == 1 + 2 * (1 if damage == "flipped" else 5)
    CALLS.clear()
    opened(tmp_path, hooked(resnet), data)
    assert len(CALLS) == 1


@pytest.mark.parametrize("name", ["logits.npy", "index.json", ""])
@pytest.mark.parametrize("kind", ["link", "broken link", "pipe"])
def test_nothing_is_written_through_what_stands_in_a_files_place(tmp_path, resnet, data, whole, name, kind):
    cache = opened(tmp_path / "cache", resnet, data)
    path = cache.folder / name
    outside = path.rename(tmp_path / "outside")
    before = {each: each.read_bytes() for each in (*outside.glob("*"), outside) if each.is_file()}
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
    assert torch.equal(everything(opened(tmp_path / "cache", resnet, data)), whole)
    assert not path.is_symlink() and (path.is_file() if name else path.is_dir())
    assert {each: each.read_bytes() for each in before} == before
    assert not (tmp_path / "nowhere").exists()


def test_other_code_with_the_same_weights_is_noticed(tmp_path, resnet, data, whole, capsys):
    place = opened(tmp_path, resnet, data).folder
    capsys.readouterr()
    changed = deepcopy(resnet)
    changed.register_forward_hook(lambda _module, _inputs, output: 1.5 * output)
    again = opened(tmp_path, changed, data)
    assert again.folder == place
    assert capsys.readouterr().err.startswith(f"warning: the teacher's outputs are no longer those in {place}; all are")
    assert torch.equal(everything(again), 1.5 * whole)


def killed(work: Callable[[], object]) -> None:
    """Runs ``work`` in a process that must die of SIGKILL."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # a forked process has none of its parent's threads
        try:
            work()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def kill_self(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("call", "left"), [(4, 10), (8, 6)])
def test_killed_while_it_computes_it_goes_on(tmp_path, resnet, data, whole, call, left):
    killed(lambda: opened(tmp_path, hooked(resnet, lambda number: number == call and kill_self()), data))
    CALLS.clear()
    assert torch.equal(everything(opened(tmp_path, hooked(resnet), data)), whole)
    assert len(CALLS) == 1 + left


@pytest.mark.parametrize(("sync", "left"), [(1, 10), (2, 10), (3, 6), (6, 2)])
def test_killed_while_it_writes_it_does_again_what_was_not_recorded(
    tmp_path, resnet, data, whole, monkeypatch, sync, left
):
    """Killed at one flush to the disk: odd ones are of a chunk, even ones of the index that is aside."""
    flushes = []

    def flush(handle: int) -> None:
        flushes.append(handle)
        if len(flushes) == sync:
            kill_self()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flush)
        killed(lambda: opened(tmp_path, resnet, data))
    CALLS.clear()
    cache = opened(tmp_path, hooked(resnet), data)
    assert torch.equal(everything(cache), whole)
    assert len(CALLS) == 1 + left
    assert sorted(path.name for path in cache.folder.iterdir()) == ["index.json", "logits.npy"]


def test_too_little_room_is_refused_before_anything_is_written(small_disk, resnet, data):
    with pytest.raises(TrainingError) as error:
        opened(small_disk, hooked(resnet), data, Views(12))
    assert str(error.value) == (
        "the teacher's outputs take 72.0 kB (12 views of 150 samples, 10 numbers each), and "
        f"{small_disk} has 65.5 kB free: free some space, store fewer views or layers, use float16, or choose another "
        "folder"
    )
    assert list(small_disk.iterdir()) == [] and len(CALLS) == 1


def test_a_disk_that_becomes_full_meanwhile_ends_in_a_clear_error(small_disk, resnet, data):
    views = Views(6)
    whole = everything(opened(small_disk.parent / "elsewhere", resnet, data, views))
    neighbour = small_disk / "neighbour"
    CALLS.clear()

    def fill(call: int) -> None:
        if call == 1 + 2 * views.count + 1:
            with pytest.raises(OSError), neighbour.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    with pytest.raises(StorageError, match=r"cannot write .*logits.npy: the disk is full: free some space"):
        opened(small_disk, hooked(resnet, fill), data, views)
    neighbour.unlink()
    CALLS.clear()
    assert torch.equal(everything(opened(small_disk, hooked(resnet), data, views)), whole)
    assert len(CALLS) == 1 + 3 * views.count, "the first chunk of two batches was kept"


def test_a_file_that_may_not_grow_ends_in_a_clear_error(tmp_path, resnet, data, whole):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*logits.npy: File too large"):
            opened(tmp_path, resnet, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.equal(everything(opened(tmp_path, resnet, data)), whole)


def test_answers_that_are_not_finite_are_refused(tmp_path, resnet, data):
    large = nn.Sequential(resnet, nn.Linear(CLASSES, CLASSES))
    large[1].weight.data.fill_(1e6)
    with pytest.raises(TrainingError, match="logits are not all finite numbers in float16: store them as float32"):
        opened(tmp_path, large, data, dtype="float16")
    assert opened(tmp_path, large, data).size_bytes == 12_000
    large[1].weight.data.fill_(torch.nan)
    with pytest.raises(TrainingError, match="logits are not all finite numbers in float32: fix it, or train it again"):
        opened(tmp_path, large, data)
