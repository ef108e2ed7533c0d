# SPDX-License-Identifier: BSD-2-Clause
"""A user's own logic, from a C file: who may, what the compiler says, what it does."""

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from ringpass import logic
from ringpass.config import parse, parse_switch, read
from ringpass.dataplane import Full, Logic
from ringpass.errors import ConfigError, Denied, NotFound, RingpassError
from tests.support.switched import Switched
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/logic/dns_to.c"
A, B, R = (bytes([2, 0, 0, 0, 0, n]) for n in (1, 2, 3))

TO = """#include <rp_logic.h>
#include "others.h"
static void lookup(void *state, struct rp_logic_batch *b)
{
        for (uint32_t i = 0; i < b->n; i++)
                b->dest[i] = TO;
}
RP_LOGIC(.lookup = lookup);
"""


@pytest.fixture
def to_one(tmp_path: Path) -> Path:
    """Return a logic that sends all to port 1, with a header beside it."""
    (tmp_path / "others.h").write_text("enum { TO = 1 };\n")
    file = tmp_path / "to one.c"
    file.write_text(TO)
    file.chmod(0o644)
    return file


def load(switched: Switched, file: Path, config: str = "") -> str:
    compiled = logic.compile_c(logic.read(file))
    switched.dataplane.set_switch_logic(switched.switch, Logic.FILE, config, compiled.fd)
    os.close(compiled.fd)
    return compiled.warnings


def udp(to: bytes, sender: bytes, port: int) -> bytes:
    ip = bytes.fromhex("4500002e00000000401100000a0000010a000002")
    return to + sender + b"\x08\x00" + ip + b"\x30\x39" + port.to_bytes(2) + bytes(22)


def test_the_example_is_short_and_compiles_without_a_warning() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 50
    compiled = logic.compile_c(logic.read(EXAMPLE))
    os.close(compiled.fd)
    assert compiled.warnings == ""


def test_the_page_shows_the_example() -> None:
    code = EXAMPLE.read_text().split("*/\n", 2)[2]
    assert f"```c\n{code}```" in (ROOT / "docs/switch-logic.md").read_text()


def test_the_example_does_what_it_says() -> None:
    with Switched("a", "b", "resolver") as switched:
        load(switched, EXAMPLE, "vale0:resolver")
        switched.send("b", udp(A, B, 80))
        switched.receive()
        query, other = udp(B, A, 53), udp(B, A, 5353)
        switched.send("a", query, other, query, other[:30])
        assert switched.receive() == {"b": [other, other[:30]], "resolver": [query, query]}
        switched.remove("resolver")
        switched.send("a", query)
        assert switched.drops() == {"logic": 1}
        switched.add("resolver")
        switched.send("a", query)
        assert switched.receive() == {"resolver": [query]}


def test_an_init_that_refuses_says_why() -> None:
    with Switched("a", "b") as switched:
        with pytest.raises(RingpassError, match="name a port: --config vale0:resolver"):
            load(switched, EXAMPLE)
        switched.send("a", udp(B, A, 53))
        assert list(switched.receive()) == ["b"]


def test_each_load_has_variables_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "once.c"
    file.write_text(
        "#include <rp_logic.h>\nstatic uint16_t to = 1;\n"
        "static void lookup(void *s, struct rp_logic_batch *b)\n"
        "{ for (uint32_t i = 0; i < b->n; i++) b->dest[i] = to++; }\n"
        "RP_LOGIC(.lookup = lookup);\n"
    )
    with Switched("a", "b", "c") as switched:
        for _ in range(3):
            load(switched, file)
            switched.send("a", *[udp(B, A, 1)] * 2)
            assert {name: len(got) for name, got in switched.receive().items()} == {"b": 1, "c": 1}


# What the compiler says


def test_a_file_may_include_what_is_beside_it(to_one: Path) -> None:
    with Switched("a", "b") as switched:
        assert load(switched, to_one) == ""
        switched.send("a", udp(A, A, 1))
        assert list(switched.receive()) == ["b"]


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (8, "RP_LOGIC(.lookup = look);", "'look' undeclared"),
        (8, "RP_LOGIC(.lookup = nowhere); extern void nowhere();", "nowhere"),
        (2, '#include "missing.h"', "missing.h: No such file"),
        (6, "b->dest[i] = TO", "expected ';'"),
    ],
)
def test_errors_are_the_compilers_words_with_file_and_line(
    to_one: Path, line: int, text: str, said: str
) -> None:
    lines = TO.splitlines()
    lines[line - 1] = text
    to_one.write_text("\n".join(lines))
    with pytest.raises(RingpassError) as caught:
        logic.compile_c(logic.read(to_one))
    assert f"{to_one}:{line}:" in caught.value.why
    assert said in caught.value.why
    assert "Traceback" not in str(caught.value)


def test_what_the_linker_misses_is_said_too(to_one: Path) -> None:
    to_one.write_text(
        TO.replace("= TO;", "= missing();").replace(
            "#include", "extern int missing();\n#include", 1
        )
    )
    with pytest.raises(RingpassError, match="missing"):
        logic.compile_c(logic.read(to_one))


def test_warnings_do_not_refuse(to_one: Path) -> None:
    to_one.write_text(TO + "static int unused;\n")
    with Switched("a", "b") as switched:
        assert "unused" in load(switched, to_one)


def test_a_file_that_is_no_logic_is_refused(to_one: Path) -> None:
    to_one.write_text("int x;\n")
    with Switched("a", "b") as switched, pytest.raises(RingpassError, match=r"no RP_LOGIC\(\)"):
        load(switched, to_one)


def test_a_missing_compiler_is_named(to_one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotFound, match="no C compiler"):
        logic.compile_c(logic.read(to_one))


