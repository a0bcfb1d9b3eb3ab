import pytest

from edgekd.errors import EdgekdError
from edgekd.gate import load_policy
from edgekd.gate.metrics import METRICS
from edgekd.gate.policy import DEFAULTS, Policy


def test_there_is_a_rule_for_every_metric_and_the_other_way_round():
    assert set(DEFAULTS) == set(METRICS)


def test_a_file_changes_the_usual_rules(tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text("confidence = 0.99\n[metrics.accuracy]\nabsolute = 0.01\nfloor = 0.9\nwarn = {absolute = 0.002}\n")
    policy = load_policy(path)
    assert policy.confidence == 0.99
    rule = policy.rules["accuracy"]
    assert (rule.direction, rule.absolute, rule.floor, rule.warn.absolute) == ("higher", 0.01, 0.9, 0.002)
    assert policy.rules["size_bytes"] == DEFAULTS["size_bytes"]


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
