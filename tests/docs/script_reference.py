"""The reference in docs/SCRIPTS.md, made from what the code says of itself: `python -m tests.docs.script_reference`
writes it anew."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

from gsrt import _guest
from tests.docs.markdown import PROJECT

DOCUMENT = PROJECT / "docs" / "SCRIPTS.md"
BEGIN = "<!-- begin of the reference -->\n"
END = "<!-- end of the reference -->\n"
WIDTH = 120

# What scripts see, in the order of the document: class -> what an object of it is called there.
SUBJECTS = {
    "Session": "session",
    "Packet": "packet",
    "Data": "data",
    "PacketBuilder": "builder",
    "Player": "player",
    "Quality": "quality",
    "Logger": "logger",
    "Random": "session.random",
    "Requests": "requests",
    "Request": "request",
    "Response": "response",
    "Event": "event",
}
LOG_API = PROJECT / "gsrt" / "scripts" / "log_api.py"
SOURCES = (
    LOG_API,
    *(
        PROJECT / "gsrt" / "scripts" / f"{name}.py"
        for name in ("api", "event_api", "quality", "random_api", "request_api")
    ),
    PROJECT / "gsrt" / "_guest.pyi",
)


class Entry:
    """Something a script can use: how it is written, and what the code says of it."""

    def __init__(self, written: str, text: str) -> None:
        self.written = written
        self.text = text

    @property
    def name(self) -> str:
        return self.written.partition("(")[0]


def subjects() -> dict[str, tuple[str, list[Entry]]]:
    """What scripts see, by what it is called: the text of its class, and its methods and properties in their order."""
    found = {name: node for path in SOURCES for name, node in _classes(path).items()}
    return {
        name: (_words(_text(found[kind], kind)), list(_entries(found[kind], name))) for kind, name in SUBJECTS.items()
    }


def reference() -> str:
    """The whole reference as markdown."""
    parts = []
    for name, (text, entries) in subjects().items():
        parts.append(f"### `{name}`\n\n{_wrapped(text)}\n\n" + "".join(map(_bullet, entries)))
    parts.append(f"### Functions and exceptions\n\n{''.join(map(_bullet, _others()))}")
    return "\n".join(parts)


def with_reference(document: str) -> str:
    """The document with the reference of today between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest and (after or rest.endswith(END)), "the marks of the reference are missing"
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


def _others() -> list[Entry]:
    (printing,) = [
        node for node in ast.walk(_tree(LOG_API)) if isinstance(node, ast.FunctionDef) and node.name == "print"
    ]
    quota = inspect.getdoc(_guest.QuotaError)
    assert quota is not None
    return [Entry(f"print({_parameters(printing)})", _words(_docstring(printing))), Entry("QuotaError", _words(quota))]


def _entries(node: ast.ClassDef, name: str) -> Iterator[Entry]:
    for each in node.body:
        if not isinstance(each, ast.FunctionDef) or each.name.startswith("_"):
            continue
        is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in each.decorator_list)
        written = f"{name}.{each.name}" if is_property else f"{name}.{each.name}({_parameters(each)})"
        yield Entry(written, _words(_text(each, f"{node.name}.{each.name}")))


def _text(node: ast.ClassDef | ast.FunctionDef, place: str) -> str:
    """A docstring: of the source, or of the compiled object where the source is only a stub."""
    thing: object = _guest
    if ast.get_docstring(node) is None:
        for part in place.split("."):
            thing = getattr(thing, part)
        text = inspect.getdoc(thing)
        assert text, f"{place} says nothing about itself"
        return text
    return _docstring(node)


def _docstring(node: ast.ClassDef | ast.FunctionDef) -> str:
    text = ast.get_docstring(node)
    assert text, f"{node.name} says nothing about itself"
    return text


def _parameters(node: ast.FunctionDef) -> str:
    """What is written between the parentheses: names and defaults, without self and annotations."""
    given = node.args
    bare = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(each.arg) for each in given.args if each.arg != "self"],
        vararg=None if given.vararg is None else ast.arg(given.vararg.arg),
        kwonlyargs=[ast.arg(each.arg) for each in given.kwonlyargs],
        kw_defaults=given.kw_defaults,
        kwarg=None,
        defaults=given.defaults,
    )
    return ast.unparse(bare).replace("=...", "")


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _tree(path).body if isinstance(node, ast.ClassDef)}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _words(text: str) -> str:
    return " ".join(text.split())


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, initial_indent=""
    )


def _bullet(entry: Entry) -> str:
    return _wrapped(f"* `{entry.written}`: {entry.text}", "  ") + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(with_reference(DOCUMENT.read_text()))
