# SPDX-License-Identifier: BSD-2-Clause
"""The framework of the benchmarks: samples become rows, rows become JSON, tables and pictures."""

from collections.abc import Sequence

import msgspec
import pytest

from ringpass.bench.machine import describe_machine
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row, new_report, row
from ringpass.errors import ConfigError

#: What the rows of every benchmark have, whatever else they have.
FIELDS = {"case", "size", "cores", "ns", "mpps", "ref", "ref_ns", "ratio", "goal", "met"}


def a_row(
    samples: Sequence[float],
    ref_samples: Sequence[float],
    goal: Goal = NO_GOAL,
    drops: dict[str, int] | None = None,
) -> Row:
    return row(
        "vale/batch-256",
        60,
        samples,
        ref="memcpy",
        ref_samples=ref_samples,
        goal=goal,
        threads={"sender": "0", "receiver": "1"},
        via="rings-vale",
        label="native",
        drops=drops,
    )


def test_a_row_has_medians_and_their_ratio() -> None:
    made = a_row([30, 10, 20, 1000, 25], [5, 4, 6])
    assert (made.ns, made.ns_min, made.ns_max) == (25, 10, 1000)
    assert (made.ref_ns, made.ref_ns_min, made.ref_ns_max) == (5, 4, 6)
    assert made.ratio == 5
    assert made.mpps == 40
    assert made.runs == 5


@pytest.mark.parametrize(("ns", "met"), [(19.9, True), (20, True), (20.1, False)])
def test_a_goal_is_met_up_to_its_limit(ns: float, met: bool) -> None:
    made = a_row([ns], [5], Goal("at most 4 times the memcpy", 4))
    assert made.met is met
    assert made.goal == "at most 4 times the memcpy"


@pytest.mark.parametrize(
    ("ns", "drops", "met"),
    [
        (20, {}, True),
        (20, {"full": 0}, True),
        (20, {"full": 1}, False),
        (20, None, False),
        (21, {}, False),
    ],
)
def test_a_lossless_goal_is_met_only_without_drops(
    ns: float, drops: dict[str, int] | None, met: bool
) -> None:
    made = a_row([ns], [5], Goal("at most 4 times, nothing dropped", 4, lossless=True), drops)
    assert (made.met, made.lossless, made.drops) == (met, True, drops)


@pytest.mark.parametrize(("ns", "met"), [(40, True), (40.1, False)])
def test_a_goal_may_be_a_time(ns: float, met: bool) -> None:
    made = a_row([ns], [1], Goal("at most 40 ns", limit_ns=40))
    assert (made.met, made.limit_ns, made.limit) == (met, 40, None)


def test_drops_do_not_miss_a_goal_that_allows_them() -> None:
    assert a_row([20], [5], Goal("at most 4 times", 4), {"full": 1}).met


@pytest.mark.parametrize(("kicks", "met"), [(0.002, True), (0.0021, False), (None, False)])
def test_a_goal_may_be_of_kicks(kicks: float | None, met: bool) -> None:
    goal = Goal("at most 0.002 kicks a frame", limit_kicks=0.002)
    assert goal.met(1000, 100, None, kicks) is met


def test_a_row_without_a_goal_is_met() -> None:
    made = a_row([1e9], [1])
    assert (made.goal, made.met, made.limit) == ("none", True, None)


@pytest.mark.parametrize(
    ("threads", "cores"),
    [
        ({"all": "0"}, 1),
        ({"sender": "0", "receiver": "1"}, 2),
        ({"all": "0, 1"}, 2),
        ({"sender": "1", "receiver": "0, 1"}, 2),
    ],
)
def test_the_cores_of_a_row_are_those_of_its_threads(threads: dict[str, str], cores: int) -> None:
    made = row(
        "c", 60, [1], ref="r", ref_samples=[1], goal=NO_GOAL, threads=threads, via="v", label="l"
    )
    assert made.cores == cores


def test_a_report_is_the_agreed_json() -> None:
    report = msgspec.json.decode(msgspec.json.encode(new_report("switch", [a_row([1], [1])])))
    assert report.keys() == {"bench", "machine", "date", "rows"}
    assert report["bench"] == "switch"
    assert report["machine"] == describe_machine()
    assert report["rows"][0].keys() >= FIELDS


def test_rows_have_one_shape_whatever_is_known_of_them() -> None:
    plain = msgspec.to_builtins(a_row([1], [1]))
    full = msgspec.to_builtins(a_row([1], [1], Goal("at most 4 times", 4, True), {"full": 1}))
    assert plain.keys() == full.keys() == set(Row.__struct_fields__)
    assert (plain["lost"], plain["drops"], plain["limit"]) == (0, None, None)


def test_things_are_measured_in_turn_after_a_warm_up() -> None:
    order = []

    def thing(name: str) -> float:
        order.append(name)
        return len(order)

    samples = in_turn(3, lambda: thing("a"), lambda: thing("b"))
    assert "".join(order) == "ab" + "ababab"
    assert samples == [[3, 5, 7], [4, 6, 8]]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (Options(1, 1), True),
        (Options(1, 1, cases=["vale/batch-32"]), True),
        (Options(1, 1, cases=["vale/*"]), True),
        (Options(1, 1, cases=["vale/batch-3"]), False),
        (Options(1, 1, cases=["other", "*-32"], sizes=[1500, 60], cores=[2]), True),
        (Options(1, 1, sizes=[1500]), False),
        (Options(1, 1, cores=[1]), False),
    ],
)
def test_options_select_by_case_size_and_cores(options: Options, wanted: bool) -> None:
    assert options.want("vale/batch-32", 60, 2) is wanted


@pytest.mark.parametrize(
    ("options", "why", "fix"),
    [
        (Options(1, 1, cases=["vale/batch-33"]), "--case vale/batch-33", "vale/batch-32, "),
        (Options(1, 1, sizes=[61, 62]), "--size 61 or 62", "60"),
        (Options(1, 1, cores=[3]), "--cores 3", "2, 1"),
        (Options(1, 1, ways=["valle"]), "--via valle", "vhost-vale"),
        (Options(1, 1, cases=["idle"], cores=[2]), "together", "select less"),
    ],
)
def test_a_selection_of_nothing_is_an_error(options: Options, why: str, fix: str) -> None:
    assert not options.want("vale/batch-32", 60, 2, "vhost-vale")
    assert not options.want("idle", 60, 1, "pipe")
    with pytest.raises(ConfigError) as error:
        options.check_wanted()
    assert why in error.value.why
    assert fix in error.value.fix


def test_a_selection_of_something_is_none() -> None:
    options = Options(1, 1, ways=["vale"])
    assert not options.want("idle", 60, 1, "pipe")
    assert options.want("vale/batch-32", 60, 2, "vhost-vale")
    options.check_wanted()
