"""Data whose shape makes one C call long: shared nests, equal but distinct copies, keys whose hashes collide."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, REJECT, STOP, Case, cases

LISTS = "a = [1]\nb = [1]\nfor n in range(50):\n    a = [a, a]\n    b = [b, b]\n"
TUPLES = "a = (1,)\nb = (1,)\nfor n in range(50):\n    a = (a, a)\n    b = (b, b)\n"
TABLES = "a = {1: 1}\nb = {1: 1}\nfor n in range(50):\n    a = {1: a, 2: a}\n    b = {1: b, 2: b}\n"
MIXED = "a = [1]\nb = [1]\nfor n in range(30):\n    a = [(a, a), {1: a}]\n    b = [(b, b), {1: b}]\n"

# Tuples (first, second) of two integers that all have one hash: the tuple hash of CPython is a chain of
# multiplications modulo 2**64 (Objects/tupleobject.c), so the second follows from the first.
COLLIDING = """
M = (1 << 64) - 1
P1 = 11400714785074694791
P2 = 14029467366897019727
P5 = 2870177450012600261
INVERSE = pow(P2, -1, 1 << 64)

def lane(total, value):
    total = (total + value * P2) & M
    return (((total << 31) | (total >> 33)) & M) * P1 & M

GOAL = (lane(P5, 1) + 7 * P2) & M

def pairs(first, last):
    found = []
    for n in range(first, last):
        second = ((GOAL - lane(P5, n)) * INVERSE) & M
        if second < 1 << 60: found.append((n, second))
    return found
"""

# Equal tuples of the greatest weight that do not share a node: comparing two of them walks both.
HEAVY = """
def heavy():
    nest = (0, 1)
    for n in range(12): nest = (nest, nest)
    return nest
one = heavy()
two = heavy()
"""

# Equal tuples with as many values as a key may have; two of them share nothing.
KEYS = """
def inner(): return tuple([n * 1.5 for n in range(95)])
one = inner()
two = inner()
first = set()
second = set()
state = [0]
"""

CONSTANT_HASH = """
class Key:
    def __eq__(self, other): return False
    def __hash__(self): return 5
