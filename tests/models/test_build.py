from pathlib import Path

import pytest
import torch

from edgekd.errors import ModelError
from edgekd.files import sha256_file
from edgekd.models import build, code_of

SHAPE = (3, 8, 8)


def complaint(name: str, **args: object) -> str:
    with pytest.raises(ModelError) as error:
        build(name, args.pop("shape", SHAPE), 4, **args)
    return str(error.value)


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from torch import nn\n\n\n"
        "@dataclass\nclass Size:\n    features: int = 3\n\n\n"
        "def make(num_classes, features=3):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n\n\n"
        "def everything(**given):\n    return nn.Linear(given['input_shape'][0], given['num_classes'])\n\n\n"
        "def text():\n    return 'a network'\n\n\n"
        "def fails(num_classes):\n    return nn.Linear(num_classes, 'two')\n"
    )
    return path


def test_an_unknown_name():
    assert complaint("resnet-20") == ("unknown model 'resnet-20' (did you mean 'resnet20'?)")


def test_an_unknown_argument():
    assert complaint("resnet8", widht=4) == (
        "model resnet8 takes no argument 'widht' (did you mean 'width'?); args: width"
    )


def test_a_torchvision_network():
    network = build("torchvision/resnet18", (3, 32, 32), 4).eval()
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


def test_torchvision_mistakes():
    assert complaint("torchvision/mobilenet_v4") == (
        "torchvision has no classification network 'mobilenet_v4' (did you mean 'mobilenet_v2'?)"
    )
    assert complaint("torchvision/resnet18", shape=(1, 8, 8)) == (
        "torchvision/resnet18 takes 3-channel images, the data gives (1, 8, 8): set grayscale: false"
    )
    message = complaint("torchvision/resnet18", widht=3)
    assert message.startswith("torchvision/resnet18 fails with args {'widht': 3,")
    assert message.endswith("unexpected keyword argument 'widht'")


def test_timm_is_an_extra():
    try:
        import timm  # noqa: F401
    except ImportError:
        assert complaint("timm/resnet18") == "timm/resnet18 needs timm: pip install 'edgekd[timm]'"
    else:
        assert build("timm/resnet18", (1, 32, 32), 4).eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 4)


def test_a_users_network(user_file):
    assert build(f"{user_file}:make", SHAPE, 4)(torch.zeros(2, *SHAPE)).shape == (2, 4)
    assert build(f"{user_file}:everything", (5,), 4)(torch.zeros(2, 5)).shape == (2, 4)
    assert code_of(f"{user_file}:make", SHAPE, 4, {}) == (sha256_file(user_file),)
    assert code_of("resnet8", SHAPE, 4, {}) == ()


def test_a_users_function_that_gives_no_network(user_file):
    assert complaint(f"{user_file}:text") == (
        f"{user_file}:text gave a str, not a torch.nn.Module; return the network itself"
    )


def test_a_users_function_that_fails(user_file):
    message = complaint(f"{user_file}:fails")
    assert message.startswith(f"{user_file}:fails fails with args {{}}: TypeError: ")


def test_a_users_function_that_is_not_there(user_file):
    assert complaint(f"{user_file}:mke") == (
        f"{user_file} has no function 'mke' (did you mean 'make'?); it defines: Size, make, everything, text, fails"
    )
