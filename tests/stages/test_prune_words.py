from edgekd.stages.prune.words import describe

TIMED = {"predicted": 0.45, "measured": 0.46, "ci95": [0.44, 0.48]}
SLOW = {"round_to": 2, "measured": 1.2, "ci95": [1.1, 1.3]}


def test_each_cut_in_words():
    metrics = {
        "cuts": [
            {"name": "depth", "of": "MACs", "kept": 0.8, "dropped": ["layer1.1", "layer2.1"]},
            {"name": "cut-1", "of": "MACs", "kept": 0.5, "timing": SLOW, "round_to": 8, "refused": [SLOW]},
            {"name": "cut-2", "of": "time", "kept": 0.46, "timing": TIMED, "tried": [SLOW, TIMED]},
        ]
    }
    assert describe(metrics) == [
        ("Depth", "80.0 % of the MACs kept; without layer1.1, layer2.1"),
        (
            "Cut 1",
            "50.0 % of the MACs kept; the deployed file takes 120.0 % (110.0–130.0) of the uncut one's time; "
            "widths in multiples of 2 were slower: 120.0 % (110.0–130.0); so widths are multiples of 8",
        ),
        (
            "Cut 2",
            "46.0 % of the time kept; the deployed file takes 46.0 % (44.0–48.0), predicted 45.0 %, of the uncut one's "
            "time; 1 other cut timed",
        ),
    ]


def test_towards_an_accuracy():
    cut = {"name": "cut-1", "of": "MACs", "kept": 0.7, "validation_accuracy": 0.91, "met": True}
    found = describe({"floor": 0.9, "cuts": [cut, {**cut, "validation_accuracy": 0.89, "met": False}]})
    assert found[0] == ("Needed", "90.0 % on the validation samples")
    assert [text.rpartition("; ")[2] for _, text in found[1:]] == [
        "91.0 % after training, enough",
        "89.0 % after training, not enough",
    ]


def test_unpruned_layers():
    left = [{"layers": ["a", "b"], "operation": "view", "reason": "view needs this width"}]
    assert describe({"cuts": [{"name": "cut-1", "of": "MACs", "kept": 0.7, "left_whole": left}]}) == [
        ("Cut 1", "70.0 % of the MACs kept; unpruned: a, b (view needs this width)")
    ]


def test_the_most_sensitive_groups():
    def scanned(layer: str, *scores: float | None) -> dict:
        return {"layer": layer, "uncut": 0.9, "cuts": [{"ratio": 0.5, "score": score} for score in scores]}

    [(heading, text)] = describe({"sensitivity": [scanned("a", 0.8, None), scanned("b", 0.5), scanned("c", 0.9)]})
    assert heading == "Most sensitive"
    assert text == "b without 50.0 %: 40.00 points, a without 50.0 %: 10.00 points, c without 50.0 %: 0.00 points"


def test_what_a_metric_in_units_of_its_own_loses():
    scanned = {"layer": "a", "uncut": -45.0, "cuts": [{"ratio": 0.5, "score": -47.5}]}
    [(_, text)] = describe({"sensitivity": [scanned], "sensitivity_of": "mae"})
    assert text == "a without 50.0 %: 2.50 of mean absolute error"


def test_other_stages_have_none():
    assert describe({"history": [], "rungs": []}) == []
