# SPDX-License-Identifier: BSD-2-Clause
"""netmap's names of ports: `netmap:eth0-3/x@2`, `vale0:vm1`, `netmap:eth0{p1`.

The grammar is that of libnetmap's nmport_parse(), with the older spelling of monitors (`eth0+rt`):

    portspec  = subsystem name [ring] (flags | memory)* option*
    subsystem = "netmap:" | "vale" ident ":"            (the latter is a part of the name)
    name      = anything but - * ^ / @ +, with a pipe's "{" ident or "}" ident at its end
    ring      = "^" [number] | "*" | "-" number         host rings, all of both, one
    flags     = "/" [xztrRT]+ | "+" [ztr]+
    memory    = "@" number
    option    = "@" word | "@" word "=" value | "@" word ":" key "=" value ("," key "=" value)*

Where libnetmap lets numbers wrap around or takes a word for 0, the name is refused here.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from ringport.errors import Error

MAX_NAME = 63
MAX_RING = 4094
_PREFIX = "netmap:"
_VALE = re.compile(r"vale[A-Za-z0-9_]*:")
_PLAIN = re.compile(r"[^-*^/@+]*")
_PIPE = re.compile(r"(?P<parent>[^{}]*)(?P<end>[{}])(?P<id>.*)")
_IDENT = re.compile(r"[A-Za-z0-9_]+")
_DIGIT = re.compile("[0-9]")
_DIGITS = re.compile("[0-9]*")


class Mode(IntEnum):
    """`nr_mode`: which rings are meant."""

    NR_REG_ALL_NIC = 1
    NR_REG_SW = 2
    NR_REG_NIC_SW = 3
    NR_REG_ONE_NIC = 4
    NR_REG_ONE_SW = 8


class Flag(IntFlag):
    """`nr_flags`."""

    NR_MONITOR_TX = 0x100
    NR_MONITOR_RX = 0x200
    NR_ZCOPY_MON = 0x400
    NR_EXCLUSIVE = 0x800
    NR_RX_RINGS_ONLY = 0x2000
    NR_TX_RINGS_ONLY = 0x4000


_NO_FLAGS = Flag(0)
_FLAGS = {
    "x": Flag.NR_EXCLUSIVE,
    "z": Flag.NR_ZCOPY_MON,
    "t": Flag.NR_MONITOR_TX,
    "r": Flag.NR_MONITOR_RX,
    "R": Flag.NR_RX_RINGS_ONLY,
    "T": Flag.NR_TX_RINGS_ONLY,
}
_OLD_FLAGS = "ztr"


class Pipe(IntEnum):
    """Which end of a pipe a name means."""

    MASTER = 5
    SLAVE = 6


@dataclass
class ExternalMemory:
    """`@extmem`: a file that holds the region, and its pools; 0 stands for netmap's default."""

    file: str
    if_num: int = 0
    if_size: int = 0
    ring_num: int = 0
    ring_size: int = 0
    buf_num: int = 0
    buf_size: int = 0


@dataclass
class Offset:
    """`@offset`: where packets begin in their buffers, and how many bits of `ptr` say so."""

    initial: int
    bits: int = 0


@dataclass
class PortSpec:
    """What a name asks for, in the words of `struct nmreq_header` and `struct nmreq_register`."""

    name: str
    """`nr_name`: without `netmap:`, with a pipe's suffix."""
    mode: Mode = Mode.NR_REG_ALL_NIC
    ringid: int = 0
    flags: Flag = _NO_FLAGS
    mem_id: int = 0
    """0: the port's own region."""
    tx_rings: int = 0
    rx_rings: int = 0
    host_tx_rings: int = 0
    host_rx_rings: int = 0
    tx_slots: int = 0
    rx_slots: int = 0
    parent: str = ""
    """The port that a pipe belongs to."""
    pipe: Pipe | None = None
    pipe_id: str = ""
    share: str = ""
    """The port, as it was written, whose region this one is to use."""
    extmem: ExternalMemory | None = None
    offset: Offset | None = None


class BadPortSpec(Error):
    """A name that is none. `part` is the piece of it that is wrong, `reason` what is wrong."""

    def __init__(self, text: str, part: str, why: str, fix: str = "choose another name") -> None:
        super().__init__(errno.EINVAL, f"{text!r} cannot name a port", f"{part!r}: {why}", fix)
        self.part = part
        self.reason = why


def parse(text: str) -> PortSpec:
    """Return what the name `text` asks for. Raises BadPortSpec."""
    return _Parser(text).parse()


