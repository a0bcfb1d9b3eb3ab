"""Names that stages, exports and measurements of one run share on disk and in its report."""

SAMPLES = "samples.npy"  # those that the bundle tests itself by
NAMED_SAMPLES = "samples.npz"  # the same of several inputs
ONNX_RUNTIME = "onnxruntime"
