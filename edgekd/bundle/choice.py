"""The file of a bundle that predicts on this machine, and how ONNX Runtime computes it."""

from collections.abc import Iterable
from typing import NamedTuple

from edgekd.bundle.manifest import Manifest
from edgekd.bundle.target import BundleTarget, target_named
from edgekd.errors import BundleError
from edgekd.runtime import DEFAULT, RUNTIMES

FLOAT = "float32"


class ChosenFile(NamedTuple):
    """A ``file`` of a bundle; one that is not ``optimised`` is computed step by step, as it is written."""

    file: str
    optimised: bool


def choose_file(manifest: Manifest, target: str | None = None) -> ChosenFile:
    """Return the file of ``target``; without one the bundle's own model, or the first file for this processor.

    Where the bundle's own model is for other processors, and no file for this one, it is computed step by step.

    Raises:
        BundleError: there is no such target, or its file is for another runtime.
    """
    if target is not None:
        named = target_here(manifest, target)
        return ChosenFile(named.file, may_be_optimised([named]))
    own = own_model(manifest)
    here = [each.file for each in manifest.targets if each.runtime == DEFAULT and each.is_for_this_processor]
    return own if own.optimised or not here else ChosenFile(here[0], True)


def own_model(manifest: Manifest) -> ChosenFile:
    """Return the bundle's own model, which golden outputs are of."""
    digests = {file.path: file.sha256 for file in manifest.files}
    alike = [each for each in manifest.targets if digests[each.file] == digests[manifest.model]]
    return ChosenFile(manifest.model, may_be_optimised(alike))


def may_be_optimised(targets: Iterable[BundleTarget]) -> bool:
    """Tell whether ONNX Runtime may optimise a file for ``targets`` on this machine; one for none is for any machine.

    In int8 for another processor or runtime, sums of optimised kernels may overflow here.
    """
    known = list(targets)
    here = (each.runtime == DEFAULT and each.is_for_this_processor for each in known)
    return not known or any(here) or any(each.precision == FLOAT for each in known)


def target_here(manifest: Manifest, name: str) -> BundleTarget:
    """Return the target ``name``, whose file can be run here.

    Raises:
        BundleError: there is none, or its file is for another runtime.
    """
    found = target_named(name, manifest.targets)
    if found.runtime != DEFAULT and found.file != manifest.model:
        fit = [each.name for each in manifest.targets if each.runtime == DEFAULT]
        theirs = RUNTIMES[found.runtime].title if found.runtime in RUNTIMES else found.runtime
        ours = RUNTIMES[DEFAULT].title
        raise BundleError(
            f"{found.file} of target {name!r} is for {theirs}, and predictions are made in {ours}; "
            + (f"its targets for {ours}: {', '.join(dict.fromkeys(fit))}" if fit else "leave the target out")
        )
    return found
