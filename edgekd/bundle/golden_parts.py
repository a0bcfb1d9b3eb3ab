"""Golden samples on their way into a bundle: checked against the model, and as files."""

import io
from collections.abc import Mapping, Sequence

import numpy as np

from edgekd.bundle.golden import RAW, files_of, matches
from edgekd.bundle.manifest import Tensor, colliding, decoded_of, is_inside
from edgekd.bundle.predict import named_inputs, samples_in
from edgekd.bundle.session import BundleSession, Inputs
from edgekd.errors import BundleError, DataError
from edgekd.preprocess import Preprocess
from edgekd.tasks.logits import fits, names_in_file, shown
from edgekd.tasks.task import Task

# Roles and contents by path.
Contents = dict[str, tuple[str, bytes]]
Arrays = dict[str, np.ndarray]


def check_golden(
    golden: tuple[Inputs, Inputs],
    session: BundleSession,
    inputs: Sequence[Tensor],
    preprocess: Preprocess,
    task: Task,
) -> tuple[Arrays, Arrays]:
    """Return the golden inputs and outputs by name, in the model's order.

    Raises:
        BundleError: one is missing, of another shape or type, or not finite.
    """
    fed, got = session.by_name(golden[0]), golden[1]
    if preprocess.kind == "tensors":
        try:
            fed = named_inputs(session, inputs).check(fed, "golden input")
        except DataError as error:
            raise BundleError(str(error)) from error
    else:
        fed = {session.inputs[0].name: check_input(fed, preprocess)}
    n, names = samples_in(fed), [each.name for each in session.outputs]
    got = dict(got) if isinstance(got, Mapping) else {decoded_of(session.outputs): got}
    if set(got) != set(names):
        raise BundleError(f"golden outputs are {', '.join(got)}; the model gives {', '.join(names)}: give them all")
    decoded = decoded_of(session.outputs)
    got[decoded] = np.ascontiguousarray(got[decoded], np.float32)
    for name, known in names_in_file(names, task.output_shapes).items():
        wanted = task.output_shapes.get(name)
        if wanted is not None and not (len(got[known]) == n and fits(got[known].shape[1:], wanted)):
            per_label = ": one logit per label" if wanted == ((len(task.names),),) else ""
            raise BundleError(f"golden output is {got[known].shape}, expected {shown(wanted, n)}{per_label}")
    for tensor in session.outputs:
        each = got[tensor.name]
        if not matches(each, (-1, *tensor.shape[1:])) or len(each) != n:
            raise BundleError(f"golden output {tensor.name!r} is {each.shape}, expected {(n, *tensor.shape[1:])}")
    if not all(np.isfinite(each).all() for each in (*fed.values(), *got.values())):
        raise BundleError("golden input or output holds NaN or infinity: the network is broken on these samples")
    return fed, {name: np.ascontiguousarray(got[name]) for name in names}


def check_input(fed: Arrays, preprocess: Preprocess) -> np.ndarray:
    """Return the one golden input, as the preprocessing gives it."""
    found = np.ascontiguousarray(next(iter(fed.values())), np.float32)
    if len(fed) != 1 or found.shape[1:] != preprocess.shape or not len(found):
        raise BundleError(f"golden input is {found.shape}, expected {(-1, *preprocess.shape)} with at least one sample")
    return found


def golden_view(fed: Arrays, got: Arrays, several: bool) -> Contents:
    """Return the files of golden samples.

    Raises:
        BundleError: a tensor's name is no file's name on some system.
    """
    paths = files_of(list(fed), list(got), several)
    files = [*(path for side in paths for path in side.values()), RAW]
    odd = [path for path in files if not is_inside(path) or path.count("/") > 1]
    if odd or len(set(files)) < len(files) or colliding(files):
        raise BundleError(
            f"tensors {', '.join((*fed, *got))}: golden samples are kept in files of these names, which not every "
            "system allows: rename the network's inputs and outputs in letters, digits and '_', and call none 'raw'"
        )
    roles = zip(("golden.input", "golden.output"), paths, (fed, got), strict=True)
    return {path: (role, npy(arrays[name])) for role, side, arrays in roles for name, path in side.items()}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
