"""A user's file imports what lies beside it, gets its own, and is another file when any of that changes."""

import json
import sys
from pathlib import Path

import pytest
import torch

from edgekd.errors import ModelError
from edgekd.models import build, code_of
from edgekd.usercode import is_users
from edgekd.userfile import load_function

SHAPE, CLASSES = (6,), 3
NET = """
import torch
from torch import nn
{imports}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
    def forward(self, x):
        {forward}
        return act(self.layer(x))
def make():
    {builder}
    return Net()
"""
ACT = "def act(x):\n    return x * {}\n"
HELPERS = {
    "beside": {"imports": "from helper import act"},
    "by name": {"imports": "import helper", "forward": "act = helper.act"},
    "a package": {"imports": "from pkg.inner.acts import act"},
    "a package's own import": {"imports": "from pkg.relative import act"},
    "through its package": {"imports": "from pkg import act"},
    "of a namespace": {"imports": "from blocks.acts import act"},
    "relative": {"imports": "from .helper import act"},
    "of a helper": {"imports": "from middle import act"},
    "in the builder": {"builder": "global act; from helper import act"},
    "in the forward pass": {"forward": "from helper import act"},
    "in a branch that is not taken": {"imports": "act = abs", "forward": "if self.training: from helper import act"},
    "by importlib": {"imports": "import importlib\nact = importlib.import_module('helper').act"},
    "by a computed name": {"imports": "act = __import__('hel' + 'per').act"},
    "by a computed name, late": {"forward": "act = __import__('hel' + 'per').act"},
    "of a changed path": {"imports": "import sys\nsys.path.append({folder!r} + '/lib')\nfrom own_lib import act"},
    "by a lib of its own": {"imports": "from lib.own_lib import act"},
}
CHANGED = {
    "helper.py",
    "pkg/inner/acts.py",
    "blocks/acts.py",
    "lib/own_lib.py",
}


