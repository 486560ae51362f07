"""Runs scripts in forked processes, a batch in each, and makes those smaller that something is wrong with."""

from __future__ import annotations

import ast
import faulthandler
import gc
import json
import os
import re
import select
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tests.scripts.corpus.stage import resident_kb
from tests.scripts.fuzz.grammar import program
from tests.scripts.fuzz.playing import Theatre

BATCH = 50
CONTROLLED_EACH = 5  # scripts; when the benign one is answered differently, any of these may be why
SETTLED = 15  # scripts after which the process has about the size that it keeps
HEAP_GROWTH_KB = 24 * 1024  # over the rest of a batch
SILENT_MAX = 120.0  # seconds for one script: many times what the slowest takes beside all else that the machine does
SHRINK_SECONDS = 60.0
MEASURED = ("STALL", "GROWTH", "POISON")  # faults that are reported if they come twice: a busy machine has its moods

Plant = Callable[[Theatre], object]


class Finding(NamedTuple):
    """What is wrong with a script, which is as small as may be if `is_new`: the first with such a fault."""

    seed: int
    fault: str
    source: str
    is_new: bool


class Harvest(NamedTuple):
    """What came of many scripts."""

    outcomes: Counter[str]
    findings: list[Finding]


def run(
    seeds: Iterable[int], *, until: float | None = None, plant: Plant | None = None, shrink: bool = True
) -> Iterator[Harvest]:
    """Plays the scripts of the seeds, a harvest for each batch. `until`: no batch begins after this moment, of
    time.monotonic. `plant` changes the sandbox beforehand, for tests of the fuzzer."""
    waiting = list(seeds)
    known: set[str] = set()
    gc.collect()
    gc.freeze()
    while waiting and (until is None or time.monotonic() < until):
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        outcomes, faulty, done = _forked([(seed, program(seed)) for seed in batch], plant)
        waiting[:0] = batch[done:]
        findings = []
        for seed, fault in faulty:
            if fault.startswith(MEASURED) and not _again(seed, fault, batch, plant):
                continue
            source = program(seed) if seed >= 0 else ""
            new = re.sub(r"\d+", "", fault)[:60] not in known
            known.add(re.sub(r"\d+", "", fault)[:60])
            if shrink and new and source and (until is None or time.monotonic() < until):
                source = smaller(source, fault, plant)
            findings.append(Finding(seed, fault, source, new))
        yield Harvest(outcomes, findings)


def _again(seed: int, fault: str, batch: list[int], plant: Plant | None) -> bool:
    """Whether the same script has such a fault once more, after the same others."""
    played = batch[: batch.index(seed) + 1] if seed in batch else batch
    _, faulty, _ = _forked([(each, program(each)) for each in played], plant)
    return any((seed, fault.split(" ", 1)[0]) == (other, found.split(" ", 1)[0]) for other, found in faulty)


def fault_of(source: str, plant: Plant | None = None) -> str:
    """What is wrong with one script, in a process of its own; nothing: ""."""
    _, faulty, _ = _forked([(0, source)], plant)
    return faulty[0][1] if faulty else ""


def smaller(source: str, fault: str, plant: Plant | None = None) -> str:
    """The script with all statements left out that the fault does not need, as far as time allows."""
    kind = fault.split(" ", 1)[0]
    end = time.monotonic() + SHRINK_SECONDS

    def still(text: str) -> bool:
        return fault_of(text, plant).split(" ", 1)[0] == kind

    source = ast.unparse(ast.parse(source))
    if not still(source):
        return source
    pieces = 8
    while time.monotonic() < end:
        found = False
        for text in _without(source, pieces):
            if time.monotonic() > end:
                break
            if still(text):
                source, found = text, True
                break
        if not found:
            if pieces == 0:
                break
            pieces //= 2
    return source


def _without(source: str, pieces: int) -> Iterator[str]:
    """The script without some of its statements: `pieces` that follow one another; 0: a single one, or the statement
    around a block."""
    size = max(1, pieces)
    for place, (_, body) in enumerate(_blocks(ast.parse(source))):
        for first in range(0, len(body), size):
            tree = ast.parse(source)
            owner, block = _blocks(tree)[place]
            removed = block[first : first + size]
            del block[first : first + size]
            if not block and not isinstance(owner, ast.Module):
                block.append(ast.Pass())
                if all(isinstance(each, ast.Pass) for each in removed):
                    continue
            yield ast.unparse(ast.fix_missing_locations(tree))
            inner = getattr(removed[0], "body", None)
            if pieces == 0 and isinstance(inner, list) and not isinstance(removed[0], (ast.FunctionDef, ast.ClassDef)):
                tree = ast.parse(source)
                _, block = _blocks(tree)[place]
                block[first : first + 1] = inner
                yield ast.unparse(ast.fix_missing_locations(tree))


def _blocks(tree: ast.AST) -> list[tuple[ast.AST, list[ast.stmt]]]:
    return [
        (node, block)
        for node in ast.walk(tree)
        for name in ("body", "orelse", "finalbody")
        if isinstance(block := getattr(node, name, None), list) and block
    ]


def _forked(scripts: list[tuple[int, str]], plant: Plant | None) -> tuple[Counter[str], list[tuple[int, str]], int]:
    """(outcomes, [(seed, fault)], how many were played) of scripts played in a child, until one brings it down."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_child(scripts, plant, writer)
    os.close(writer)
    answer = b""
    killed = False
    while True:
        ready, _, _ = select.select([reader], [], [], SILENT_MAX)
        if not ready:
            killed = True
            os.kill(child, signal.SIGKILL)
        part = os.read(reader, 65536)
        if not part:
            break
        answer += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    outcomes: Counter[str] = Counter()
    faulty: list[tuple[int, str]] = []
    done = 0
    for line in answer.decode().splitlines():
        seed, outcome, faults = json.loads(line)
        outcomes[outcome] += 1
        done += outcome != "batch"
        faulty += [(seed, fault) for fault in faults[:1]]
    if done < len(scripts):
        what = f"STALL nothing heard for {SILENT_MAX:.0f} s" if killed else f"CRASH status {status}"
        faulty.append((scripts[done][0], what))
        done += 1
    elif status:
        faulty.append((scripts[-1][0], f"CRASH status {status} at the end"))
    return outcomes, faulty, done


def _in_child(scripts: list[tuple[int, str]], plant: Plant | None, writer: int) -> None:
    """Plays the scripts and never returns."""
    status = 1
    try:
        faulthandler.enable()
        theatre = Theatre()
        if plant is not None:
            plant(theatre)
        settled = 0
        with os.fdopen(writer, "w") as pipe:
            for number, (seed, source) in enumerate(scripts):
                if number == SETTLED:
                    settled = resident_kb("VmRSS")
                last = number == len(scripts) - 1
                outcome, faults = theatre.play(source, last or number % CONTROLLED_EACH == CONTROLLED_EACH - 1)
                print(json.dumps([seed, outcome, faults]), file=pipe, flush=True)
            grown = resident_kb("VmRSS") - settled
            if settled and grown > HEAP_GROWTH_KB:
                print(json.dumps([-1, "batch", [f"GROWTH {grown} KB in the batch of {scripts[0][0]}"]]), file=pipe)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