def test_a_compiler_that_takes_too_long_is_ended(
    to_one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logic, "PATIENCE_S", 0.2)
    to_one.write_text('#include "/dev/zero"\n')
    with pytest.raises(RingpassError, match=r"more than 0\.2 s"):
        logic.compile_c(logic.read(to_one))
    wait_until(lambda: not compilers_of(to_one), "none of its processes goes on")


def test_a_compiler_that_takes_too_much_memory_is_refused(
    to_one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logic, "MAX_MEMORY", 128 << 20)
    monkeypatch.setattr(logic, "PATIENCE_S", 60)
    to_one.write_text('#include "/dev/zero"\n')
    with pytest.raises(RingpassError, match="memory"):
        logic.compile_c(logic.read(to_one))


def compilers_of(path: Path) -> list[Path]:
    """Return the processes that were told where `path` lies."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(path.parent).encode() in (process / "cmdline").read_bytes():
                found.append(process)
    return found


# Who may


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_denied(to_one: Path, mode: int) -> None:
    to_one.chmod(mode)
    with pytest.raises(Denied, match="others than its owner") as caught:
        logic.read(to_one)
    assert "chmod go-w" in caught.value.fix


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_file_of_another_user_is_denied(to_one: Path) -> None:
    os.chown(to_one, 12345, 12345)
    with pytest.raises(Denied, match="belongs to user 12345"):
        logic.read(to_one)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.c")
    huge = tmp_path / "huge.c"
    with huge.open("wb") as file:
        file.truncate(logic.MAX_BYTES + 1)
    for name, why in [
        ("fifo.c", "regular"),
        (".", "regular"),
        ("no.c", "No such"),
        ("huge.c", "more than"),
    ]:
        with pytest.raises(ConfigError, match=why):
            logic.read(tmp_path / name)


# Configuration


def test_a_configuration_names_its_logic_relative_to_itself(to_one: Path) -> None:
    file = to_one.parent / "x.toml"
    file.write_text('[switch.vale0]\nlogic = "to one.c"\nconfig = "x"\n')
    switch = parse(read(file), to_one.parent, "x.toml").switches["vale0"]
    assert switch.logic == str(to_one)
    assert switch.text() == "x"
    before = switch.digest
    to_one.write_text(TO + "\n")
    assert parse(read(file), to_one.parent, "x.toml").switches["vale0"].digest != before


def test_a_table_becomes_the_static_logics_text() -> None:
    table = {"02:00:00:00:00:0A": "vale0:a", "02:00:00:00:00:01": "vale0:b"}
    switch = parse_switch("vale0", {"logic": "static", "config": "unknown=flood", "table": table})
    assert switch.text() == "unknown=flood\n02:00:00:00:00:0a=vale0:a\n02:00:00:00:00:01=vale0:b"


@pytest.mark.parametrize(
    ("table", "key", "text"),
    [
        ({"logic": "hsh"}, "switch.vale0.logic", "did you mean hash"),
        ({"logic": "x.c"}, "switch.vale0.logic", "whole path"),
        ({"logic": "/nowhere/x.c"}, "/nowhere/x.c", "No such file"),
        ({"config": "x"}, "switch.vale0.config", "takes no text"),
        ({"logic": "hash", "config": "a\0b"}, "switch.vale0.config", "zero"),
        ({"table": {}, "logic": "hash", "tabel": {}}, "switch.vale0.tabel", "'table'"),
        ({"logic": "hash", "table": {"02:00:00:00:00:01": "vale0:a"}}, "vale0.table", "static"),
        ({"logic": "static", "table": {"02:00": "vale0:a"}}, "02:00", "one machine"),
        ({"logic": "static", "table": {"00:00:00:00:00:00": "vale0:a"}}, "00", "one machine"),
        ({"logic": "static", "table": {"ff:ff:ff:ff:ff:ff": "vale0:a"}}, "ff", "one machine"),
        ({"logic": "static", "table": {"02:00:00:00:00:01": "vale1:a"}}, "02", "not a port of"),
        (
            {
                "logic": "static",
                "table": {"02:00:00:00:00:0a": "vale0:a", "02:00:00:00:00:0A": "vale0:b"},
            },
            "table",
            "twice",
        ),
    ],
)
def test_a_switch_that_contradicts_itself_is_refused(
    table: dict[str, object], key: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_switch("vale0", table)
    assert key in str(caught.value)
    assert text in str(caught.value)


# Under traffic


def test_compiled_logics_come_and_go_under_traffic_without_loss_or_disorder(to_one: Path) -> None:
    one = logic.compile_c(logic.read(to_one))
    stop = threading.Event()
    with Switched("a", "b", full=Full.HOLD) as switched:
        switched.send("b", udp(A, B, 1))
        switched.receive()
        dataplane, switch = switched.dataplane, switched.switch

        def change() -> None:
            for i in range(40):
                compiled = os.memfd_create("logic.so", os.MFD_CLOEXEC)
                os.sendfile(compiled, one.fd, 0, 1 << 30)
                dataplane.set_switch_logic(switch, Logic.FILE, "", compiled)
                os.close(compiled)
                dataplane.set_switch_logic(switch, Logic.HASH if i % 2 else Logic.BRIDGE, "")
            stop.set()

        thread = threading.Thread(target=change)
        thread.start()
        number = received = 0
        deadline = time.monotonic() + 60
        while not stop.is_set() and time.monotonic() < deadline:
            frames = [udp(B, A, 1) + (number + i).to_bytes(8) for i in range(20)]
            switched.send("a", *frames)
            assert switched.receive() == {"b": frames}
            number += 20
            received += 20
        thread.join()
        assert stop.is_set()
        assert not switched.drops()
    os.close(one.fd)
