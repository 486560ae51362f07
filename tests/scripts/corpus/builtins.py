"""Builtins that are not there, and those that are there, asked for too much or for what they do not check."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, REJECT, STOP, cases

CASES = [
    *cases(
        "builtins",
        REJECT,
        {
            "import": "import os",
            "import as a guard": "import math as _k_",
            "import from": "from os import system",
            "import everything": "from math import *",
            "import relative": "from . import host",
            "import in a handler": """
                def on_packet(packet):
                    import sys
                    leak(sys.modules)
            """,
            "import in a class body": """
                class Ship:
                    import os
            """,
            "execute text": "exec('leak(1)')",
            "evaluate text": "leak(eval('1'))",
            "evaluate as a value": "leak(list(map(eval, ['1'])))",
            "break into the debugger": "breakpoint()",
            "keys from a sequence": "leak({}.fromkeys([1, 2]))",
            "number to bytes": "leak((1).to_bytes(10 ** 9, 'little'))",
            "number from bytes": "leak((1).from_bytes(b'x', 'little'))",
            "bytes from hexadecimal text": "leak(b''.fromhex('00' * 10))",
            "pop of a pair": "leak({1: 2}.popitem())",
        },
    ),
    *cases(
        "builtins",
        RAISE,
        {
            f"{name} is not there": f"leak({name})"
            for name in ("open", "compile", "input", "help", "quit", "exit", "copyright", "hasattr", "delattr", "type")
        }
        | {
            f"{name} is not a value either": f"""
                def on_packet(packet):
                    leak({name})
            """
            for name in ("complex", "classmethod", "issubclass", "aiter", "anext", "hash", "id")
        },
    ),
    *cases(
        "builtins",
        RAISE,
        {
            "range that is too long": "x = range(10 ** 9)",
            "range of long numbers": "x = list(range(1 << 4000, (1 << 4000) + 10 ** 9))",
            "list of a long text": "x = list('a' * 200000)",
            "tuple of a long list": "x = tuple([0] * 120000)",
            "set of a long text": "x = set('ab' * 100000)",
            "sorted and too long": "x = sorted([0] * 50000)",
            "sort and too long": """
                x = [0] * 50000
                x.sort()
            """,
            "enumerate and too long": "x = enumerate([0] * 120000)",
            "reversed and too long": "x = reversed([0] * 120000)",
            "zip and too long": "x = zip([0] * 120000, [0] * 120000)",
            "map and too long": "x = map(abs, [0] * 120000)",
            "filter and too long": "x = filter(None, [1] * 120000)",
            "sum of lists": "x = sum([[1] * 1000] * 1000, [])",
            "sum of texts": "x = sum(['a', 'b'], '')",
            "maximum of nothing": "x = max([])",
            "power of three arguments": "x = pow(3, 10 ** 4000, 0)",
            "power too large": "x = pow(7, 10 ** 7)",
            "power of a long base": "x = (1 << 4000) ** 50",
            "power of a negative number to a fraction": "leak((-8) ** 0.5)",
            "power of a negative number to a fraction by name": "leak(pow(-8, 0.5))",
            "round to many places before the point": "x = round(1, -10 ** 8)",
            "round by an instance": """
                class Ship: pass
                x = round(Ship())
            """,
            "integer of a long text": "x = int('7' * 100000)",
            "integer of a long text, under the interpreter's limit": "x = int('7' * 4200) + int('7' * 4200)",
            "integer of a long text in base 2": "x = int('1' * 100000, 2)",
            "integer of a long text in base 32": "x = int('v' * 100000, 32)",
            "integer of infinity": "x = int(1e400)",
            "text of a long integer": "x = str(1 << 1000000)",
            "hexadecimal of a long integer": "x = hex(1 << 1000000)",
            "bytes of a count": "x = bytes(10 ** 9)",
            "bytes of an instance": """
                class Ship: pass
                x = bytes(Ship())
            """,
            "character beyond the last": "x = chr(1114112)",
            "ordinal of a long text": "x = ord('ab')",
            "isinstance of a nest": """
                nest = (ValueError,)
                for n in range(500): nest = (nest,)
                isinstance(1, nest)
            """,
            "isinstance of a text": "isinstance(1, 'int')",
            "codec by name": "x = b'abc'.decode('zlib')",
            "codec of domain names": "x = ('a' * 60000 + '.').encode('idna')",
            "codec of escapes": "x = b'abc'.decode('unicode_escape')",
            "codec of rotation": "x = 'abc'.encode('rot13')",
            "codec that is no text": "x = 'abc'.encode(5)",
            "error handler by name": "x = b'\\xff'.decode('utf-8', 'nothing')",
            "index too large": "x = [1][1 << 100]",
            "slice by an instance": """
                class Ship: pass
                x = [1, 2][Ship():]
            """,
            "slice by a text": "x = [1, 2]['a':]",
            "length of an instance that lies": """
                class Ship:
                    def __len__(self): return -5
                len(Ship())
            """,
            "print to a file": "print('x', file=session)",
            "print with a separator that is no text": "print('x', 'y', sep=5)",
            "dict of pairs that are none": "x = dict([1, 2])",
            "dict of text pairs": "x = dict(['ab', 'c'])",
            "max with an unknown keyword": "x = max([1], kee=abs)",
            "sorted with a key that is none": "x = sorted([1, 2], key=5)",
            "chr of a long integer": "x = chr(1 << 4000)",
            "divmod by zero": "x = divmod(1, 0)",
            "call of a number": "x = (1)()",
            "generic alias of a builtin": "leak(list[int])",
            "union of builtins": "leak(int | str)",
            "complex by a square root of numbers": "leak(math.sqrt(-1))",
            "factorial": "x = math.factorial(200000)",
            "combinations": "x = math.comb(10 ** 6, 5 * 10 ** 5)",
            "permutations": "x = math.perm(10 ** 5, 10 ** 5)",
            "product of long numbers": "x = math.prod([1 << 4000] * 1000)",
            "least common multiple of long numbers": """
                x = math.lcm((1 << 4001) - 1, (1 << 4003) - 1, 3 ** 2400, 5 ** 1700, 7 ** 1400)
                leak(x)
                y = x * x
            """,
            "sine of a long number": "x = math.sin(1 << 4000)",
            "load exponent": "x = math.ldexp(1.0, 10 ** 12)",
            "power of math": "x = math.pow(10.0, 10 ** 9)",
            "ceiling of an instance": """
                class Ship: pass
                x = math.ceil(Ship())
            """,
            "floor of infinity": "x = math.floor(math.inf)",
        },
    ),
    *cases(
        "builtins",
        STOP,
        {
            "key function that never ends": """
                def forever(n):
                    while True: pass
                x = sorted([2, 1], key=forever)
            """,
            "map of a function that never ends": """
                def forever(n):
                    while True: pass
                x = map(forever, [1])
            """,
            "key function of many": "x = max(list(range(90000)), key=lambda n: len([i for i in range(50)]))",
            "iterator that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                def on_packet(packet):
                    try: x = sum(Endless())
                    except ValueError: pass
                    while any([Endless()]): x = all(Endless())
            """,
            "sequence protocol that never ends": """
                class Endless:
                    def __getitem__(self, index): return 0
                def on_packet(packet):
                    try: x = list(Endless())
                    except ValueError: pass
                    for n in Endless(): pass
            """,
            "membership that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                x = 5 in Endless()
            """,
            "set operation that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                def on_packet(packet):
                    while True:
                        try: x = set([1]).intersection(Endless())
                        except ValueError: pass
            """,
            "disjoint test that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                def on_packet(packet):
                    while True:
                        try: x = {5}.isdisjoint(Endless())
                        except ValueError: pass
            """,
            "difference that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                def on_packet(packet):
                    x = {5}
                    while True:
                        try: x.difference_update(Endless())
                        except ValueError: pass
            """,
        },
    ),
    *cases(
        "builtins",
        f"{RAISE}|{STOP}",
        {
            "unpacking that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                first, *rest = Endless()
            """,
            "star display that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                x = [*Endless()]
            """,
            "star call that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                def run(*rest): return len(rest)
                run(*Endless())
            """,
            "extension that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                x = []
                x.extend(Endless())
            """,
            "slice assignment that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                x = []
                x[:] = Endless()
            """,
            "joining that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 'a'
                x = ''.join(Endless())
            """,
            "augmented extension that never ends": """
                class Endless:
                    def __iter__(self): return self
                    def __next__(self): return 1
                x = []
                x += Endless()
            """,
        },
    ),
    *cases(
        "builtins",
        HARMLESS,
        {
            "length that lies to a list": """
                class Liar:
                    def __len__(self): return 1 << 40
                    def __iter__(self): return self
                    def __next__(self): raise StopIteration
                x = []
                x.extend(Liar())
            """,
            "keys of several kinds": """
                table = {1: 'a', 'x': 2, (1, 'y'): 3, None: 4, 2.5: 5, b'z': 6, True: 7}
                seen = {1, 'x', (1, 2)}
                seen.add((3, 4))
                table.setdefault('new', []).append(1)
                table |= {5: 6}
                merged = {**table, 'last': 1}
                leak([table, seen, merged, sorted(seen & {1}), len(merged)])
            """,
            "iteration gives no iterator": """
                leak([zip([1], [2]), map(abs, [1]), filter(None, [1]), enumerate([1]), reversed([1]), {1: 2}.items(),
                      {1: 2}.keys(), {1: 2}.values(), (n for n in [1])])
            """,
            "ordinary calls": """
                values = [abs(-1), all([1]), any([0]), bool(1), bytes([1, 2]), callable(len), chr(65), dict(a=1),
                          divmod(7, 2), float('2'), hex(255), int('12'), isinstance(1, int), len('ab'), list('ab'),
                          max(1, 2), min([3, 4]), ord('a'), pow(2, 8), pow(3, 4, 5), repr('x'), round(2.567, 1),
                          set([1]), sorted([3, 1], reverse=True), str(5), sum([1, 2]), tuple([1]), math.floor(2.5)]
                leak(values)
            """,
            "isinstance of everything": """
                leak([isinstance(1, (int, str)), isinstance(True, bool), isinstance('x', str), isinstance([], list),
                      isinstance({}, dict), isinstance((), tuple), isinstance(b'', bytes), isinstance({1}, set),
                      isinstance(ValueError('x'), Exception), isinstance(1.5, float)])
            """,
        },
    ),
]
