"""What a command hands its caller: lines on standard output."""

import sys

from edgekd.plain_text import lines


def tell(text: str) -> None:
    """Print lines for people on standard output."""
    sys.stdout.write(lines(text) + "\n")
    sys.stdout.flush()
