# SPDX-License-Identifier: BSD-2-Clause
"""`<qemu:commandline>`: arguments of QEMU in a domain, for what libvirt has no words for."""

from collections.abc import Sequence
from typing import NamedTuple

from ringpass.libvirt.document import Document, Element
from ringpass.libvirt.markup import Comment, Tag

NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"

_COMMANDLINE = f"{{{NAMESPACE}}}commandline"
_ARG = f"{{{NAMESPACE}}}arg"


class Argument(NamedTuple):
    """An option of QEMU with its value, and the elements that both stand in."""

    option: str
    value: str
    elements: tuple[Element, ...]


def arguments(domain: Element) -> list[Argument]:
    """Return the options of QEMU in a domain; an option without a value has an empty one."""
    found: list[Argument] = []
    for element in domain.all(f"{_COMMANDLINE}/{_ARG}"):
        value = element.get("value")
        if found and not value.startswith("-") and not found[-1].value:
            found[-1] = Argument(found[-1].option, value, (*found[-1].elements, element))
        else:
            found.append(Argument(value, "", (element,)))
    return found


def has(domain: Element, option: str, value: str) -> bool:
    """Tell whether QEMU is given this option with this value."""
    return any((found.option, found.value) == (option, value) for found in arguments(domain))


def explained(groups: Sequence[tuple[Comment, Sequence[str]]]) -> Tag:
    """Return the element with groups of arguments, each behind a comment.

    Something around it must declare the namespace.
    """
    children: list[Tag | Comment] = []
    for comment, args in groups:
        children += [comment, *_args(args, "qemu:")]
    return Tag("qemu:commandline", {}, tuple(children))


def add(document: Document, args: Sequence[str]) -> Document:
    """Give QEMU `args` after those that it is given already."""
    present = document.root.find(_COMMANDLINE)
    if present is not None:
        return document.append(present, *_args(args, document.prefix(present)))
    declared = document.namespaces.get("qemu") == NAMESPACE
    attributes = {} if declared else {"xmlns:qemu": NAMESPACE}
    added = Tag("qemu:commandline", attributes, tuple(_args(args, "qemu:")))
    return document.append(document.root, added)


def remove(document: Document, option: str, value: str) -> Document:
    """Take an option with this value away, and the element around if it was the last."""
    for found in arguments(document.root):
        if (found.option, found.value) == (option, value):
            for element in reversed(found.elements):
                document = document.remove(element)
            break
    left = document.root.find(_COMMANDLINE)
    return document.remove(left) if left is not None and not left.children else document


def parse_options(value: str) -> tuple[str, dict[str, str]]:
    """Return the first word and the options of such as `socket,id=chr0,path=a,,b`.

    An option without a value, which QEMU takes for `on`, has that.
    """
    words = [word.replace("\0", ",") for word in value.replace(",,", "\0").split(",")]
    pairs = (word.partition("=") for word in words[1:])
    return words[0], {name: text if equals else "on" for name, equals, text in pairs}


def escaped(value: str) -> str:
    """Return a value as QEMU's options want it: commas doubled."""
    return value.replace(",", ",,")


def _args(args: Sequence[str], prefix: str) -> list[Tag]:
    return [Tag(f"{prefix}arg", {"value": arg}) for arg in args]
