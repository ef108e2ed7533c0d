# SPDX-License-Identifier: BSD-2-Clause
"""The how-to pages, followed to the letter: what a page says, and a reader who does it.

In a page, by the word behind the three backquotes of a block:

`sh`
    commands; together they succeed.
`console`
    a dialogue. Behind `$ ` stand commands for the host, behind `NAME# ` for the guest that said so
    on some terminal; below each, what it prints: these lines, in this order, among others. `...`
    stands for any text. Each command succeeds.
`console stays`
    a dialogue whose last command goes on, in a terminal of its own, once it has printed what stands
    below it. If that is `NAME#`, the terminal is that guest's from now on.
`toml`, `xml`
    goes into the file that the line before the block ends with, as in: Write `lab.toml`:

There are no others: a block that nobody runs tells what nobody knows to be true.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pexpect

PATIENCE_S = 120.0
"""Seconds that a command has, and what it prints."""

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"^(\$|[\w.-]+#) ")
NAMED_FILE = re.compile(r"`([\w.-]+)`:\s*\Z")
#: What a guest's shell adds to its output: it asks the terminal where its cursor is.
NOISE = re.compile(r"\r|\x1b\[[0-9;]*[a-zA-Z]")


@dataclass(frozen=True)
class Script:
    """Commands that succeed together."""

    line: int
    text: str


@dataclass(frozen=True)
class File:
    """A file to write."""

    line: int
    name: str
    text: str


@dataclass
class Exchange:
    """A command at a prompt, and what it prints."""

    prompt: str
    command: str
    printed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Dialogue:
    """Commands with what they print. The last one goes on if it `stays`."""

    line: int
    exchanges: Sequence[Exchange]
    stays: bool


Step = Script | File | Dialogue


def steps(page: str) -> list[Step]:
    """Return what a page, a text in Markdown, tells its reader to do. Fails on unknown blocks."""
    found: list[Step] = []
    for block in FENCE.finditer(page):
        kind, text = block.groups()
        line = page.count("\n", 0, block.start()) + 1
        match kind:
            case "sh":
                found.append(Script(line, text))
            case "console" | "console stays":
                found.append(Dialogue(line, dialogue(text), kind.endswith("stays")))
            case "toml" | "xml":
                name = NAMED_FILE.search(page, 0, block.start())
                assert name, f"line {line}: no file is named before this block"
                found.append(File(line, name[1], text))
            case _:
                raise AssertionError(f"line {line}: nobody knows what to do with {kind!r}")
    return found


def dialogue(text: str) -> list[Exchange]:
    """Return the exchanges of a block. A command goes on behind a backslash at a line's end."""
    exchanges: list[Exchange] = []
    for line in text.splitlines():
        if exchanges and exchanges[-1].command.endswith("\\"):
            exchanges[-1].command += f"\n{line}"
        elif prompt := PROMPT.match(line):
            exchanges.append(Exchange(prompt[1], line[prompt.end() :]))
        else:
            assert exchanges, f"{line!r} is printed, but by which command?"
            exchanges[-1].printed.append(line)
    return exchanges


def pattern(line: str) -> str:
    """Return the regular expression for a line that is printed."""
    return ".*?".join(re.escape(part) for part in line.strip().split("..."))


def missing(expected: Sequence[str], output: str) -> str | None:
    """Return the first of `expected` lines that is not in `output`, behind those before it."""
    at = 0
    for line in expected:
        found = re.compile(pattern(line)).search(output, at)
        if found is None:
            return line
        at = found.end()
    return None


class Terminal:
    """A terminal with a program that goes on."""

    def __init__(self, command: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.process: pexpect.spawn[str] = pexpect.spawn(
            # It must not outlive its test, however that ends.
            "setpriv",
            ["--pdeathsig", "KILL", "bash", "-ec", command],
            cwd=str(directory),
            env=dict(environment),
            encoding="utf-8",
            codec_errors="replace",
            dimensions=(24, 500),
            timeout=PATIENCE_S,
        )

    def expect(self, expression: str, what: str) -> str:
        """Return what is printed up to `expression`. Fails if it is not, or if the program ends."""
        try:
            self.process.expect(expression)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            said = NOISE.sub("", self.process.before or "")[-4000:]
            raise AssertionError(f"{type(error).__name__}: no {what!r} in\n{said}") from None
        return NOISE.sub("", self.process.before or "")

    def ask(self, prompt: str, command: str) -> str:
        """Return what `command` prints at the prompt of a guest. Fails if it fails."""
        self.process.sendline(command)
        output = self.expect(rf"\n{re.escape(prompt)} ", prompt)
        self.process.sendline("echo status=$?")
        self.expect(r"status=(?=\d)", "status=")
        status = self.expect(rf"\n{re.escape(prompt)} ", prompt).strip()
        assert status == "0", f"{prompt} {command}\nleft with status {status}:\n{output}"
        return output

    def close(self) -> None:
        """End the program: as if the terminal's window were closed, at first."""
        self.process.close(force=True)


class Reader:
    """Somebody who does what pages say, in a directory of their own. A context manager.

    `instead` tells what to type for some of their words: paths and addresses of a test.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], instead: Mapping[str, str]):
        self.directory = directory
        self.environment = {**os.environ, **environment}
        self.instead = instead
        self.terminals: list[Terminal] = []
        self.guests: dict[str, Terminal] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for terminal in reversed(self.terminals):
            terminal.close()

    def follow(self, page: Path) -> None:
        """Do all that a page says, and say how long each step took. A failure names its line."""
        for step in steps(page.read_text()):
            begun = time.monotonic()
            try:
                self.do(step)
            except Exception as error:
                error.add_note(f"at {page}:{step.line}")
                raise
            sys.stdout.write(f"{page.name}:{step.line}: {time.monotonic() - begun:.1f} s\n")

    def do(self, step: Step) -> None:
        match step:
            case File():
                (self.directory / step.name).write_text(self.adapted(step.text))
            case Script():
                self.run(step.text)
            case Dialogue():
                done = step.exchanges[:-1] if step.stays else step.exchanges
                for exchange in done:
                    self.exchange(exchange)
                if step.stays:
                    self.start(step.exchanges[-1])

    def exchange(self, exchange: Exchange) -> None:
        if exchange.prompt == "$":
            output = self.run(exchange.command)
        else:
            output = self.guests[exchange.prompt].ask(
                exchange.prompt, self.adapted(exchange.command)
            )
        line = missing([self.adapted(line) for line in exchange.printed], output)
        assert line is None, f"{exchange.command}\nhas not printed {line!r} but\n{output}"

    def start(self, exchange: Exchange) -> None:
        terminal = Terminal(self.adapted(exchange.command), self.directory, self.environment)
        self.terminals.append(terminal)
        for line in exchange.printed:
            terminal.expect(pattern(self.adapted(line)), line)
            if re.fullmatch(r"[\w.-]+#", line):
                self.guests[line] = terminal

    def run(self, commands: str) -> str:
        """Return what `commands` print, to standard output and error. Fails if they fail."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.adapted(commands)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\nleft with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def adapted(self, text: str) -> str:
        for words, typed in self.instead.items():
            text = text.replace(words, typed)
        return text
