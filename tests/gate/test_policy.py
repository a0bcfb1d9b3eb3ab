import pytest

from edgekd.errors import EdgekdError
from edgekd.gate import load_policy
from edgekd.gate.metrics import METRICS
from edgekd.gate.policy import Policy
from edgekd.gate.rules import OF_EVERY_TASK, default_rules


def test_there_is_a_rule_for_every_metric_and_the_other_way_round():
    assert set(OF_EVERY_TASK) == set(METRICS)


def test_a_file_changes_the_usual_rules(tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text("confidence = 0.99\n[metrics.accuracy]\nabsolute = 0.01\nfloor = 0.9\nwarn = {absolute = 0.002}\n")
    policy = load_policy(path)
    assert policy.confidence == 0.99
    rule = policy.rules["accuracy"]
    assert (rule.direction, rule.absolute, rule.floor, rule.warn.absolute) == ("higher", 0.01, 0.9, 0.002)
    assert policy.rules["size_bytes"] == default_rules()["size_bytes"]


def test_pyproject_is_found_and_its_table_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_policy() == Policy()
    text = "[project]\nname = 'x'\n[tool.edgekd.gate.metrics.latency_ratio]\nrelative = 0.2\n"
    (tmp_path / "pyproject.toml").write_text(text)
    assert load_policy().rules["latency_ratio"].relative == 0.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[metrics.acuracy]", "unknown metric 'acuracy' .did you mean 'accuracy'"),
        ("[metrics.accuracy]\nabsolut = 1", "metrics.accuracy: unknown key 'absolut' .did you mean 'absolute'"),
        ("[metrics.accuracy]\nabsolute = -1", "metrics.accuracy.absolute"),
        ("[metrics.accuracy]\nabsolute = nan", "metrics.accuracy.absolute"),
        ("[metrics]\naccuracy = 1", "metrics.accuracy: expected a table"),
        ("metrics = 1", "metrics: expected tables"),
        ("confidence = 2", "confidence"),
        ("confidenze = 0.9", "unknown key 'confidenze' .did you mean 'confidence'"),
        ("[metrics.accuracy]\ndirection = 'up'", "metrics.accuracy.direction: 'up' is none of higher, lower, same"),
        ("[metrics.accuracy]\nwarn = {floor = 1}", "metrics.accuracy.warn: unknown key 'floor'"),
        ("[metrics.accuracy]\nwarn = 1", "metrics.accuracy.warn: expected a table"),
        ("a = ", "is no TOML"),
    ],
)
def test_mistakes_name_the_way_out(text, said, tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(EdgekdError, match=said):
        load_policy(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(EdgekdError, match="cannot read the policy"):
        load_policy(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[metrics.accuracy]\nabsolute = 50", "absolute = 50 is a share, 5000 points; one point is points = 1"),
        ("[metrics.accuracy]\npoints = 50", "accuracy.points: 50 is too much, and points = 10 is the most"),
        ("[metrics.accuracy]\npoints = 1\nabsolute = 0.01", "points and absolute are one tolerance in two units"),
        ("[metrics.accuracy]\nfloor = 90", "floor = 90 is above 1, and accuracy is a share; 90 % is floor = 0.9"),
        ("[metrics.accuracy]\ndirection = 'lower'", "direction does nothing but as 'higher'; leave it out"),
        ("[metrics.accuracy]\nfloor = 0.9\nceiling = 0.8", "so that nothing could pass"),
        ("[metrics.accuracy]\nwarn = {absolute = 0.01}", "warn does nothing"),
        ("[metrics.latency_ratio]\nrelative = 5", "relative = 5 is a share, 500 %; 5 % is relative = 0.05"),
        ("[metrics.size_bytes]\nabsolute = 0.5", "no whole number, and size_bytes is one; in megabytes it is mb = 0.5"),
        ("[metrics.size_bytes]\nceiling = 0.5", "0.5 MB are ceiling = 500000"),
        ("[metrics.operators]\nabsolute = 3", "absolute does nothing, since operators may not change at all"),
        ("[metrics.latency_ms]\nrelative = 0.1", "give level = 'fail' or 'warn' too"),
        ("[metrics.latency_ms]\nlevel = 'information'\nceiling = 1", "a floor or ceiling does nothing"),
        ("confidence = 0.99999999", "confidence: 0.99999999 is not above 0.5 and at most 0.9999"),
        (f"confidence = {'9' * 5000}", "is no TOML"),
        (f"a = {'[' * 100_000}", "is no TOML"),
    ],
)
def test_what_does_nothing_or_is_of_another_unit_is_refused_with_the_way_out(text, said, tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(EdgekdError, match=said):
        load_policy(path)


@pytest.mark.parametrize("text", ["tool = 3", "[tool]\nedgekd = 3", "[tool.edgekd]\ngate = 3", "[tool.edgekd.gat]"])
def test_a_table_that_is_none_or_called_otherwise_is_refused(text, tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    with pytest.raises(EdgekdError, match="expected|did you mean 'gate'"):
        load_policy(path)


def test_tolerances_are_given_in_the_units_of_the_recipe():
    rules = Policy.of(
        {"metrics": {"accuracy": {"points": 0.3, "warn": {"points": 0.1}}, "size_bytes": {"mb": 1.5}}}
    ).rules
    assert rules["accuracy"].absolute == pytest.approx(0.003)
    assert rules["accuracy"].warn.absolute == pytest.approx(0.001)
    assert rules["size_bytes"].absolute == 1_500_000
