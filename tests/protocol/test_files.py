"""What a browser asks of a file: paths, types, validators, ranges."""

from __future__ import annotations

import datetime
import email.utils
import sys
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsrt.protocol.files import (
    PART_BYTES_MAX,
    PARTS_MAX,
    Unsatisfiable,
    content_type,
    has_it_already,
    http_date,
    parts_of,
    path_of,
    wanted_range,
)

ETAG = '"5-a-1"'
DATE = "Mon, 23 Nov 2026 01:59:41 GMT"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a/b.js?v=1?2", "/a/b.js"),
        ("/?x", "/"),
        ("http://box:8784/a?b", "/a"),
        ("HTTPS://box/", "/"),
        ("http://box", ""),
        ("http://box?a/b", "/b"),
        ("*", "*"),
    ],
)
def test_path_of(target: str, path: str) -> None:
    assert path_of(target) == path


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/", (b"",)),
        ("/index.html", (b"index.html",)),
        ("/a/b/", (b"a", b"b", b"")),
        ("/a%20b/%C3%A4.png", (b"a b", b"\xc3\xa4.png")),
        ("/%61%2Ejs", (b"a.js",)),
        ("/a.b..c", (b"a.b..c",)),
        ("/" + "x" * PART_BYTES_MAX, (b"x" * PART_BYTES_MAX,)),
        ("/a" * PARTS_MAX, (b"a",) * PARTS_MAX),
    ],
)
def test_paths_of_files(path: str, parts: tuple[bytes, ...]) -> None:
    assert parts_of(path) == parts


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "a",
        "//",
        "//a",
        "/a//b",
        "/..",
        "/a/../b",
        "/%2e%2e/a",
        "/%2E./a",
        "/.",
        "/.git/config",
        "/%2egit",
        "/a%2fb",
        "/..%2f..%2fetc%2fpasswd",
        "/a%5Cb",
        "/a\\b",
        "/a%00.html",
        "/%",
        "/%4",
        "/%zz",
        "/% 1",
        "/%+1",
        "/" + "x" * (PART_BYTES_MAX + 1),
        "/a" * (PARTS_MAX + 1),
    ],
)
def test_paths_of_no_file(path: str) -> None:
    assert parts_of(path) is None


@given(st.lists(st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_what_is_quoted_comes_out_again(names: list[str]) -> None:
    parts = parts_of("/" + "/".join(urllib.parse.quote(name, safe="") for name in names))
    raw = tuple(name.encode() for name in names)
    fits = len(raw) <= PARTS_MAX and all(len(each) <= PART_BYTES_MAX and not each.startswith(b".") for each in raw)
    assert parts == (raw if fits else None)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)) | st.text("/.%2eEfF5cC\\0a", max_size=40))
def test_no_part_leads_anywhere_else(path: str) -> None:
    for part in parts_of(path) or ():
        assert not part.startswith(b".") and not set(part) & set(b"/\\\0")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"index.html", "text/html; charset=utf-8"),
        (b"A.JS", "text/javascript; charset=utf-8"),
        (b"a.mjs", "text/javascript; charset=utf-8"),
        (b"a.wasm", "application/wasm"),
        (b"a.tar.gz", "application/octet-stream"),
        (b"html", "text/html; charset=utf-8"),
        (b"README", "application/octet-stream"),
        (b"a.json", "application/json"),
        (b"a.svg", "image/svg+xml"),
    ],
)
def test_content_type(name: bytes, kind: str) -> None:
    assert content_type(name) == kind


# Debian 12 has 32 bits for the time on 32-bit machines.
LAST_YEAR = 2200 if sys.maxsize > 2**32 else 2038


@given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(LAST_YEAR, 1, 1), timezones=st.just(datetime.UTC)))
def test_dates(when: datetime.datetime) -> None:
    assert http_date(when.timestamp()) == email.utils.format_datetime(when.replace(microsecond=0), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "has"),
    [
        ({}, False),
        ({"if-none-match": ETAG}, True),
        ({"if-none-match": f'"x",W/{ETAG} , "y"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"x"'}, False),
        ({"if-none-match": '"x"', "if-modified-since": DATE}, False),
        ({"if-modified-since": DATE}, True),
        ({"if-modified-since": "Tue, 24 Nov 2026 01:59:41 GMT"}, False),
    ],
)
def test_has_it_already(headers: dict[str, str], has: bool) -> None:
    assert has_it_already(headers, ETAG, DATE) is has


@pytest.mark.parametrize(
    ("asked", "size", "part"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=2-5", 10, (2, 6)),
        ("Bytes= 2 - 5 ", 10, (2, 6)),
        ("bytes=9-", 10, (9, 10)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=5-9999999999", 10, (5, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-30", 10, (0, 10)),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=5-4", 10, None),
        ("bytes=", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=--3", 10, None),
        ("bytes=+1-3", 10, None),
        ("bytes=\u0661-3", 10, None),
        (f"bytes={'9' * 19}-", 10, None),
        ("lines=1-2", 10, None),
        ("bytes", 10, None),
        ("bytes=0-5", 0, None),
    ],
)
def test_ranges(asked: str, size: int, part: tuple[int, int] | None) -> None:
    assert wanted_range({"range": asked}, size, ETAG, DATE) == part


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_ranges_that_are_not_there(asked: str) -> None:
    with pytest.raises(Unsatisfiable):
        wanted_range({"range": asked}, 10, ETAG, DATE)


@pytest.mark.parametrize(("known", "holds"), [(ETAG, True), (DATE, True), (f"W/{ETAG}", False), ('"x"', False)])
def test_a_range_of_one_version(known: str, holds: bool) -> None:
    headers = {"range": "bytes=1-2", "if-range": known}
    assert wanted_range(headers, 10, ETAG, DATE) == ((1, 3) if holds else None)


@given(st.text("bytes=0123456789-, ", max_size=20) | st.text(), st.integers(0, 1 << 40))
def test_a_range_is_within_the_file(asked: str, size: int) -> None:
    try:
        part = wanted_range({"range": asked}, size, ETAG, DATE)
    except Unsatisfiable:
        return
    if part is not None:
        assert 0 <= part[0] < part[1] <= size
