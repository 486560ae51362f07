"""The host API: arguments it did not ask for, objects kept too long, quotas, and what it hands out."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, QUOTA, RAISE, REFUSED, REJECT, STOP, cases


def _all_refused(body: str) -> str:
    from textwrap import dedent

    return REFUSED + dedent(body).lstrip("\n")


CASES = [
    *cases(
        "api",
        RAISE,
        {
            "send: op codes": _all_refused("""
                refused([lambda bad=bad: session.send(bad, {1: 1}) for bad in
                         [None, '5', 1.5, -1, 1 << 31, 1 << 64, 1 << 4000, [1], math.nan, (5,), {}, session, True]])
            """),
            "send: data": _all_refused("""
                class Fake: pass
                refused([lambda bad=bad: session.send(5, bad) for bad in
                         [5, 'text', [1], (1, 2), {1}, print, Fake(), session, session.new_packet(), math, b'bytes']])
            """),
            "send: indexes": _all_refused("""
                refused([lambda bad=bad: session.send(5, {bad: 1}) for bad in
                         [0, -1, 128, 1 << 62, '1', None, 1.5, (1,), True, math.inf]])
            """),
            "send: values": _all_refused("""
                class Fake: pass
                refused([lambda bad=bad: session.send(5, {1: bad}) for bad in
                         [math.nan, math.inf, -math.inf, 1 << 64, -(1 << 64), 1 << 4000, {1}, print, Fake(), session,
                          [math.nan, 1.0], ['x'], [1] * 100000, {'a': 1}, {1: {2: math.nan}}, range(3), '\\ud800',
                          ValueError]])
            """),
            "send: targets": _all_refused("""
                class Fake:
                    peer_id = 1
                    def get_peer_id(self): return 1
                refused([lambda bad=bad: session.send(5, {1: 1}, peers=bad) for bad in
                         [-1, 256, 1 << 40, '1', 1.0, [-1], ['1'], [1.0], [[1]], {1}, {1: 1}, Fake(), [Fake()],
                          [None], 'abc', b'abc', session, math.nan, [True]]])
            """),
            "send: reliable": _all_refused("""
                refused([lambda bad=bad: session.send(5, {1: 1}, reliable=bad) for bad in
                         [None, 1, 'yes', [], 1.0, session]])
            """),
            "send: wrong number of arguments": _all_refused("""
                refused([lambda: session.send(), lambda: session.send(1, {}, None, False, 5, 6, 7, 8),
                         lambda: session.send(1, wrong=1), lambda: session.send(op_code=1, sender=session),
                         lambda: session.send(*[1] * 100)])
            """),
            "send: ring of dictionaries": """
                ring = {1: 5}
                ring[2] = ring
                session.send(5, ring)
            """,
            "send: ring of lists": """
                ring = [1.0]
                ring.append(ring)
                session.send(5, {1: ring})
            """,
            "send: deep dictionaries": """
                deep = {1: 1}
                for n in range(20000): deep = {1: deep}
                session.send(5, deep)
            """,
            "send: shared dictionaries": """
                shared = {1: 1}
                for n in range(60): shared = {1: shared, 2: shared}
                session.send(5, shared)
            """,
            "send: too many values": """
                wide = {}
                for n in range(1, 120): wide[n] = {}
                for n in range(1, 120):
                    for m in range(1, 120): wide[n][m] = m
                session.send(5, wide)
            """,
            "send: a text that is too long": "session.send(5, {1: 'x' * 900000})",
            "send: hostile equality": _all_refused("""
                class Fake:
                    def __eq__(self, other): leak(other); leak('ESCAPE: compared'); return True
                    def __lt__(self, other): leak('ESCAPE: compared'); return True
                    def __le__(self, other): leak('ESCAPE: compared'); return True
                    def __gt__(self, other): leak('ESCAPE: compared'); return True
                    def __ge__(self, other): leak('ESCAPE: compared'); return True
                    def __hash__(self): leak('ESCAPE: hashed'); return 5
                    def __bool__(self): leak('ESCAPE: asked for truth'); return True
                    def __len__(self): leak('ESCAPE: asked for length'); return 1
                    def __iter__(self): leak('ESCAPE: iterated'); return self
                    def __next__(self): leak('ESCAPE: iterated'); raise StopIteration
                    def __getitem__(self, index): leak('ESCAPE: indexed'); return 1
                    def __contains__(self, other): leak('ESCAPE: searched'); return True
                    def __str__(self): leak('ESCAPE: printed'); return 'x'
                    def __repr__(self): leak('ESCAPE: printed'); return 'x'
                    def __call__(self, *rest): leak('ESCAPE: called'); return 1
                    def __add__(self, other): leak('ESCAPE: added'); return 1
                fake = Fake()
                refused([lambda: session.send(fake, {1: 1}), lambda: session.send(5, fake),
                         lambda: session.send(5, {1: fake}), lambda: session.send(5, {1: 1}, peers=fake),
                         lambda: session.send(5, {1: 1}, peers=[fake]), lambda: session.get_player(fake),
                         lambda: session.set_timeout(print, fake), lambda: session.set_interval(print, fake),
                         lambda: session.clear_timeout(fake), lambda: session.on_packet(fake, print),
                         lambda: session.new_data().set_number(fake, 1), lambda: session.new_data().set_number(1, fake),
                         lambda: session.new_data().set_float_array(1, fake),
                         lambda: session.new_packet().set_data(fake),
                         lambda: session.new_packet().set_op_code(fake), lambda: session.new_packet().set_payload(fake),
                         lambda: session.new_packet().set_target_peers(fake), lambda: session.every(fake)])
            """),
            "numbers as data": _all_refused("""
                data = session.new_data()
                refused([lambda bad=bad: data.set_number(1, bad) for bad in ['1', None, 1 << 80, [1], print]]
                        + [lambda bad=bad: data.set_float(1, bad) for bad in ['1', None, 1 << 4000, [1], math.nan]]
                        + [lambda bad=bad: data.set_double(1, bad) for bad in ['1', None, 1 << 4000, [1], math.inf]]
                        + [lambda bad=bad: data.set_string(1, bad) for bad in [1, None, [1], print, '\\udc80']]
                        + [lambda bad=bad: data.set_float_array(1, bad) for bad in
                           [1, None, ['1'], [math.nan], [1.0] * 9, 'abc', {1: 2}, [[1.0]], [1 << 4000]]]
                        + [lambda bad=bad: data.set_data(1, bad) for bad in [1, 'x', [1], print, session]])
            """),
            "indexes of data": _all_refused("""
                data = session.new_data()
                bads = [0, -1, 128, 1 << 40, 1 << 4000, '1', None, 1.0, (1,), [1], print]
                refused([lambda bad=bad: data.set_number(bad, 1) for bad in bads]
                        + [lambda bad=bad: data.set_data(bad, session.new_data()) for bad in bads])
            """),
            "data of slices and deletions": _all_refused("""
                data = session.new_data()
                def store(): data[1:2] = 5
                def drop(): del data[session]
                def join(): return data + data
                def repeat(): return data * 10 ** 9
                refused([store, drop, join, repeat, lambda: data[1:2], lambda: data['x']])
            """),
            "ring of data": """
                a = session.new_data()
                b = session.new_data()
                a.set_data(1, b)
                b.set_data(1, a)
                a.set_data(2, a)
                for n in range(100): a.set_data(1, a)
                session.send(5, a)
            """,
            "deep data": """
                deep = session.new_data()
                for n in range(20000):
                    outer = session.new_data()
                    outer.set_data(1, deep)
                    deep = outer
                session.send(5, deep)
            """,
            "shared data": """
                shared = session.new_data().set_number(1, 1)
                for n in range(60):
                    outer = session.new_data()
                    outer.set_data(1, shared)
                    outer.set_data(2, shared)
                    shared = outer
                session.send(5, shared)
            """,
            "kept data of an old packet grows": """
                kept = []
                def on_packet(packet):
                    kept.append(packet.get_data())
                    for old in kept:
                        for n in range(1, 128): old.set_string(n, 'x' * 60000)
                    packet.set_data(kept[0])
            """,
            "timers: delays": _all_refused("""
                refused([lambda bad=bad: session.set_timeout(print, bad) for bad in
                         [math.nan, math.inf, -1, '5', None, [5], 1 << 4000, print]]
                        + [lambda bad=bad: session.set_interval(print, bad) for bad in
                           [math.nan, math.inf, -1, '5', None, 1 << 4000, {}]])
            """),
            "timers: functions": _all_refused("""
                class Ship: pass
                refused([lambda bad=bad: session.set_timeout(bad, 9) for bad in [None, 5, 'print', [print], Ship(), {}]]
                        + [lambda bad=bad: session.on_packet(5, bad) for bad in [5, 'print', [print], Ship()]]
                        + [lambda bad=bad: session.on_player_connect(bad) for bad in [5, 'print', [print], Ship()]])
            """),
            "timers: numbers": _all_refused("""
                refused([lambda bad=bad: session.clear_timeout(bad) for bad in ['1', 1.5, [1], print]])
            """),
            "op codes of handlers": _all_refused("""
                def handler(packet): return None
                refused([lambda bad=bad: session.on_packet(bad, handler) for bad in
                         [None, '5', 1.5, -5, 1 << 40, 1 << 4000, [5], math.nan]])
            """),
            "players: numbers": _all_refused("""
                refused([lambda bad=bad: session.get_player(bad) for bad in ['1', 1.5, None, [1], 1 << 99, -1, print]])
            """),
            "packet builder: everything wrong": _all_refused("""
                builder = session.new_packet()
                refused([lambda: builder.set_op_code('x'), lambda: builder.set_data([1]),
                         lambda: builder.set_payload('x'),
                         lambda: builder.set_reliable(1), lambda: builder.set_sender(-1),
                         lambda: builder.set_sender('1'),
                         lambda: builder.set_target_peers(['x']), lambda: builder.set_target_peers({1}),
                         lambda: builder.set_target_peers([1] * 100000), lambda: builder.set_sender(1 << 4000),
                         lambda: builder.set_payload(b'x' * 900000), lambda: builder.set_op_code(1 << 4000)])
            """),
            "packet builder: sent without an op code": "session.new_packet().send()",
            "packet: everything wrong": _all_refused("""
                def on_packet(packet):
                    refused([lambda: packet.set_data([1]), lambda: packet.set_data(1), lambda: packet.set_payload('x'),
                             lambda: packet.set_target_peers(['x']), lambda: packet.set_target_peers({1}),
                             lambda: packet.set_target_peers([300]), lambda: packet.set_payload(b'x' * 900000),
                             lambda: packet.set_data({1: math.nan}), lambda: packet.send(), lambda: packet.nothing])
            """),
            "constructing host objects": _all_refused("""
                def on_packet(packet):
                    refused([lambda: packet(), lambda: packet.get_sender()(), lambda: packet.data(), lambda: session(),
                             lambda: session.random(), lambda: session.new_data()(1), lambda: math(),
                             lambda: packet + 1,
                             lambda: session < 1, lambda: len(session), lambda: session[0], lambda: [*session]])
            """),
            "print: surprising arguments": _all_refused("""
                refused([lambda: print('x', sep=5), lambda: print('x', end=5), lambda: print('x', file=5),
                         lambda: print('x', nothing=1)])
            """),
            "logger: wrong number of arguments": _all_refused("""
                logger = session.get_logger()
                refused([lambda: logger.info(), lambda: logger.info('a', 'b', 'c'), lambda: logger.info(level='error')])
            """),
            "requests: unknown names": _all_refused("""
                refused([lambda: session.new_request().create_anything_request(),
                         lambda: session.new_request().create_account_details_request().send(5),
                         lambda: session.new_request().create_account_details_request().nothing,
                         lambda: session.new_request().nothing])
            """),
            "requests: values": _all_refused("""
                class Fake: pass
                def request(value):
                    session.new_request().create_log_event_request().set_event_key(value).send()
                refused([lambda bad=bad: request(bad) for bad in [Fake(), print, session, math.nan, {1}]])
            """),
            "random: asked for much": _all_refused("""
                rng = session.random
                refused([lambda: rng.getrandbits(10 ** 9), lambda: rng.randbytes(10 ** 9),
                         lambda: rng.choices([1], k=10 ** 9),
                         lambda: rng.sample(range(10 ** 9), 5), lambda: rng.randrange(0), lambda: rng.choice([]),
                         lambda: rng.sample([1], 5), lambda: rng.seed(1), lambda: rng.setstate(1),
                         lambda: rng.getstate(),
                         lambda: rng.randint('a', 'b'), lambda: rng.choice(5), lambda: rng.shuffle(5)])
            """),
            "random: own sequences": """
                class Liar:
                    def __len__(self): return 1 << 60
                    def __getitem__(self, index): return index
                def on_packet(packet):
                    leak(session.random.choice(Liar()))
                    session.random.shuffle(Liar())
            """,
            "handler of too few parameters": "def on_packet(): pass",
            "handler of too many parameters": "def on_packet(a, b, c): pass",
            "handler that is a number": """
                on_packet = 5
                session.on_packet(100, on_packet)
            """,
            "handler that raises for one player": """
                def on_player_connect(player):
                    if player.peer_id == 2: raise ValueError('not you')
            """,
            "reason of a cut that is too long": """
                def on_packet(packet): packet.get_sender().kick('x' * 900000)
            """,
            "random: long lists": """
                many = [0.5] * 100000
                def on_packet(packet):
                    rng = session.random
                    while True: rng.shuffle(many), rng.sample(many, 80000), rng.choices(many, k=80000)
            """,
            "requests: large values": """
                def on_packet(packet):
                    request = session.new_request().create_log_event_request()
                    request.set_event_key([[1] * 1000] * 1000).send()
            """,
            "decorator used without its number": """
                @session.on_packet
                def handler(packet): pass
            """,
            "every without a number": """
                @session.every
                def tick(): pass
            """,
        },
    ),
    *cases(
        "api",
        REJECT,
        {
            "setter of a request spells a dunder": "session.new_request().create_log_event_request().__class__",
            "method behind the packet": "def on_packet(packet): leak(packet.__init__)",
            "reduce of the data": "leak(session.new_data().__reduce__())",
            "format of the data": "leak('{0}'.format(session.new_data()))",
        },
    ),
    *cases(
        "api",
        QUOTA,
        {
            "packets in one callback": """
                def on_packet(packet):
                    for n in range(100000): session.send(5, {1: n})
            """,
            "bytes in one callback": """
                def on_packet(packet):
                    text = 'x' * 3000
                    for n in range(1000): session.send(5, {1: text})
            """,
            "packets by the builder": """
                def on_packet(packet):
                    builder = session.new_packet().set_op_code(5)
                    for n in range(100000): builder.send()
            """,
            "packets at the top level": """
                for n in range(100000): session.send(5, {1: n})
            """,
            "packets while a player connects": """
                def on_player_connect(player):
                    for n in range(100000): session.send(5, {1: n}, peers=player.peer_id)
            """,
            "timeouts": """
                for n in range(100000): session.set_timeout(lambda: 1, 1000)
            """,
            "intervals": """
                def on_packet(packet):
                    for n in range(100000): session.set_interval(lambda: 1, 1000)
            """,
            "timers that keep much": """
                def later():
                    big = 'x' * 10000
                    session.set_timeout(lambda: big, 3600000)
                for n in range(100000): later()
            """,
            "timers that set timers": """
                def again():
                    session.set_timeout(again, 5)
                    session.set_timeout(again, 5)
                again()
                for n in range(100): again()
            """,
            "requests": """
                def on_packet(packet):
                    for n in range(100000):
                        session.new_request().create_account_details_request().set_player_id('a').send(answered)
                def answered(response): pass
            """,
        },
    ),
    *cases(
        "api",
        f"{QUOTA}|{RAISE}|{STOP}",
        {
            "handlers without end": """
                def handler(packet): pass
                for n in range(150000): session.on_packet(100, handler)
            """,
            "handlers without end, of new functions": """
                def on_packet(packet):
                    for n in range(150000): session.on_packet(n % 1000 + 1, lambda p: 1)
            """,
            "connect handlers without end": """
                def handler(player): pass
                for n in range(150000): session.on_player_connect(handler)
            """,
            "builders kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append(session.new_packet().set_payload(b'x' * 1000))
            """,
            "data kept": """
                kept = []
                def on_packet(packet):
                    while True: kept.append(session.new_data().set_string(1, 'x' * 1000))
            """,
            "request fields without end": """
                def on_packet(packet):
                    request = session.new_request().create_log_event_request()
                    for n in range(150000): request.set_event_key('x' * 100)
                    request.send()
            """,
            "player cut in a loop": """
                def on_packet(packet):
                    for n in range(150000): packet.get_sender().kick('again')
            """,
        },
    ),
    *cases(
        "api",
        STOP,
        {
            "timer that never ends": """
                def forever():
                    while True: pass
                session.set_timeout(forever, 10)
            """,
            "logging forever": """
                def on_packet(packet):
                    while True: session.get_logger().info('again')
            """,
            "printing forever": """
                def on_packet(packet):
                    while True: print('again')
            """,
            "asking for players forever": """
                def on_packet(packet):
                    while True: session.get_players()
            """,
            "making data forever": """
                def on_packet(packet):
                    while True: session.new_data().set_number(1, 5)
            """,
            "drawing numbers forever": """
                def on_packet(packet):
                    while True: session.random.random()
            """,
            "printing long lists forever": """
                many = [0.5] * 90000
                def on_packet(packet):
                    while True: print(*many), print(*many), print(*many), print(*many), print(many), print(many)
            """,
            "rewriting the packet with much forever": """
                much = {n: {m: 'x' * 50 for m in range(1, 15)} for n in range(1, 128)}
                def on_packet(packet):
                    while True: packet.set_data(much), packet.set_data(much), packet.set_data(much)
            """,
            "rewriting the packet forever": """
                def on_packet(packet):
                    while True: packet.set_data({1: 'x' * 500, 2: {3: 4}})
            """,
        },
    ),
    *cases(
        "api",
        f"{HARMLESS}|{RAISE}",
        {
            "cutting everybody": """
                def on_packet(packet):
                    for player in session.get_players(): player.kick('all of you')
                    session.send(5, {1: 1})
                    packet.get_sender().kick()
            """,
            "log of a very long line": "session.get_logger().info('x' * 900000)",
            "log of a hostile value": """
                class Loud:
                    def __str__(self):
                        raise ValueError('x')
                    def __repr__(self):
                        raise ValueError('x')
                session.get_logger().error(Loud())
            """,
            "handler that is a class": """
                class Handler:
                    def __init__(self, packet): self.packet = packet
                try: session.on_packet(100, Handler)
                except TypeError: pass
            """,
            "handler that is a method": """
                class Handler:
                    def run(self, packet): return None
                session.on_packet(100, Handler().run)
            """,
            "handler that is a host function": """
                session.on_packet(100, session.get_player)
                session.set_timeout(session.get_players, 100)
                session.on_player_connect(print)
            """,
            "handler that is the probe or a builtin": """
                session.on_packet(100, leak)
                session.set_timeout(print, 100)
            """,
            "changing the packet of another callback": """
                kept = []
                def on_packet(packet):
                    for old in kept:
                        try:
                            old.set_data({1: 666})
                            old.set_target_peers([1])
                            old.set_payload(b'late')
                        except Exception: pass
                    kept.append(packet)
                    leak([old.get_op_code() for old in kept[-1:]])
            """,
            "sender of an old packet": """
                kept = []
                def on_packet(packet):
                    kept.append(packet)
                    for old in kept:
                        try: leak([old.get_sender(), old.get_data(), old.get_payload(), old.get_target_players()])
                        except Exception: pass
            """,
        },
    ),
    *cases(
        "api",
        HARMLESS,
        {
            "list of players is a copy": """
                def on_packet(packet):
                    players = session.get_players()
                    before = len(players)
                    players.append(99)
                    players.clear()
                    if len(session.get_players()) != before: leak('ESCAPE: the host lost its players')
            """,
            "targets of a packet are a copy": """
                def on_packet(packet):
                    targets = packet.get_target_players()
                    targets.append(200)
                    if 200 in packet.get_target_players(): leak('ESCAPE: the packet goes to somebody else')
            """,
            "data is what was set": """
                def on_packet(packet):
                    inner = {1: 5}
                    packet.set_data({2: inner})
                    inner[1] = 'changed'
                    inner[0] = session
                    data = packet.get_data().get_data(2)
                    if data is None or data.get_number(1) != 5: leak('ESCAPE: data changed behind the packet')
            """,
            "log lines cannot forge others": """
                session.get_logger().info('a\\nerror forged\\r\\x1b[2J\\u2028x\\u202ex\\x00')
                print('a\\nerror forged', '\\ud800', '\\x07')
            """,
            "result of a handler with hostile truth": """
                class Odd:
                    def __bool__(self): leak('ESCAPE: asked for truth')
                    def __eq__(self, other): leak('ESCAPE: compared')
                def on_packet(packet): return Odd()
            """,
            "results of handlers": """
                values = [0, '', None, [], 0.0, False, True, 'False']
                def on_packet(packet): return values.pop()
            """,
            "handler that replaces itself": """
                def on_packet(packet):
                    global on_packet
                    on_packet = 5
            """,
            "handler that deletes the globals": """
                def on_packet(packet):
                    global session, helper
                    del helper
                    session = None
                def helper(): return 1
                @session.on_packet(100)
                def other(packet):
                    global helper
                    helper = 5
            """,
            "timers cleared twice and while they run": """
                numbers = []
                def once():
                    for number in numbers:
                        session.clear_timeout(number)
                        session.clear_interval(number)
                        session.clear_timeout(number)
                for n in range(5): numbers.append(session.set_interval(once, 100))
                session.clear_timeout(123456)
            """,
            "everything the API hands out": """
                def on_packet(packet):
                    leak([packet, packet.data, packet.get_data(), packet.get_sender(), packet.get_target_players(),
                          packet.get_op_code(), packet.op_code, packet.get_payload(), packet.is_reliable(),
                          packet.data.keys(), packet.get_sender().get_peer_id(), packet.get_sender().get_player_id(),
                          session.get_session_id(), session.now_ms, session.get_logger(), session.new_packet(),
                          session.new_data().set_number(1, 2), session.random, session.random.random(),
                          session.get_player(1), session.get_player(200), session.new_request(), session.every])
                def on_player_connect(player):
                    leak([player, player.get_peer_id(), player.player_id, player.kick, session.get_players()])
            """,
        },
    ),
]
