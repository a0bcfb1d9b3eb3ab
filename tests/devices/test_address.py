import pytest

from edgekd.devices.address import Address, parse_address
from edgekd.errors import DeviceError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("orin", Address("orin")),
        ("nvidia@orin.local", Address("orin.local", "nvidia")),
        ("nvidia@192.168.55.1:2222", Address("192.168.55.1", "nvidia", 2222)),
        ("[fe80::1%eth0]:22", Address("fe80::1%eth0", None, 22)),
        ("me@[::1]", Address("::1", "me")),
        ("::1", Address("::1")),
    ],
)
def test_what_is_an_address(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "-oProxyCommand=touch /tmp/x", "@orin", "-l@orin", "a b", "orin;reboot", "orin'", 'orin"', "$(id)", "`id`",
        "a|b", "a&b", "orin\nx", "u;v@orin", "u v@orin", "orin:0", "orin:99999", "a/b", "orin\\", "[orin", "näme",
    ],
)  # fmt: skip
def test_what_is_none(text):
    with pytest.raises(DeviceError, match="no name of|does not exist"):
        parse_address(text)


def test_scp_needs_brackets_around_colons():
    assert Address("::1").file("/tmp/x") == "[::1]:/tmp/x"
    assert Address("orin", "me", 22).file("/tmp/x") == "orin:/tmp/x"
    assert Address("orin", "me", 22).options() == ["-o", "User=me", "-o", "Port=22"]
