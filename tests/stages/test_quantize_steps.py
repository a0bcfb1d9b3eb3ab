from edgekd.stages.quantize.steps import describe

METRICS = {
    "floor": 0.9025,
    "why_floor": "the teacher's 92.25%, less the budget's 2 points",
    "rungs": [
        {"rung": "half", "skipped": "not every target computes in float16"},
        {
            "rung": "ptq",
            "validation_accuracy": 0.795,
            "met": False,
            "calibration": "mse",
            "with": ["equalize", "bias_correction"],
        },
        {"rung": "qat", "validation_accuracy": 0.79, "met": False, "kept": False},
        {"rung": "mixed", "validation_accuracy": 0.91, "met": True, "float_layers": ["conv1", "fc"]},
    ],
    "stopped": "mixed",
    "float_layers": ["conv1", "fc"],
}


def test_every_rung_is_described():
    assert describe(METRICS) == [
        ("Needed", "90.2 % on the validation samples: the teacher's 92.25%, less the budget's 2 points"),
        ("Half precision", "left out: not every target computes in float16"),
        ("Post-training", "79.5 % (mse, equalize, bias correction), not enough"),
        ("Quantisation-aware training", "79.0 %, not enough; training lost accuracy and was undone"),
        ("Mixed", "91.0 %, 2 layers in float, enough"),
        ("Stopped at", "Mixed: enough"),
        ("Layers in float", "conv1, fc"),
    ]


def test_where_nothing_was_enough():
    metrics = {**METRICS, "rungs": METRICS["rungs"][:2], "stopped": "ptq", "float_layers": []}
    assert describe(metrics)[-1] == ("Stopped at", "Post-training: nothing above it is left to try")


def test_a_stage_without_rungs():
    assert describe({"history": []}) == []
