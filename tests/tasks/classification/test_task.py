import numpy as np
import pytest

from edgekd.errors import DataError, ModelError
from edgekd.tasks.classification import Classification
from edgekd.tasks.signature import LOGITS, Signature, TensorSpec

TASK = Classification(("ok", "scratch", "dent"))
SIGNATURE = Signature((TensorSpec("input", (3, 8, 8)),), (TensorSpec(LOGITS, (3,)),))


def test_what_is_not_its_own_is_refused():
    TASK.check(SIGNATURE, {"classes": np.array([0, 2])})
    with pytest.raises(DataError, match="there are the classes 0 to 2"):
        TASK.check(SIGNATURE, {"classes": np.array([0, 3])})
    with pytest.raises(ModelError, match=r"of shape \(2,\), a logit for each class"):
        Classification(("a", "b")).check(SIGNATURE, {"classes": np.array([0, 1])})


def test_samples_are_split_class_by_class_where_all_classes_are_known():
    classes = np.array([0, 1, 1])
    assert (TASK.strata({"classes": classes}) == classes).all()
    assert TASK.strata({"classes": classes, "known": np.array([True, True, False])}) is None
    assert TASK.warnings({"classes": classes}) == []
