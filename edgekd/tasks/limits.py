"""The limits of open dimensions that ``torch.export`` asks for."""

import re


def asked_limits(error: BaseException) -> str | None:
    """Return what to change in a signature for ``torch.export``, from its error on a dimension, or None for others.

    It suggests ``length = Dim('length', min=5)``, or ``height = 8*_height`` where only some sizes are taken.
    """
    violated = re.match(r"Constraints violated \((.+?)\)", str(error))
    if violated is None:
        return None
    _, _, suggested = str(error).partition("Suggested fixes:")
    limits, others = {}, []
    for name, wanted in re.findall(r"^\s*([a-zA-Z]\w*) = (.+)$", suggested, re.MULTILINE):
        ends = dict(re.findall(r"(min|max)=(\d+)", wanted))
        if ends:
            limits[name] = tuple(int(ends[end]) if end in ends else None for end in ("min", "max"))
        else:
            others.append(f"{name} = {wanted}")
    reason = f"it does not take every size of {violated[1]}"
    if others:
        advice = "give fixed sizes, or use x.shape[0] in the network: len(x) becomes a constant"
        return f"{reason}, but only {', '.join(others)}: {advice}"
    # No dimension inside may be 1 at the least size, which torch takes for another network.
    advice = f"{limits} or a little more" if limits else "a larger least size, or a smaller largest one"
    return f"{reason}: give the signature limits, {advice}"
