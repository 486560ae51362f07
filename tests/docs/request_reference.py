"""The reference in docs/REQUESTS.md, made from the schemas of the requests: `python -m tests.docs.request_reference`
writes it anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gsrt.backend.call import Field
from gsrt.backend.registry import Registry, response_of
from tests.docs.markdown import PROJECT

if TYPE_CHECKING:
    from gsrt.backend.call import RequestModule

DOCUMENT = PROJECT / "docs" / "REQUESTS.md"
BEGIN = "<!-- begin of the reference -->\n"
END = "<!-- end of the reference -->\n"


def modules() -> list[RequestModule]:
    """All requests, in the order of their names."""
    registry = Registry()
    found = [registry.find(name) for name in registry.names()]
    return [each for each in found if each is not None]


def reference() -> str:
    """The whole reference as markdown: first what players may ask, then what only scripts may."""
    asked = [each for each in modules() if not getattr(each, "SCRIPTS_ONLY", False)]
    scripts = [each for each in modules() if getattr(each, "SCRIPTS_ONLY", False)]
    parts = ["## Requests of players and scripts", *map(_section, asked)]
    return "\n\n".join([*parts, "## Requests of scripts only", *map(_section, scripts)])


def with_reference(document: str) -> str:
    """The document with the reference of today between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest, "the marks of the reference are missing"
    return f"{before}{BEGIN}\n{reference()}\n\n{END}{after}"


def _section(request: RequestModule) -> str:
    before = "" if getattr(request, "NEEDS_PLAYER", True) else " It may be asked before anyone has signed in."
    parts = [f"### {request.NAME}", f"{request.SUMMARY}{before}"]
    if request.FIELDS:
        parts.append(_table("field", request.FIELDS, asked=True))
    parts.append(f"Answer: `{response_of(request)}`" + (", with" if request.ANSWER else ", with nothing further."))
    if request.ANSWER:
        parts.append(_table("field", request.ANSWER, asked=False))
    if request.ERRORS:
        lines = [f"| {_cell(field)} | {_cell(code)} | {_cell(when)} |" for field, code, when in request.ERRORS]
        parts.append("\n".join(["| error | code | when |", "|---|---|---|", *lines]))
    return "\n\n".join(parts)


def _table(title: str, fields: Iterable[Field], *, asked: bool) -> str:
    lines = [f"| {title} | is | |", "|---|---|---|"]
    for field in fields:
        kind = field.kind + (", mandatory" if asked and field.required else "")
        lines.append(f"| {field.name} | {kind}{_bounds(field)} | {_cell(field.doc)} |")
    return "\n".join(lines)


def _bounds(field: Field) -> str:
    default = "" if field.default is None else f"; {field.default} if absent"
    if field.least is not None and field.most is not None:
        return f", {field.least} to {field.most}{default}"
    if field.most is not None:
        return f", at most {field.most}{default}"
    return default if field.least is None else f", at least {field.least}{default}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    DOCUMENT.write_text(with_reference(DOCUMENT.read_text()))
