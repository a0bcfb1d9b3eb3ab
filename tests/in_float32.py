"""The command as it trains where bfloat16 is slow, whose sums depend on the processor and on who shares them."""

from edgekd.cli.main import main
from edgekd.train import device


def never() -> bool:
    return False


if __name__ == "__main__":
    device.has_fast_bf16 = never
    main()
