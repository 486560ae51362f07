"""What has crashed interpreters: deep structures, containers that change under C code, recursion through slots."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, REJECT, STOP, cases

CASES = [
    *cases(
        "crash",
        f"{RAISE}|{STOP}",
        {
            "hash of a deep tuple": """
                deep = ()
                for n in range(30000): deep = (deep,)
                x = {deep: 1}
            """,
            "hash of a tuple that deepens over callbacks": """
                state = [()]
                def on_packet(packet):
                    deep = state[0]
                    for n in range(20000): deep = (deep,)
                    state[0] = deep
                    x = {deep}
            """,
            "hash of a deep tuple made by zip": """
                deep = ()
                for n in range(20000): deep = zip([deep])[0]
                x = {deep: 1}
            """,
            "hash of a deep tuple made by arguments": """
                def wrap(*rest): return rest
                deep = ()
                for n in range(20000): deep = wrap(deep)
                x = {deep: 1}
            """,
            "hash of a deep tuple made by enumerate": """
                deep = ()
                for n in range(20000): deep = enumerate([deep])[0]
                x = {deep: 1}
            """,
            "hash of a deep tuple made by items": """
                deep = ()
                for n in range(20000): deep = {1: deep}.items()[0]
                x = {deep: 1}
            """,
            "hash of a deep tuple made by dict and list": """
                deep = ()
                for n in range(20000): deep = tuple([deep])
                x = {deep: 1}
            """,
            "hash of a deep tuple made by sum": """
                deep = ()
                for n in range(20000): deep = sum([(deep,)], ())
                x = {deep: 1}
            """,
            "hash of a deep tuple made by addition": """
                deep = ()
                for n in range(20000): deep = () + (deep,) + ()
                x = {deep: 1}
            """,
            "hash of a deep tuple around instances": """
                class Key:
                    def __init__(self, below): self.below = below
                    def __hash__(self): return len({self.below: 1})
                deep = 1
                for n in range(20000): deep = Key(deep)
                x = {deep: 1}
            """,
            "comparison of deep lists": """
                a = []
                b = []
                for n in range(50000): a = [a]; b = [b]
                a == b
                a < b
            """,
            "comparison of deep dictionaries": """
                a = {}
                b = {}
                for n in range(30000): a = {1: a}; b = {1: b}
                a == b
            """,
            "comparison of rings": """
                a = []
                b = []
                a.append(b)
                b.append(a)
                a == b
            """,
            "comparison of rings of two steps": """
                a = [[]]
                b = [[]]
                a[0].append(a)
                b[0].append(b)
                a != b
            """,
            "comparison of dictionary rings": """
                a = {}
                b = {}
                a[1] = b
                b[1] = a
                a == b
            """,
            "search of deep lists": """
                a = []
                b = []
                for n in range(30000): a = [a]; b = [b]
                [a].index(b)
            """,
            "sort of deep lists": """
                a = []
                b = []
                for n in range(30000): a = [a]; b = [b]
                sorted([a, b])
            """,
            "extremes of deep lists": """
                a = []
                b = []
                for n in range(30000): a = [a]; b = [b]
                max([a, b])
            """,
            "text of a deep dictionary": """
                a = {}
                for n in range(50000): a = {1: a}
                b = repr(a)
            """,
            "printing a deep list": """
                a = []
                for n in range(100000): a = [a]
                print(a)
                session.get_logger().info(a)
                while True: pass
            """,
            "deep list dies": """
                def on_packet(packet):
                    a = []
                    while True: a = [a]
            """,
            "deep tuple dies": """
                def on_packet(packet):
                    a = ()
                    while True: a = (a,)
            """,
            "deep dictionary dies": """
                def on_packet(packet):
                    a = {}
                    while True: a = {1: a}
            """,
            "deep instances die": """
                class Ship:
                    def __init__(self, below): self.below = below
                def on_packet(packet):
                    a = None
                    while True: a = Ship(a)
            """,
            "deep closures die": """
                def wrap(f): return lambda: f
                def on_packet(packet):
                    a = None
                    while True: a = wrap(a)
            """,
            "deep defaults die": """
                def on_packet(packet):
                    a = None
                    while True: a = lambda x=a: x
            """,
            "deep bound methods die": """
                class Ship:
                    def __init__(self, below): self.below = below
                    def run(self): return 1
                def on_packet(packet):
                    a = None
                    while True: a = Ship(a).run
            """,
            "deep bound methods of lists die": """
                def on_packet(packet):
                    a = None
                    while True: a = [a].append
            """,
            "deep exceptions die": """
                def on_packet(packet):
                    a = ValueError('first')
                    while True: a = ValueError(a)
            """,
            "deep classes die": """
                def on_packet(packet):
                    class Base: pass
                    while True:
                        class Next(Base): pass
                        Base = Next
            """,
            "deep data dies": """
                def on_packet(packet):
                    a = session.new_data()
                    while True: a = session.new_data().set_data(1, a)
            """,
            "deep sets of instances die": """
                class Ship:
                    def __init__(self, below): self.below = {below}
                def on_packet(packet):
                    a = None
                    while True: a = Ship(a)
            """,
            "many base classes": """
                class A: pass
                class B(A): pass
                kinds = [A, B]
                def grow(last):
                    class C(last): pass
                    return C
                def on_packet(packet):
                    last = B
                    for n in range(3000): last = grow(last)
                    last().nothing
            """,
            "deep generator expressions": """
                nest = [1]
                for n in range(30000): nest = (a for a in nest)
                for n in nest: pass
                while True: nest = [nest]
            """,
            "deep enumerations": """
                nest = [1]
                while True: nest = enumerate(nest)
            """,
        },
    ),
    *cases(
        "crash",
        HARMLESS,
        {
            "text of a deep list": """
                a = []
                for n in range(30000): a = [a]
                b = str(a)
                c = f'{a}'
                d = '%s' % [a]
                print(a)
            """,
            "list emptied by equality while it is searched": """
                class Trap:
                    def __eq__(self, other):
                        bag.clear()
                        return False
                bag = []
                for method in range(4):
                    bag.extend([Trap() for n in range(200)])
                    try:
                        if method == 0: bag.index(1)
                        if method == 1: bag.count(1)
                        if method == 2: bag.remove(1)
                        if method == 3: 1 in bag
                    except ValueError: pass
            """,
            "list emptied by equality while it is compared": """
                class Trap:
                    def __eq__(self, other):
                        a.clear()
                        b.clear()
                        c.clear()
                        return True
                    def __lt__(self, other):
                        a.clear()
                        b.clear()
                        return False
                a = []
                b = []
                c = {}
                for n in range(50):
                    a.extend([Trap() for n in range(50)])
                    b.extend([Trap() for n in range(50)])
                    a == b
                    a.extend([Trap() for n in range(50)])
                    b.extend([Trap() for n in range(50)])
                    try: a < b
                    except RuntimeError: pass
                    c[1] = Trap()
                    d = {1: Trap()}
                    try: c == d
                    except RuntimeError: pass
            """,
            "nested lists emptied while they are compared": """
                class Trap:
                    def __eq__(self, other):
                        for bag in inner: bag.clear()
                        a.clear()
                        return True
                inner = [[Trap(), Trap()] for n in range(100)]
                a = [bag for bag in inner]
                b = [[Trap(), Trap()] for n in range(100)]
                a == b
            """,
            "list grown by equality while it is searched": """
                class Trap:
                    def __eq__(self, other):
                        if len(bag) < 5000: bag.extend([1] * 100)
                        return False
                bag = [Trap() for n in range(20)]
                try: bag.index('x')
                except ValueError: pass
                bag.count('x')
                'x' in bag
            """,
            "list emptied by a function that is mapped": """
                def each(n):
                    bag.clear()
                    return n
                bag = list(range(1000))
                map(each, bag)
                bag = list(range(1000))
                filter(each, bag)
                bag = list(range(1000))
                max(bag, key=each)
                bag = list(range(1000))
                try: sorted(bag, key=each)
                except ValueError: pass
            """,
            "list emptied by truth": """
                class Trap:
                    def __bool__(self):
                        bag.clear()
                        return False
                bag = [Trap() for n in range(500)]
                any(bag)
                bag = [Trap() for n in range(500)]
                filter(None, bag)
                bag = [[Trap()] for n in range(500)]
                all(bag)
            """,
            "list emptied by addition": """
                class Trap:
                    def __add__(self, other):
                        bag.clear()
                        return self
                    def __radd__(self, other):
                        bag.clear()
                        return self
                bag = [Trap() for n in range(500)]
                sum(bag)
                bag = [Trap() for n in range(500)]
                sum(bag, Trap())
            """,
            "list emptied by representation": """
                class Trap:
                    def __repr__(self):
                        bag.clear()
                        table.clear()
                        return 'x' * 100
                    def __str__(self):
                        bag.clear()
                        return 'y' * 100
                table = {}
                bag = [Trap() for n in range(300)]
                str(bag)
                bag.extend([[Trap()], (Trap(),), {1: Trap()}, {Trap()}])
                f'{bag}'
                bag.extend([Trap() for n in range(300)])
                '%s %r' % (bag, bag)
                table.update({n: Trap() for n in range(100)})
                try: repr(table)
                except RuntimeError: pass
                bag.extend([Trap() for n in range(300)])
                print(bag)
            """,
            "list emptied by iteration": """
                class Trap:
                    def __init__(self): self.n = 0
                    def __iter__(self): return self
                    def __next__(self):
                        bag.clear()
                        self.n += 1
                        if self.n > 100: raise StopIteration
                        return self.n
                bag = list(range(100))
                bag.extend(Trap())
                bag[2:5] = Trap()
                bag += Trap()
                zip(bag, Trap())
                zip(Trap(), bag)
                map(max, bag, Trap())
                ''.join([str(n) for n in Trap()])
            """,
            "sort that changes its list": """
                class Trap:
                    def __lt__(self, other):
                        bag.append(Trap())
                        return False
                def key(n):
                    bag.clear()
                    return n
                bag = [Trap() for n in range(50)]
                try: bag.sort()
                except ValueError: pass
                bag = list(range(50))
                try: bag.sort(key=key)
                except ValueError: pass
                bag = [3, 1, 2]
                try: bag.sort(key=lambda n: bag.sort() or n)
                except ValueError: pass
            """,
            "dictionary changed by equality of its keys": """
                class Key:
                    def __init__(self, n): self.n = n
                    def __hash__(self): return 1
                    def __eq__(self, other):
                        table.clear()
                        return False
                table = {}
                for n in range(100):
                    try:
                        table[Key(n)] = n
                        table.setdefault(Key(n), [])
                        table.pop(Key(n), None)
                        table.get(Key(n))
                        table.update({Key(n): 1, Key(n + 1): 2})
                        Key(n) in table
                        table |= {Key(n): 3}
                    except RuntimeError: pass
            """,
            "set changed by equality of its members": """
                class Key:
                    def __hash__(self): return 1
                    def __eq__(self, other):
                        bag.clear()
                        return False
                bag = set()
                for n in range(100):
                    try:
                        bag.add(Key())
                        bag.discard(Key())
                        bag.update([Key(), Key()])
                        bag |= {Key()}
                        bag - {Key()}
                        bag & {Key(), Key()}
                        bag ^ {Key()}
                        bag.symmetric_difference_update({Key()})
                        bag.difference_update([Key()])
                        bag.intersection_update([Key()])
                        bag == {Key()}
                        bag <= {Key()}
                        bag.issubset([Key()])
                    except RuntimeError: pass
            """,
            "set changed by hashes of its members": """
                class Key:
                    def __eq__(self, other): return False
                    def __hash__(self):
                        bag.clear()
                        bag.update(range(100))
                        return 5
                bag = {1, 2, 3}
                for n in range(50):
                    try:
                        bag.update([Key() for n in range(3)])
                        bag = bag | {Key()}
                        bag.symmetric_difference_update([Key()])
                        bag.intersection_update([Key()])
                    except RuntimeError: pass
            """,
            "dictionary changed while it is walked": """
                table = {n: n for n in range(100)}
                for attempt in range(4):
                    try:
                        for n in table:
                            table[n + 1000] = 1
                            del table[n]
                    except RuntimeError: pass
                    try:
                        for n in list(table): table.pop(n)
                    except RuntimeError: pass
                    table.update({n: n for n in range(100)})
            """,
            "slices of lists that change": """
                bag = list(range(100))
                for n in range(100):
                    bag[n:n + 5] = bag[90:]
                    bag[::2] = bag[::2]
                    del bag[::3]
                    bag.extend(bag[:10])
                    bag.insert(-500, 1)
                    if bag: bag.pop(-1)
            """,
            "constant of a lambda that is folded": "x = lambda: ('a' * 4000 * 1, (1, 2) * 50, 1 << 20)",
            "nested targets of many levels": """
                value = 1
                for n in range(50): value = [value]
                [[[[[[[[[[inner]]]]]]]]]] = [[[[[[[[[[value]]]]]]]]]]
            """,
            "variables that do not exist any more": """
                def on_packet(packet):
                    x = 1
                    del x
                    try: print(x)
                    except NameError: pass
                    def inner(): return y
                    try: inner()
                    except NameError: pass
                    y = 1
                    del y
                    try: inner()
                    except NameError: pass
            """,
        },
    ),
    *cases(
        "crash",
        RAISE,
        {
            "hash that is no number": """
                class Key:
                    def __hash__(self): return 'x'
                x = {Key(): 1}
            """,
            "hash that is a very long number": """
                class Key:
                    def __hash__(self): return 1 << 4000
                x = {Key(): 1}
                raise ValueError('as it should be')
            """,
            "length that is no number": """
                class Ship:
                    def __len__(self): return 'x'
                len(Ship())
            """,
            "length that is a very long number": """
                class Ship:
                    def __len__(self): return 1 << 4000
                if Ship(): pass
            """,
            "truth that is no truth": """
                class Ship:
                    def __bool__(self): return 5
                if Ship(): pass
            """,
            "iterator that is none": """
                class Ship:
                    def __iter__(self): return 5
                for n in Ship(): pass
            """,
            "initializer that returns": """
                class Ship:
                    def __init__(self): return 5
                Ship()
            """,
            "call of an instance that has none": """
                class Ship: pass
                Ship()()
            """,
            "unhashable keys": """
                class Key:
                    def __eq__(self, other): return True
                x = {Key(): 1}
            """,
            "list as a key": "x = {[]: 1}",
            "tuple of a list as a key": "x = {(1, []): 1}",
            "set in a set": "x = {{1}}",
            "method resolution that cannot be": """
                class A: pass
                class B(A): pass
                class C(A, B): pass
            """,
            "layout conflict of bases": "class Odd(KeyError, AttributeError, NameError, StopIteration): pass",
            "name is used before it exists": "print(later); later = 1",
            "loop variable deleted": """
                for n in range(5):
                    del n
                    del n
            """,
        },
    ),
    *cases(
        "crash",
        REJECT,
        {
            "too many nested blocks": "".join(f"{' ' * n}for a{n} in [1]:\n" for n in range(40)) + " " * 40 + "pass\n",
            "number with too many digits": "x = " + "7" * 6000,
            "hexadecimal number with too many digits": "x = 0x" + "f" * 6000,
            "imaginary number": "x = 5j",
            "nonlocal at the top": "nonlocal x",
            "return at the top": "return 5",
            "break outside": "break",
            "continue outside": "continue",
            "starred alone": "*a = [1]",
            "two names for one parameter": "def run(a, a): pass",
            "default before a parameter": "def run(a=1, b): pass",
            "assignment to a literal": "1 = 2",
            "deletion of a literal": "del 1",
            "keyword twice": "dict(a=1, a=2)",
        },
    ),
]
