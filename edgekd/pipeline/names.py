"""Names that stages, exports and measurements of one run share on disk and in its report."""

from edgekd.formatting import UNOPTIMISED
from edgekd.runtime import DEFAULT

SAMPLES = "samples.npy"  # those that the bundle tests itself by
NAMED_SAMPLES = "samples.npz"  # the same of several inputs
REFERENCE = DEFAULT  # the runtime of bundles, which emulates those that are not here
EMULATED = f"{REFERENCE}{UNOPTIMISED}"
IMAGE_FILES = "image-[0-9].p[gp]m"  # a few of the same, as image files at the size that the data has them
