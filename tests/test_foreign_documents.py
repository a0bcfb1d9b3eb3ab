"""Every reader of a user's document ends in one sentence, whatever lies where the document should."""

import os
from pathlib import Path

import pytest

from edgekd import strict_toml
from edgekd.artifact import Artifact
from edgekd.bundle.verify import verify
from edgekd.cli.bundle import read_card
from edgekd.cli.lint import load as load_onnx
from edgekd.cli.workloads import onnx_file, workload
from edgekd.devices.registry import devices
from edgekd.errors import EdgekdError
from edgekd.gate import load_subject
from edgekd.gate.policy import load_policy
from edgekd.recipe import load_recipe
from edgekd.report.load import load_report
from edgekd.runtimes.tensorrt.builder import read_timings
from edgekd.runtimes.tensorrt.remote import engines
from edgekd.spec import MODEL

DOCUMENTS = {
    "deep list": b"[" * 50_000,
    "deep object": b'{"a":' * 50_000,
    "deep YAML": b"- " * 50_000,
    "huge number": b'{"schema_version": 1' + b"0" * 5_000 + b"}",
    "number of 400 digits": b'{"schema_version": 1' + b"0" * 400 + b"}",
    "NaN": b'{"schema_version": NaN}',
    "keys twice": b'{"schema_version": 1, "schema_version": 1}',
    "a list": b"[1, 2]",
    "a text": b'"text"',
    "nothing": b"",
    "UTF-16": '{"schema_version": 1}'.encode("utf-16"),
    "binary": bytes(range(256)) * 40,
    "NUL": b"\0" * 4096,
    "aliases": b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "tags": b"!!python/object/apply:os.system ['true']\n",
    "documents": b"name: a\n---\nname: b\n",
    "keys that are no words": b"? [1, 2]\n: 3\n",
    "a long line": b"name: " + b"x" * 300_000,
    "many values": b"".join(b"k%d: 1\n" % number for number in range(20_000)),
    "a dotted key": b"a" + b".a" * 40_000 + b" = 1\n",
    "deep TOML": b"a = " + b"[" * 20_000,
    "surrogates": b'{"schema_version": "\\ud800"}',
    "half UTF-8": b'{"name": "\xc3"}',
}
SPECIAL = ("FIFO", "device", "folder", "nothing there")


def artifact(path: Path) -> object:
    path.rename(path.parent / MODEL)
    return Artifact.load(path.parent)


def bundle(path: Path) -> object:
    path.rename(path.parent / "manifest.json")
    return verify(path.parent)


def bundled(path: Path) -> object:
    path.rename(path.parent / "manifest.json")
    return onnx_file(path.parent)


def stage(path: Path) -> object:
    path.rename(path.parent / MODEL)
    return workload(str(path.parent), "pytorch", "cpu")


def onnx(path: Path) -> object:
    return load_onnx(path)


READERS = {
    "recipe": load_recipe,
    "report": load_report,
    "baseline": load_subject,
    "policy": load_policy,
    "device registry": devices,
    "model.json": artifact,
    "model.json of a stage": stage,
    "manifest": bundle,
    "manifest of bench": bundled,
    "ONNX": onnx,
}
# Of these any bytes will do, or their own tests show what will not.
OTHERS = {
    "model card": read_card,
    "ONNX for a device": engines.read,
    "timing cache": lambda path: read_timings(None, path),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_one_sentence_for_every_document(reader, document, tmp_path):
    path = tmp_path / "document"
    path.write_bytes(DOCUMENTS[document])
    if reader == "policy" and document == "nothing":
        return  # an empty table is a policy that changes nothing
    with pytest.raises(EdgekdError) as error:
        READERS[reader](path)
    assert len(str(error.value)) < 600 + str(error.value).count(str(tmp_path)) * len(str(tmp_path))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_refused_before_it_is_opened(reader, kind, tmp_path):
    if reader in ("report", "baseline") and kind == "folder":
        return  # these take a run's folder
    if reader == "device registry" and kind == "nothing there":
        return
    path = no_file(kind, tmp_path)
    with pytest.raises((EdgekdError, FileNotFoundError)) as error:
        READERS[reader](path)
    assert isinstance(error.value, EdgekdError) or kind == "nothing there"


@pytest.mark.parametrize("reader", OTHERS)
@pytest.mark.parametrize("kind", SPECIAL[:3])
def test_so_is_it_where_any_bytes_would_do(reader, kind, tmp_path):
    with pytest.raises(EdgekdError, match="it is a .*, not a file"):
        OTHERS[reader](no_file(kind, tmp_path))


def no_file(kind: str, folder: Path) -> Path:
    path = folder / "document"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = 1" + b"0" * 400, "64 bits"),
        (b"a = 1" + b"0" * 5000, "digits|64 bits"),
        (b"[" + b"a." * 5000 + b"a]", "more than 32 parts"),
        (b"a = " + b"{a = " * 3000, "nested too deeply|Invalid|Cannot"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_toml_is_bounded(content, said):
    with pytest.raises(ValueError, match=said):
        strict_toml.parse(content)
