"""Names that stages, exports and measurements of one run share on disk and in its report."""

SAMPLES = "samples.npy"  # those that the bundle tests itself by
ONNX_RUNTIME = "onnxruntime"
