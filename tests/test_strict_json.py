import json
import time
import tracemalloc

import pytest

from edgekd.strict_json import DEEPEST, parse


@pytest.mark.parametrize(
    "document",
    [{}, [], 0, None, True, 'ä\\"[{', {"a": [1, 2.5, {"b": "😀"}]}, 2**63 - 1, -(2**63), 1e308, "[" * 1000],
)
def test_a_plain_document_is_read_as_json_reads_it(document):
    assert parse(json.dumps(document).encode()) == document
    assert parse(json.dumps(document, ensure_ascii=False).encode("utf-8-sig")) == document


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value in line 1, column 1"),
        (b'{"a": 1,}', "in line 1"),
        (b'{"a": "', "Unterminated string"),
        (b'"\\', "Unterminated string|Invalid"),
        (b"[" * (DEEPEST + 1), "nested deeper than 64"),
        (b"[" * 10_000_000, "more than 4,000,000 items"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 64"),
        (b"[" + b"[]," * 3_000_000 + b"1]", "more than 4,000,000 items"),
        (b"1" + b"0" * 5000, "more than 64 bits"),
        (b"9223372036854775808", "more than 64 bits"),
        (b"-9223372036854775809", "more than 64 bits"),
        (b'{"a": 1e999}', "too large"),
        (b"[NaN]", "NaN is no number"),
        (b'{"NaN\\"": 1,\n"a": "NaN",\n"b": [2,\nNaN]}', "NaN is no number, in line 4"),
        (b"[11e9,\n1e999]", "1e999 is too large, in line 2"),
        (b"[0.9223372036854775808,\n9223372036854775808]", "has more than 64 bits, in line 2"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b'{"a": 1, "b": 2, "a": 1}', "the key 'a' stands twice"),
        (b'{"x": [{"\\u0061": 1, "a": 2}]}', "the key 'a' stands twice"),
        ('{"a": 1}'.encode("utf-16"), "not text in UTF-8"),
        ('{"a": 1}'.encode("utf-16-be"), "not text in UTF-8"),
        ('{"a": 1}'.encode("utf-32"), "not text in UTF-8"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not text in UTF-8"),
        (b'{"\\ud800": 1}', "lone surrogate"),
        (b'{"a": ["\\uDFFFx"]}', "lone surrogate"),
    ],
)  # fmt: skip
def test_anything_else_ends_in_one_clause(content, said):
    started = time.process_time()
    with pytest.raises(ValueError, match=said) as error:
        parse(content)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200
    assert time.process_time() - started < 2


def test_a_million_escapes_take_no_more_memory_than_some_copies():
    content = b'"' + b'\\"' * 1_000_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="Unterminated"):
        parse(content)
    assert tracemalloc.get_traced_memory()[1] < 10 * len(content)
    tracemalloc.stop()
