"""Events: what a script does with the event it is given, with requests and their answers, and with other events."""

from __future__ import annotations

from tests.scripts.corpus.case import HARMLESS, QUOTA, RAISE, REFUSED, REJECT, STOP, cases

EVENTS = "events"

_ASK = "event.new_request().create_account_details_request().set_player_id('ben')"
_HOSTILE = """
class Fake:
    def __eq__(self, other): leak('ESCAPE: compared'); return True
    def __hash__(self): leak('ESCAPE: hashed'); return 5
    def __str__(self): leak('ESCAPE: made a text'); return 'x'
    def __bool__(self): leak('ESCAPE: asked for truth'); return True
    def __len__(self): leak('ESCAPE: asked for length'); return 1

class FakeText:
    def __init__(self): self.text = 'x'

ring = []
ring.append(ring)
loop = {'a': 1}
loop['b'] = loop
deep = 1
for n in range(5000): deep = [deep]
shared = [1]
for n in range(60): shared = [shared, shared]
BAD = [ring, loop, deep, shared, [0] * 501, 'x' * 65537, Fake(), print, math, {1: 2}, {None: 1}, {(1, 2): 3},
       math.nan, math.inf, 1 << 64, -(1 << 64), 1 << 4000, '\\ud800', {'\\ud800': 1}, b'bytes', {1, 2}, range(3),
       ValueError, ValueError('x'), Fake]
NO_TEXTS = [5, 1.5, b'x', Fake(), FakeText(), [], {}, ('a',), print]
NAMES = [None, 'x' * 65, *NO_TEXTS]

"""


def _all_refused(body: str) -> str:
    from textwrap import dedent

    return REFUSED + _HOSTILE.lstrip("\n") + dedent(body).lstrip("\n")


