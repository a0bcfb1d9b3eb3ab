from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.load import load_recipe, read_tree
from edgekd.recipe.open_fields import OpenChoice, OpenRange, filled, is_open, open_fields

from .conftest import SMALL

Write = Callable[..., Path]
OPEN = SMALL.replace("{macs: 0.5}", "{macs: {search: [0.2, 0.9]}, importance: {choice: [l1, fpgm]}}")


def test_open_fields_are_found_where_they_are_written(write: Write) -> None:
    tree = read_tree(write(OPEN))
    assert open_fields(tree) == {
        ("stages", 1, "prune", "macs"): OpenRange(0.2, 0.9),
        ("stages", 1, "prune", "importance"): OpenChoice(("l1", "fpgm")),
    }
    assert is_open(tree)
    assert not is_open(read_tree(write(SMALL)))
    done = filled(tree, ("stages", 1, "prune", "macs"), 0.4)
    assert (done.at(("stages", 1, "prune", "macs")), tree.at(("stages", 1, "prune", "macs", "search"))) == (
        0.4,
        [0.2, 0.9],
    )


def test_run_names_the_command_that_finds_them(complaint: Callable[..., str]) -> None:
    way_out = "left open; 'edgekd fit r.yaml' finds it, or write one value"
    assert complaint(OPEN).splitlines() == [
        f"r.yaml:7: stages.1.prune.macs: {way_out}",
        f"r.yaml:7: stages.1.prune.importance: {way_out}",
    ]
    assert "missing key 'stages'" in complaint(SMALL.partition("stages")[0])
    assert "'edgekd fit' finds them" in complaint(SMALL.partition("stages")[0])


def test_keys_of_the_users_own_arguments_are_not_open(write: Write) -> None:
    path = write(SMALL.replace("{model: small_cnn}", "{model: small_cnn, args: {choice: [1, 2]}}"))
    assert load_recipe(path).student.args == {"choice": [1, 2]}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{search: [0.9, 0.2]}", "macs.search: the range is upside down; write [0.2, 0.9]"),
        ("{search: [0.5, 0.5]}", "macs.search: the range holds one value; write 0.5 in its place"),
        ("{search: [0.5]}", "macs.search: expected two numbers, e.g. [0.2, 0.9], got [0.5]"),
        ("{search: [a, b]}", 'macs.search: expected two numbers, e.g. [0.2, 0.9], got ["a", "b"]'),
        ("{log: true, search: [0, 1]}", "macs.search: with log the range is above 0, got 0; raise it or leave log out"),
        ("{search: [0.1, 0.5], log: 1}", "macs.log: expected true or false, got 1"),
        ("{search: [0.1, 0.5], lgo: true}", "macs.lgo: unknown key (did you mean 'log'?); known: search, choice, log"),
        ("{search: [0.1, 0.5], choice: [0.1]}", "macs: search and choice exclude each other; give one of the two"),
        ("{choice: 0.5}", "macs.choice: expected a list of values, got 0.5"),
        ("{choice: [0.5]}", "macs.choice: a choice has two values at least; write the value itself in its place"),
        ("{choice: [0.5, 0.4, 0.5]}", "macs.choice.2: 0.5 is there twice; leave one of them out"),
        ("{choice: [0.5, 0.4], log: true}", "macs.log: log is of a range; leave it out"),
    ],
)  # fmt: skip
def test_mistakes_in_open_fields(written: str, message: str, write: Write) -> None:
    with pytest.raises(RecipeError) as error:
        open_fields(read_tree(write(SMALL.replace("{macs: 0.5}", f"{{macs: {written}}}"))))
    assert str(error.value) == f"r.yaml:7: stages.1.prune.{message}"


def test_all_mistakes_at_once_and_only_in_what_a_search_may_change(write: Write) -> None:
    text = SMALL.replace("digits}", "digits, batch_size: {search: [8, 64]}}").replace("0.5", "{choice: [0.5]}")
    with pytest.raises(RecipeError) as error:
        open_fields(read_tree(write(text)))
    assert str(error.value).splitlines() == [
        "r.yaml:2: data.batch_size: only student and stages have open fields; write one value",
        "r.yaml:7: stages.1.prune.macs.choice: a choice has two values at least; write the value itself in its place",
    ]
