import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bundle.manifest import Manifest, colliding, is_inside
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError
from edgekd.files import canonical_json, sha256


def reseal(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edits the manifest as somebody would who knows how it is sealed."""
    document = json.loads((bundle / "manifest.json").read_text())
    del document["seal"]
    change(document)
    document["seal"] = sha256(canonical_json(document))
    (bundle / "manifest.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def test_a_bundle_as_packed(bundle: Path) -> None:
    manifest = verify(bundle)
    assert manifest.name == "halves"
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert (bundle / "manifest.json").read_bytes() == manifest.to_bytes()


def test_any_changed_byte_of_any_file_is_refused(bundle: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *rng.integers(0, len(whole), 200).tolist()}
        for place in places:
            changed = bytearray(whole)
            changed[place] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(changed)
            with pytest.raises(BundleError):
                verify(bundle)
        path.write_bytes(whole)
    verify(bundle)


def test_every_byte_of_the_manifest_counts(bundle: Path) -> None:
    whole = (bundle / "manifest.json").read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x20):
            changed = bytearray(whole)
            changed[place] ^= flip
            with pytest.raises(BundleError):
                Manifest.from_bytes(bytes(changed))


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_a_cut_or_lengthened_file_is_refused(bundle: Path, cut: int) -> None:
    for name in ("manifest.json", "model.int8.onnx", "labels.txt"):
        whole = (bundle / name).read_bytes()
        for content in (whole[:cut], whole + b"\n"):
            (bundle / name).write_bytes(content)
            with pytest.raises(BundleError, match=name):
                verify(bundle)
        (bundle / name).write_bytes(whole)


def test_each_missing_file_is_named(bundle: Path) -> None:
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(BundleError, match=path.name):
            verify(bundle)
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["extra.py", ".hidden", "golden/extra.npy", "new/extra.onnx", "Model.onnx "])
def test_an_extra_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("")
    with pytest.raises(BundleError, match=Path(name).name):
        verify(bundle)


def test_an_empty_folder_is_refused(bundle: Path) -> None:
    (bundle / "empty").mkdir()
    with pytest.raises(BundleError, match="empty"):
        verify(bundle)


@pytest.mark.parametrize("kind", ["file", "folder", "dangling", "pipe"])
def test_links_and_devices_are_refused(bundle: Path, tmp_path: Path, kind: str) -> None:
    model, golden = bundle / "model.onnx", bundle / "golden"
    if kind == "file":
        model.rename(tmp_path / "same.onnx")
        model.symlink_to(tmp_path / "same.onnx")
    elif kind == "folder":
        shutil.move(golden, tmp_path / "same")
        golden.symlink_to(tmp_path / "same")
    elif kind == "dangling":
        (bundle / "dangling").symlink_to("nowhere")
    else:
        os.mkfifo(bundle / "pipe")
    with pytest.raises(BundleError, match="is a link or a device"):
        verify(bundle)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../up", "a/../../up", "a/..", "..", ".", "", "a//b", "a/", "./a", "a\\b", "C:a", "a\nb", "a\0b",
     "manifest.json"],
)  # fmt: skip
def test_paths_that_lead_out_are_refused(bundle: Path, path: str) -> None:
    assert not is_inside(path)
    reseal(bundle, lambda document: document["files"][0].update(path=path))
    with pytest.raises(BundleError, match="leads out of the bundle"):
        verify(bundle)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(schema_version=4), "schema_version is 4, this edgekd reads 1, 2 and 3"),
        (lambda d: d.pop("schema_version"), "schema_version is None"),
        (lambda d: d.pop("labels"), "labels missing"),
        (lambda d: d.update(labels=[1]), "labels: an item"),
        (lambda d: d.update(labels=["a\x1b[31m"]), "one line of text each"),
        (lambda d: d.update(labels=["b\nok: forged"]), "one line of text each"),
        (lambda d: d["inputs"][0].update(name="a\x1b[31m"), "cannot be printed"),
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d.update(name="../up"), "plain name"),
        (lambda d: d.update(files="all"), "files is no list"),
        (lambda d: d["files"].append("x"), "expected an object"),
        (lambda d: d["files"].append(d["files"][0]), "listed twice"),
        (lambda d: d["files"][0].update(sha256="0"), "no sha256"),
        (lambda d: d["files"][0].update(bytes=True), "bytes is no int"),
        (lambda d: d.update(model="other.onnx"), "not among the files"),
        (lambda d: d.update(inputs=[]), "empty"),
        (lambda d: d["inputs"][0].update(shape=["N"]), "shape: an item"),
    ],
)
def test_a_malformed_manifest_is_refused_even_when_sealed(
    bundle: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    reseal(bundle, change)
    with pytest.raises(BundleError, match=says):
        verify(bundle)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 200_000, b"[" * 200_000, b'{"schema_version": 1, "a": NaN}',
     b'{"schema_version": 1, "a": ' + b"9" * 6000 + b"}"],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        verify(bundle)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.txt", "A.TXT"),
        ("dir/x", "Dir/y"),
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u212a", "k"),
        ("\ufb01le", "file"),
        ("a", "a/b"),
        ("a/b", "A"),
    ],
)
def test_names_that_are_one_place_elsewhere_are_refused(one: str, other: str) -> None:
    assert colliding(["x", one, other]) and colliding([other, one, "y/z"])
    assert not colliding(["x", one, "y/z", "y/w"])


def test_a_manifest_with_such_names_is_refused(bundle: Path) -> None:
    (bundle / "Readme.MD").write_bytes(b"x")

    def change(document: dict[str, Any]) -> None:
        document["files"].append({"path": "Readme.MD", "sha256": sha256(b"x"), "bytes": 1, "role": "card"})

    reseal(bundle, change)
    with pytest.raises(BundleError, match=r"'README.md' and 'Readme.MD' are one place on some systems"):
        verify(bundle)


@pytest.mark.parametrize(
    "path", ["con", "NUL.txt", "a/aux", "com1", "a.", "b ", "a./b", "\u202etxt.a", "a\u2028b", "\x7f"]
)
def test_names_that_some_system_reads_otherwise_are_refused(path: str) -> None:
    assert not is_inside(path)


def test_a_file_that_has_a_name_outside_is_refused(bundle: Path, tmp_path: Path) -> None:
    os.link(bundle / "labels.txt", tmp_path / "outside")
    with pytest.raises(BundleError, match="'labels.txt' is also a file outside"):
        verify(bundle)
    (tmp_path / "outside").unlink()
    # Two names for the same bytes, both inside, as tools that save space make.
    copy = bundle / "triton" / "halves" / "labels.txt"
    copy.unlink()
    os.link(bundle / "labels.txt", copy)
    verify(bundle)


def claim(bundle: Path, path: str, size: int) -> None:
    """A sparse file of ``size`` bytes that the sealed manifest promises."""
    with (bundle / path).open("r+b") as file:
        file.truncate(size)

    def change(document: dict[str, Any]) -> None:
        next(file for file in document["files"] if file["path"] == path)["bytes"] = size

    reseal(bundle, change)


@pytest.mark.parametrize("path", ["manifest.json", "model.onnx", "golden/input.npy"])
def test_an_absurd_size_is_refused_before_anything_is_read(bundle: Path, path: str) -> None:
    if path == "manifest.json":
        os.truncate(bundle / path, 1 << 40)
    else:
        claim(bundle, path, 1 << 40)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(BundleError, match=path):
        verify(bundle)
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_size_that_is_only_claimed_is_refused(bundle: Path) -> None:
    reseal(bundle, lambda document: document["files"][0].update(bytes=1 << 40))
    with pytest.raises(BundleError, match="was changed after packing"):
        verify(bundle)


def test_a_large_file_is_never_whole_in_memory(bundle: Path) -> None:
    claim(bundle, "model.onnx", 64 << 20)
    tracemalloc.start()
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        verify(bundle)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_folders_without_end_are_refused(bundle: Path) -> None:
    (bundle / "/".join("d" * 12)).mkdir(parents=True)
    with pytest.raises(BundleError, match="deeper than any folder"):
        verify(bundle)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        verify(tmp_path / "none")
    with pytest.raises(BundleError, match="not a bundle"):
        verify(tmp_path)


def test_verify_needs_the_standard_library_alone(bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edgekd.bundle.verify import verify; verify(Path(sys.argv[1]));"
        "print([m for m in ('torch', 'numpy', 'onnx', 'onnxruntime', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, bundle], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
