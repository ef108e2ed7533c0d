# SPDX-License-Identifier: BSD-2-Clause
"""Errors say what, why and what to do, and carry the exit code that scripts rely on."""

import pickle

import pytest

from ringpass import errors
from ringpass.errors import ExitCode, RingpassError


def test_each_part_has_a_line() -> None:
    error = RingpassError("cannot add port vale0:vm1", "the switch is gone", "ringpass switch add")
    assert str(error).splitlines() == [
        "error: cannot add port vale0:vm1",
        "why: the switch is gone",
        "fix: ringpass switch add",
    ]


def test_no_fix_gives_no_empty_line() -> None:
    assert str(RingpassError("a", "b")).splitlines() == ["error: a", "why: b"]


def test_exit_codes_are_stable() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "NOT_FOUND": 4,
        "DENIED": 5,
        "BROKEN": 6,
    }


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.RingpassError, ExitCode.FAILED),
        (errors.ConfigError, ExitCode.USAGE),
        (errors.DaemonUnreachable, ExitCode.UNREACHABLE),
        (errors.NotFound, ExitCode.NOT_FOUND),
        (errors.Denied, ExitCode.DENIED),
        (errors.BrokenPort, ExitCode.BROKEN),
    ],
)
def test_a_class_decides_the_exit_code(kind: type[RingpassError], code: ExitCode) -> None:
    assert kind("a", "b").exit_code is code


def test_an_error_can_choose_its_own_exit_code() -> None:
    assert RingpassError("a", "b", exit_code=ExitCode.DENIED).exit_code is ExitCode.DENIED


def test_an_error_survives_pickling_whole() -> None:
    error = errors.NotFound("a", "b", "c", exit_code=ExitCode.BROKEN)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is errors.NotFound
    assert (again.what, again.why, again.fix, again.exit_code) == ("a", "b", "c", ExitCode.BROKEN)


def test_the_systems_number_travels_along() -> None:
    assert RingpassError("a", "b", errno=16).errno == 16
    assert RingpassError("a", "b").errno == 0
