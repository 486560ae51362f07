"""docs/METRICS.md: every metric of a real server's scrape, and none besides."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from gsrt import metrics
from tests.docs.markdown import PROJECT, items, read_blocks, read_tables
from tests.support.server import ServerProcess

TEXT = (PROJECT / "docs" / "METRICS.md").read_text()
TABLES = read_tables(TEXT)
DEADLINE = 20.0
OF_LINKS = "gsrt_link_"
NOT_ON_EVERY_BOX = {"gsrt_box_temperature_celsius", "gsrt_box_power_strained"}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[dict[str, Metric]]:
    """Families by the name that samples have, of a server with a game and a governor that has looked at the box."""
    game: Path = tmp_path_factory.mktemp("metrics") / "duel"
    subprocess.run([sys.executable, "-m", "gsrt", "new", str(game)], check=True, cwd=PROJECT, capture_output=True)
    overrides = {"governor_seconds": 0.05}
    with ServerProcess(certificate=certificate, overrides=overrides, arguments=(str(game),)) as server:
        end = time.monotonic() + DEADLINE
        while not server.control({"do": "status"})["governor"]["counters"]["looks"]:
            assert time.monotonic() < end
        with urllib.request.urlopen(f"http://{server.host}:{server.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    yield {
        each.name + ("_total" if each.type == "counter" else ""): each for each in text_string_to_metric_families(text)
    }


def documented(table: str) -> dict[str, str]:
    """Metrics of a table, and what it says of their labels."""
    return {name: row["labels"] for row in TABLES[table] for name in items(row["metric"])}


def test_every_metric_is_documented_and_exists(scraped: dict[str, Metric]) -> None:
    ours = {**documented("metrics"), **documented("game")}
    counters = {f"gsrt_{row['counter']}_total" for row in read_tables(protocol())["counters"]}
    rest = scraped.keys() - ours.keys()
    of_the_game = {name for name in rest if name.startswith(("gsrt_platform_", "gsrt_www_", "gsrt_store_"))}
    of_the_game |= {name for name in rest if name.startswith(("gsrt_matches_", "gsrt_requests"))}
    assert {name for name in rest - of_the_game if not name.startswith(OF_LINKS)} <= counters
    assert ours.keys() - scraped.keys() <= NOT_ON_EVERY_BOX
    for name in re.findall(r"`(gsrt_[a-z_]+_total)`", TEXT):
        assert name in scraped or name.startswith(OF_LINKS), name


def protocol() -> str:
    return (PROJECT / "docs" / "PROTOCOL.md").read_text()


def test_labels_are_those_that_there_are(scraped: dict[str, Metric]) -> None:
    for name, text in {**documented("metrics"), **documented("game")}.items():
        if name not in scraped:
            continue
        samples = scraped[name].samples
        label, colon, known = text.partition(":")
        if name == "gsrt_build_info":
            assert set(samples[0].labels) == set(items(text))
        elif not colon:
            assert text == "" and [sample.labels for sample in samples] == [{}], name
        elif label == "reason":
            names = {row["counter"] for row in read_tables(protocol())["counters"]}
            assert {metrics.DROPPED + sample.labels["reason"] for sample in samples} <= names
        else:
            assert [sample.labels[label] for sample in samples] == items(known), name


def test_settings_are_those_that_there_are() -> None:
    (table,) = re.findall(r"\| value \|.*?\n\n", TEXT, re.DOTALL)
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [metrics.LOCAL, metrics.ALL, metrics.OFF]


def test_examples_name_metrics_that_there_are(scraped: dict[str, Metric]) -> None:
    blocks = {each.name: each.text for each in read_blocks(TEXT)}
    assert set(blocks) == {"scraping", "alerts"}
    named = set(re.findall(r"\b(?:gsrt|process)_\w+", blocks["alerts"]))
    assert named and named <= scraped.keys()
