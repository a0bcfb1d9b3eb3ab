import sys
from pathlib import Path

import pytest

from edgekd.errors import DataError, ModelError
from edgekd.userfile import call, file_of, is_reference, load_function


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "my file.py"


def complaint(path: Path, name: str = "make") -> str:
    with pytest.raises(DataError) as error:
        load_function(f"{path}:{name}", DataError)
    return str(error.value)


def test_references():
    assert is_reference("a/b.py:make") and not is_reference("torchvision/resnet18")
    assert file_of("a/b.py:make") == Path("a/b.py")
    assert file_of("c:/b.py:make") == Path("c:/b.py")


def test_a_function_is_loaded_without_its_folder_on_the_path(path):
    path.write_text("def make(x):\n    return x + 1\n")
    before = list(sys.path)
    assert load_function(f"{path}:make", DataError)(2) == 3
    assert sys.path == before


def test_a_changed_file_is_read_again(path):
    for number in (1, 22):
        path.write_text(f"def make():\n    return {number}\n")
        assert load_function(f"{path}:make", DataError)() == number


def test_dataclasses_work(path):
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n\n"
        "@dataclass\nclass A:\n    x: int = 5\n\n\ndef make():\n    return A().x\n"
    )
    assert load_function(f"{path}:make", DataError)() == 5


def test_a_missing_file(tmp_path):
    assert complaint(tmp_path / "none.py") == (
        f"{tmp_path}/none.py:make: there is no file {tmp_path}/none.py; a reference is written path/to/file.py:function"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_fails(path, text, says):
    path.write_text(text)
    assert complaint(path) == f"{path} fails when it is loaded: {says}"


def test_a_file_with_a_mistake_in_it(path):
    path.write_text("def make(:\n")
    assert complaint(path).startswith(
        f"{path} fails when it is loaded: SyntaxError: invalid syntax (my file.py, line 1)"
    )


def test_no_such_function(path):
    path.write_text("make = 3\n\n\ndef maker(): ...\n\n\ndef other(): ...\n")
    assert complaint(path) == (f"{path} has no function 'make' (did you mean 'maker'?); it defines: maker, other")
    path.write_text("")
    assert complaint(path) == f"{path} has no function 'make'; it defines: none"


def test_only_what_is_asked_for_is_offered():
    offered = {"shape": (1,), "classes": 2}
    assert call(lambda classes: classes, "f", ModelError, offered, {}) == 2
    assert call(lambda **given: sorted(given), "f", ModelError, offered, {"width": 3}) == ["classes", "shape", "width"]
    assert call(lambda shape, width=1: width, "f", ModelError, offered, {"width": 3}) == 3


def test_an_argument_that_is_not_taken():
    with pytest.raises(ModelError) as error:
        call(lambda classes, width=1: None, "a.py:f", ModelError, {"classes": 2}, {"widht": 3})
    assert str(error.value) == "a.py:f takes no argument 'widht' (did you mean 'width'?); args: width"
    with pytest.raises(ModelError) as error:
        call(lambda classes: None, "a.py:f", ModelError, {"classes": 2}, {"depth": 3})
    assert str(error.value) == "a.py:f takes no argument 'depth'; args: none"


def test_a_function_that_fails():
    def fails(width: int) -> None:
        raise ValueError(f"not {width}")

    with pytest.raises(ModelError) as error:
        call(fails, "a.py:fails", ModelError, {}, {"width": 3})
    assert str(error.value) == "a.py:fails fails with args {'width': 3}: ValueError: not 3"
    assert isinstance(error.value.__cause__, ValueError)


def test_an_error_of_our_own_is_passed_on():
    def fails() -> None:
        raise DataError("no images there")

    with pytest.raises(DataError, match="^no images there$"):
        call(fails, "a.py:fails", ModelError, {}, {})


def test_an_argument_that_is_missing():
    with pytest.raises(ModelError, match="missing 1 required positional argument: 'width'"):
        call(lambda width: None, "a.py:f", ModelError, {}, {})
