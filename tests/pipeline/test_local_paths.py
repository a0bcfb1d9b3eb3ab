import getpass
import json
import socket
import tempfile
from pathlib import Path

import pytest

from edgekd.pipeline.local_paths import command_line, shorten_path, without_local_paths
from edgekd.pipeline.log import RunLog
from edgekd.report.schema import Report

PRIVATE = (tempfile.gettempdir() + "/", str(Path.home()) + "/", getpass.getuser() + "@", socket.gethostname())


def test_a_run_and_its_bundle_hold_no_path_of_this_machine(toy_run):
    endings = (".json", ".jsonl", ".html", ".yaml", ".md", ".txt", ".pbtxt")
    texts = [path for path in toy_run.rglob("*") if path.suffix in endings]
    assert {"report.json", "report.html", "log.jsonl", "manifest.json", "README.md"} <= {path.name for path in texts}
    for path in texts:
        text = path.read_text()
        for place in (*PRIVATE, str(toy_run), str(Path.cwd())):
            assert place not in text, path


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("{run}/exports/a.onnx does not load", "mine/exports/a.onnx does not load"),
        ("edgekd run {cwd}/r.yaml --out {run}", "edgekd run ./r.yaml --out mine"),
        ("{home}/models/x.pt: missing", "~/models/x.pt: missing"),
        ("in {home}.", "in ~."),
        ("{tmp}/edgekd-1/a.onnx", ".../edgekd-1/a.onnx"),
        ("/stem/Conv and /layer1{home}/Conv", "/stem/Conv and /layer1{home}/Conv"),
        ("{home}work is another folder", "{home}work is another folder"),
        ("/data/secret/parts is small", "parts is small"),
        ("/net/team/net.py:Net fails", "net.py:Net fails"),
        ("/abs/data holds 3", "data holds 3"),
    ],
)
def test_texts_lose_their_places(text, clean, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/var/tmp/t")
    places = {"run": tmp_path / "mine", "cwd": tmp_path / "here", "home": "/home/somebody", "tmp": "/var/tmp/t"}
    written = {
        "/data/secret/parts": "parts",
        "/net/team/net.py:Net": "net.py:Net",
        "/abs/data": "/abs/data",
    }
    document = {"warnings": [{"message": text.format(**places)}], "executable": "/home/pi/bin/python"}
    found = without_local_paths(document, tmp_path / "mine", written)
    assert found == {"warnings": [{"message": clean.format(**places)}]}


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("run", "run"),
        ("recipes/a.yaml", "recipes/a.yaml"),
        ("{cwd}/recipes/a.yaml", "recipes/a.yaml"),
        ("/elsewhere/a.yaml", "a.yaml"),
        ("--out=/elsewhere/out", "--out=out"),
        ("data.path={cwd}/data", "data.path=data"),
        ("~/data", "data"),
        ("~draft.yaml", "~draft.yaml"),
    ],
)
def test_words_of_the_command(word, kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shorten_path(word.format(cwd=Path.cwd())) == kept


def test_the_log_holds_none(tmp_path):
    log = RunLog(tmp_path / "log.jsonl", {"/data/secret/parts": "parts"})
    log.write("failed", why=f"{tmp_path}/stages: disk full; /data/secret/parts")
    [entry] = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert entry["why"] == f"{tmp_path.name}/stages: disk full; parts"


def test_the_command_is_text_whatever_files_are_called():
    """A report of other text could not be read again."""
    command = command_line(["run", "r\udcff.yaml", "--out=/elsewhere/my run"])
    assert command == r"edgekd run 'r\udcff.yaml' '--out=my run'"
    assert Report.from_json({"name": "a", "recipe_sha256": "0", "command": command}).command == command
