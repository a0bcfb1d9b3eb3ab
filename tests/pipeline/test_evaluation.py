"""What is known of an exported network, as it lies on disk."""

import json

from edgekd.pipeline.evaluation import Evaluation
from edgekd.quantize.placement import PlacementCandidate, PlacementResult
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel
from tests.pipeline.test_warnings import file_record


def test_it_survives_json():
    placed = PlacementResult(
        "int8", (PlacementCandidate("int8", (), 0.5, (0.4, 0.6)), PlacementCandidate("float", ("a",), 1.0, None, False))
    )
    files = (
        file_record(profile="onnxruntime-x86", placement=placed, departs_at="conv1"),
        file_record(
            file="model-tensorrt.onnx", profile="tensorrt", details={"average_precision_by_label": [0.5, None]}
        ),
    )
    whole = Evaluation(files, "int8", 10, 100, 1000)
    again = Evaluation.from_json(json.loads(json.dumps(whole.to_json())))
    assert json.dumps(again.to_json()) == json.dumps(whole.to_json())
    assert again.here.placement == placed
    assert again.files[1].details == {"average_precision_by_label": [0.5, None]}


def test_a_file_is_decoded_by_its_own_thresholds():
    task, thresholds = Multilabel(("a", "b"), positive_weights=(1, 2)), [0.3, 0.6]
    whole = Evaluation((file_record(decoder={"thresholds": thresholds}), file_record()), "int8", 10, 100, 1000)
    document = json.loads(json.dumps(whole.to_json()))
    assert document["decoder"] == {"thresholds": thresholds} and "decoder" not in document["others"][0]
    fitted = Evaluation.from_json(document).here.fitted(task)
    assert (fitted.names, fitted.decoder()) == (("a", "b"), {"thresholds": thresholds})
    assert whole.files[1].fitted(Classification(("a",))) == Classification(("a",))


def test_a_file_is_found_by_what_it_is_written_for():
    whole = Evaluation((file_record(), file_record(profile="tensorrt", file="other.onnx")), "int8", 10, 100, 1000)
    assert (whole.here.profile, whole.written_for("tensorrt").file) == ("onnxruntime-x86", "other.onnx")
    assert whole.written_for("onnxruntime-arm") is None


def test_what_earlier_versions_wrote_is_read():
    """The first file's entries stand next to the network's own."""
    document = Evaluation((file_record(), file_record(profile="tensorrt")), "int8", 10, 100, 1000).to_json()
    assert (document["profile"], document["precision_pytorch"], document["params"]) == ("onnxruntime-x86", "int8", 100)
    assert [each["profile"] for each in document["others"]] == ["tensorrt"]
