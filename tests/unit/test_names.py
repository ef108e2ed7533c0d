# SPDX-License-Identifier: BSD-2-Clause
"""Names of switches and ports."""

import pytest

from ringpass import names
from ringpass.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "switch", "port"),
    [
        ("vale0:vm1", "vale0", "vm1"),
        ("vale:1", "vale", "1"),
        ("vale_lan:eth0.100", "vale_lan", "eth0.100"),
        ("vale12345678901:abcdefghijklmno", "vale12345678901", "abcdefghijklmno"),
    ],
)
def test_a_name_has_two_parts(text: str, switch: str, port: str) -> None:
    name = names.parse_port(text)
    assert name == (switch, port)
    assert str(name) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no colon"),
        ("vale0", "no colon"),
        ("vale0:", "empty"),
        (":vm1", "empty"),
        ("lan0:vm1", "does not begin with 'vale'"),
        ("vale0:vm-1", "contains '-'"),
        ("vale0:vm1:2", "contains ':'"),
        ("vale0:../vm1", "contains '/'"),
        ("vale0:a,b", "contains ',', which our names cannot"),
        ("vale.0:vm1", "contains '.'"),
        ("vale0:vm 1\n", "contains '\\n '"),
        ("vale0:vmé", "contains 'é'"),
        ("vale0:abcdefghijklmnop", "16 characters; at most 15"),
        ("vale123456789012:vm1", "16 characters; at most 15"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        names.parse_port(text)
    assert why in caught.value.why
    assert caught.value.fix


def test_a_switch_that_is_not_vale_says_what_to_call_it() -> None:
    with pytest.raises(ConfigError) as caught:
        names.check_switch("lan")
    assert "valelan" in caught.value.fix
