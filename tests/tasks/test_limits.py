from edgekd.tasks.limits import asked_limits


def test_limits_from_the_error_of_torch():
    text = "Constraints violated (a, b)!\n - Not all values\n{}\nThe error above"
    found = asked_limits(ValueError(text.format("Suggested fixes:\n  a = Dim('a', min=3, max=9)\n  _b = Dim('_b')\n")))
    assert found == ("it does not take every size of a, b: give the signature limits, {'a': (3, 9)} or a little more")
    found = asked_limits(ValueError(text.format("Suggested fixes:\n  b = 8*_b\n")))
    assert "every size of a, b, but only b = 8*_b: give fixed sizes" in found
    assert "limits, a larger least size" in asked_limits(ValueError(text.format("")))
    assert asked_limits(ValueError("anything else")) is None
