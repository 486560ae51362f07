"""Text made from values: format languages that look up attributes, widths, addresses, endless and nested text."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, REJECT, STOP, cases

CASES = [
    *cases(
        "format",
        REJECT,
        {
            "format reads attributes": "leak('{0.__class__}'.format(session))",
            "format reads attributes of attributes": "leak('{0.send.__globals__}'.format(session))",
            "format by a mapping": "leak('{x.__class__}'.format_map({'x': 1}))",
            "format kept as a value": """
                fmt = '{0.__class__}'.format
                leak(fmt(session))
            """,
            "format of the text class": "leak(str.format('{0.__class__}', 1))",
            "format handed to map": "leak(map('{0.__class__}'.format, [1]))",
            "format in a default": "def run(f='{0.__class__}'.format): leak(f(1))",
            "template of an f-string": "t = t'{1}'",
            "conversion to plain letters": "leak(f'{session!a}')",
            "maketrans and translate": "leak('abc'.translate({97: 'x' * 10}))",
            "hazard inside a format spec": "leak(f'{1:{().__class__.__name__}}')",
        },
    ),
    *cases(
        "format",
        RAISE,
        {
            "formatter of the string module": "leak(string.Formatter().get_field('0.__class__', (1,), {}))",
            "format builtin": "leak(format(1, '>10'))",
            "template of the string module": "leak(string.Template('$x'))",
            "ascii builtin": "leak(ascii(session))",
            "identity as an address": "leak('ESCAPE: %d' % id(session))",
            "hash as an address": "leak('ESCAPE: %d' % hash(session))",
            "percent needs more values": "x = '%s %s' % 1",
            "percent is given too many values": "x = 'plain' % 1",
            "percent of a mapping that is none": "x = '%(a)s' % [1]",
            "percent star of a text": "x = '%*d' % ('9', 1)",
            "percent of a mapping without the key": "x = '%(b)s' % {'a': 1}",
            "format spec of an instance": """
                class Ship: pass
                x = f'{Ship():d}'
            """,
            "character out of range": "x = '%c' % 1114112",
            "text of an instance that is no text": """
                class Ship:
                    def __str__(self): return 5
                x = str(Ship()) + ''
            """,
            "text that calls itself": """
                class Ship:
                    def __str__(self): return f'{self}'
                    def __repr__(self): return '%r' % self
                try: x = str(Ship())
                except Exception: pass
                x = repr(Ship())
            """,
        },
    ),
    *cases(
        "format",
        HARMLESS,
        {
            "no address in text": """
                class Ship:
                    def run(self): return 1
                class Loud(Exception): pass
                def helper(): return 1
                things = [session, math, print, leak, helper, Ship, Ship(), Ship().run, len, [].append, session.send,
                          session.get_logger(), session.new_packet(), session.new_data(), session.new_request(),
                          session.random, ValueError, Loud('x'), lambda: 0, {1: helper}, [Ship()], (helper,), {Ship}]
                for thing in things:
                    for text in [str(thing), repr(thing), f'{thing}', f'{thing!r}', f'{thing!s:>5}', '%s' % [thing],
                                 '%r' % (thing,), '%s' % {1: thing}, f'{[thing]}', str([thing, (thing,)])]:
                        if '0x' in text: leak('ESCAPE: address in ' + text)
                        leak(text)
            """,
            "no address in a conversion to plain letters": """
                def helper(): return 1
                for text in ['%a' % helper, '%a' % [helper], '%a' % {1: session}, '%a' % (print,)]: leak(text)
            """,
            "no address in the text of an exception": """
                class Ship: pass
                def helper(): return 1
                attempts = [lambda: session + 1, lambda: session.nothing, lambda: {}[Ship()], lambda: {}[helper],
                            lambda: helper < 1, lambda: helper(1), lambda: int(helper), lambda: [][Ship()],
                            lambda: session.send(helper), lambda: session.on_packet(Ship(), 1), lambda: len(helper),
                            lambda: math.sin(helper), lambda: max(1, helper), lambda: [1].index(Ship())]
                for attempt in attempts:
                    try:
                        attempt()
                    except Exception as error:
                        leak(error)
                        if '0x' in error: leak('ESCAPE: address in ' + error)
            """,
            "ordinary formats": """
                x = 5
                texts = [f'{x=}', f'{x:>5}', f'{2.5:.3f}', '%5.2f|%-4d|%s' % (1.5, 7, 'a'), f'{"a" + "b":^{x}}', '%%',
                         '%(a)s' % {'a': 1}, f'{x!r:>10}', b'%d' % 5]
                if texts[3] != ' 1.50|7   |a': leak('ESCAPE: ' + texts[3])
                leak(texts)
            """,
            "percent by the way of a host object": """
                text = '%s' % session
                if '0x' in text or 'object at' in text: leak('ESCAPE: ' + text)
            """,
            "percent of a small nest": "leak('%s' % ([1, [2, (3, {4: 5})]],))",
        },
    ),
    *cases(
        "format",
        STOP,
        {
            "width of a format spec": "x = f'{1:>2000000000}'",
            "width of a nested format spec": """
                width = 10 ** 9
                x = f'{1:>{width}}'
            """,
            "width of a percent": "x = '%900000000d' % 1",
            "width of a percent by a star": "x = '%*d' % (900000000, 1)",
            "width of a percent of bytes": "x = b'%900000000d' % 1",
            "width of a percent by a name": "x = '%(a)900000000s' % {'a': 'x'}",
            "precision of a percent": "x = '%.900000000f' % 1.5",
            "precision of a percent integer": "x = '%.900000000d' % 1",
            "text that never ends": """
                class Ship:
                    def __str__(self):
                        while True: pass
                x = f'{Ship()}'
            """,
            "representation that never ends inside a list": """
                class Ship:
                    def __repr__(self):
                        while True: pass
                x = str([Ship()])
            """,
            "many wide values": "x = [f'{n:>3000000}' for n in range(50)]",
        },
    ),
    *cases(
        "format",
        f"{RAISE}|{STOP}",
        {
            "precision of a format spec": "x = f'{1.5:.900000000f}'",
            "precision of a nested format spec": """
                precision = 10 ** 9
                x = f'{1.5:.{precision}f}'
            """,
            "many precise values": "x = ['%.300000f' % 1.5 for n in range(2000)]",
            "thousands separators of a long number": """
                n = 3 ** 2500
                x = [f'{n:,}' for i in range(5000)]
            """,
        },
    ),
]
