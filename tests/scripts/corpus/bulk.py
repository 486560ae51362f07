"""Much work between two ticks: long statements, bulk operations of C, keys that are not what they were when checked."""

from __future__ import annotations

from tests.scripts.corpus.case import RAISE, REJECT, STOP, Case, cases
from tests.scripts.corpus.shapes import COLLIDING

_MODULUS = (1 << 64) - 1
_PRIMES = 11400714785074694791, 14029467366897019727, 2870177450012600261


def _lane(total: int, value: int) -> int:
    total = (total + value * _PRIMES[1]) & _MODULUS
    return (((total << 31) | (total >> 33)) & _MODULUS) * _PRIMES[0] & _MODULUS


def _colliding(count: int) -> list[tuple[int, int]]:
    """Pairs of ints whose hashes are the same, see COLLIDING."""
    inverse = pow(_PRIMES[1], -1, 1 << 64)
    found: list[tuple[int, int]] = []
    first = 0
    while len(found) < count:
        first += 1
        second = ((0x9876543210 - _lane(_PRIMES[2], first)) * inverse) & _MODULUS
        if second < 1 << 60:
            found.append((first, second))
    return found


def _repeated(prelude: str, operation: str) -> str:
    """190 times in one statement, in a handler."""
    return f"{prelude}\ndef on_packet(packet):\n    x = [{', '.join([operation] * 190)}]\n    x = [{operation}]\n"


_WIDE = "s = '\\u0430' * 250000"

CASES: list[Case] = [
    *cases(
        "bulk",
        f"{STOP}|harmless",
        {
            "long statement of islower()": _repeated("s = '\\xe9' * 1000000", "s.islower()"),
            "long statement of isalpha()": _repeated(_WIDE, "s.isalpha()"),
            "long statement of isidentifier()": _repeated(_WIDE, "s.isidentifier()"),
            "long statement of find()": _repeated("s = 'ab' * 500000\np = 'ab' * 12000 + 'c'", "s.find(p)"),
            "long statement of replace()": _repeated("s = 'a' * 1000000", "s.replace('baaaa', '')"),
            "long statement of in": _repeated("s = 'ab' * 500000\np = 'ab' * 12000 + 'c'", "p in s"),
            "long statement of join()": _repeated("s = ['a'] * 100000", "''.join(s)"),
            "long statement of lookups": _repeated("d = {}\nt = (1.5,) * 19000", "d.get(t)"),
            "long statement of subtractions": _repeated("s = set(range(30000))\nt = s.copy()", "s - t"),
            "long chain of methods": (
                "s = 'e' * 500000\ndef on_packet(packet):\n    s" + ".lower().upper()" * 35 + "\n"
            ),
            "long condition of methods": (
                "s = '\\xe9' * 1000000\ndef on_packet(packet):\n    if "
                + " or ".join(["s.isupper()"] * 140)
                + ": pass\n"
            ),
            "straight code with branches never taken": (
                "s = '\\xe9' * 1000000\ndef on_packet(packet):\n"
                + ("    s.islower()\n    if not s: " + "session; s.islower(); " * 6 + "\n") * 150
            ),
        },
    ),
    *cases(
        "bulk",
        f"{STOP}|{RAISE}",
        {
            f"wide text taken apart by {name}": f"{_WIDE}\ndef on_packet(packet):\n    x = []\n    {statement}\n" * 2
            for name, statement in {
                "extend": "x.extend(s[:130000])",
                "a display": "x = [*s[:130000]], [*s[:130000]]",
                "addition in place": "x += s",
                "a starred target": "y, *x = s",
                "a call": "print(*s)",
                "a slice": "x[:] = s",
                "join": "x = ','.join(s)",
            }.items()
        },
    ),
    *cases(
        "bulk",
        REJECT,
        {
            "thousands of handlers": "T = (KeyError,) * 19000\ntry: raise ValueError\n" + "except T: pass\n" * 3500,
            "integers too large in a key": "x = {(1 << 3, 1152921504606846976)}\nx.add((1, 1152921504606846976))",
            "thousands of targets": "def f(n):\n    t = [0] * 15000\n    " + "a, " * 15000 + "= t\n    f(n)\nf(1)\n",
            "thousands of names": "def f(n):\n    " + "".join(f"a{n} = " for n in range(5000)) + "n\n    f(n)\nf(1)\n",
        },
    ),
    *cases(
        "bulk",
        RAISE,
        {
            "handler of thousands of classes": (
                "T = (KeyError,) * 19000\ndef on_packet(packet):\n" + "    try: {}[1]\n    except T: pass\n" * 3
            ),
            "constant tuples that collide": (
                f"s = {{{', '.join(map(str, _colliding(1500)))}}}\nt = s.copy()\ndef on_packet(packet): return s & t\n"
            ),
            "tuple of the longest integers as a key": """
                x = 1 << 4095
                x = x * x
                t = (x,) * 19000
                d = {}
                def on_packet(packet): return d.get(t)
            """,
            "a method of a text that is kept": "f = ('\\xe9' * 1000000).islower\nwhile True: f()",
            "a hash that changes between check and insertion": COLLIDING
            + """
class Key:
    def __eq__(self, other): return self is other
    def __hash__(self): return 5
a = Key()
def on_packet(packet): return set([(n, a) for n in range(100)])
""",
            "an augmented assignment to an item whose key has changed": """
                h = [0]
                class Key:
                    def __eq__(self, other): return True
                    def __hash__(self): return h[0]
                a = Key()
                d = {(1, 0): 0}
                def change():
                    h[0] = 7
                    return 0
                def on_packet(packet):
                    k = (1, a)
                    d[k] += change()
            """,
            "an iterator that empties the list it is put into": """
                x = [0] * 1000
                class Evil:
                    def __iter__(self):
                        x.clear()
                        self.n = 0
                        return self
                    def __next__(self):
                        self.n += 1
                        if self.n > 1000: raise StopIteration
                        return self.n
                def on_packet(packet): x[::-1] = Evil()
            """,
        },
    ),
    *cases(
        "bulk",
        STOP,
        {
            "long integers in sorted tuples": """
                x = 1 << 4095
                x = x * x
                y = 1 << 4095
                y = y * y
                rows = []
                for n in range(12000): rows.append((x, y, x, y, x if n % 3 else y, y, x, n * 7919 % 10007))
                def on_packet(packet): rows.sort()
            """,
        },
    ),
]