CASES = [
    *cases(
        EVENTS,
        RAISE,
        {
            "reply: values": _all_refused("""
                def on_event(event):
                    refused([lambda bad=bad: event.reply('a', bad) for bad in [*BAD, event, event.random]])
            """),
            "reply: names": _all_refused("""
                def on_event(event):
                    refused([lambda bad=bad: event.reply(bad, 1) for bad in NAMES])
            """),
            "fail: arguments": _all_refused("""
                def on_event(event):
                    refused([lambda bad=bad: event.fail(bad, 'x') for bad in NAMES]
                            + [lambda bad=bad: event.fail('x', bad) for bad in NO_TEXTS]
                            + [lambda: event.fail('x', 'y' * 201), lambda: event.fail('x')])
            """),
            "attributes: names": _all_refused("""
                def on_event(event):
                    refused([lambda bad=bad: event.get(bad) for bad in NO_TEXTS]
                            + [lambda bad=bad: event[bad] for bad in NAMES]
                            + [lambda bad=bad: bad in event for bad in NO_TEXTS])
            """),
            "requests: values": _all_refused("""
                def on_event(event):
                    request = event.new_request().create_log_event_request()
                    refused([lambda bad=bad: request.set_score(bad) for bad in [*BAD, event]]
                            + [lambda bad=bad: request.set_player_id(bad) for bad in NO_TEXTS]
                            + [lambda bad=bad: request.send(bad) for bad in
                               [print, 5, 'x', event.reply, event, Fake(), request.send, [].append]])
            """),
            "writing to the event": """
                def on_event(event): event.player_id = 'ben'
            """,
            "deleting from the event": """
                def on_event(event): del event.reply
            """,
            "there is no session": """
                def on_event(event): leak(session)
            """,
            "no packets are sent": """
                def on_event(event): event.send(5, {1: 1})
            """,
            "on_event is no function": """
                class Fake:
                    def __call__(self, event): leak(event)
                on_event = Fake()
            """,
            "on_event of the host": "on_event = print",
            "no on_event at all": "x = 1",
            "a callback that raises": f"""
                def on_event(event):
                    {_ASK}.send(lambda response: response['none'])
            """,
            "kept after its end": """
                kept = []
                def on_event(event):
                    for old in kept:
                        old.reply('a', 1)
                    kept.append(event)
            """,
            "requests kept after its end": """
                kept = []
                def on_event(event):
                    for old in kept:
                        old.create_account_details_request().send()
                    kept.append(event.new_request())
            """,
        },
    ),
    *cases(
        EVENTS,
        HARMLESS,
        {
            "reading everything": """
                def on_event(event):
                    for value in (event, event.player_id, event.event_key, event.time, event.attributes, event.random,
                                  event['place'], event.get('score'), event.get('none', event), event.get_logger(),
                                  event.new_request(), event.reply, event.get_player_id):
                        leak(value)
                        leak(str(value))
                        leak(f'{value}')
            """,
            "the answer of a request": f"""
                def on_event(event):
                    def answered(response):
                        for value in (response, response['given'], response.get('player'), response.get_errors()):
                            leak(value)
                        response['given']['more'] = response
                        response.get_errors()['more'] = 1
                        event.reply('said', response['name'])
                    {_ASK}.set_note([1, {{'a': [2]}}]).send(answered)
            """,
            "attributes are the script's own": """
                def on_event(event):
                    event.attributes['score'] = event
                    event['place']['list'].append(event.attributes)
                    event.attributes['ring'] = event.attributes
            """,
            "a ring of events": """
                def on_event(event):
                    event.new_request().create_log_event_request().set_player_id('ben').send(
                        lambda response: event.reply('depth', response.get('scriptData')))
            """,
            "events for one another's players": """
                def on_event(event):
                    other = 'ben' if event.player_id == 'anna' else 'anna'
                    event.new_request().create_log_event_request().set_player_id(other).send(
                        lambda response: event.reply('errors', response.get_errors()))
            """,
            "a ring of callbacks": f"""
                def on_event(event):
                    def again(response):
                        event.reply('again', 1)
                        if event.random.random() < 0.9: {_ASK}.send(again)
                    {_ASK}.send(again)
            """,
            "an event in another one's callback": f"""
                open_ones = []
                def on_event(event):
                    open_ones.append(event)
                    def answered(response):
                        for each in open_ones: each.reply('who', event.player_id)
                        open_ones.remove(event)
                    {_ASK}.send(answered)
            """,
        },
    ),
    *cases(
        EVENTS,
        QUOTA,
        {
            "requests": f"""
                def on_event(event):
                    for n in range(1000): {_ASK}.send()
            """,
            "a tree of events": """
                def on_event(event):
                    for n in range(60): event.new_request().create_log_event_request().set_player_id('ben').send()
            """,
            "callbacks without end": f"""
                def on_event(event):
                    def again(response):
                        for n in range(40): {_ASK}.send(again)
                    again(None)
            """,
            "replies": """
                def on_event(event):
                    for n in range(100): event.reply('n' + str(n), 1)
            """,
            "errors": """
                def on_event(event):
                    for n in range(100): event.fail('n' + str(n), 'x')
            """,
        },
    ),
    *cases(
        EVENTS,
        STOP,
        {
            "an endless event": """
                def on_event(event):
                    while True: pass
            """,
            "an endless top level": "while True: pass",
            "an endless callback": f"""
                def endless(response):
                    while True: pass
                def on_event(event): {_ASK}.send(endless)
            """,
            "asking for randomness forever": """
                def on_event(event):
                    while True: event.random.random()
            """,
            "making requests forever": """
                def on_event(event):
                    while True: event.new_request().create_account_details_request().set_note('x' * 1000)
            """,
            "keeping events forever": """
                kept = []
                def on_event(event):
                    while True: kept.append([event, event.attributes, 'x' * 1000])
            """,
            "large answers, kept": """
                kept = []
                def on_event(event):
                    for n in range(12):
                        event.new_request().create_list_message_request().send(kept.append if n < 0 else keep)
                def keep(response): kept.append(response)
            """,
            "large answers, looked through again and again": """
                def on_event(event):
                    event.new_request().create_list_message_request().send(look)
                def look(response):
                    while True:
                        for each in response['list']: each['text'] + 'x'
            """,
        },
    ),
    *cases(
        EVENTS,
        f"{QUOTA}|{RAISE}|{STOP}",
        {
            "replying forever": """
                def on_event(event):
                    while True: event.reply('a', [1] * 100 if event.random.random() < 0 else 'x')
            """,
            "replying much forever": """
                def on_event(event):
                    while True: event.reply('a', ['x' * 100] * 400)
            """,
            "fields forever": """
                def on_event(event):
                    request = event.new_request().create_log_event_request()
                    for n in range(100): request.set_score('x' * 60000).send()
            """,
        },
    ),
    *cases(
        EVENTS,
        REJECT,
        {
            "the capabilities": """
                def on_event(event): leak(event._capabilities)
            """,
            "the attributes behind": """
                def on_event(event): leak(event._attributes)
            """,
            "the class": """
                def on_event(event): leak(event.__class__)
            """,
            "the run": """
                def on_event(event): leak(event._capabilities._run.done)
            """,
            "an import": """
                from gsrt.scripts import events
                def on_event(event): pass
            """,
        },
    ),
]
