# SPDX-License-Identifier: BSD-2-Clause
"""XML that we write, in the form in which libvirt writes it."""

import re
from collections.abc import Mapping
from html import escape  # that of xml.sax loads half of urllib
from typing import NamedTuple

INDENT = 2

_IN_ATTRIBUTES = str.maketrans({"'": "&apos;", "\n": "&#10;", "\t": "&#9;", "\r": "&#13;"})


class Comment(NamedTuple):
    """A comment. Hyphens in a row are made one in it: XML cannot have them there."""

    text: str


class Tag(NamedTuple):
    """An element: its attributes without those that are empty, and what it contains."""

    name: str
    attributes: Mapping[str, str] = {}
    children: "tuple[Tag | Comment, ...]" = ()
    text: str = ""


def render(tag: Tag | Comment, indent: int | None = 0) -> str:
    """Return the text of `tag`, each line `indent` spaces deep; in one line if it is None."""
    blanks = " " * (indent or 0)
    if isinstance(tag, Comment):
        text = re.sub("-{2,}", "-", tag.text).replace("\n", f"\n{blanks}     ")
        return f"{blanks}<!-- {text} -->"
    attributes = "".join(f" {name}={quoted(value)}" for name, value in tag.attributes.items())
    start = f"{blanks}<{tag.name}{attributes}"
    if tag.text:
        return f"{start}>{escape(tag.text, quote=False)}</{tag.name}>"
    if not tag.children:
        return f"{start}/>"
    if indent is None:
        inner = "".join(render(child, None) for child in tag.children)
        return f"{start}>{inner}</{tag.name}>"
    inner = "\n".join(render(child, indent + INDENT) for child in tag.children)
    return f"{start}>\n{inner}\n{blanks}</{tag.name}>"


def quoted(value: str) -> str:
    """Return `value` as the value of an attribute, in single quotes."""
    text = escape(value, quote=False).translate(_IN_ATTRIBUTES)
    return f"'{text}'"
