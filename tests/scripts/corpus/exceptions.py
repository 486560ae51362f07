"""Exceptions as a way out, as a way to survive a budget, and as something the host has to look at."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, QUOTA, RAISE, REJECT, STOP, cases

CASES = [
    *cases(
        "exceptions",
        REJECT,
        {
            "traceback of a caught exception": """
                try: x = [][1]
                except IndexError as error: leak(error.__traceback__.tb_frame)
            """,
            "traceback attached": "raise ValueError('x').with_traceback(None)",
            "cause": """
                try: x = [][1]
                except IndexError as error: leak(error.__cause__)
            """,
            "context": """
                class Loud(Exception): pass
                leak(Loud('x').__context__)
            """,
            "arguments": "leak(ValueError(session).args)",
            "object of an attribute error": """
                try: session.nothing
                except AttributeError as error: leak(error.obj)
            """,
            "notes": "ValueError('x').add_note('y' * 1000)",
            "bare except": """
                try: x = [][1]
                except: pass
            """,
            "bare except in a loop": """
                def on_packet(packet):
                    while True:
                        try:
                            while True: pass
                        except: continue
            """,
            "group": """
                try: raise ValueError
                except* ValueError as error: leak(error)
            """,
            "group of a group": """
                try: raise ValueError
                except* (ValueError, TypeError) as error: leak(error.exceptions)
            """,
            "computed except": """
                def kind(): return ValueError
                try: x = [][1]
                except kind(): pass
            """,
            "except of an attribute": """
                class Ship:
                    kind = ValueError
                try: x = [][1]
                except Ship.kind: pass
            """,
            "except of an item": """
                kinds = [ValueError]
                try: x = [][1]
                except kinds[0]: pass
            """,
            "except of a conditional": """
                try: x = [][1]
                except (ValueError if session else KeyError): pass
            """,
            "except of a starred tuple": """
                kinds = [ValueError]
                try: x = [][1]
                except (*kinds, KeyError): pass
            """,
            "except of a walrus": """
                try: x = [][1]
                except (kind := IndexError): pass
            """,
        },
    ),
    *cases(
        "exceptions",
        RAISE,
        {
            "exit of the interpreter": "raise SystemExit(3)",
            "exit of the interpreter in a handler": """
                def on_packet(packet): raise SystemExit
            """,
            "interruption by the keyboard": """
                def on_player_connect(player): raise KeyboardInterrupt
            """,
            "end of a generator": "raise GeneratorExit",
            "base exception": "raise BaseException('x')",
            "own base exception": """
                class Way(BaseException): pass
                raise Way
            """,
            "cancellation of a task": "raise CancelledError",
            "group by its name": "raise ExceptionGroup('x', [ValueError('y')])",
            "warning": "raise UserWarning('x')",
            "something that is no exception": "raise 'text'",
            "a host object": "raise session",
            "an instance": """
                class Ship: pass
                raise Ship()
            """,
            "nothing to raise again": "raise",
            "from something that is no exception": "raise ValueError('x') from 'y'",
            "stop of the iteration": """
                def on_packet(packet): raise StopIteration(session)
            """,
            "assertion with a hostile message": """
                class Loud:
                    def __str__(self):
                        while True: pass
                    def __repr__(self):
                        while True: pass
                def on_packet(packet): assert False, Loud()
            """,
            "text of an exception that never ends": """
                class Loud(Exception):
                    def __str__(self):
                        while True: pass
                    def __repr__(self):
                        while True: pass
                def on_packet(packet): raise Loud('x')
            """,
            "text of an exception that changes the script": """
                class Loud(Exception):
                    def __str__(self):
                        leak('ESCAPE: the host asked for the text')
                        return 'x'
                    def __repr__(self):
                        leak('ESCAPE: the host asked for the representation')
                        return 'x'
                def on_packet(packet): raise Loud('x')
            """,
            "argument of an exception that never ends": """
                class Loud:
                    def __repr__(self):
                        while True: pass
                    def __str__(self):
                        while True: pass
                def on_packet(packet): raise ValueError(Loud())
            """,
            "hash and equality of an exception": """
                class Loud(Exception):
                    def __hash__(self): leak('ESCAPE: the host hashed it')
                    def __eq__(self, other): leak('ESCAPE: the host compared it')
                    def __bool__(self): leak('ESCAPE: the host asked whether it is true')
                    def __len__(self): leak('ESCAPE: the host asked for the length')
                def on_packet(packet): raise Loud('x')
            """,
            "constructor of an exception that fails": """
                class Loud(Exception):
                    def __init__(self, a, b): pass
                raise Loud
            """,
            "long message": """
                def on_packet(packet): raise ValueError('x' * 900000)
            """,
            "message with control characters": "raise ValueError('a\\x1b[2J\\nerror forged=1\\r\\0')",
            "message with lone surrogates": "raise ValueError('\\ud800\\udfff')",
            "shared nest as the argument": """
                nest = [1]
                for n in range(60): nest = [nest, nest]
                raise ValueError(nest)
            """,
            "chain of exceptions": """
                def on_packet(packet):
                    last = ValueError('first')
                    for n in range(3000):
                        new = ValueError('next')
                        try: raise new from last
                        except ValueError: last = new
                    raise last
            """,
            "chain that is a ring": """
                a = ValueError('a')
                b = ValueError('b')
                try: raise a from b
                except ValueError: pass
                try: raise b from a
                except ValueError: pass
                def on_packet(packet): raise a
            """,
            "very long key": """
                def on_packet(packet): x = {}['k' * 900000]
            """,
            "hostile key": """
                class Key:
                    def __repr__(self):
                        while True: pass
                def on_packet(packet): x = {}[Key()]
            """,
            "traceback that grows with each raise": """
                kept = ValueError('x')
                def on_packet(packet):
                    for n in range(15000):
                        try: raise kept
                        except ValueError: pass
                    raise kept
            """,
            "class of an exception called Stop": """
                class Stop(Exception): pass
                raise Stop('x')
            """,
            "class of an exception called Exceeded": """
                class Exceeded(Exception):
                    budget = 'gas'
                raise Exceeded('x')
            """,
            "recursion": """
                def down(n): return down(n + 1)
                def on_packet(packet): down(0)
            """,
            "recursion of calls that fill in a default": """
                def down(n=1): return down()
                def on_packet(packet): down()
            """,
            "recursion of calls that fill in a default, with a clean-up": """
                def down(n=1):
                    try: down()
                    finally: n
                def on_packet(packet): down()
            """,
            "recursion of calls that pack arguments": """
                def down(n=1, *rest): return down(())
                def on_packet(packet): down()
            """,
            "recursion of calls that fill in a keyword": """
                def down(n, *, k=1): return down(2)
                def on_packet(packet): down(1)
            """,
            "recursion of a lambda that fills in a default": """
                down = lambda n=1: down()
                def on_packet(packet): down()
            """,
            "recursion of methods that fill in a default": """
                class Ship:
                    def down(self, n=1): return self.down()
                def on_packet(packet): Ship().down()
            """,
            "recursion of constructors that fill in a default": """
                class Ship:
                    def __init__(self, n=1): Ship()
                def on_packet(packet): Ship()
            """,
            "recursion of methods": """
                class Ship:
                    def __getitem__(self, n): return self[n + 1]
                def on_packet(packet): Ship()[0]
            """,
            "recursion of constructors": """
                class Ship:
                    def __init__(self, n): self.next = Ship(n + 1)
                def on_packet(packet): Ship(0)
            """,
            "recursion of equality": """
                class Ship:
                    def __eq__(self, other): return other == self
                def on_packet(packet): Ship() == Ship()
            """,
            "recursion of keys": """
                class Ship:
                    def __eq__(self, other): return self is other
                    def __hash__(self): return len({self: 1})
                def on_packet(packet): x = {Ship(): 1}
            """,
            "recursion through sort": """
                def key(n): return sorted([2, 1], key=key)
                def on_packet(packet): key(1)
            """,
            "recursion through map": """
                def each(n): return map(each, [n])
                def on_packet(packet): each(1)
            """,
            "recursion through min": """
                def key(n): return min([1, 2], key=key)
                def on_packet(packet): key(1)
            """,
            "recursion through truth": """
                class Ship:
                    def __bool__(self): return any([self])
                def on_packet(packet): bool(Ship())
            """,
            "recursion through membership": """
                class Ship:
                    def __contains__(self, other): return other in self
                def on_packet(packet): 1 in Ship()
            """,
            "recursion through a call": """
                class Ship:
                    def __call__(self): return self()
                def on_packet(packet): Ship()()
            """,
            "recursion through iteration": """
                class Ship:
                    def __iter__(self): return self
                    def __next__(self): return list(self)
                def on_packet(packet): list(Ship())
            """,
            "recursion through addition": """
                class Ship:
                    def __add__(self, other): return sum([other, self], self)
                def on_packet(packet): Ship() + Ship()
            """,
            "recursion through comparison in a list": """
                class Ship:
                    def __eq__(self, other): return [self] == [other]
                def on_packet(packet): Ship() == Ship()
            """,
            "recursion through index": """
                class Ship:
                    def __eq__(self, other): return [self].index(other)
                def on_packet(packet): [Ship()].index(Ship())
            """,
        },
    ),
    *cases(
        "exceptions",
        STOP,
        {
            "swallowed by Exception": """
                def on_packet(packet):
                    while True:
                        try:
                            while True: pass
                        except Exception: pass
            """,
            "swallowed by everything nameable": """
                def on_packet(packet):
                    while True:
                        try:
                            while True: pass
                        except (Exception, MemoryError, RecursionError, StopIteration, RuntimeError): pass
            """,
            "name of the base exception is missing": """
                def spin():
                    try:
                        while True: pass
                    except BaseException: return 1
                def on_packet(packet):
                    while True:
                        try: spin()
                        except NameError: pass
            """,
            "text of a handled exception that never ends": """
                class Loud(Exception):
                    def __str__(self):
                        while True: pass
                def on_packet(packet):
                    try: raise Loud('x')
                    except Loud as error: leak(error)
            """,
            "finally with continue": """
                def on_packet(packet):
                    while True:
                        try:
                            while True: pass
                        finally: continue
            """,
            "finally with break": """
                def on_packet(packet):
                    while True:
                        while True:
                            try:
                                while True: pass
                            finally: break
            """,
            "finally with return": """
                def spin():
                    try:
                        while True: pass
                    finally: return True
                def on_packet(packet):
                    while spin(): pass
            """,
            "finally with return, and a quiet end": """
                def on_packet(packet):
                    try:
                        while True: pass
                    finally: return None
            """,
            "finally that raises something else": """
                def on_packet(packet):
                    try:
                        while True: pass
                    finally: raise ValueError('instead')
            """,
            "finally inside finally": """
                def on_packet(packet):
                    try:
                        while True: pass
                    finally:
                        try:
                            while True: pass
                        finally:
                            try:
                                while True: pass
                            finally:
                                while True: pass
            """,
            "except of a tuple that is rebuilt": """
                Exception = (ValueError, TypeError)
                def on_packet(packet):
                    while True:
                        try:
                            while True: pass
                        except Exception: pass
            """,
            "swallowed in a comparison": """
                class Ship:
                    def __eq__(self, other):
                        try:
                            while True: pass
                        finally: return False
                def on_packet(packet):
                    while Ship() != Ship(): pass
                    while [Ship()] != [Ship()]: pass
            """,
            "swallowed in a sort": """
                class Ship:
                    def __lt__(self, other):
                        try:
                            while True: pass
                        finally: return True
                def on_packet(packet):
                    sorted([Ship() for n in range(1000)])
            """,
            "swallowed in a hash": """
                class Ship:
                    def __eq__(self, other): return False
                    def __hash__(self):
                        try:
                            while True: pass
                        finally: return 1
                def on_packet(packet):
                    while True: x = {Ship(): 1}
            """,
            "swallowed in a length": """
                class Ship:
                    def __len__(self):
                        try:
                            while True: pass
                        finally: raise TypeError('no length')
                    def __iter__(self): return self
                    def __next__(self): raise StopIteration
                def on_packet(packet):
                    while True: x = [*Ship()]
            """,
            "swallowed in an iterator": """
                class Ship:
                    def __iter__(self): return self
                    def __next__(self):
                        try:
                            while True: pass
                        finally: raise StopIteration
                def on_packet(packet):
                    while True: x = list(Ship())
            """,
            "swallowed by a missing item": """
                class Ship:
                    def __getitem__(self, index):
                        try:
                            while True: pass
                        finally: raise IndexError
                def on_packet(packet):
                    while True:
                        for n in Ship(): pass
            """,
            "swallowed in a constructor": """
                class Ship:
                    def __init__(self):
                        try:
                            while True: pass
                        finally: return
                def on_packet(packet):
                    while True: Ship()
            """,
            "swallowed in a text": """
                class Ship:
                    def __str__(self):
                        try:
                            while True: pass
                        finally: return 'x'
                def on_packet(packet):
                    while True: x = f'{Ship()}'
            """,
            "memory errors swallowed": """
                def on_packet(packet):
                    kept = []
                    while True:
                        try: kept.append('x' * 10 ** 8)
                        except MemoryError: pass
            """,
            "memory error swallowed once, then quiet": """
                def on_packet(packet):
                    try: x = 'x' * 10 ** 9
                    except MemoryError: pass
            """,
            "recursion errors swallowed": """
                def down():
                    try: down()
                    except RecursionError: pass
                    down()
                def on_packet(packet): down()
            """,
            "recursion errors swallowed on the way up": """
                def down(n):
                    for i in range(10):
                        try: down(n + 1)
                        except RecursionError: pass
                def on_packet(packet): down(0)
            """,
            "work in the finally of each level": """
                def down(n):
                    try: down(n + 1)
                    finally:
                        for i in range(100000): pass
                def on_packet(packet): down(0)
            """,
            "new exceptions in a loop": """
                def on_packet(packet):
                    while True:
                        try: raise ValueError('x')
                        except ValueError as error: leak(error)
            """,
        },
    ),
    *cases(
        "exceptions",
        HARMLESS,
        {
            "what a handler is given": """
                class Loud(Exception): pass
                for make in [lambda: 1 / 0, lambda: [][1], lambda: {}['k'], lambda: nothing, lambda: session.nothing,
                             lambda: int('x'), lambda: 1 + '', lambda: session.send('x'),
                             lambda: 'a'.encode('ascii', 5)]:
                    try: make()
                    except Exception as error:
                        leak(error)
                        if not isinstance(error, str): leak('ESCAPE: an exception, not its text')
                try: raise Loud('x')
                except Loud as error: leak(error)
            """,
            "text of an exception is bounded": """
                class Loud(Exception):
                    def __str__(self): return 'y' * 900000
                for value in ['x' * 900000, Loud('x'), [Loud('x')] * 100]:
                    for kind in [Loud, ValueError, KeyError]:
                        try: raise kind(value)
                        except Exception as error:
                            if len(error) > 1010: leak('ESCAPE: long text')
            """,
            "text of an exception with a shared nest is bounded": """
                nest = [1]
                for n in range(60): nest = [nest, nest]
                try: raise ValueError(nest)
                except ValueError as error:
                    if len(error) > 1010: leak('ESCAPE: long text')
                try: x = {}[('k',) * 9000]
                except KeyError as error:
                    if len(error) > 1010: leak('ESCAPE: long text')
            """,
            "ordinary flow": """
                class Lost(ValueError):
                    def __init__(self, ship):
                        super().__init__(ship)
                        self.ship = ship
                trail = []
                def run(n):
                    try:
                        if n == 0: raise Lost('a')
                        if n == 1: raise KeyError('k') from ValueError('v')
                        trail.append('through')
                    except Lost as error:
                        trail.append('lost ' + error)
                    except (KeyError, IndexError):
                        trail.append('key')
                    else:
                        trail.append('else')
                    finally:
                        trail.append('finally')
                for n in range(3): run(n)
                if trail != ['lost a', 'finally', 'key', 'finally', 'through', 'else', 'finally']:
                    leak('ESCAPE: %s' % trail)
            """,
            "except name that is rebound": """
                def run():
                    try: x = [][1]
                    except IndexError as error:
                        error = 5
                    try: x = [][1]
                    except IndexError as error: del error
                run()
            """,
        },
    ),
    *cases(
        "exceptions",
        f"{RAISE}|{STOP}",
        {
            "chain of contexts that grows": """
                state = [ValueError('first')]
                def on_packet(packet):
                    last = state[0]
                    for n in range(1500):
                        new = ValueError('next')
                        try: raise last
                        except ValueError:
                            try: raise new
                            except ValueError: pass
                        last = new
                    state[0] = last
                    raise last
                def on_player_disconnect(player): state.clear()
            """,
        },
    ),
    *cases(
        "exceptions",
        QUOTA,
        {
            "quota is no way to loop": """
                def on_packet(packet):
                    for n in range(3000):
                        session.send(5, {1: 1})
            """,
        },
    ),
]
