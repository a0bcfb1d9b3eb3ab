import json

from edgekd.train import Epoch
from edgekd.train.checkpoint import State
from edgekd.train.history import history_from_json, history_to_json

PLAIN = Epoch(1, 0.5, 0.1, {"validation_accuracy": 0.75})
TAUGHT = Epoch(2, 0.25, 0.05, {"validation_accuracy": 0.8, "temperature": 4.0}, {"labels": 0.1, "kd": 0.15})
ENTRIES = [
    {"epoch": 1, "loss": 0.5, "lr": 0.1, "validation_accuracy": 0.75},
    {
        **{"epoch": 2, "loss": 0.25, "lr": 0.05, "validation_accuracy": 0.8, "temperature": 4.0},
        "terms": {"labels": 0.1, "kd": 0.15},
    },
]


def test_json_and_back():
    assert history_to_json([PLAIN, TAUGHT]) == ENTRIES
    assert history_from_json(json.loads(json.dumps(ENTRIES))) == [PLAIN, TAUGHT]
    state = State(step=8, history=[PLAIN, TAUGHT], loss_sum=0.5, term_sums={"kd": 1.0})
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_an_epoch_after_others():
    later = TAUGHT.after(3, generation=2)
    assert (later.number, later.generation, later.loss) == (5, 2, 0.25)
    assert later.to_json() == {**ENTRIES[1], "epoch": 5, "generation": 2}
    assert Epoch.from_json(later.to_json()) == later


def test_scalars():
    assert list(PLAIN.scalars()) == ["loss", "lr", "validation_accuracy"]
    terms = {"terms/labels": 0.1, "terms/kd": 0.15}
    assert TAUGHT.scalars() == {"loss": 0.25, "lr": 0.05, **TAUGHT.metrics, **terms}