"""


def _over(prelude: str, name: str, expected: str, body: str) -> Case:
    from textwrap import dedent

    return Case("shapes", name, expected, prelude + dedent(body).lstrip("\n"))


_LIST_USES = {
    "compared": "a == b",
    "ordered": "a < b",
    "unequal": "a != b",
    "compared in a chain": "0 < 1 < len([a == b == a])",
    "compared as the middle of a chain": "a is a == b",
    "compared inside a list": "[a] == [b]",
    "compared inside a dictionary": "{1: a} == {1: b}",
    "compared inside a tuple": "(a, 1) == (b, 1)",
    "found in a list": "a in [b]",
    "found in a tuple": "a in (b, 1)",
    "not found in a list": "a not in [b]",
    "found in the values": "a in {1: b}.values()",
    "found in the items": "(1, a) in {1: b}.items()",
    "indexed": "[b].index(a)",
    "counted": "[b].count(a)",
    "counted in a tuple": "(b, 1).count(a)",
    "removed": "[b].remove(a)",
    "sorted": "sorted([a, b])",
    "sorted in place": "[a, b].sort()",
    "sorted by a key": "sorted([1, 2], key=lambda n: a if n == 1 else b)",
    "sorted inside tuples": "sorted([(1, a), (1, b)])",
    "extremes": "max(a, b)",
    "extremes of a list": "min([a, b])",
    "extremes by a key": "min([1, 2], key=lambda n: a if n == 1 else b)",
    "compared by an augmented walrus": "(c := a) == b",
    "compared in a condition": "if a == b: pass",
    "compared in a filter": "[n for n in [1] if a == b]",
    "compared in an assert": "assert a == b",
    "compared in a lambda": "(lambda: a == b)()",
    "compared in a default": "def run(x=(a == b)): pass",
    "compared by items": "{1: a}.items() == {1: b}.items()",
    "compared by list of values": "list({1: a}.values()) == list({1: b}.values())",
}

CASES = [
    *(_over(LISTS, f"shared lists {name}", f"{RAISE}|{STOP}", use + "\n") for name, use in _LIST_USES.items()),
    *(
        _over(TABLES, f"shared dictionaries {name}", f"{RAISE}|{STOP}", use + "\n")
        for name, use in {
            "compared": "a == b",
            "found": "a in [b]",
            "indexed": "[b].index(a)",
            "compared in a tuple": "(a,) == (b,)",
            "sent": "session.send(5, a)",
        }.items()
    ),
    *(
        _over(MIXED, f"mixed nests {name}", f"{RAISE}|{STOP}", use + "\n")
        for name, use in {"compared": "a == b", "counted": "[b].count(a)", "found": "a in [b]"}.items()
    ),
    *cases(
        "shapes",
        RAISE,
        {
            "shared tuples": "t = ()\nfor n in range(50): t = (t, t)\nleak(t)",
            "shared tuples as a key": "t = ()\nfor n in range(50): t = (t, t)\nx = {t: 1}",
            "shared tuples by addition": "t = ()\nfor n in range(50): t = (t,) + (t,)\nleak(t)",
            "shared tuples by multiplication": "t = ()\nfor n in range(50): t = (t,) * 2\nleak(t)",
            "shared tuples by multiplication from the left": "t = ()\nfor n in range(50): t = 2 * (t,)\nleak(t)",
            "shared tuples by augmented addition": """
                t = ()
                for n in range(50):
                    u = (t,)
                    u += (t,)
                    t = u
                leak(t)
            """,
            "shared tuples by augmented multiplication": """
                t = ()
                for n in range(50):
                    u = (t,)
                    u *= 2
                    t = u
                leak(t)
            """,
            "shared tuples by augmented items": """
                t = [()]
                for n in range(50):
                    u = [(t[0],)]
                    u[0] += (t[0],)
                    t[0] = u[0]
                leak(t[0])
            """,
            "shared tuples by sum": "t = ()\nfor n in range(50): t = sum([(t,), (t,)], ())\nleak(t)",
            "shared tuples by zip": "t = ()\nfor n in range(50): t = zip([t], [t])[0]\nleak(t)",
            "shared tuples by a list": "t = ()\nfor n in range(50): t = tuple([t, t])\nleak(t)",
            "shared tuples by a comprehension": "t = ()\nfor n in range(50): t = tuple(t for i in range(2))\nleak(t)",
            "shared tuples by arguments": """
                def wrap(*rest): return rest
                t = ()
                for n in range(50): t = wrap(t, t)
                leak(t)
            """,
            "shared tuples by arguments of a method": """
                class Ship:
                    def wrap(self, *rest): return rest
                t = ()
                for n in range(50): t = Ship().wrap(t, t)
                leak(t)
            """,
            "shared tuples by arguments of a constructor": """
                class Ship:
                    def __init__(self, *rest): self.rest = rest
                t = ()
                for n in range(50): t = Ship(t, t).rest
                leak(t)
            """,
            "shared tuples by arguments of a call": """
                class Ship:
                    def __call__(self, *rest): return rest
                ship = Ship()
                t = ()
                for n in range(50): t = ship(t, t)
                leak(t)
            """,
            "shared tuples by a star": "t = ()\nfor n in range(50): t = (*[t], *[t])\nleak(t)",
            "shared tuples by a star and a rest": """
                t = ()
                for n in range(50):
                    first, *rest = [t, t, t]
                    t = (*rest,)
                leak(t)
            """,
            "shared tuples by return": """
                def wrap(t): return t, t
                t = ()
                for n in range(50): t = wrap(t)
                leak(t)
            """,
            "shared tuples by a default": """
                t = ()
                for n in range(50): t = (lambda u=(t, t): u)()
                leak(t)
            """,
            "shared tuples by a subscript": """
                class Box:
                    def __getitem__(self, index): return index
                box = Box()
                t = ()
                for n in range(50): t = box[t, t]
                leak(t)
            """,
            "shared tuples by a subscript that is stored": """
                class Box:
                    def __setitem__(self, index, value): self.last = index
                box = Box()
                t = ()
                for n in range(50):
                    box[t, t] = 1
                    t = box.last
                leak(t)
            """,
            "shared tuples by a subscript that is deleted": """
                class Box:
                    def __delitem__(self, index): self.last = index
                box = Box()
                t = ()
                for n in range(50):
                    del box[t, t]
                    t = box.last
                leak(t)
            """,
            "shared tuples by an augmented subscript": """
                class Box:
                    def __getitem__(self, index): return 1
                    def __setitem__(self, index, value): self.last = index
                box = Box()
                t = ()
                for n in range(50):
                    box[t, t] += 1
                    t = box.last
                leak(t)
            """,
            "shared tuples by exception text": """
                t = ()
                for n in range(50): t = (t, t)
                raise ValueError(t)
            """,
            "shared tuples by formatting": "t = ()\nfor n in range(50): t = ('%s' % (t,), t, t)\nleak(t)",
            "shared tuples by items": "t = ()\nfor n in range(60): t = {t: t}.items()[0]\nleak(t)",
            "shared tuples by items of a longer table": """
                t = ()
                for n in range(60): t = tuple({t: t, 1: t}.items())
                leak(t)
            """,
            "shared tuples by enumerate and zip": """
                t = ()
                for n in range(60): t = zip(enumerate([t]), enumerate([t]))[0]
                leak(t)
            """,
            "shared tuples by map": "t = ()\nfor n in range(50): t = map(lambda a, b: (a, b), [t], [t])[0]\nleak(t)",
            "shared tuples by sorted pairs": """
                t = ()
                for n in range(50): t = tuple(sorted([t, t]))
                leak(t)
            """,
            "shared tuples by reversed": "t = ()\nfor n in range(50): t = tuple(reversed([t, t]))\nleak(t)",
            "shared tuples by slices": """
                t = ()
                for n in range(50):
                    t = (t, t, t)[:2]
                leak(t)
            """,
            "shared tuples by own addition": """
                class Box:
                    def __init__(self, t): self.t = t
                    def __add__(self, other): return (self.t, other)
                t = ()
                for n in range(50): t = Box(t) + t
                leak(t)
            """,
            "wide tuple": "t = tuple(range(90000))\nx = {t: 1}",
            "wide tuple by multiplication": "t = (0,) * 90000\nx = {t: 1}",
            "wide tuple by arguments": """
                def wrap(*rest): return rest
                t = wrap(*range(90000))
                x = {t: 1}
            """,
            "keys too long": "x = {1 << 62: 1}",
            "keys too long in a set": "x = {1 << 62}",
            "keys too long by item": """
                x = {}
                x[1 << 62] = 1
            """,
            "keys too long by a set comprehension": "x = {n << 60 for n in range(1, 9)}",
            "keys too long by a dictionary comprehension": "x = {n << 60: n for n in range(1, 9)}",
            "keys too long by add": """
                x = set()
                x.add(1 << 62)
            """,
            "keys too long by setdefault": """
                x = {}
                x.setdefault(1 << 62, 1)
            """,
            "keys too long by update": """
                x = {}
                x.update([(1 << 62, 1)])
            """,
            "keys too long by an update of a set": """
                x = set()
                x.update([1 << 62])
            """,
            "keys too long by union": "x = set().union([1 << 62])",
            "keys too long by symmetric difference": "x = set().symmetric_difference([1 << 62])",
            "keys too long by a symmetric update": """
                x = set()
                x.symmetric_difference_update([1 << 62])
            """,
            "keys too long by dict": "x = dict([(1 << 62, 1)])",
            "keys too long by set": "x = set([1 << 62])",
            "keys too long by a star": "x = {*[1 << 62]}",
            "keys too long by merging pairs": """
                x = {}
                x |= [(1 << 62, 1)]
            """,
            "keys too long by merging pairs into an item": """
                x = [{}]
                x[0] |= [(1 << 62, 1)]
            """,
            "keys too long by a loop target": """
                x = {}
                for x[1 << 62] in [1]: pass
            """,
            "keys too long by a tuple target": """
                x = {}
                x[1 << 62], b = 1, 2
            """,
            "keys too long by a starred target": """
                x = {}
                a, *x[1 << 62] = 1, 2
            """,
            "keys too long by augmented assignment": """
                x = {}
                try: x[1 << 62] += 1
                except KeyError: pass
                raise ValueError('as it should be')
            """,
            "keys too long by a bound add": """
                x = set()
                for method in [x.add]: method(1 << 62)
            """,
            "keys too long by a mapped add": """
                x = set()
                map(x.add, [1 << 62])
            """,
            "keys too long by a mapped setdefault": """
                x = {}
                map(x.setdefault, [1 << 62], [1])
            """,
            "keys too long by a bound update": """
                x = {}
                update = x.update
                update([(1 << 62, 1)])
            """,
            "keys too long by a key function": """
                x = set()
                sorted([1 << 62, 1], key=x.add)
            """,
            "keys too long by a timer": """
                x = set()
                session.set_timeout(x.clear, 10)
                leak([len(x)])
                y = x.add
            """,
            "keys too long by copy": """
                x = {1: 2}.copy()
                x[1 << 62] = 1
            """,
            "keys too long by a float": """
                x = {}
                for n in range(61, 1000, 61):
                    for m in range(1, 200): x[m * 2.0 ** n] = 1
                raise ValueError('as it should be')
            """,
        },
    ),
    _over(
        COLLIDING,
        "colliding tuples as keys",
        f"{RAISE}|{STOP}",
        """
            table = {}
            for pair in pairs(1, 6000): table[pair] = 1
        """,
    ),
    _over(
        COLLIDING,
        "colliding tuples as keys over callbacks",
        f"{RAISE}|{STOP}",
        """
            table = {}
            state = [1]
            def on_packet(packet):
                for pair in pairs(state[0], state[0] + 4000): table[pair] = 1
                state[0] += 4000
        """,
    ),
    _over(
        COLLIDING,
        "colliding tuples by set",
        f"{RAISE}|{STOP}",
        """
            found = pairs(1, 6000)
            def on_packet(packet): x = set(found)
        """,
    ),
    _over(
        COLLIDING,
        "colliding tuples by update",
        f"{RAISE}|{STOP}",
        """
            found = pairs(1, 6000)
            def on_packet(packet):
                x = {}
                x.update([(pair, 1) for pair in found])
        """,
    ),
    _over(
        COLLIDING,
        "colliding tuples looked up in a small set",
        f"{RAISE}|{STOP}",
        """
            found = pairs(1, 6000)
            def on_packet(packet):
                some = {1, 2, 3}
                while True: some.issubset(found); some.intersection(found); some.isdisjoint(found)
        """,
    ),
    _over(
        COLLIDING,
        "colliding tuples inside other tuples",
        f"{RAISE}|{STOP}",
        """
            table = {}
            for pair in pairs(1, 6000): table['x', pair] = 1
        """,
    ),
    _over(
        COLLIDING,
        "colliding tuples by a subset",
        f"{RAISE}|{STOP}",
        """
            found = pairs(1, 6000)
            def on_packet(packet): x = {1}.issubset(found)
        """,
    ),
    _over(
        COLLIDING,
        "colliding tuples that are known to collide",
        RAISE,
        """
            found = pairs(1, 3000)
            if len(found) < 100: leak('ESCAPE: the case is broken')
            table = {found[n]: 1 for n in range(len(found))}
        """,
    ),
    *(
        _over(
            HEAVY,
            f"equal heavy tuples {name}",
            f"{RAISE}|{STOP}",
            f"""
                first = set()
                second = set()
                state = [0]
                def on_packet(packet):
                    for n in range(state[0], state[0] + 250):
                        first.add((n, one))
                        second.add((n, two))
                    state[0] += 250
                    while True: {use}
            """,
        )
        for name, use in {
            "in the intersection": "first & second",
            "in the difference": "first - second",
            "in the union": "first | second",
            "in a subset": "first <= second",
            "in an equality": "first == second",
            "in a symmetric difference": "first ^ second",
            "in a disjoint test": "first.isdisjoint({(-1, one)})",
            "in an intersection of a list": "first.intersection([(n, two) for n in range(250)])",
            "in a difference update": "first.copy().difference_update(second)",
        }.items()
    ),
    *(
        _over(
            KEYS,
            f"equal wide keys {name}",
            STOP,
            f"""
                def on_packet(packet):
                    for n in range(state[0], state[0] + 6000):
                        first.add((n, one))
                        second.add((n, two))
                    state[0] += 6000
                    while True: {", ".join([use] * 8)}
            """,
        )
        for name, use in {
            "in the intersection": "first & second",
            "in the difference": "first - second",
            "in the union": "first | second",
            "in the symmetric difference": "first ^ second",
            "in a subset": "first <= second",
            "in an equality": "first == second",
        }.items()
    ),
    *(
        _over(
            KEYS,
            f"equal wide keys {name}",
            STOP,
            f"""
                def on_packet(packet):
                    for n in range(state[0], state[0] + 6000):
                        first.add((n, one))
                        second.add((n, two))
                    state[0] += 6000
                    third = first.copy()
                    while True:
                        {"; ".join([use] * 8)}
            """,
        )
        for name, use in {
            "in an intersection in place": "third &= second",
            "in a difference in place": "third -= second",
            "in a union in place": "third |= second",
            "in a symmetric difference in place": "third ^= second",
        }.items()
    ),
    _over(
        KEYS,
        "equal wide keys of dictionaries",
        STOP,
        """
            table = {}
            other = {}
            def on_packet(packet):
                for n in range(state[0], state[0] + 6000):
                    table[n, one] = n
                    other[n, two] = n
                state[0] += 6000
                while True: table | other, table | other, {**table, **other}, {**table, **other}, table == other
        """,
    ),
    _over(
        HEAVY,
        "equal heavy tuples as keys of equal dictionaries",
        f"{RAISE}|{STOP}",
        """
            first = {}
            second = {}
            state = [0]
            def on_packet(packet):
                for n in range(state[0], state[0] + 250):
                    first[n, one] = 1
                    second[n, two] = 1
                state[0] += 250
                while True: first == second; first | second; {**first, **second}
        """,
    ),
    _over(
        HEAVY,
        "equal heavy tuples in lists",
        f"{RAISE}|{STOP}",
        """
            def on_packet(packet):
                while True: [one] * 20000 == [two] * 20000
        """,
    ),
    _over(
        HEAVY,
        "equal heavy tuples that are sorted",
        f"{RAISE}|{STOP}",
        """
            def on_packet(packet):
                while True: sorted([one, two] * 9000)
        """,
    ),
    _over(
        HEAVY,
        "equal heavy tuples that are searched",
        f"{RAISE}|{STOP}",
        """
            bag = [one] * 90000
            def on_packet(packet):
                while True: bag.count(two); (two, 1) in bag
        """,
    ),
    _over(
        HEAVY,
        "equal heavy tuples as extremes",
        f"{RAISE}|{STOP}",
        """
            bag = [one, two] * 40000
            def on_packet(packet):
                while True: max(bag); min(bag)
        """,
    ),
    _over(
        HEAVY,
        "heavy tuples that are hashed again and again",
        f"{RAISE}|{STOP}",
        """
            table = {}
            def on_packet(packet):
                while True: table.get(one); one in table; table.pop(one, 1); hash_all({one, two})
            def hash_all(bag): return len(bag)
        """,
    ),
    *(
        _over(
            CONSTANT_HASH,
            f"one hash for all {name}",
            STOP if name == "added" else f"{RAISE}|{STOP}",
            f"""
                first = set()
                second = set()
                table = {{}}
                def on_packet(packet):
                    for n in range(330):
                        first.add(Key())
                        second.add(Key())
                        table[Key()] = 1
                    while True: {use}
            """,
        )
        for name, use in {
            "added": "first.add(Key())",
            "in the intersection": "first & second",
            "in the difference": "first - second",
            "in the union": "first | second",
            "in a subset": "first <= second",
            "in an equality": "first == second",
            "in a copy": "first.copy(); table.copy(); dict(table); {**table}; set(first)",
            "in a symmetric difference": "first ^ second",
            "in a merge": "table | {k: 1 for k in second}",
        }.items()
    ),
    *cases(
        "shapes",
        STOP,
        {
            "sort of tuples of equal long numbers": """
                def row(last): return tuple([(1 << 4000) * (1 << 4000) + 1 for n in range(7)] + [last])
                rows = [row(n * 7 % 13) for n in range(13)]
                many = [rows[n * n % 13] for n in range(19000)]
                def on_packet(packet):
                    while True: sorted(many)
            """,
            "slices as keys that collide": """
                class Box:
                    def __getitem__(self, index): return index
                box = Box()
                M = (1 << 61) - 1
                a = {}
                b = {}
                state = [1]
                def on_packet(packet):
                    try:
                        for n in range(state[0], state[0] + 700):
                            a[box[n * M:]] = 1
                            b[box[(n + 100000) * M:]] = 1
                    except (TypeError, ValueError): pass
                    state[0] += 700
                    while True: a | b, a | b, a | b, a | b
            """,
            "slices as keys of a small range that collide": """
                a = {}
                def on_packet(packet):
                    try:
                        for n in range(90000): a[n:-n - 5:n] = 1
                    except (TypeError, ValueError): pass
                    while True: a | a
            """,
            "equal long texts in lists": """
                one = 'a' * 1000000
                two = 'a' * 1000000
                a = [one] * 50000
                b = [two] * 50000
                def on_packet(packet):
                    while True: a == b
            """,
            "equal long bytes in lists": """
                one = b'a' * 1000000
                two = b'a' * 1000000
                a = [one] * 50000
                b = [two] * 50000
                def on_packet(packet):
                    while True: a == b
            """,
            "equal long texts that are searched": """
                one = 'a' * 1000000 + 'b'
                two = 'a' * 1000000 + 'c'
                a = [one] * 50000
                def on_packet(packet):
                    while True: two in a; a.count(two)
            """,
            "equal long texts that are indexed": """
                one = 'a' * 1000000 + 'b'
                two = 'a' * 1000000 + 'c'
                a = [one] * 50000
                def on_packet(packet):
                    while True:
                        try: a.index(two)
                        except ValueError: pass
            """,
            "equal long texts that are sorted": """
                one = 'a' * 1000000 + 'b'
                two = 'a' * 1000000 + 'c'
                a = [one, two] * 9000
                def on_packet(packet):
                    while True: sorted(a)
            """,
            "equal long texts that are sorted as pairs": """
                one = 'a' * 1000000 + 'b'
                two = 'a' * 1000000 + 'c'
                a = [(one, 1), (two, 2)] * 9000
                def on_packet(packet):
                    while True: a.sort()
            """,
            "equal long texts as extremes": """
                one = 'a' * 1000000 + 'b'
                two = 'a' * 1000000 + 'c'
                a = [one, two] * 40000
                def on_packet(packet):
                    while True: max(a); min(a)
            """,
            "equal long texts as keys of sets": """
                one = 'a' * 6000
                two = 'a' * 6000
                a = set()
                b = set()
                for n in range(9000):
                    a.add((n, one))
                    b.add((n, two))
                def on_packet(packet):
                    while True: a & b; a == b
            """,
            "equal long texts in a tuple that is searched": """
                one = 'a' * 1000000 + 'b'
                two = 'a' * 1000000 + 'c'
                a = (one,) * 15000
                def on_packet(packet):
                    while True: two in a; a.count(two)
            """,
            "equal long texts as values of dictionaries": """
                one = 'a' * 1000000
                two = 'a' * 1000000
                a = {n: one for n in range(10000)}
                b = {n: two for n in range(10000)}
                def on_packet(packet):
                    while True: a == b
            """,
            "one long text joined and split": """
                one = 'ab' * 500000
                def on_packet(packet):
                    while True: one.replace('b', 'c'); one.partition('c'); one.count('b'); one.find('c')
            """,
            "keys that share low bits": """
                def on_packet(packet):
                    table = {}
                    for n in range(100000): table[n << 40] = n
                    while True: table.get(5 << 40)
            """,
            "floats that share their hash": """
                keys = [m * 2.0 ** n for n in range(-1000, 1000, 61) for m in range(1, 300)]
                def on_packet(packet):
                    while True: set(keys); dict(zip(keys, keys))
            """,
            "set walked around a hole": """
                def on_packet(packet):
                    bag = set(range(90000))
                    while True:
                        bag.pop()
                        bag.discard(5)
                        if len(bag) < 9: bag.update(range(90000))
            """,
        },
    ),
    *cases(
        "shapes",
        REJECT,
        {
            "keys by a starred add": """
                x = set()
                x.add(*[1 << 62])
            """,
            "keys by a starred setdefault": """
                x = {}
                x.setdefault(*[1 << 62, 1])
            """,
        },
    ),
    *cases(
        "shapes",
        HARMLESS,
        {
            "nests that may be": """
                point = ((1, 2), (3, (4, 5)))
                table = {point: 'a', (1, 'x', None): 'b'}
                if table[(1, 2), (3, (4, 5))] != 'a': leak('ESCAPE: lost a key')
                a = [1, [2, {3: (4, 5)}], 'x']
                b = [1, [2, {3: (4, 5)}], 'x']
                if a != b or not a == b or [a] != [b] or a not in [b] or [b].index(a) != 0: leak('ESCAPE: unequal')
                if [1, 2] < [1, 1] or not (1, 2) < (1, 3) or max([[1], [2]]) != [2]: leak('ESCAPE: order')
                leak([a, table, point + (1,), (1,) * 3, 2 * (1, 2)])
            """,
            "many small tuples as keys": """
                grid = {}
                for x in range(60):
                    for y in range(60): grid[x, y] = x * y
                if len(grid) != 3600 or grid[7, 9] != 63 or (60, 1) in grid: leak('ESCAPE: lost cells')
                near = {(x, y) for x in range(30) for y in range(30)}
                if len(near) != 900: leak('ESCAPE: lost cells')
            """,
        },
    ),
]
