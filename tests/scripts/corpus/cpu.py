"""Work without end: in loops, in one C call, in numbers, in text."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, STOP, cases

_QUESTIONS = ("isalpha", "isalnum", "isidentifier", "islower", "isprintable", "istitle", "isupper")

CASES = [
    *cases(
        "cpu",
        STOP,
        {
            "endless loop at the top level": "while True: pass",
            "endless loop in a handler": """
                def on_packet(packet):
                    while True: pass
            """,
            "endless loop when a player connects": """
                def on_player_connect(player):
                    n = 0
                    while n < 1: n += 0
            """,
            "endless loop in a class body": """
                class Ship:
                    while True: x = 1
            """,
            "endless loop in a default": """
                def spin():
                    while True: pass
                def run(x=spin()): pass
            """,
            "endless loop in a decorator": """
                def spin(function):
                    while True: pass
                @spin
                def run(): pass
            """,
            "loops in loops": """
                def on_packet(packet):
                    for a in range(90000):
                        for b in range(90000): pass
            """,
            "comprehensions in comprehensions": "x = [1 for a in range(90000) for b in range(90000) if a < 0]",
            "set comprehension": "x = {0 for a in range(90000) for b in range(90000)}",
            "dictionary comprehension": "x = {0: 0 for a in range(90000) for b in range(90000)}",
            "generator expression": "x = sum(0 for a in range(90000) for b in range(90000))",
            "comprehension over itself": """
                x = [1]
                for n in x: x.append(n)
            """,
            "comprehension over a list that grows": """
                x = [1]
                y = [x.append(1) for n in x]
            """,
            "filter of a comprehension": "x = [n for n in range(90000) if [m for m in range(90000)] == 1]",
            "nested functions call each other": """
                def one(): return two()
                def two(): return 1
                def on_packet(packet):
                    while one(): two()
            """,
            "lambda with itself as an argument": """
                spin = lambda f, n: f(f, n + 1) if n < 500 else 0
                def on_packet(packet):
                    while True: spin(spin, 0)
            """,
            "recursion with two branches": """
                def branch(n): return 0 if n == 0 else branch(n - 1) + branch(n - 1)
                def on_packet(packet): branch(60)
            """,
            "lambda recursion with two branches": """
                branch = lambda n: 0 if n == 0 else branch(n - 1) + branch(n - 1)
                def on_packet(packet): branch(60)
            """,
            "method recursion with two branches": """
                class Ship:
                    def __len__(self): return 0
                    def __bool__(self): return True
                    def __add__(self, n): return self.run(n)
                    def run(self, n): return 0 if n == 0 else self.run(n - 1) or self.run(n - 1)
                def on_packet(packet): Ship() + 60
            """,
            "equality with two branches": """
                class Node:
                    def __init__(self, below): self.below = below
                    def __eq__(self, other):
                        if self.below is None: return True
                        return self.below == other.below and self.below == other.below
                a = Node(None)
                for n in range(60): a = Node(a)
                def on_packet(packet): a == a
            """,
            "sum of comparisons": """
                class Node:
                    def __lt__(self, other): return sum([1 for n in range(1000)]) > 5
                def on_packet(packet): sorted([Node() for n in range(2000)])
            """,
            "items of an own sequence": """
                class Grid:
                    def __getitem__(self, index): return [self[0] for n in range(3)] if index else 0
                def on_packet(packet):
                    for row in Grid(): pass
            """,
            "search in a long list": """
                x = [0] * 100000
                def on_packet(packet):
                    while True: x.index(0); x.count(1)
            """,
            "membership in a long list": """
                x = [0] * 100000
                def on_packet(packet):
                    while True: 1 in x
            """,
            "membership in a long tuple": """
                x = (0,) * 15000
                def on_packet(packet):
                    for n in range(100000): 1 in x
            """,
            "membership in a long text": """
                x = 'a' * 1000000
                y = 'a' * 1000 + 'b'
                def on_packet(packet):
                    while True: y in x
            """,
            "membership of the worst kind": """
                x = 'ab' * 500000
                y = 'ab' * 100000 + 'c'
                def on_packet(packet):
                    while True: y in x
            """,
            "search of the worst kind in a text": """
                x = 'a' * 1000000
                y = 'a' * 500 + 'b' + 'a' * 500
                def on_packet(packet):
                    while True: x.find(y); x.rfind(y); x.count(y); x.replace(y, 'c')
            """,
            "search of the worst kind from the right": """
                x = 'a' * 200000
                y = 'b' + 'a' * 100000
                def on_packet(packet):
                    while True: x.rfind(y)
            """,
            "splitting of the worst kind": """
                x = 'a' * 200000
                y = 'b' + 'a' * 100000
                def on_packet(packet):
                    while True: x.rsplit(y); x.rpartition(y)
            """,
            "bytes of the worst kind": """
                x = b'a' * 200000
                y = b'b' + b'a' * 100000
                def on_packet(packet):
                    while True: x.rfind(y); x.rindex(y)
            """,
            "stripping with a long set": """
                x = 'a' * 200000
                y = 'bcdefghi' * 10000 + 'a'
                def on_packet(packet):
                    while True: x.strip(y); x.lstrip(y); x.rstrip(y)
            """,
            "comparison of long lists": """
                x = [0] * 110000
                y = [0] * 110000
                def on_packet(packet):
                    while True: x == y
            """,
            "comparison of long texts": """
                x = 'a' * 1000000
                y = 'a' * 1000000
                def on_packet(packet):
                    while True: x == y
            """,
            "insertion at the front": """
                x = [0] * 110000
                def on_packet(packet):
                    while True: x.insert(0, 1); x.pop(0)
            """,
            "deletion at the front": """
                def on_packet(packet):
                    x = [0] * 110000
                    while x: del x[0]
            """,
            "copies of a long list": """
                x = [0] * 110000
                def on_packet(packet):
                    while True: x.copy(); x[:]; x.reverse()
            """,
            "copies by slices with a step": """
                x = 'ab' * 500000
                def on_packet(packet):
                    while True: x[::-1]; x[::2]; x[::-3]
            """,
            "case of a long text": """
                x = '\\xdf' * 1000000
                def on_packet(packet):
                    while True: x.upper(); x.lower(); x.title(); x.swapcase(); x.casefold(); x.capitalize()
            """,
            "sort of a long list": """
                x = [n * 7919 % 20011 for n in range(19000)]
                def on_packet(packet):
                    while True: sorted(x); sorted(x, reverse=True)
            """,
            "sum and extremes of a long list": """
                x = list(range(90000))
                def on_packet(packet):
                    while True: sum(x); max(x); min(x); all(x); any(x)
            """,
            "sets of long lists": """
                x = list(range(90000))
                def on_packet(packet):
                    while True: set(x)
            """,
            "operators of long sets": """
                x = set(range(40000))
                y = set(range(20000, 60000))
                def on_packet(packet):
                    while True: x | y; x & y; x - y; x ^ y; x <= y; x == y
            """,
            "updates of long dictionaries": """
                x = {n: n for n in range(20000)}
                def on_packet(packet):
                    while True: x | x; dict(x); x.copy(); {**x}; x == x
            """,
            "joining a long list": """
                x = ['a'] * 90000
                def on_packet(packet):
                    while True: ''.join(x)
            """,
            "splitting a long text": """
                x = 'a ' * 40000
                def on_packet(packet):
                    while True: x.split(None, 9); x.split('aa'); x.splitlines(); x.partition('b')
            """,
            "representation of a long list": """
                x = [12345.678] * 40000
                def on_packet(packet):
                    while True: str(x); repr(x); f'{x}'
            """,
            "numbers that are read and written": """
                x = '7' * 1200
                def on_packet(packet):
                    while True: str(int(x))
            """,
            "division of long numbers": """
                x = (1 << 4090) - 1
                y = (1 << 2040) - 1
                def on_packet(packet):
                    while True: x // y; x % y; divmod(x, y)
            """,
            "modular powers": """
                x = (1 << 4000) + 3
                def on_packet(packet):
                    while True: pow(x, x, x + 2)
            """,
            "greatest common divisors": """
                x = (1 << 4090) - 1
                y = (1 << 4089) + 5
                def on_packet(packet):
                    while True: math.gcd(x, y)
            """,
            "roots of long numbers": """
                x = (1 << 4090) - 1
                def on_packet(packet):
                    while True: math.isqrt(x)
            """,
            "sums of floats": """
                x = [1e308, 1.0, -1e308] * 30000
                def on_packet(packet):
                    while True: math.fsum(x)
            """,
            "distances of long vectors": """
                x = [1.0] * 90000
                def on_packet(packet):
                    while True: math.dist(x, x); math.hypot(*x)
            """,
            "long lists of arguments": """
                x = [0] * 15000
                def run(*rest): return 1
                def on_packet(packet):
                    while True: run(*x)
            """,
            "long stars in displays": """
                x = [0] * 110000
                def on_packet(packet):
                    while True: [*x]
            """,
            "unpacking with a star": """
                x = [0] * 110000
                def on_packet(packet):
                    while True: first, *rest = x
            """,
            "slice assignment": """
                x = [0] * 110000
                def on_packet(packet):
                    while True:
                        x[0:0] = [1]
                        x[0:1] = []
            """,
            "doubling by addition": """
                def on_packet(packet):
                    n = 1
                    while True: n = (n + n) % 1000003
            """,
            "text by addition": """
                def on_packet(packet):
                    text = ''
                    while True: text = 'x' + text
            """,
            "bytes by addition": """
                def on_packet(packet):
                    text = b''
                    while True: text += b'x'
            """,
            **{
                f"{what} of a very long text": (
                    f"x = {text} * 1040000\ny = {text} * 1000 + 'b' + {text} * 1000\n"
                    + "def on_packet(packet):\n    while True: "
                    + "; ".join([f"x.{call}"] * 8)
                    + "\n"
                )
                for text in ("'\\xe9'",)
                for what, call in {
                    **{f"{name}()": f"{name}()" for name in _QUESTIONS},
                    "search": "find(y)",
                    "replacement": "replace(y, 'c')",
                    "partition": "partition(y)",
                    "tail": "endswith(y)",
                }.items()
            },
            "straight line of heavy calls": (
                "x = '\\xdf' * 1000000\ndef on_packet(packet):\n"
                + "".join(f"    a{n} = x.upper().lower().title().swapcase()\n" for n in range(200))
            ),
            "straight line of heavy slices": ("x = [0] * 110000\ndef on_packet(packet):\n" + "    a = x[:]\n" * 600),
            "one expression of heavy calls": (
                "x = '\\xdf' * 1000000\ndef on_packet(packet):\n    while True:\n        y = ["
                + ", ".join(["len(x.title())"] * 40)
                + "]\n"
            ),
            "heavy call in every finally": (
                "x = '\\xdf' * 1000000\ndef on_packet(packet):\n"
                + "".join(f"{'    ' * n}try:\n" for n in range(1, 18))
                + f"{'    ' * 18}while True: pass\n"
                + "".join(f"{'    ' * n}finally: x.title(), x.title(), x.title()\n" for n in range(17, 0, -1))
            ),
            "heavy call in the finally of each level": """
                x = '\\xdf' * 1000000
                def down(n):
                    try: down(n + 1)
                    finally: x.title(), x.title()
                def on_packet(packet): down(0)
            """,
            "heavy default of a lambda": """
                x = '\\xdf' * 1000000
                def on_packet(packet):
                    while True: run = lambda a=x.title(), b=x.title(), c=x.title(), d=x.title(): 1
            """,
            "heavy chained comparison": """
                x = '\\xdf' * 1000000
                def on_packet(packet):
                    while x.title() != x.upper() != x.lower() != x.title() != x.upper(): pass
            """,
            "heavy conditional": """
                x = '\\xdf' * 1000000
                def on_packet(packet):
                    while x.title() and x.upper() and (x.lower() or x.title()): pass
            """,
            "heavy f-string": """
                x = '\\xdf' * 1000000
                def on_packet(packet):
                    while True: y = len(f'{len(x.title())}{len(x.title())}{len(x.title())}{len(x.title())}')
            """,
            "prefix of many": """
                middle = 'a' * 999990
                x = middle + 'b' + 'a' * 9
                y = (middle + 'c' + 'a' * 9,) * 15000
                def on_packet(packet):
                    while True: x.startswith(y); x.endswith(y)
            """,
            "objects that die in a ring": """
                class Ship: pass
                def on_packet(packet):
                    while True:
                        ship = Ship()
                        ship.me = ship
            """,
            "lists that die in a ring": """
                def on_packet(packet):
                    kept = []
                    while True:
                        ring = [kept]
                        ring.append(ring)
                        kept = ring
            """,
            "range that is searched": """
                def on_packet(packet):
                    while True: 1.5 in range(100000); 'x' in range(100000)
            """,
            "range that is compared": """
                def on_packet(packet):
                    while True: list(range(90000)) == list(range(90000))
            """,
            "zero steps": """
                class Zero:
                    def __iter__(self): return iter_of_nothing()
                def iter_of_nothing():
                    while True: pass
                def on_packet(packet):
                    for n in Zero(): pass
            """,
            "dictionary that changes while it is filled": """
                table = {}
                def on_packet(packet):
                    n = 0
                    while True:
                        n += 1
                        table[n % 50000] = n
                        if n % 50000 == 49999: table.clear()
            """,
            "deletions that leave holes": """
                x = set(range(50000))
                for n in range(49999): x.discard(n)
                def on_packet(packet):
                    while True:
                        for n in x: pass
                        x.pop()
                        x.add(1)
            """,
            "first key behind many holes": """
                table = {n: n for n in range(50000)}
                for n in range(49999): del table[n]
                def on_packet(packet):
                    while True:
                        for n in table: pass
                        list(table)
            """,
            "sleeping by asking the time": """
                def on_packet(packet):
                    start = session.now_ms
                    while session.now_ms - start < 10000: pass
            """,
        },
    ),
    *cases(
        "cpu",
        RAISE,
        {
            "range of numbers summed": "x = sum(range(10 ** 12))",
            "range of numbers searched": "x = 0.5 in range(10 ** 12)",
            "power tower": "x = 9 ** 9 ** 9",
            "power by augmentation": """
                n = 9
                n **= 10 ** 9
            """,
            "square in a loop": """
                n = 3
                for i in range(100): n = n * n
            """,
            "square by augmentation": """
                n = 3
                for i in range(100): n *= n
            """,
            "square of an item": """
                n = [3]
                for i in range(100): n[0] *= n[0]
            """,
            "square of an attribute": """
                class Ship: pass
                ship = Ship()
                ship.n = 3
                for i in range(100): ship.n *= ship.n
            """,
            "square of a constant operand": """
                n = 3
                for i in range(100000): n = 1000000007 * n
            """,
            "square by power": """
                n = 3
                for i in range(100): n = n ** 2
            """,
            "cube by power": """
                n = 3
                for i in range(100): n **= 3
            """,
            "square by a default power": """
                n = 3
                for i in range(100): n = pow(n, 2)
            """,
            "square by a product": """
                n = 3
                for i in range(100): n = math.prod([n, n])
            """,
            "square by a sum of itself": """
                n = 1
                for i in range(1300): n = sum([n] * 10)
            """,
            "doubling without end": """
                n = 1
                for i in range(100000): n = n + n
            """,
            "doubling by augmentation": """
                n = 1
                for i in range(100000): n += n
            """,
            "doubling by subtraction": """
                n = 1
                for i in range(100000): n = n - -n
            """,
            "doubling downwards": """
                n = -1
                for i in range(100000): n -= -n
            """,
            "shift": "x = 1 << 10 ** 9",
            "shift by augmentation": """
                n = 1
                n <<= 10 ** 9
            """,
            "shift in steps": """
                n = 1
                for i in range(100): n = n << 4000
            """,
            "shift of an item": """
                n = [1]
                for i in range(100): n[0] <<= 4000
            """,
            "shift by a negative number": "x = 1 << -1",
            "long number by an own operator": """
                class Long:
                    def __mul__(self, other): return 1 << 4000
                    def __radd__(self, other): return 1 << 4000
                n = Long() * 1
                for i in range(100): n = n * (0 + Long())
            """,
            "long number by a conversion": """
                n = int(1.7e308)
                for i in range(100): n = n * n
            """,
            "long number by a ratio": """
                n = (1.7e308).as_integer_ratio()[0]
                for i in range(100): n = n * n
            """,
            "long number by negation and inversion": """
                n = 1 << 4000
                for i in range(100): n = -n * ~n
            """,
            "long number by bit operators": """
                n = 1 << 4000
                for i in range(100): n = (n | 1) * (n ^ 5)
            """,
            "long number by rounding": """
                n = round(12345, -4000)
                n = round((1 << 4000) - 1, -1000000)
            """,
            "long number in a default": "def run(n=(1 << 4000) * (1 << 4000) * (1 << 4000)): pass",
            "long number in a truth": "if (1 << 4000) * (1 << 4000) * (1 << 4000): pass",
            "long number in a return": """
                def run(n): return n * n * n * n
                def on_packet(packet): run(1 << 4000)
            """,
            "long number in a lambda": """
                run = lambda n: n * n * n * n
                def on_packet(packet): run(1 << 4000)
            """,
            "long number in a comprehension": "x = [n * n * n * n for n in [1 << 4000]]",
            "long number in an f-string": """
                n = 1 << 4000
                x = f'{n * n * n * n}'
            """,
            "long number in a subscript": """
                n = 1 << 4000
                x = [1][n * n * n * n]
            """,
            "long number in an argument": """
                n = 1 << 4000
                print(n * n * n * n)
            """,
            "long number by truth": """
                n = True
                for i in range(100000): n = n + n
            """,
            "long number divided by a fraction": "x = (1 << 4000) / 3",
        },
    ),
    *cases(
        "cpu",
        HARMLESS,
        {
            "a day's work": """
                table = {}
                def on_packet(packet):
                    total = 0
                    for n in range(2000):
                        total += n * 3 % 7
                        table[n % 100] = total
                    words = sorted(['w%d' % (n * 7919 % 101) for n in range(500)])
                    if len(words) != 500 or total != 6001: leak('ESCAPE: %d' % total)
            """,
            "large but allowed": """
                x = list(range(90000))
                y = sorted(x[:19000], reverse=True)
                z = 3 ** 2000 * 5
                t = 'x' * 1000000
                if sum(x) != 4049955000 or y[0] != 18999: leak('ESCAPE: wrong')
            """,
        },
    ),
]