@dataclass
class _Parser:
    """Reads a name from left to right; `at` is how far."""

    text: str
    at: int = 0
    options: list[str] = field(default_factory=list)

    def parse(self) -> PortSpec:
        spec = PortSpec(self._name())
        self._split_pipe(spec)
        self._ring(spec)
        self._flags_and_memory(spec)
        for option in self.options:
            _Option(self.text, option).apply(spec)
        return spec

    def _name(self) -> str:
        shown = self.text.encode(errors="backslashreplace").decode()
        if shown != self.text:
            raise self._bad(shown, "it is not UTF-8")
        vale = _VALE.match(self.text)
        if self.text.startswith(_PREFIX):
            self.at = len(_PREFIX)
        elif not vale:
            raise self._bad(
                self.text, "it begins with neither netmap: nor vale...:", "write netmap:eth0"
            )
        start = self.at
        self.at = vale.end() if vale else start
        self.at += len(self._take(_PLAIN))
        name = self.text[start : self.at]
        if not name:
            raise self._bad(self.text, "the name is empty")
        if len(name.encode()) > MAX_NAME:
            raise self._bad(name, f"it is longer than {MAX_NAME} bytes")
        return name

    def _split_pipe(self, spec: PortSpec) -> None:
        found = _PIPE.fullmatch(spec.name)
        if found is None:
            return
        if not _IDENT.fullmatch(found["id"]):
            raise self._bad(
                found["end"] + found["id"],
                "a pipe's identifier is one or more letters, digits and _, at the name's end",
            )
        spec.parent, spec.pipe_id = found["parent"], found["id"]
        spec.pipe = Pipe.MASTER if found["end"] == "{" else Pipe.SLAVE

    def _ring(self, spec: PortSpec) -> None:
        sign = self._peek()
        if sign not in ("-", "*", "^"):
            return
        self.at += 1
        digits = "" if sign == "*" else self._digits()
        if digits:
            spec.ringid = self._number(sign, digits, 0, MAX_RING)
        elif sign == "-":
            raise self._bad(self.text[self.at - 1 :], "a ring's number must follow the -")
        one = {"-": Mode.NR_REG_ONE_NIC, "^": Mode.NR_REG_ONE_SW}
        every = {"*": Mode.NR_REG_NIC_SW, "^": Mode.NR_REG_SW}
        spec.mode = one[sign] if digits else every[sign]

    def _flags_and_memory(self, spec: PortSpec) -> None:
        flagged = False
        while sign := self._peek():
            self.at += 1
            if sign == "@" and not _DIGIT.match(self.text, self.at):
                self.options = self.text[self.at :].split("@")
                return
            if sign == "@":
                self._memory(spec)
            elif sign in "/+" and not flagged:
                self._flags(spec, sign)
                flagged = True
            else:
                raise self._bad(self.text[self.at - 1 :], "it cannot stand here")

    def _flags(self, spec: PortSpec, sign: str) -> None:
        allowed = "".join(_FLAGS) if sign == "/" else _OLD_FLAGS
        start = self.at
        while self._peek() not in ("", "@"):
            letter = self._peek()
            if letter not in allowed:
                raise self._bad(letter, f"after {sign} there are flags: any of {allowed}")
            spec.flags |= _FLAGS[letter]
            self.at += 1
        # netmap takes "eth0/@2" but not "eth0/".
        if self.at == start and not self._peek():
            raise self._bad(sign, f"flags must follow: any of {allowed}")

    def _memory(self, spec: PortSpec) -> None:
        mem_id = self._number("@", self._digits(), 1, 0xFFFF)
        if spec.mem_id not in (0, mem_id):
            raise self._bad(f"@{mem_id}", f"memory @{spec.mem_id} was asked for already")
        spec.mem_id = mem_id

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        return found[0] if found else ""

    def _digits(self) -> str:
        digits = self._take(_DIGITS)
        self.at += len(digits)
        return digits

    def _number(self, sign: str, digits: str, low: int, high: int) -> int:
        value = int(digits)
        if not low <= value <= high:
            raise self._bad(sign + digits, f"it must be from {low} to {high}")
        return value

    def _bad(self, part: str, why: str, fix: str = "choose another name") -> BadPortSpec:
        return BadPortSpec(self.text, part, why, fix)


