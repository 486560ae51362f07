"""From an object a script may have to one it must not have: by attributes, names, guards, classes, targets."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, REJECT, cases

CASES = [
    *cases(
        "climb",
        REJECT,
        {
            "class of a literal": "leak([].__class__)",
            "bases and subclasses": "leak({}.__class__.__base__.__subclasses__())",
            "method resolution order of an own class": """
                class Ship: pass
                leak(Ship.mro())
            """,
            "globals of a function": """
                def helper(): return 1
                leak(helper.__globals__)
            """,
            "closure cells": """
                def outer(secret):
                    def inner(): return secret
                    return inner
                leak(outer(1).__closure__[0].cell_contents)
            """,
            "code object": "leak((lambda: 0).__code__)",
            "function defaults": """
                def helper(items=[]): return items
                leak(helper.__defaults__)
            """,
            "owner of a builtin method": "leak(print.__self__)",
            "owner of a host method": "leak(session.send.__self__)",
            "function behind a host method": "leak(session.send.__func__.__globals__)",
            "module of a host class": "leak(session.__module__)",
            "private attribute of the host": "leak(session._capabilities)",
            "dictionary of the host": "leak(session.__dict__)",
            "dictionary of an instance": """
                class Ship: pass
                leak(Ship().__dict__)
            """,
            "old function attribute names": "leak((lambda: 0).func_globals)",
            "frame of a generator": "leak((n for n in [1]).gi_frame)",
            "code of a generator": "leak((n for n in [1]).gi_code)",
            "frame attributes": "leak(session.f_back.f_globals)",
            "traceback attributes": "leak(session.tb_frame)",
            "code attributes": "leak(session.co_consts)",
            "coroutine attributes": "leak(session.cr_frame)",
            "async generator attributes": "leak(session.ag_frame)",
            "wide letters spell an underscore name": "leak(().\uff3f\uff3fclass\uff3f\uff3f)",
            "wide letters inside an underscore name": "leak(().__\uff43lass__)",
            "wide low line inside a hazard": "leak((n for n in [1]).gi\uff3fframe)",
            "wide low line at the end of a guard": "x = _k\uff3f",
            "wide low line in a keyword": "dict(_k\uff3f=1)",
            "wide letters spell a forbidden name": "\uff45\uff56\uff41\uff4c('1')",
            "wide letters spell a plain hazard": "leak('x'.\uff46\uff4f\uff52\uff4d\uff41\uff54)",
            "mathematical letters spell mro": """
                class Ship: pass
                leak(Ship.𝓶𝓻𝓸())
            """,
            "low lines of another script": "leak([].\ufe4f\ufe4fclass\ufe4f\ufe4f)",
            "ligature in a name of the frame": "leak(session.f_back.f_buiﬁltins)",
            "assign the tick": "_t_ = True",
            "assign the tick in a class body": """
                class Ship:
                    _t_ = True
                    x = [n for n in range(3)]
            """,
            "tick as a parameter": "def run(_t_): return [n for n in range(9)]",
            "tick as a starred parameter": "def run(*_t_): return 1",
            "tick as a keyword collector": "def run(**_t_): return 1",
            "tick as a keyword-only parameter": "def run(*, _t_=1): return 1",
            "tick as a positional-only parameter": "def run(_t_, /): return 1",
            "tick as a lambda parameter": "run = lambda _t_: [n for n in range(9)]",
            "tick as a loop variable": "for _t_ in [1]: pass",
            "tick as a loop variable of a comprehension": "x = [1 for _t_ in [True]]",
            "tick by a walrus": "x = [(_t_ := 1) for n in range(3)]",
            "tick by a walrus in a text": "x = f'{(_t_ := 1)}'",
            "tick by global": """
                def run():
                    global _t_
                    _t_ = 1
                run()
            """,
            "tick by nonlocal": """
                def outer():
                    _t_ = 1
                    def inner():
                        nonlocal _t_
                        _t_ = 2
                    inner()
                outer()
            """,
            "tick as an exception name": """
                try: x = [][1]
                except IndexError as _t_: pass
            """,
            "tick as a function": "def _t_(): return 1",
            "tick as a class": "class _t_: pass",
            "tick as a starred target": "a, *_t_ = [1, 2, 3]",
            "tick as an annotated name": "_t_: int = 1",
            "tick deleted": "del _t_",
            "tick augmented": "_t_ += 1",
            "tick read": "leak(_t_)",
            "key guard read in a slice": "x = [1, 2][_k_:]",
            "key guard as a keyword of a call": "dict(_k_=1)",
            "key guard as a keyword of an own function": """
                def run(k): return k
                run(_k_=1)
            """,
            "guard in a nested format": "x = f'{1:{_n_}}'",
            "guard in a default": "def run(x=_w_): return x",
            "guard in a decorator": """
                @_w_
                def run(): pass
            """,
            "guard as a base class": "class Ship(_w_): pass",
            "guarded method by name": "x = _m_sort([3, 1])",
            "power by name": "x = _pow_(2, 3)",
            "wide letters spell the tick": "\uff3ft\uff3f = 1",
            "wide letters spell a guard parameter": "run = lambda \uff3fk\uff3f: {1: 2}",
            "builtins by name": "leak(__builtins__)",
            "class builder by name": "leak(__build_class__)",
            "importer by name": "leak(__import__('os'))",
            "module name": "leak(__name__)",
            "loader and spec": "leak(__loader__)",
            "annotations of the module": "leak(__annotations__)",
            "class cell in a method": """
                class Ship:
                    def me(self): return __class__
                leak(Ship().me())
            """,
            "private name mangled into a guard": """
                class t_:
                    def run(self): return __x
                t_().run()
            """,
            "matrix product to call a guard": "x = session @ 1",
            "matrix product augmented": """
                x = 1
                x @= 2
            """,
            "dunder attribute of a class written": """
                class Ship: pass
                Ship.__call__ = Ship()
                Ship()()
            """,
            "dunder attribute deleted": "del session.__class__",
            "class of an instance written": """
                class Ship: pass
                class Crew: pass
                ship = Ship()
                ship.__class__ = Crew
            """,
            "code of a function written": """
                def one(): pass
                one.__code__ = 1
            """,
            "deferred: hazard behind a lambda": "run = lambda: ().__class__",
            "deferred: hazard in a comprehension filter": "x = [n for n in [1] if n.__class__]",
            "deferred: hazard in a default": "def run(x=().__class__): return x",
            "deferred: hazard in a decorator": """
                @leak.__class__
                def run(): pass
            """,
            "deferred: hazard in an f-string": "x = f'{().__class__}'",
            "deferred: hazard in a nested format spec": "x = f'{1:{().__class__}}'",
            "deferred: hazard in a slice": "x = [1][().__class__:]",
            "deferred: hazard in an assert": "assert ().__class__, 1",
            "deferred: hazard in a raise": "raise ValueError from ().__class__",
            "deferred: hazard in an augmented target": "[].__class__ += 1",
            "super as a value": """
                class Ship:
                    def run(self): leak(super())
                Ship().run()
            """,
            "super with arguments": """
                class Ship:
                    def run(self): return super(Ship, self).run()
                Ship().run()
            """,
            "super and a dunder": """
                class Ship:
                    def run(self): return super().__class__
                leak(Ship().run())
            """,
            "super and object creation": """
                class Ship:
                    def __init__(self): super().__setattr__('x', 1)
                Ship()
            """,
            "match on a class pattern": """
                match session:
                    case object(__class__=found): leak(found)
            """,
            "match captures a guard": """
                match 1:
                    case _k_: pass
            """,
            "match on a mapping": """
                match {'a': 1}:
                    case {'a': found, **rest}: leak(rest)
            """,
            "with and its hooks": """
                with session as inside: leak(inside)
            """,
            "type parameters": "def run[T](x): leak(T)",
            "type alias": "type Alias = leak(__type_params__)",
            "keywords unpacked into a call": """
                def run(x=1): return x
                run(**{'x': 2})
            """,
            "class with keywords": "class Ship(metaclass=leak): pass",
            "class with unpacked bases": "class Ship(*[Exception]): pass",
            "class decorator": """
                @leak
                class Ship: pass
            """,
            "yield": """
                def run(): yield 1
                leak(run())
            """,
            "yield from": """
                def run(): yield from [1]
                leak(run())
            """,
            "yield in a lambda": "run = lambda: (yield 1)",
            "coroutine": "async def run(): return 1",
            "await": """
                async def run(): await run()
            """,
            "asynchronous comprehension": """
                async def run(): return [n async for n in run()]
            """,
        },
    ),
    *cases(
        "dunders",
        REJECT,
        {
            f"define {name}": f"""
                class Hook:
                    def {name}(self, *rest): leak(rest)
                h = Hook()
            """
            for name in (
                "__new__",
                "__del__",
                "__getattr__",
                "__getattribute__",
                "__setattr__",
                "__delattr__",
                "__dir__",
                "__get__",
                "__set__",
                "__delete__",
                "__set_name__",
                "__init_subclass__",
                "__class_getitem__",
                "__mro_entries__",
                "__prepare__",
                "__instancecheck__",
                "__subclasscheck__",
                "__subclasshook__",
                "__matmul__",
                "__rmatmul__",
                "__imatmul__",
                "__index__",
                "__int__",
                "__float__",
                "__complex__",
                "__round__",
                "__ceil__",
                "__format__",
                "__bytes__",
                "__length_hint__",
                "__reversed__",
                "__missing__",
                "__enter__",
                "__exit__",
                "__await__",
                "__aiter__",
                "__reduce__",
                "__reduce_ex__",
                "__getstate__",
                "__sizeof__",
                "__buffer__",
                "__copy__",
                "__rmod__",
                "__rpow__",
                "__rlshift__",
                "__iadd__",
                "__ior__",
            )
        },
    ),
    *cases(
        "dunders",
        REJECT,
        {
            f"assign {name} in a class body": f"""
                class Hook:
                    {name} = ('x',)
                leak(Hook())
            """
            for name in (
                "__slots__",
                "__class__",
                "__dict__",
                "__metaclass__",
                "__match_args__",
                "__classcell__",
                "__annotations__",
                "__module__",
                "__qualname__",
                "__getattr__",
                "__weakref__",
            )
        },
    ),
    *cases(
        "dunders",
        REJECT,
        {
            "dunder outside a class": "def __getattr__(name): leak(name)",
            "dunder inside a method": """
                class Hook:
                    def run(self):
                        def __getattr__(name): leak(name)
                        return __getattr__
            """,
            "dunder lambda in a class body": """
                class Hook:
                    __getattr__ = lambda self, name: leak(name)
            """,
            "dunder by a walrus in a class body": """
                class Hook:
                    x = (__slots__ := ('a',))
            """,
            "dunder by a loop in a class body": """
                class Hook:
                    for __slots__ in [('a',)]: pass
            """,
            "dunder as an exception name": """
                class Hook:
                    try: x = [][1]
                    except IndexError as __slots__: pass
            """,
            "dunder declared global in a class body": """
                class Hook:
                    global __builtins__
                    __builtins__ = {}
            """,
            "mangled name in a class body": """
                class Hook:
                    __secret = 1
            """,
        },
    ),
    *cases(
        "climb",
        RAISE,
        {
            "type of one value": "leak(type(1))",
            "type of three values": "leak(type('Ship', (), {}))",
            "attribute by text": "leak(getattr([], '__cl' + 'ass__'))",
            "attribute by text on the host": "leak(getattr(session, '_capabilities'))",
            "attribute written by text": "setattr(session, 'send', 1)",
            "variables of an object": "leak(vars(session))",
            "names of an object": "leak(dir(session))",
            "globals": "leak(globals())",
            "locals": "leak(locals())",
            "bare object": "leak(object())",
            "static method": "leak(staticmethod(print))",
            "property": """
                class Ship:
                    @property
                    def x(self): return 1
                leak(Ship().x)
            """,
            "iterator by name": "leak(iter([1]))",
            "next by name": "leak(next([1]))",
            "memory view": "leak(memoryview(b'x'))",
            "byte array": "leak(bytearray(b'x'))",
            "frozen set": "leak(frozenset([1]))",
            "slice object": "leak(slice(1, 2))",
            "base exception": "leak(BaseException)",
            "exception group": "leak(ExceptionGroup('x', [ValueError(1)]))",
            "generator exit": "leak(GeneratorExit)",
            "ellipsis attributes": "leak(....name)",
            "attribute of a builtin that only the type has": "leak(str.upper)",
            "attribute of a builtin that only the type has, by dict": "leak(dict.copy)",
            "builtin as a base class": "class Text(str): pass",
            "builtin container as a base class": "class Bag(list): pass",
            "function as a base class": """
                def maker(*rest): leak(rest)
                class Ship(maker): pass
            """,
            "host class as a base class": "class Ours(session): pass",
            "instance as a base class": """
                class Base: pass
                class Ship(Base()): pass
            """,
            "type of the script's own base": """
                class Ship: pass
                class Crew(Ship, print): pass
            """,
            "attribute of the host written": "session.send = print",
            "attribute of the host deleted": "del session.send",
            "attribute of the host augmented": "session.now_ms += 10",
            "attribute of the host as a loop target": "for session.send in [1]: pass",
            "attribute of the host as a tuple target": "(session.send, b) = (1, 2)",
            "attribute of the host as a starred target": "a, *session.send = [1, 2, 3]",
            "attribute of the host as a nested target": "[a, [session.send, b]] = [1, [2, 3]]",
            "attribute of the host as a comprehension target": "x = [0 for session.send in [1]]",
            "attribute of the host as a chained target": "a = session.send = 1",
            "attribute of the host as an annotated target": "session.send: int = 1",
            "attribute of a builtin written": "len.cache = 1",
            "attribute of print written": "print.cache = 1",
            "attribute of the math namespace written": "math.pi = 3",
            "attribute of the math namespace deleted": "del math.pi",
            "attribute of an exception class written": "ValueError.cache = 1",
            "attribute of an own function written": """
                def run(): pass
                run.cache = 1
            """,
            "attribute of a bound method written": """
                class Ship:
                    def run(self): pass
                Ship().run.cache = 1
            """,
            "attribute of the probe written": "leak.cache = 1",
            "attribute of a number written": "(1).cache = 1",
            "item of the host written": "session['send'] = 1",
            "item of the math namespace written": "math['pi'] = 3",
            "item of a player written": """
                def on_player_connect(player):
                    player['peer_id'] = 9
            """,
            "player attribute written": """
                def on_player_connect(player):
                    player.peer_id = 9
            """,
            "packet attribute written": """
                def on_packet(packet):
                    packet.op_code = 9
            """,
            "data attribute written": """
                def on_packet(packet):
                    packet.data.cache = 1
            """,
            "random attribute written": "session.random.choice = print",
            "modules by way of math": "leak(math.sys)",
            "host class called from its instance": "leak(session.new_data.cache)",
        },
    ),
    *cases(
        "climb",
        HARMLESS,
        {
            "annotations are not evaluated": """
                w: _k_ = 1
                class Ship:
                    x: leak(print.nothing) = 1
                    v: __import__('os') = 2
                    y: 1 / 0
                def run(a: 1 / 0 = 2) -> nothing.at.all: return a
                z: 1 / 0 = run()
                if z != 2: leak('ESCAPE: wrong value')
            """,
            "underscore alone": """
                for _ in range(3): pass
                leak(_)
                values = [_ for _ in (1, 2)]
            """,
            "shadowed builtins stay here": """
                global len
                len = 5
                print = leak
                range = lambda n: [n]
                for n in range(3): leak(n)
                ValueError = KeyError
                try: x = {}[1]
                except ValueError: leak('caught')
            """,
            "own classes and their instances": """
                class Ship:
                    count = 0
                    def __init__(self, name):
                        self.name = name
                        Ship.count += 1
                    def __eq__(self, other): return self.name == other.name
                    def __hash__(self): return 7
                class Fast(Ship):
                    def __init__(self, name):
                        super().__init__(name)
                leak([Fast, Ship, Fast('a'), Fast('a') == Ship('a'), {Ship('b'): 1}])
                if Ship.count != 4: leak('ESCAPE: wrong count')
            """,
            "own name for super": """
                class Ship:
                    def name(self): return 'base'
                class Fast(Ship):
                    def name(self): return super().name() + '!'
                if Fast().name() != 'base!': leak('ESCAPE: super is wrong')
            """,
            "what the probe may have": """
                leak([1, 2.5, 'x', b'x', None, True, (1,), {1: 2}, {1}, range(3), lambda: 0, print, math, session, len])
            """,
        },
    ),
]
