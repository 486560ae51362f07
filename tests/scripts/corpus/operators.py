"""Guards met by their own means: their wrappers caught by script operators, hazardous methods taken as values."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, REJECT, STOP, cases

_HAZARDS = (
    "index",
    "count",
    "remove",
    "sort",
    "add",
    "setdefault",
    "update",
    "union",
    "items",
    "keys",
    "values",
    "split",
    "rsplit",
    "splitlines",
    "encode",
    "symmetric_difference",
    "symmetric_difference_update",
    "rfind",
    "rindex",
    "rpartition",
    "decode",
)
_RECEIVER = {
    **dict.fromkeys(("index", "count", "remove", "sort"), "[]"),
    **dict.fromkeys(("add", "union", "symmetric_difference", "symmetric_difference_update"), "set()"),
    **dict.fromkeys(("setdefault", "update", "items", "keys", "values"), "{}"),
    **dict.fromkeys(("split", "rsplit", "splitlines", "encode", "rfind", "rindex", "rpartition"), "'x'"),
    "decode": "b'x'",
}

CASES = [
    *cases(
        "operators",
        RAISE,
        {f"{name} as a value": f"method = {_RECEIVER[name]}.{name}\nleak(method)\n" for name in _HAZARDS},
    ),
    *cases(
        "operators",
        RAISE,
        {
            "hazardous method in a display": "leak([[].sort, {}.items])",
            "hazardous method as an argument": "map([1].index, [1])",
            "hazardous method as a key function": "sorted([1], key=[1].count)",
            "hazardous method by a conditional": "leak(([].sort if session else None))",
            "hazardous method by a walrus": "(method := [].sort)()",
            "hazardous method by a return": """
                def take(bag): return bag.sort
                leak(take([1]))
            """,
            "hazardous method by a lambda": "leak((lambda bag: bag.remove)([1]))",
            "hazardous method by a default": "def run(method=[].sort): leak(method)\nrun()",
            "hazardous method by a comprehension": "leak([bag.index for bag in [[1]]])",
            "hazardous method by an f-string": "leak(f'{[].sort}')",
            "hazardous method in a decorator": """
                @[].count
                def run(): pass
            """,
            "hazardous method in a loop": "for method in [[].sort]: leak(method)",
            "hazardous method in a comparison": "leak([].sort == [].sort)",
            "hazardous method in a subscript": "leak({1: [].index}[1])",
            "hazardous method in an assignment to many": "a = b = {}.update\nleak(a)",
            "hazardous method deleted": "del [].sort",
            "hazardous method written": "[].sort = print",
            "hazardous method augmented": "[].sort += 1",
            "hazardous method in a class body": """
                class Ship:
                    method = {}.update
                leak(Ship.method)
            """,
            "hazardous method with keywords": "[3, 1].sort(kee=5)",
            "hazardous method with too many arguments": "[3, 1].index(1, 2, 3, 4, 5)",
            "item of a text": """
                x = 'abc'
                x[0] = 'd'
            """,
            "tuple item augmented": """
                x = ([1],)
                x[0] += [2]
            """,
            "addition of a list and a tuple": "x = [1] + (2,)",
            "addition of a tuple and a list": "x = (1,) + [2]",
            "tuple times a tuple": "x = (1,) * (2,)",
            "tuple times a text": "x = (1,) * 'x'",
            "tuple minus a tuple": "x = (1,) - (2,)",
            "tuple divided": "x = (1,) / 2",
            "comparison of unlike": "x = [1] < (1,)",
            "comparison of a list and a number": "x = [1] < 1",
            "comparison of dictionaries": "x = {1: 1} < {1: 2}",
            "percent with a list": "x = [1] % 2",
            "negative tuple": "x = -(1, 2)",
            "inverted list": "x = ~[1]",
            "membership in a number": "x = 1 in 5",
            "membership of a number in a text": "x = 1 in 'abc'",
            "membership in the host": "x = 1 in session",
        },
    ),
    *cases(
        "operators",
        REJECT,
        {
            "operator as a method": "x = (1).__add__(2)",
            "item by a method": "x = [1].__getitem__(0)",
            "comparison by a method": "x = [1].__eq__([1])",
            "membership by a method": "x = [1].__contains__(1)",
            "truth by a method": "x = (1).__bool__()",
            "iterator by a method": "x = [1].__iter__()",
            "reduction by a method": "x = [1].__reduce_ex__(2)",
            "size by a method": "x = [1].__sizeof__()",
            "slots of a method": "x = [].append.__self__",
        },
    ),
    *cases(
        "operators",
        HARMLESS,
        {
            "script operators are given what was written": """
                class Sponge:
                    def __add__(self, other): return self.take('add', other)
                    def __radd__(self, other): return self.take('radd', other)
                    def __sub__(self, other): return self.take('sub', other)
                    def __rsub__(self, other): return self.take('rsub', other)
                    def __mul__(self, other): return self.take('mul', other)
                    def __rmul__(self, other): return self.take('rmul', other)
                    def __truediv__(self, other): return self.take('truediv', other)
                    def take(self, name, other):
                        leak(other)
                        if not isinstance(other, (tuple, list, int, str, dict, set, bytes)):
                            leak('ESCAPE: %s was given %r' % (name, other))
                        taken.append(other)
                        return self
                taken = []
                sponge = Sponge()
                values = [(1, 2), [1], 5, 'x', {1: 2}, {1}, b'x', (sponge,)]
                for value in values:
                    sponge + value
                    value + sponge if not isinstance(value, (list, tuple, str, bytes)) else 0
                    sponge - value
                    value - sponge
                    sponge * value
                    value * sponge if isinstance(value, (dict, set, int)) else 0
                    sponge / value
                if len(taken) < 8 * 4: leak('ESCAPE: only %d' % len(taken))
            """,
            "tuples and lists beside script operators on the right": """
                class Sponge:
                    def __radd__(self, other):
                        leak(other)
                        return 'radd'
                    def __rmul__(self, other):
                        leak(other)
                        return 'rmul'
                    def __rsub__(self, other):
                        leak(other)
                        return 'rsub'
                sponge = Sponge()
                a = (1, 2)
                results = [a + sponge, [1] + sponge, 'x' + sponge, a - sponge]
                if results != ['radd', 'radd', 'radd', 'rsub']: leak('ESCAPE: %r' % results)
                results = [a * sponge, [1] * sponge, 'x' * sponge]
                if results != ['rmul', 'rmul', 'rmul']: leak('ESCAPE: %r' % results)
            """,
            "augmented script operators are given what was written": """
                class Sponge:
                    def __add__(self, other):
                        leak(other)
                        return self
                    def __sub__(self, other):
                        leak(other)
                        return self
                    def __mul__(self, other):
                        leak(other)
                        return self
                class Holder: pass
                x = Sponge()
                a = (1, 2)
                x += a
                x -= a
                x *= a
                holder = Holder()
                holder.x = Sponge()
                holder.x += a
                box = [Sponge()]
                box[0] += a
                if x is a or not isinstance(x, Sponge): leak('ESCAPE: lost the sponge')
            """,
            "script comparisons are given what was written": """
                class Judge:
                    def __eq__(self, other): return self.take('eq', other)
                    def __ne__(self, other): return self.take('ne', other)
                    def __lt__(self, other): return self.take('lt', other)
                    def __gt__(self, other): return self.take('gt', other)
                    def __le__(self, other): return self.take('le', other)
                    def __ge__(self, other): return self.take('ge', other)
                    def take(self, name, other):
                        leak(other)
                        if not isinstance(other, (list, tuple, dict, set, str, int, Judge)):
                            leak('ESCAPE: %s was given something else' % name)
                        return True
                judge = Judge()
                for value in [[1], (1,), {1: 1}, {1}, 'x', 5]:
                    value == judge
                    judge == value
                    value != judge
                    judge != value
                    value < judge
                    judge < value
                    value >= judge
                    judge >= value
                    judge == value == judge
                    value == judge == value
                    value < judge < value
                    judge < value <= judge
                    [value] == [judge]
                    [judge] == [value]
                    (value, 1) < (judge, 1)
                    {1: value} == {1: judge}
                    judge in [value]
                    value in [judge]
                    value in (judge, 1)
                    value not in [judge]
                    [judge].index(value)
                    [judge].count(value)
                    [value].count(judge)
                    sorted([judge, judge])
                    max([judge, judge])
                    max(value, judge)
            """,
            "script containers are given what was written": """
                class Box:
                    def __contains__(self, item):
                        leak(item)
                        return True
                    def __getitem__(self, item):
                        leak(item)
                        return 1
                    def __setitem__(self, item, value): leak([item, value])
                    def __delitem__(self, item): leak(item)
                    def __call__(self, *rest): leak(rest)
                box = Box()
                for value in [[1], (1, 2), {1: 2}, {1}, 'x', 5, b'x', None]:
                    value in box
                    value not in box
                    box[value]
                    box[value] = value
                    box[value] += 1
                    del box[value]
                    if not isinstance(value, (list, dict, set)): box[value, 1] = 2
                    box(value, *[value])
                box[1:2]
                box[1:2] = 5
                box[...]
            """,
            "wrappers do not come out of expressions": """
                a = (1, 2)
                b = [3, 4]
                c = {5: 6}
                values = [a + a, a * 2, 2 * a, b + b, b * 2, a == a, b != b, a < a, 1 in a, 1 in b, 'a' in 'abc',
                          'x%s' % 1, '%s' % (a,), '%s' % b, c == c, c | c, a + (), () + a, b and a, a or b, not a,
                          (a if b else c), a[0], b[-1], a[:1], b[0:1], a + (b,), (a, b), [a, b], {1: a}, *a, *b]
                for value in values: leak(value)
                x = a
                x += (3,)
                leak(x)
                y = [1]
                y += a
                leak(y)
                if y != [1, 1, 2] or x != (1, 2, 3): leak('ESCAPE: %r %r' % (x, y))
                z = 'a'
                z *= 3
                z %= ()
                leak(z)
                w = {1}
                w |= {2}
                w ^= {3}
                w -= {1}
                w &= {2, 3}
                leak(w)
                d = {1: 2}
                d |= {3: 4}
                leak(d)
            """,
            "augmented targets are evaluated once": """
                calls = []
                class Box:
                    def __init__(self): self.x = 1
                def box():
                    calls.append(1)
                    return shared
                def key():
                    calls.append(2)
                    return 0
                shared = Box()
                items = [1, 2]
                box().x += 1
                items[key()] += 5
                items[key()] -= 1
                if calls != [1, 2, 2] or shared.x != 2 or items != [5, 2]: leak('ESCAPE: %r %r' % (calls, items))
            """,
            "order of evaluation is Python's": """
                trail = []
                def note(value):
                    trail.append(value)
                    return value
                note(1) + note(2) * note(3)
                note(4) < note(5) < note(6)
                {note(7): note(8)}
                [note(9), note(10)][note(0)]
                note(11) if note(12) else note(13)
                bag = {}
                bag[note(14)] = note(15)
                print(note(16), *[note(17)], sep='')
                if trail != [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 12, 11, 15, 14, 16, 17]: leak('ESCAPE: %r' % trail)
            """,
            "own methods with hazardous names": """
                class Crew:
                    def sort(self, *rest, **more): return ('sort', rest, more)
                    def index(self, value): return value
                    def items(self): return 'items'
                    def update(self, value): return value
                    def add(self, value): return value
                    def remove(self): return 'removed'
                crew = Crew()
                if crew.sort(1, key=2) != ('sort', (1,), {'key': 2}): leak('ESCAPE: sort')
                if crew.items() != 'items' or crew.index(5) != 5 or crew.remove() != 'removed': leak('ESCAPE: items')
                method = crew.add
                leak([crew.update, method, method([1])])
            """,
            "methods do what they do": """
                bag = [3, 1, 2]
                bag.sort(reverse=True)
                table = {'a': 1}
                table.update({'b': 2}, c=3)
                results = [bag, bag.index(1), bag.count(2), bag.remove(3), bag, 'a b'.split(), 'a,b,c'.rsplit(',', 1),
                           'xxaxx'.strip('x'), 'a\\nb'.splitlines(), 'abcb'.rfind('b'), 'a.b.c'.rpartition('.'),
                           'é'.encode('utf-8').decode('utf-8'), list(table.items()), {1}.union([2]),
                           {1}.symmetric_difference({2}), table.setdefault('d', []), (1, 2, 1).count(1)]
                wanted = [[2, 1], 2, 1, None, [2, 1], ['a', 'b'], ['a,b', 'c'], 'a', ['a', 'b'], 3, ('a.b', '.', 'c'),
                          'é',
                          [('a', 1), ('b', 2), ('c', 3)], {1, 2}, {1, 2}, [], 2]
                if results != wanted: leak('ESCAPE: %r' % results)
            """,
        },
    ),
    *cases(
        "operators",
        STOP,
        {
            "guarded work in a script operator": """
                class Ship:
                    def __add__(self, other):
                        while True: pass
                def on_packet(packet): Ship() + (1, 2)
            """,
            "guarded work in a container test": """
                class Ship:
                    def __contains__(self, other):
                        while True: pass
                def on_packet(packet): 1 in Ship()
            """,
            "guarded work in an item": """
                class Ship:
                    def __setitem__(self, item, value):
                        while True: pass
                def on_packet(packet):
                    ship = Ship()
                    ship[1, 2] = 3
            """,
        },
    ),
]