@dataclass
class _Option:
    """One option, such as `conf:rings=2,slots=512`, of the name `text`."""

    text: str
    option: str

    def apply(self, spec: PortSpec) -> None:
        word = re.split("[:=]", self.option, maxsplit=1)[0]
        if word not in _OPTIONS:
            raise self._bad(f"there is no such option; there are {', '.join(_OPTIONS)}")
        default, keys, effect = _OPTIONS[word]
        effect(self, spec, self._values(word, default, keys))

    def _values(self, word: str, default: str, keys: tuple[str, ...]) -> dict[str, str]:
        separator, body = self.option[len(word) :][:1], self.option[len(word) + 1 :]
        if separator == "=":
            if not default:
                raise self._bad(f"it has no key of its own; write {word}:KEY=VALUE")
            return {default: body} if body else {}
        values: dict[str, str] = {}
        seen = set()
        for item in body.split(",") if body else []:
            key, equals, value = item.partition("=")
            key = key.replace("_", "-")
            if key not in keys:
                raise self._bad(f"{key!r} is no key of it; there are {', '.join(keys)}")
            if not equals:
                raise self._bad(f"{key!r} has no value")
            if key in seen:
                raise self._bad(f"{key!r} is there twice")
            seen.add(key)
            if value:
                values[key] = value
        return values

    def number(self, values: dict[str, str], key: str, high: int, default: int = 0) -> int:
        """Return the value of `key`, a number from 0 to `high`."""
        value = values.get(key, str(default))
        if not re.fullmatch("[0-9]+", value) or int(value) > high:
            raise self._bad(f"{key} is {value!r}; it must be a number from 0 to {high}")
        return int(value)

    def required(self, values: dict[str, str], key: str) -> str:
        """Return the value of `key`, which must be there."""
        if key not in values:
            raise self._bad(f"{key} is missing")
        return values[key]

    def share(self, spec: PortSpec, values: dict[str, str]) -> None:
        """`share=PORT`: use the region of another port."""
        port = self.required(values, "port")
        try:
            parse(port)
        except BadPortSpec as error:
            raise self._bad(error.why) from error
        if spec.share not in ("", port):
            raise self._bad(f"the region of {spec.share} was asked for already")
        spec.share = port

    def extmem(self, spec: PortSpec, values: dict[str, str]) -> None:
        """`extmem=FILE`: make the region in a file."""
        if spec.extmem is not None:
            raise self._bad("it is there twice")
        pools = {
            key.replace("-", "_"): self.number(values, key, 0xFFFF_FFFF)
            for key in _EXTMEM_KEYS
            if key != "file"
        }
        spec.extmem = ExternalMemory(self.required(values, "file"), **pools)

    def conf(self, spec: PortSpec, values: dict[str, str]) -> None:
        """`conf:KEY=VALUE,...`: geometry; the more specific key wins."""
        for target, sources, high in _GEOMETRY:
            for key in sources:
                if key in values:
                    setattr(spec, target, self.number(values, key, high))

    def offset(self, spec: PortSpec, values: dict[str, str]) -> None:
        """`offset=INITIAL`: let packets begin behind the start of their buffers."""
        self.required(values, "initial")
        initial = self.number(values, "initial", 0xFFFF_FFFF_FFFF_FFFF)
        spec.offset = Offset(initial, self.number(values, "bits", 64))

    def _bad(self, why: str) -> BadPortSpec:
        return BadPortSpec(self.text, "@" + self.option, why, "see `man netmap` for the options")


_U16, _U32 = 0xFFFF, 0xFFFF_FFFF
#: Field, keys that set it (the last one wins), largest value.
_GEOMETRY = (
    ("tx_rings", ("rings", "tx-rings"), _U16),
    ("rx_rings", ("rings", "rx-rings"), _U16),
    ("host_tx_rings", ("host-rings", "host-tx-rings"), _U16),
    ("host_rx_rings", ("host-rings", "host-rx-rings"), _U16),
    ("tx_slots", ("slots", "tx-slots"), _U32),
    ("rx_slots", ("slots", "rx-slots"), _U32),
)
_CONF_KEYS = tuple(dict.fromkeys(key for _, keys, _ in _GEOMETRY for key in keys))
_EXTMEM_KEYS = ("file", "if-num", "if-size", "ring-num", "ring-size", "buf-num", "buf-size")

#: Option: the key that `option=value` means, all of its keys, what it does.
_OPTIONS: dict[
    str, tuple[str, tuple[str, ...], Callable[[_Option, PortSpec, dict[str, str]], None]]
] = {
    "share": ("port", ("port",), _Option.share),
    "extmem": ("file", _EXTMEM_KEYS, _Option.extmem),
    "conf": ("", _CONF_KEYS, _Option.conf),
    "offset": ("initial", ("initial", "bits"), _Option.offset),
}
