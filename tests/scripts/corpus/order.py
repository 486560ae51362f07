"""Handlers, timers and players that change each other while they are being called."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, QUOTA, RAISE, STOP, cases

CASES = [
    *cases(
        "order",
        HARMLESS,
        {
            "handler registers itself again": """
                def handler(packet):
                    calls.append(1)
                    if len(calls) < 20: session.on_packet(100, handler)
                calls = []
                session.on_packet(100, handler)
            """,
            "connect handler registers another": """
                @session.on_player_connect
                def joined(player):
                    session.on_player_connect(lambda other: None)
                    session.on_packet(100, lambda packet: None)
            """,
            "packet sent from a packet's handler is not handled again": """
                depth = [0]
                def on_packet(packet):
                    depth[0] += 1
                    if depth[0] > 1: leak('ESCAPE: nested')
                    session.send(100, {1: 1})
                    session.new_packet().set_op_code(100).send()
                    depth[0] -= 1
            """,
            "timer clears the others": """
                numbers = []
                def tick():
                    for number in numbers: session.clear_interval(number)
                for n in range(10): numbers.append(session.set_interval(tick, 10))
            """,
            "timer sets itself again": """
                def tick(): session.set_timeout(tick, 5)
                session.set_timeout(tick, 5)
            """,
            "timers in one decorator": """
                @session.every(50)
                def tick(): session.send(5, {1: session.now_ms})
            """,
            "leaving is told": """
                left = []
                def on_player_disconnect(player): left.append(player.peer_id)
                def on_packet(packet): packet.get_sender().get_peer_id()
            """,
            "cancelled packet": "def on_packet(packet): return False",
            "cancelled after changes": """
                def on_packet(packet):
                    packet.set_data({1: 'changed'})
                    packet.set_target_peers([2])
                    return False
            """,
            "two handlers, the first cancels": """
                @session.on_packet(100)
                def first(packet): return False
                @session.on_packet(100)
                def second(packet): leak('ESCAPE: called after a cancel')
            """,
            "changes are seen by the next handler": """
                @session.on_packet(100)
                def first(packet): packet.set_data({1: 'changed'})
                @session.on_packet(100)
                def second(packet):
                    if packet.get_data().get_string(1) != 'changed': leak('ESCAPE: change is lost')
            """,
        },
    ),
    *cases(
        "order",
        RAISE,
        {
            "first handler raises, the second still runs": """
                done = []
                @session.on_packet(100)
                def first(packet): raise ValueError('x')
                @session.on_packet(100)
                def second(packet): done.append(1)
            """,
            "half of a load": """
                session.set_timeout(lambda: 1 / 0, 5)
                session.on_packet(100, lambda packet: 1 / 0)
                raise ValueError('after registering')
            """,
        },
    ),
    *cases(
        "order",
        STOP,
        {
            "load is stopped half way": """
                session.on_packet(100, lambda packet: None)
                while True: pass
            """,
            "stopped handler sent before": """
                def on_packet(packet):
                    session.send(5, {1: 1})
                    packet.set_data({1: 'half'})
                    while True: pass
            """,
            "stopped by one kind of handler, not by the other": """
                def on_player_connect(player):
                    while True: pass
                def on_packet(packet): return None
            """,
            "interval that never ends": """
                @session.every(10)
                def tick():
                    while True: pass
            """,
        },
    ),
    *cases(
        "order",
        QUOTA,
        {
            "handlers that set more handlers' timers": """
                def on_packet(packet):
                    for n in range(100): session.set_interval(lambda: on_packet(packet), 5)
            """,
        },
    ),
]
