# SPDX-License-Identifier: BSD-2-Clause
"""XML text that is changed in places, while every other byte of it stays as it is.

libvirt's users edit its XML by hand and compare it with `diff`. A tree that is written out again
has other quotes, other namespace prefixes and lost indentation; so the text is parsed only to learn
where its elements are, and changes are spliced into it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.parsers import expat

from ringpass.errors import ConfigError
from ringpass.libvirt.markup import INDENT, Tag, quoted, render

#: A name in a path; that of a namespace may have slashes.
_STEP = re.compile(r"(?:\{[^}]*\}|[^/{])+")


_ATTRIBUTE = re.compile(rb"\s+(?P<name>[^\s=]+)\s*=\s*(?P<value>'[^']*'|\"[^\"]*\")")


class Element:
    """An element of a document, and where it stands in its bytes.

    `tag` is its name, `{namespace}name` if it is of one. `text` is what stands directly in it,
    without the blanks around. It begins at `start` and ends before `end`; what it contains, from
    `inner` to `inner_end`, is empty for `<name/>`.
    """

    def __init__(self, tag: str, attributes: dict[str, str], start: int) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element] = []
        self.text = ""
        self.start = start
        self.inner = self.inner_end = self.end = -1

    def get(self, attribute: str, default: str = "") -> str:
        """Return the value of an attribute, `default` if it is not there."""
        return self.attributes.get(attribute, default)

    def all(self, path: str) -> list["Element"]:
        """Return the elements at `path`, names with slashes between, in the order of the text."""
        found = [self]
        for name in _STEP.findall(path):
            found = [child for parent in found for child in parent.children if child.tag == name]
        return found

    def find(self, path: str) -> "Element | None":
        """Return the first element at `path`, None if there is none."""
        return next(iter(self.all(path)), None)

    def value(self, path: str, attribute: str) -> str:
        """Return the attribute of the first element at `path`; empty if there is none."""
        found = self.find(path)
        return "" if found is None else found.get(attribute)

    def walk(self) -> Iterator["Element"]:
        """Yield this element and all in it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Document:
    """A parsed text. It never changes: every edit returns another document."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()
        parsed = _parse(self._bytes)
        self.root, self.namespaces = parsed

    def __str__(self) -> str:
        return self._bytes.decode()

    def devices(self) -> Element:
        """Return the `<devices>` of a domain. Raises ConfigError if there are none."""
        found = self.root.find("devices")
        if found is None:
            raise ConfigError(
                "cannot change the domain",
                "its XML has no <devices>",
                "give what virsh dumpxml DOMAIN prints",
            )
        return found

    def source(self, element: Element) -> str:
        """Return the text of an element, indented as if it stood alone."""
        text = self._bytes[element.start : element.end].decode()
        indent = self._indent(element)
        return text if indent is None else text.replace("\n" + " " * indent, "\n")

    def prefix(self, element: Element) -> str:
        """Return the namespace prefix of an element as it is written, with the colon."""
        found = re.match(rb"<([^\s/>:]+:)?", self._bytes[element.start : element.inner])
        assert found is not None
        return (found[1] or b"").decode()

    def append(self, parent: Element, *tags: Tag) -> "Document":
        """Add `tags` at the end of `parent`, as lines of their own if it ends in one."""
        if parent.inner_end == parent.end:
            opened, parent = self._opened(parent)
            return opened.append(parent, *tags)
        inner = self._bytes[parent.inner : parent.inner_end]
        blanks = len(inner) - len(inner.rstrip(b" "))
        if inner[: len(inner) - blanks].endswith(b"\n"):
            indents = [self._indent(child) for child in parent.children]
            indent = next(filter(None, reversed(indents)), blanks + INDENT)
            added = "".join(render(tag, indent) + "\n" for tag in tags)
            return self._spliced(parent.inner_end - blanks, parent.inner_end - blanks, added)
        outer = self._indent(parent)
        if inner or outer is None:
            added = "".join(render(tag, None) for tag in tags)
        else:
            lines = "".join(f"\n{render(tag, outer + INDENT)}" for tag in tags)
            added = f"{lines}\n{' ' * outer}"
        return self._spliced(parent.inner_end, parent.inner_end, added)

    def prepend(self, parent: Element, tag: Tag) -> "Document":
        """Add `tag` at the beginning of `parent`."""
        if not parent.children:
            return self.append(parent, tag)
        first = parent.children[0]
        indent = self._indent(first)
        behind = "" if indent is None else "\n" + " " * indent
        added = render(tag, indent).lstrip(" ") + behind
        return self._spliced(first.start, first.start, added)

    def insert_after(self, sibling: Element, *tags: Tag) -> "Document":
        """Add `tags` behind `sibling`, as lines of its own if it is one."""
        indent = self._indent(sibling)
        newline = "" if indent is None else "\n"
        added = "".join(newline + render(tag, indent) for tag in tags)
        return self._spliced(sibling.end, sibling.end, added)

    def replace(self, element: Element, tag: Tag) -> "Document":
        """Put `tag` in the place of `element`."""
        indent = self._indent(element)
        text = render(tag, indent).lstrip(" ")
        return self._spliced(element.start, element.end, text)

    def remove(self, element: Element) -> "Document":
        """Take `element` out, together with its line if nothing else is on it."""
        start = element.start
        if self._indent(element) is not None and self._bytes.startswith(b"\n", element.end):
            start = self._bytes.rfind(b"\n", 0, start) + 1 or start
            return self._spliced(start, element.end + 1, "")
        return self._spliced(start, element.end, "")

    def set(self, element: Element, attribute: str, value: str) -> "Document":
        """Give `element` an attribute, or another value of it."""
        present = self._attribute(element, attribute)
        if present is not None:
            begin, end = present.span("value")
            return self._spliced(element.start + begin, element.start + end, quoted(value))
        start_tag = self._bytes[element.start : element.inner]
        end = element.start + len(start_tag.removesuffix(b">").removesuffix(b"/").rstrip())
        return self._spliced(end, end, f" {attribute}={quoted(value)}")

    def unset(self, element: Element, attribute: str) -> "Document":
        """Take an attribute of `element` away, if it is there."""
        present = self._attribute(element, attribute)
        if present is None:
            return self
        begin, end = present.span()
        return self._spliced(element.start + begin, element.start + end, "")

    def _attribute(self, element: Element, name: str) -> re.Match[bytes] | None:
        """Find an attribute in the start tag, with the blanks before it."""
        # One after the other, for what looks like an attribute may stand in the value of another.
        start_tag = self._bytes[element.start : element.inner]
        found = _ATTRIBUTE.finditer(start_tag)
        return next((match for match in found if match["name"].decode() == name), None)

    def _opened(self, element: Element) -> "tuple[Document, Element]":
        """Write `<name/>` as `<name></name>`; return the document and the element in it."""
        start = self._bytes[element.start : element.end].decode()
        name = re.match(r"<([^\s/>]+)", start)
        assert name is not None
        text = re.sub(r"\s*/>$", ">", start) + f"</{name[1]}>"
        opened = self._spliced(element.start, element.end, text)
        return opened, next(e for e in opened.root.walk() if e.start == element.start)

    def _indent(self, element: Element) -> int | None:
        """Return by how many spaces an element is indented, None if it does not begin a line."""
        before = self._bytes[: element.start].rsplit(b"\n", 1)
        if len(before) == 1 or before[1].strip(b" "):
            return None
        return len(before[1])

    def _spliced(self, start: int, end: int, text: str) -> "Document":
        changed = self._bytes[:start] + text.encode() + self._bytes[end:]
        return Document(changed.decode())


class _Parsed(NamedTuple):
    root: Element
    namespaces: dict[str, str]
    """Of the root element: prefix -> namespace."""


def _parse(data: bytes) -> _Parsed:
    """Return the elements of `data`. Raises ConfigError if it is not well-formed."""
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    root = Element("", {}, 0)
    open_elements = [root]
    namespaces: dict[str, str] = {}

    def begins() -> None:
        # expat tells where an element's start tag begins. Where it ends is where the next thing
        # of any kind begins.
        if open_elements[-1].inner < 0:
            open_elements[-1].inner = parser.CurrentByteIndex

    def start(name: str, attributes: dict[str, str]) -> None:
        begins()
        space, _, local = name.rpartition(" ")
        element = Element(f"{{{space}}}{local}" if space else local, attributes, at())
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        begins()
        element = open_elements.pop()
        element.text = element.text.strip()
        element.inner_end = element.end = at()
        # Of <name/> expat says that it ends where it ends; of </name>, where that begins.
        if element.inner != element.end or not data.endswith(b"/>", 0, element.end):
            element.end = data.index(b">", element.end) + 1

    def characters(text: str) -> None:
        begins()
        open_elements[-1].text += text

    def other(*_: object) -> None:
        begins()

    def namespace(prefix: str | None, uri: str) -> None:
        if len(open_elements) == 1:
            namespaces[prefix or ""] = uri

    def doctype(*_: object) -> None:
        raise ConfigError(
            "cannot read the XML", "it has a document type, which domains have not", "remove it"
        )

    def at() -> int:
        return parser.CurrentByteIndex

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.CommentHandler = parser.ProcessingInstructionHandler = other
    parser.StartCdataSectionHandler = parser.EndCdataSectionHandler = other
    parser.StartNamespaceDeclHandler = namespace
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ConfigError(
            "cannot read the XML", str(error), "look at that place: it is not well-formed"
        ) from error
    return _Parsed(root.children[0], namespaces)
