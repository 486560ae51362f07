"""State that would pass from one session to another of the same process."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, RAISE, cases

CASES = [
    *cases(
        "isolation",
        HARMLESS,
        {
            "globals begin anew": """
                seen = []
                def on_packet(packet):
                    seen.append(1)
                    if len(seen) > 6: leak('ESCAPE: somebody else was here')
            """,
            "defaults begin anew": """
                def run(kept=[]):
                    kept.append(1)
                    return len(kept)
                if run() != 1: leak('ESCAPE: somebody else was here')
            """,
            "classes begin anew": """
                class Ship:
                    kept = []
                    count = 0
                Ship.kept.append(1)
                Ship.count += 1
                if len(Ship.kept) != 1 or Ship.count != 1: leak('ESCAPE: somebody else was here')
            """,
            "constants cannot change": """
                def constant(): return (1, 2, 'three')
                def items(): return [1, 2]
                items().append(3)
                if items() != [1, 2] or constant() != (1, 2, 'three'): leak('ESCAPE: constant changed')
            """,
            "sets of constants cannot change": """
                def test(x): return x in {1, 2, 3}
                if test(4) or not test(1): leak('ESCAPE: constant changed')
            """,
            "shadowed builtins stay with the script": """
                if len([1]) != 1 or ValueError == KeyError or math.floor(2.5) != 2 or sorted([2, 1]) != [1, 2]:
                    leak('ESCAPE: somebody else was here')
                len = lambda x: 5
                ValueError = KeyError
                sorted = print
                math = None
                Exception = None
                print = None
            """,
            "global declarations stay with the script": """
                def check():
                    try: marker
                    except NameError: return
                    leak('ESCAPE: somebody else was here')
                check()
                def run():
                    global marker, range, session
                    marker = 1
                    range = 5
                    session = None
                run()
            """,
            "random numbers are the session's own": """
                first = [session.random.random() for n in range(5)]
                for n in range(100): session.random.random()
            """,
            "collisions of one script are its own": """
                table = {}
                for n in range(3000): table[n, n + 1, 'x' * (n % 7)] = n
                if len(table) != 3000: leak('ESCAPE: lost keys')
            """,
            "exception classes carry nothing": """
                class Note(ValueError): pass
                try: leak(Note.kept); leak('ESCAPE: somebody else was here')
                except AttributeError: pass
                Note.kept = 1
            """,
            "players of one session": """
                ids = [player.player_id for player in session.get_players()]
                if session.get_player(77) is not None: leak('ESCAPE: a stranger')
            """,
            "names of handlers": """
                calls = []
                @session.on_packet(100)
                def first(packet):
                    calls.append(1)
                    if len(calls) > 6: leak('ESCAPE: called for another session')
            """,
            "names that builtins look up": """
                def sum_of(values): return sum(values)
                def abs(x): return 5
                def key(x): return x
                if sum_of([1, -2]) != -1 or max([-3, 1]) != 1: leak('ESCAPE: builtins look into the script')
            """,
        },
        sessions=2,
    ),
    *cases(
        "isolation",
        RAISE,
        {
            "mark on a builtin": """
                def marked():
                    try: return len.mark
                    except AttributeError: return None
                if marked(): leak('ESCAPE: somebody else was here')
                len.mark = 1
            """,
            "mark on an exception class": """
                def marked():
                    try: return ValueError.mark
                    except AttributeError: return None
                if marked(): leak('ESCAPE: somebody else was here')
                ValueError.mark = 1
            """,
            "mark on a host class": """
                def on_player_connect(player): player.mark = 1
            """,
            "mark on the math namespace": "math.mark = 1",
            "mark on the session": "session.mark = 1",
            "mark on a method of the session": "session.send.mark = 1",
            "mark on the random generator": "session.random.mark = 1",
            "mark on the logger": "session.get_logger().mark = 1",
            "mark on data": "session.new_data().mark = 1",
            "mark on a builder": "session.new_packet().mark = 1",
            "mark on a request": "session.new_request().mark = 1",
            "mark on a range": "range(3).mark = 1",
            "mark on an ellipsis": "(...).mark = 1",
            "mark on an own exception's base": """
                class Loud(Exception): pass
                Exception.mark = 1
            """,
            "exceptions of one handler do not stop another session": """
                def on_packet(packet): raise ValueError('every time')
            """,
        },
        sessions=2,
    ),
]
