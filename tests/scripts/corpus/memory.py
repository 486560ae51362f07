"""More memory than a script may have: in one block, in many small ones, in one callback, over many."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, STOP, cases

CASES = [
    *cases(
        "memory",
        STOP,
        {
            "one long text": "x = 'a' * 10 ** 10",
            "one long text by a variable": """
                n = 10 ** 9
                x = n * 'ab'
            """,
            "one long text by augmentation": """
                x = 'ab'
                x *= 10 ** 9
            """,
            "one long list": "x = [0] * 10 ** 9",
            "one long list by augmentation": """
                x = [0]
                x *= 10 ** 8
            """,
            "one long list of an item": """
                x = [[0]]
                x[0] *= 10 ** 8
            """,
            "one long bytes": "x = b'a' * 10 ** 10",
            "doubling a text": """
                x = 'a'
                for n in range(60): x = x + x
            """,
            "doubling a text by augmentation": """
                x = 'a'
                for n in range(60): x += x
            """,
            "doubling a list": """
                x = [1]
                for n in range(60): x = x + x
            """,
            "doubling a list by extension": """
                x = [1]
                for n in range(60): x.extend(x)
            """,
            "doubling a list by augmentation": """
                x = [1]
                for n in range(60): x += x
            """,
            "doubling a list by a slice": """
                x = [1]
                for n in range(60): x[0:0] = x
            """,
            "doubling a list by a display": """
                x = [1]
                for n in range(60): x = [*x, *x]
            """,
            "doubling a text by a format": """
                x = 'a'
                for n in range(60): x = f'{x}{x}'
            """,
            "doubling a text by percent": """
                x = 'a'
                for n in range(60): x = '%s%s' % (x, x)
            """,
            "doubling a text by joining": """
                x = 'a'
                for n in range(60): x = x.join(['', x, ''])
            """,
            "doubling a text by replacement": """
                x = 'a'
                for n in range(60): x = x.replace('a', 'aa')
            """,
            "replacement that multiplies": """
                x = 'a' * 100000
                y = x.replace('a', x)
            """,
            "replacement of nothing": """
                x = 'a' * 100000
                y = x.replace('', x)
            """,
            "joining that multiplies": """
                x = 'a' * 100000
                y = x.join(['b'] * 50000)
            """,
            "joining one text many times": """
                x = 'a' * 100000
                y = ''.join([x] * 50000)
            """,
            "centred": "x = 'a'.center(10 ** 10)",
            "padded on the left": "x = 'a'.rjust(10 ** 10)",
            "padded on the right": "x = 'a'.ljust(10 ** 9, '*')",
            "padded with zeros": "x = '5'.zfill(10 ** 9)",
            "tabs": """
                x = '\\t' * 1000
                y = x.expandtabs(10 ** 7)
            """,
            "printing a long nest": """
                x = ['a' * 500]
                for n in range(30): x = [x, x]
                print(x)
                while True: pass
            """,
            "texts kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append('x' * 50000 + str(len(kept)))
            """,
            "short texts kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append('x' * 900 + str(len(kept)))
            """,
            "short texts kept eight at a time": (
                "kept = []\ndef on_packet(packet):\n    n = 0\n    while True:\n        n += 1\n        kept.append(["
                + ", ".join(f"'x' * (900 + n % 2) + '{n}'" for n in range(24))
                + "])\n"
            ),
            "short bytes kept in displays": (
                "kept = []\nb = b'x'\ndef on_packet(packet):\n    n = 900\n    while True:\n        kept.append(["
                + ", ".join(["b * n"] * 60)
                + "])\n"
            ),
            "slices kept": """
                kept = []
                source = 'abcdefgh' * 120
                def on_packet(packet):
                    for n in range(100000): kept.append([source[n % 9:], source[n % 8:], source[n % 7:]])
            """,
            "numbers kept": """
                kept = []
                def on_packet(packet):
                    for n in range(100000): kept.append((1 << 4000) + n)
            """,
            "empty lists kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append([[], [], [], [], [], [], [], {}, {}, {}])
            """,
            "dictionaries kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append({n: n for n in range(20)})
            """,
            "instances kept": """
                class Ship:
                    def __init__(self, n): self.a = self.b = self.c = n
                kept = []
                def on_packet(packet):
                    while True: kept.append(Ship(1.5 * len(kept)))
            """,
            "closures kept": """
                kept = []
                def make(n): return lambda: n
                def on_packet(packet):
                    while True: kept.append(make('y' * 300))
            """,
            "classes kept": """
                kept = []
                def on_packet(packet):
                    while True:
                        class Ship:
                            a = 1
                            def run(self): return 1
                        kept.append(Ship)
            """,
            "functions kept": """
                kept = []
                def on_packet(packet):
                    while True:
                        def run(a=1, b=2, c=3): return a
                        kept.append(run)
            """,
            "bound methods kept": """
                class Ship:
                    def run(self): return 1
                kept = []
                def on_packet(packet):
                    while True: kept.append(Ship().run)
            """,
            "exceptions kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append(ValueError('x' * 500 + str(len(kept))))
            """,
            "sets kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append({1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
            """,
            "tuples kept": """
                kept = []
                def on_packet(packet):
                    n = 0.5
                    while True:
                        n += 1
                        kept.append((n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n))
            """,
            "attributes kept": """
                class Ship: pass
                ship = Ship()
                def on_packet(packet):
                    while True:
                        ship.next = Ship()
                        ship.next.before = ship
                        global_ship(ship.next)
                def global_ship(new):
                    global ship
                    ship = new
            """,
            "frames kept by recursion": """
                def down(n):
                    mine = ['x' * 900, 'y' * 901, 'z' * 902, [n] * 90]
                    if n < 800: down(n + 1)
                    else:
                        while True: mine.append('x' * 900)
                def on_packet(packet): down(0)
            """,
            "numbers in a comprehension": "x = [[n * 1.5, n * 2.5, n * 3.5, n * 4.5] for n in range(99000)]",
            "small lists in nested comprehensions": "x = [[[] for a in range(400)] for b in range(400)]",
            "dictionary in a comprehension": "x = {n: [n] for n in range(99000)}",
            "words split": """
                x = 'ab ' * 15000
                kept = []
                def on_packet(packet):
                    while True: kept.append(x.split())
            """,
            "characters listed": """
                kept = []
                def on_packet(packet):
                    while True: kept.append(list('a' * 90000))
            """,
            "ranges listed": """
                kept = []
                def on_packet(packet):
                    while True: kept.append(list(range(1000, 90000)))
            """,
            "copies of a list kept": """
                x = [0] * 90000
                kept = []
                def on_packet(packet):
                    while True: kept.append(x[:])
            """,
            "copies of a dictionary kept": """
                x = {n: n for n in range(5000)}
                kept = []
                def on_packet(packet):
                    while True: kept.append(x.copy())
            """,
            "default arguments that grow": """
                def run(kept=[]):
                    kept.append('x' * 5000)
                    return kept
                def on_packet(packet):
                    while True: run()
            """,
            "class attributes that grow": """
                class Ship:
                    kept = []
                def on_packet(packet):
                    while True: Ship.kept.append('x' * 5000)
            """,
            "names kept in a class": """
                class Ship: pass
                def on_packet(packet):
                    while True: Ship.kept = [Ship, 'x' * 900, 'y' * 800] + (Ship.kept if session.now_ms < 0 else [])
                    """,
            "held from callback to callback": """
                kept = []
                def on_packet(packet):
                    for n in range(30): kept.append('x' * 60000)
            """,
            "held in timers": """
                kept = []
                def later():
                    kept.append('x' * 3000000)
                for n in range(30): session.set_timeout(later, 10)
            """,
            "held by players": """
                kept = {}
                def on_player_connect(player): kept[player.peer_id] = ['x' * 3000000]
                def on_packet(packet): kept[packet.op_code, len(kept)] = 'x' * 3000000
            """,
            "log lines kept": """
                def on_packet(packet):
                    for n in range(100000): session.get_logger().info('x' * 1000)
            """,
            "long arguments": """
                def run(*rest): return rest
                def on_packet(packet):
                    run(*([0] * 3000000))
            """,
            "swallowed and tried again": """
                def on_packet(packet):
                    kept = []
                    for n in range(1000):
                        try: kept.append([0] * 200000)
                        except MemoryError: kept.append([0] * 100)
            """,
        },
    ),
    *cases(
        "memory",
        f"{RAISE}|{STOP}",
        {
            "tuple that is long": "x = (0,) * 10 ** 9",
            "tuple that is long by a variable": """
                n = 10 ** 8
                x = n * (0,)
            """,
            "doubling a tuple": """
                x = (1,)
                for n in range(60): x = x + x
            """,
            "doubling a tuple by augmentation": """
                x = (1,)
                for n in range(60): x += x
            """,
            "bytes of a long list": "x = bytes([0] * 4000000)",
            "splitting into many": """
                x = 'a,' * 1000000
                y = x.split(',')
            """,
        },
    ),
    *cases(
        "memory",
        HARMLESS,
        {
            "much, but given back": """
                def on_packet(packet):
                    for n in range(20):
                        x = 'x' * 1000000
                        y = [0] * 100000
            """,
            "text of much is cut": """
                x = ['a' * 500]
                for n in range(30): x = [x, x]
                y = ['\\U0010ffff' * 100000] * 50
                for text in [str(x), repr(y), f'{y}', '%s' % [x], str([1 << 4000] * 4000)]:
                    if len(text) > 110000: leak('ESCAPE: %d' % len(text))
            """,
            "a table of fair size": """
                table = {}
                def on_packet(packet):
                    for n in range(300): table[n] = [n, str(n), {n: n}]
            """,
        },
    ),
]
