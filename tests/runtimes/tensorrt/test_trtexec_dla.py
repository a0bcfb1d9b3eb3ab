"""Lines as public logs of TensorRT 8.0 to 10 have them."""

from edgekd.runtimes.tensorrt.trtexec.dla import Fallback, describe, parse_dla

LOG = """\
[W] [TRT] Layer '/24/Constant_1' (CONSTANT): Unsupported on DLA. Switching this layer's device type to GPU.
[W] [TRT] Layer '(Unnamed Layer* 7) [Shuffle]' (SHUFFLE): Unsupported on DLA. Switching this layer's device type to GPU.
[W] [TRT] Default DLA is enabled but layer Gather in embedding is not supported on DLA, falling back to GPU.
WARNING: [TRT]: DLA supports only 8 subgraphs per DLA core. Switching to GPU for layer conv_6
WARNING: [TRT]: DLA supports only 8 subgraphs per DLA core. Switching to GPU for layer conv_6
[I] [TRT] ---------- Layers Running on DLA ----------
[I] [TRT] [DlaLayer] {ForeignNode[Conv_0...Concat_198]}
[I] [TRT] ---------- Layers Running on GPU ----------
[I] [TRT] [GpuLayer] CONVOLUTION: conv_6\r
[I] [TRT] [GpuLayer] (Unnamed Layer* 7) [Shuffle]
"""


def test_what_went_where_and_why():
    found = parse_dla(LOG)
    assert found.on_dla == ("{ForeignNode[Conv_0...Concat_198]}",)
    assert found.on_gpu == ("CONVOLUTION: conv_6", "(Unnamed Layer* 7) [Shuffle]")
    assert found.fallbacks == (
        Fallback("/24/Constant_1", "unsupported on DLA", "CONSTANT"),
        Fallback("(Unnamed Layer* 7) [Shuffle]", "unsupported on DLA", "SHUFFLE"),
        Fallback("Gather in embedding", "not supported on DLA"),
        Fallback("conv_6", "DLA supports only 8 subgraphs per DLA core"),
    )
    assert describe(found)[0] == "1 layers of the engine on the DLA, 2 on the GPU"
    assert "  to the GPU: conv_6, DLA supports only 8 subgraphs per DLA core" in describe(found)


def test_nothing_of_nothing():
    assert parse_dla("") == parse_dla("[I] [DlaLayer]\n[TRT] Layer 'x' (") == parse_dla("\0\n[GpuLayer]   \n")