def write(folder: Path, factor: float = 2, imports: str = "", forward: str = "pass", builder: str = "pass") -> str:
    files = {
        "net.py": NET.format(
            imports=imports.replace("{folder!r}", repr(str(folder))), forward=forward, builder=builder
        ),
        **{name: ACT.format(factor) for name in CHANGED},
        "middle.py": "from helper import act\n",
        "pkg/__init__.py": "from .inner.acts import act\n",
        "pkg/relative.py": "from .inner import acts\nact = acts.act\n",
        "pkg/inner/__init__.py": "",
        "unrelated.py": f"x = {factor}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return f"{folder}/net.py:make"


@pytest.fixture(autouse=True)
def clean_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def answer(name: str) -> float:
    """The factor that the network multiplies by."""
    network = build(name, SHAPE, CLASSES).eval()
    with torch.no_grad():
        return float((network(torch.ones(1, 6)) / network.layer(torch.ones(1, 6))).mean())


@pytest.mark.parametrize("kind", HELPERS)
def test_a_changed_helper_is_another_network(tmp_path, kind):
    name = write(tmp_path, **HELPERS[kind])
    before = code_of(name, SHAPE, CLASSES, {})
    if "not taken" not in kind:
        assert answer(name) == pytest.approx(2)
    assert code_of(name, SHAPE, CLASSES, {}) == before
    (tmp_path / "unrelated.py").write_text("x = 'changed'\n")
    assert code_of(name, SHAPE, CLASSES, {}) == before
    write(tmp_path, 3, **HELPERS[kind])  # as long as before, and in the same second
    assert code_of(name, SHAPE, CLASSES, {}) != before
    if "not taken" not in kind:
        assert answer(name) == pytest.approx(3)


@pytest.mark.parametrize("kind", HELPERS)
def test_the_folder_is_not_part_of_the_hash(tmp_path, kind):
    if kind == "of a changed path":
        pytest.skip("the folder stands in the file itself")
    one, two = (write(tmp_path / folder, **HELPERS[kind]) for folder in ("one", "two"))
    assert code_of(one, SHAPE, CLASSES, {}) == code_of(two, SHAPE, CLASSES, {})


@pytest.mark.parametrize(
    "kind",
    ["beside", "a package", "of a namespace", "relative", "of a helper", "in the builder", "in the forward pass"],
)
def test_two_files_with_helpers_of_one_name(tmp_path, kind):
    names = [write(tmp_path / str(factor), factor, **HELPERS[kind]) for factor in (2, 5)]
    one, two = (build(name, SHAPE, CLASSES) for name in names)
    x = torch.ones(1, 6)
    for network, factor in ((one, 2), (two, 5)):
        torch.testing.assert_close(network(x), network.layer(x) * factor)
    assert [answer(name) for name in names * 2] == pytest.approx([2, 5, 2, 5])


def test_a_module_of_the_program_keeps_its_place(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "helper.py").write_text(ACT.format(7))
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    import helper

    assert answer(write(tmp_path / "theirs", **HELPERS["beside"])) == pytest.approx(2)
    assert sys.modules["helper"] is helper
    monkeypatch.delitem(sys.modules, "helper")


def test_a_folder_named_like_a_library_hides_none(tmp_path):
    (tmp_path / "json").mkdir()
    (tmp_path / "random.py").write_text("1 / 0\n")
    (tmp_path / "torch").mkdir()
    assert answer(write(tmp_path, imports="import json, random\nfrom helper import act")) == pytest.approx(2)


@pytest.mark.parametrize(
    "code",
    [
        "import json\nW = json.load(open({path!r}))\n",
        "from pathlib import Path\ndef make(): return float(Path({path!r}).read_text()) and Net()\n",
        "import numpy\nW = numpy.loadtxt({path!r})\n",
    ],
)
def test_a_file_that_the_code_reads_counts(tmp_path, code):
    path = tmp_path / "factor.json"
    name = write(tmp_path, **HELPERS["beside"])
    path.write_text("2.0")
    with (tmp_path / "net.py").open("a") as file:
        file.write(code.format(path=str(path)))
    before = code_of(name, SHAPE, CLASSES, {})
    path.write_text("3.0")
    assert code_of(name, SHAPE, CLASSES, {}) != before


def test_nothing_is_left_in_the_users_folder_or_on_the_path(tmp_path):
    name, path, finders = write(tmp_path, **HELPERS["a package"]), list(sys.path), len(sys.meta_path)
    code_of(name, SHAPE, CLASSES, {})
    build(name, SHAPE, CLASSES)
    assert sys.path == path
    assert len(sys.meta_path) <= finders + 1
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_builder_draws_no_random_number_more(tmp_path):
    name = write(tmp_path, **HELPERS["beside"])
    torch.manual_seed(0)
    code_of(name, SHAPE, CLASSES, {})
    first = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == first


def test_other_arguments_may_need_other_files(tmp_path):
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "b.json").write_text("1")
    (tmp_path / "net.py").write_text(
        "import json\nfrom pathlib import Path\nfrom torch import nn\n"
        "def make(which): return nn.Linear(6, json.loads((Path(__file__).parent / which).read_text()))\n"
    )
    name = f"{tmp_path}/net.py:make"
    a, b = (code_of(name, SHAPE, CLASSES, {"which": f"{which}.json"}) for which in "ab")
    (tmp_path / "b.json").write_text("3")
    assert code_of(name, SHAPE, CLASSES, {"which": "a.json"}) == a
    assert code_of(name, SHAPE, CLASSES, {"which": "b.json"}) != b


def test_a_data_function_has_its_helpers_too(tmp_path):
    (tmp_path / "tools.py").write_text("x = 4\n")
    (tmp_path / "data.py").write_text(
        "from tools import x\ndef load():\n    from tools import x as y\n    return x + y\n"
    )
    from edgekd.userfile import call

    reference = f"{tmp_path}/data.py:load"
    assert call(load_function(reference, ModelError), reference, ModelError, {}, {}) == 8


def test_whose_code_it_is():
    assert is_users(Path("/home/me/net.py")) and is_users(Path(__file__))
    assert not is_users(Path(json.__file__))
    assert not is_users(Path(torch.__file__))
    assert not is_users(Path(load_function.__code__.co_filename))
