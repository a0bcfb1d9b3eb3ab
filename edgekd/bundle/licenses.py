"""Licences as SPDX expressions, which a machine can read."""

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from edgekd.errors import BundleError

OF = ("model", "data")


def spdx(of: str, expression: str) -> str:
    """Return ``expression`` as SPDX spells it: ``Apache-2.0`` for ``apache-2.0``.

    Raises:
        BundleError: it is no SPDX expression, or ``of`` is neither the model nor its data.
    """
    if of not in OF:
        raise BundleError(f"licenses: {of!r} is not among {', '.join(OF)}")
    try:
        return canonicalize_license_expression(expression)
    except InvalidLicenseExpression as error:
        raise BundleError(
            f"the licence of the {of}, {expression!r}, is no SPDX expression ({error}): such as Apache-2.0, "
            "MIT OR CC-BY-4.0, or LicenseRef-Ours for one of your own; https://spdx.org/licenses lists them"
        ) from error
