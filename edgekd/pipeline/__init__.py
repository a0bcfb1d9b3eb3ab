"""A run from recipe to bundle: stages, exports, measurements and report, each found again where it was made before."""
