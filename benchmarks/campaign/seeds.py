"""Files that are none of edgekd's, under odd names and such as resemble its own; and whether they were touched."""

import os
import stat
from itertools import cycle
from pathlib import Path

NAMES = (
    ".env.template", ".cache.original", ".model.json.abc12_de", ".01-teacher-0123456789ab.a1b2c3d4", ".a.12345678",
    ".edgekd-tmp-notes", ".edgekd-tmp-0123456789abcdef", ".edgekd-tmp-0123456789abcdef.lock",
    ".edgekd", "edgekd-prune-x",
    "edgekd-aside.txt", "edgekd-run.json.bak", ".work-notes", ".work-01-distill-mine", ".locks", "lock", "content",
    "report.json.old", "report (1).json", "report.json~", ".report.html.swp", "log.jsonl.1", "recipe.lock.yaml.orig",
    "recipe.lock.yml", "stages.old", "stages-", "00-teacher", "99-mine-0123456789ab.zip", "exports.zip", "bundle.tar",
    "bundle~", "SHA256SUMS.asc", "model.onnx.data", ".DS_Store", "._report.json", "Thumbs.db", "desktop.ini",
    ".nfs0001",
    ".gitignore", ".gitattributes", ".hidden", "..double", "...", "with space", " leading", "trailing ", "trailing.",
    "tab\there", "new\nline", "quo'te", 'quo"te', "back\\slash", "semi;colon", "$(touch x)", "`x`", "*", "?", "[a]",
    "-rf", "--out", "~", "#comment", "%41", "null\u2400", "caf\u00e9", "cafe\u0301", "\u6a21\u578b", "\U0001f600",
    "\u202etxt.exe", "\u200b", "x" * 200, "CON", "nul.txt", "a:b", "a|b", "{}", "%s", "tmpabcd1234", "core",
    "nohup.out",
)  # fmt: skip
KINDS = ("file", "folder", "link", "empty", "broken link", "pipe", "read-only", "link to a folder")


def plant(folder: Path, count: int, begin: int = 0) -> list[Path]:
    """``count`` of them in ``folder``, each of another kind; names come again with a number."""
    kinds, outside = cycle(KINDS), folder / ".mine"
    outside.mkdir(exist_ok=True)
    (outside / "letter").write_text("dear")
    planted = [outside]
    for number in range(begin, begin + count - 1):
        name = NAMES[number % len(NAMES)] + (f".{number // len(NAMES)}" if number >= len(NAMES) else "")
        path, kind = folder / name, next(kinds)
        # An empty file or folder under a name that edgekd makes at random cannot be told from its own.
        if name.startswith(".edgekd-tmp-"):
            kind = "folder" if number % 2 else "file"
        _make(path, kind, outside)
        planted.append(path)
    return planted


def _make(path: Path, kind: str, outside: Path) -> None:
    if kind == "folder":
        path.mkdir()
        (path / "model.json").write_text("theirs")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind.endswith("link") or kind == "link to a folder":
        path.symlink_to({"link": outside / "letter", "broken link": Path("nowhere"), "link to a folder": outside}[kind])
    else:
        path.write_text("" if kind == "empty" else "theirs")
        if kind == "read-only":
            path.chmod(0o444)


def look(paths: list[Path]) -> dict[str, str]:
    """What tells whether a file was touched: its number, kind, size, time, and where a link leads."""
    found = {}
    for path in paths:
        try:
            about = path.lstat()
        except OSError as error:
            found[str(path)] = str(error.strerror)
            continue
        facts = [about.st_ino, stat.filemode(about.st_mode)]
        if not stat.S_ISDIR(about.st_mode):
            facts += [about.st_size, about.st_mtime_ns]
        if stat.S_ISLNK(about.st_mode):
            facts.append(os.readlink(path))  # noqa: PTH115 - as it is written
        found[str(path)] = repr(facts)
        if stat.S_ISDIR(about.st_mode):
            found |= look(sorted(path.iterdir()))
    return found
