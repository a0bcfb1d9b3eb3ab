from collections.abc import Callable

import pytest

from edgekd.data.sources import SOURCES as DATA_SOURCES
from edgekd.tasks.registry import TASKS

from .conftest import SMALL

Complaint = Callable[..., str]

SOURCES = f"{', '.join(DATA_SOURCES)}, or 'path.py:function'"
TASK_NAMES = " or ".join(map(repr, TASKS))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "- distill",
            "- distill:\n      temprature: 4",
            "r.yaml:7: stages.0.distill.temprature: unknown key (did you mean 'temperature'?)",
        ),
        (
            "name: small",
            "name: small\nbuget: {}",
            "r.yaml:2: buget: unknown key (did you mean 'budget'?)",
        ),
        (
            "name: small",
            "name: small\nbudget: {accuracy: 0.9}",
            "r.yaml:2: budget.accuracy: a budget bounds no value of accuracy, but how much worse than the teacher's it "
            "may be: drop: {accuracy: 1.0}",
        ),
        (
            "name: small",
            "name: small\ndecoder: {'': 1}",
            "r.yaml:2: decoder: expected names as keys, got ''",
        ),
        (
            "source: digits",
            "source: digits, batch_size: many",
            "r.yaml:2: data.batch_size: expected a whole number of at least 1, got 'many'",
        ),
        (
            "source: digits",
            "source: digits, batch_size: true",
            "r.yaml:2: data.batch_size: expected a whole number of at least 1, got true",
        ),
        (
            "source: digits",
            "source: digits, batch_size: 2.5",
            "r.yaml:2: data.batch_size: expected a whole number of at least 1, got 2.5",
        ),
        (
            "source: digits",
            "source: digits, batch_size: 0",
            "r.yaml:2: data.batch_size: expected a whole number of at least 1, got 0",
        ),
        (
            "source: digits",
            "source: digits, batch_size:",
            "r.yaml:2: data.batch_size: expected a whole number of at least 1, got nothing",
        ),
        (
            "source: digits",
            "source: digits, validation: 0.6",
            "r.yaml:2: data.validation: expected a number above 0 and of at most 0.5, got 0.6",
        ),
        (
            "source: digits",
            "source: digits, augment: [crop, flp]",
            "r.yaml:2: data.augment.1: expected 'crop' or 'flip' or 'scale' or 'mosaic', "
            "got 'flp' (did you mean 'flip'?)",
        ),
        (
            "source: digits",
            "source: digits, augment: flip",
            "r.yaml:2: data.augment: expected a list, each item 'crop' or 'flip' or 'scale' or 'mosaic', got 'flip'",
        ),
        (
            "source: digits",
            "source: digits, mean: [0.5], std: [0]",
            "r.yaml:2: data.std.0: expected a number above 0, got 0",
        ),
        (
            "source: digits",
            "source: digits, mean: [33.3], std: [0.5]",
            "r.yaml:2: data.mean: 33.3 is outside of 0..1, the range that pixels have before scaling; divide "
            "both by 255",
        ),
        (
            "source: digits",
            "source: cifar10, mean: [0.5, 0.5, 0.5], std: [0.2, 58.4, 0.2]",
            "r.yaml:2: data.std: 58.4 is outside of 0..1, the range that pixels have before scaling; divide "
            "both by 255",
        ),
        (
            "source: digits",
            "source: mnist, mean: [-0.1], std: [0.5]",
            "r.yaml:2: data.mean: -0.1 is outside of 0..1, the range that pixels have before scaling",
        ),
        (
            "source: digits",
            "source: digits, mean: [0.5]",
            "r.yaml:2: data.mean: mean and std go together; give both or neither",
        ),
        (
            "source: digits",
            "source: digits, mean: [0.5, 0.5], std: [1.0]",
            "r.yaml:2: data.std: 1 values, but mean has 2; give one per channel",
        ),
        (
            "source: digits",
            "source: digits, grayscale: yes",
            "r.yaml:2: data.grayscale: expected true or false, got 'yes'",
        ),
        (
            "source: digits",
            "source: digits, path: 3",
            "r.yaml:2: data.path: expected a path, got 3",
        ),
        (
            "source: digits",
            "source: digts",
            "r.yaml:2: data.source: unknown source 'digts' (did you mean 'digits'?); your own is "
            "written path.py:function",
        ),
        (
            "source: digits",
            "source: digits, unlabelled_share: 0.5",
            "r.yaml:2: data.unlabelled_share: there are no unlabelled images; give unlabelled, a folder of them",
        ),
        (
            "source: digits",
            "source: digits, unlabelled: more, unlabelled_share: 0.5, batch_size: 1",
            "r.yaml:2: data.unlabelled_share: a batch of 1 cannot be shared; raise batch_size",
        ),
        (
            "- distill",
            "- distill: {temperature_schedule: {start: 4, end: 0}}",
            "r.yaml:6: stages.0.distill.temperature_schedule: a temperature is above 0; give start and end above 0",
        ),
        (
            "- distill",
            "- distill: {hard_weight_schedule: {start: 2, end: 0}}",
            "r.yaml:6: stages.0.distill.hard_weight_schedule: a weight of the labels is in 0..1; give start and end of "
            "at most 1",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, checkpoint_key: ema",
            "r.yaml:3: teacher.checkpoint_key: there is no checkpoint to choose from; give checkpoint, or leave "
            "this out",
        ),
        (
            "{model: small_cnn}",
            "{model: small_cnn, checkpoint_key: ema}",
            "r.yaml:4: student.checkpoint_key: there is no checkpoint to choose from; give checkpoint, or leave "
            "this out",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, new_head: true",
            "r.yaml:3: teacher.new_head: there is no checkpoint whose last layer could be left out; give checkpoint, "
            "or leave new_head out",
        ),
        (
            "train: {epochs: 1}",
            "checkpoint: a.pt, new_head: true",
            "r.yaml:3: teacher.new_head: the new last layer has random weights; give train, which trains it",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, others: [{model: mlp}]",
            "r.yaml:3: teacher.others.0: no weights; give checkpoint (a file) or train (how to train it; epochs: 0 "
            "takes the network as its builder returns it)",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, others: [{model: mlp, train: {}, others: []}]",
            "r.yaml:3: teacher.others.0.others: unknown key; known: model, args, checkpoint, checkpoint_key, "
            "new_head, train",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, combine: confidence",
            "r.yaml:3: teacher.combine: there is one teacher only; give others, or leave combine out",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, others: [{model: mlp, train: {}}], weights: [1, 1, 1]",
            "r.yaml:3: teacher.weights: 3 for 2 teachers; give one for this teacher and one for each of the others",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, others: [{model: mlp, train: {}}], weights: [0, 0]",
            "r.yaml:3: teacher.weights: all are 0; give one of them above",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, others: [{model: mlp, train: {}}], weights: [1, 2], combine: confidence",
            "r.yaml:3: teacher.weights: weights are of a mean, and confidence chooses one teacher; leave weights out",
        ),
        (
            "train: {epochs: 1}",
            "train: {epochs: 1}, others: [{model: mlp, train: {}}, mlp]",
            "r.yaml:3: teacher.others.1: expected a section with the keys model, args, checkpoint, checkpoint_key, "
            "new_head, train, "
            "got 'mlp'",
        ),
        (
            "- distill",
            "- distill: {freeze: layer1}",
            "r.yaml:6: stages.0.distill.freeze: expected a list, each item text, got 'layer1'",
        ),
        (
            "source: digits",
            "source: npz",
            "r.yaml:2: data.source: source npz needs path: the folder or file to read",
        ),
        (
            "source: digits",
            "source: digits, args: {a: 1}",
            "r.yaml:2: data.args: only a source 'path.py:function' takes args, digits does not",
        ),
        (
            "source: digits",
            "workers: 1",
            f"r.yaml:2: data: missing key 'source'; expected one of {SOURCES}",
        ),
        (
            "data: {source: digits}\n",
            "",
            "r.yaml:1: missing key 'data'; expected where samples come from",
        ),
        (
            "{model: small_cnn}",
            "small_cnn",
            "r.yaml:4: student: expected a section with the keys model, args, checkpoint, checkpoint_key, "
            "new_head, got 'small_cnn'",
        ),
        (
            "model: small_cnn",
            "model: ''",
            "r.yaml:4: student.model: expected text that is not empty, got ''",
        ),
        (
            "model: small_cnn",
            "model: small_cnn, args: 3",
            "r.yaml:4: student.args: expected a mapping, got 3",
        ),
        (
            ", train: {epochs: 1}",
            "",
            "r.yaml:3: teacher: no weights; give checkpoint (a file) or train (how to train it; epochs: 0 "
            "takes the network as its builder returns it)",
        ),
        (
            "epochs: 1",
            "optimizer: adam",
            "r.yaml:3: teacher.train.optimizer: expected 'sgd' or 'adamw', got 'adam' (did you mean 'adamw'?)",
        ),
        (
            "- distill",
            "- distil",
            "r.yaml:6: stages.0: unknown stage 'distil' (did you mean 'distill'?); known: distill, factorize, prune, "
            "quantize",
        ),
        (
            "- distill",
            "- {distill: {}, prune: {}}",
            "r.yaml:6: stages.0: expected one stage: distill, factorize, prune, quantize; as a word, or as a mapping "
            "of that one key",
        ),
        (
            "- distill",
            "- distill: 3",
            "r.yaml:6: stages.0.distill: expected a section with the keys method, weight, weight_schedule, options, "
            "standardize and 26 others ('edgekd recipe schema' lists all), got 3",
        ),
        (
            "stages:\n  - distill\n  - prune: {macs: 0.5}",
            "stages: []",
            "r.yaml:5: stages: expected a list that is not empty, each item a stage: distill, factorize, prune, "
            "quantize, got []",
        ),
        (
            "- prune: {macs: 0.5}",
            "- prune",
            "r.yaml:7: stages.1.prune: nothing says how far to prune; give macs, params, size, "
            "latency, accuracy_drop, drop or depth, e.g. macs: 0.5, the share to keep",
        ),
        (
            "macs: 0.5",
            "macs: 0.5, params: 0.5",
            "r.yaml:7: stages.1.prune.params: macs and params exclude each other; give one of the two",
        ),
        (
            "macs: 0.5",
            "macs: 0.5, latency: 0.5",
            "r.yaml:7: stages.1.prune.latency: macs and latency exclude each other; give one of the two",
        ),
        (
            "macs: 0.5",
            "macs: 0.5, epochs: 3, rewind: 2",
            "r.yaml:7: stages.1.prune.rewind: a training of 2 epochs has no last 3; give the epochs of the training "
            "that made the network, and its lr and schedule",
        ),
        (
            "macs: 0.5",
            "macs: 1",
            "r.yaml:7: stages.1.prune.macs: expected a number above 0 and below 1, got 1",
        ),
        (
            "macs: 0.5}",
            "macs: 0.5}\n  - quantize\n  - distill",
            "r.yaml:9: stages.3: distill cannot follow quantize; it may come first, or after distill, factorize or "
            "prune",
        ),
        (
            "  - distill\n",
            "",
            "r.yaml:4: student: without a checkpoint its weights are random, and prune comes first; start "
            "with distill, give student.checkpoint, or leave student out to compress the teacher's own "
            "network",
        ),
        (
            "name: small",
            "name: ../small",
            "r.yaml:1: name: '../small' cannot name a folder; use at most 100 letters, digits, '.', '_' "
            "and '-', and a letter or a digit in front",
        ),
        ("name: small", "name: 7", "r.yaml:1: name: expected text, got 7"),
        (
            "name: small",
            "name: small\nseed: -1",
            "r.yaml:2: seed: expected a whole number of at least 0 and of at most 4294967295, got -1",
        ),
        (
            "name: small",
            "name: small\ntargets: [{runtime: tensort}]",
            "r.yaml:2: targets.0.runtime: expected 'onnxruntime' or 'tensorrt' or 'openvino', got 'tensort' "
            "(did you mean 'tensorrt'?)",
        ),
        *(
            (
                "name: small",
                f"name: small\ntargets: [{{}}, {targets}]",
                "r.yaml:2: targets.1: it is the same place as a target before it; leave one of them out",
            )
            for targets in ("{}", "{device: cpu}", "{architecture: aarch64}")
        ),
        (
            "name: small",
            "name: small\ntargets: [{runtime: tensorrt}, {}, {runtime: tensorrt, threads: 2}]",
            "r.yaml:2: targets.2: it is the same place as a target before it; leave one of them out",
        ),
        (
            "name: small",
            "name: small\nbudget: [" + ", ".join(["accuracy"] * 9) + "]",
            "r.yaml:2: budget: expected a section with the keys accuracy_drop, drop, latency_ratio, size_ratio, "
            'latency_ms, size_mb, energy_mj, got ["accuracy", "accuracy", "accuracy", "accuracy", "accurac...',
        ),
        (
            "name: small",
            "name: small\ntask: multilable",
            f"r.yaml:2: task: expected {TASK_NAMES}, got 'multilable' (did you mean 'multilabel'?)",
        ),
        (
            "name: small",
            "name: small\ntask: multilabel\nbudget: {drop: {mpa: 1.0}}",
            "r.yaml:3: budget.drop.mpa: 'mpa' is no metric of the task multilabel (did you mean 'map'?); give drop "
            "with map or macro_f1",
        ),
        (
            "name: small",
            "name: small\ntask: multilabel\nbudget: {accuracy_drop: 1.0}",
            "r.yaml:3: budget.accuracy_drop: 'accuracy' is no metric of the task multilabel; give drop with "
            "map or macro_f1",
        ),
        (
            "name: small",
            "name: small\nbudget: {accuracy_drop: 1.0, drop: {accuracy: 2.0}}",
            "r.yaml:2: budget.drop.accuracy: accuracy_drop says the same; leave one of them out",
        ),
        (
            "name: small",
            "name: small\nbudget: {drop: {accuracy: much}}",
            "r.yaml:2: budget.drop.accuracy: expected a number, got 'much'",
        ),
        (
            "name: small",
            "name: small\ndecoder: {threshold: 0.3}",
            "r.yaml:2: decoder.threshold: 'threshold' is no option of the decoder of classification; leave decoder out",
        ),
        *(
            ("name: small", f"name: small\ntask: detection\ndecoder: {{{given}}}", f"r.yaml:3: decoder{says}")
            for given, says in (
                ("threshold: high", ".threshold: expected a number, got 'high'"),
                ("threshold: 1", ".threshold: expected a finite number above 0 and below 1, got 1"),
                ("detections: 2.5", ".detections: expected a whole number of at least 1 and at most 1000, got 2.5"),
                (
                    "thresold: 0.3",
                    ".thresold: 'thresold' is no option of the decoder of detection (did you mean 'threshold'?); give "
                    "threshold or iou or detections or score or candidates",
                ),
                (
                    "threshold: 0.02",
                    ": threshold of the detector's decoder is 0.02, and it drops boxes below its score, 0.05: raise "
                    "the threshold, or lower score",
                ),
            )
        ),
    ],
)
def test_message(complaint: Complaint, old: str, new: str, message: str) -> None:
    assert old in SMALL
    assert complaint(SMALL.replace(old, new)) == message


def test_every_mistake_has_its_line(complaint: Complaint) -> None:
    text = SMALL.replace("resnet8", "3").replace("digits", "digits, workers: -1").replace("0.5", "half")
    assert complaint(text).splitlines() == [
        "r.yaml:2: data.workers: expected a whole number of at least 0, got -1",
        "r.yaml:3: teacher.model: expected text that is not empty, got 3",
        "r.yaml:7: stages.1.prune.macs: expected a number above 0 and below 1, got 'half'",
    ]


def test_at_most_ten_mistakes(complaint: Complaint) -> None:
    extra = "".join(f"key{number}: 1\n" for number in range(14))
    lines = complaint(SMALL + extra).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 4 more mistakes"


def test_fixed_views_of_images_that_are_put_together(complaint: Complaint) -> None:
    text = SMALL.replace("digits", "digits, augment: [flip, mosaic]").replace("- distill", "- distill: {views: 2}")
    assert complaint(text) == (
        "r.yaml:6: stages.0.distill.views: mosaic of data.augment puts images of one batch together, and fixed views "
        "are the same in any; leave out one of them"
    )
