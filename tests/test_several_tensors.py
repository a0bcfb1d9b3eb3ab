"""Networks with several named inputs and outputs, through every step that makes them smaller, to files that run."""

import pytest
import torch

from edgekd.artifact import Artifact, capture, fill
from edgekd.export import export_onnx, output_parity, runtime_outputs
from edgekd.factorize import factorize
from edgekd.models.signature import find_signature
from edgekd.models.size import count_macs
from edgekd.prune import prune
from edgekd.quantize import calibrate, export_runtime, prepare
from edgekd.spec import Spec
from tests.several_tensors import batches, image_and_text, tagger


@pytest.mark.parametrize(("make", "width"), [(image_and_text, 32), (tagger, 64)])
def test_cut_factorised_quantised_and_exported(tmp_path, make, width):
    network, signature = make(width=width)
    samples = batches(signature)
    pruned = prune(network, signature, macs=0.7)
    smaller = factorize(pruned.network, signature, macs=0.8, round_to=4)
    assert count_macs(smaller.network, signature) < 0.6 * count_macs(network, signature)
    again = find_signature(
        smaller.network,
        signature.example(),
        open={
            each.name: {axis: size for axis, size in enumerate(each.shape, 1) if isinstance(size, str)}
            for each in signature.inputs
        },
        limits={each.name: (each.least, each.most) for each in signature.open},
        outputs=[each.name for each in signature.outputs],
    )
    assert again.outputs == signature.outputs

    graph = prepare(smaller.network, signature)
    calibrate(graph, samples)
    networks = {"float": smaller.network, "int8": graph}
    files = {
        "float": export_onnx(smaller.network, tmp_path / "float.onnx", None, inputs=signature),
        "int8": export_runtime(
            graph, tmp_path / "int8.onnx", None, "onnxruntime-x86", trained="onnxruntime-x86", inputs=signature
        ),
    }
    for name, path in files.items():
        for length in samples:
            with torch.no_grad():
                ours = [signature.named(networks[name](*length))]
            found = output_parity(ours, runtime_outputs(path, [length], optimised=name == "float"))
            assert list(found) == [each.name for each in signature.outputs]
            assert all(each.max_steps < 0.01 if name == "float" else each.mean_steps < 1 for each in found.values())


def test_a_network_on_disk_keeps_its_signature(tmp_path):
    network, signature = tagger()
    capture(network, Spec("file.py:tagger", (), 1, signature=signature)).save(tmp_path)
    found = Artifact.load(tmp_path)
    assert found.spec.inputs == signature
    other, _ = tagger()
    for parameter in other.parameters():
        parameter.data.zero_()
    fill(other, found.tensors)
    [sample, *_] = batches(signature)
    assert torch.equal(other(*sample)["tags"], network(*sample)["tags"])
