"""What a script may call: what each call does, and that a wrong argument is refused with a message, not believed."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from typing import Any

import pytest

from gsrt.scripts.api import PacketBuilder, Player, Session
from gsrt.scripts.log_api import PRINT_CHARACTERS_MAX, make_print
from gsrt.scripts.quality import Quality
from gsrt.scripts.random_api import Random
from gsrt.scripts.request_api import Request, Response

BOUND = 200  # characters that a refusal may fill

# What the seed of the host below gives, on every Python.
EXPECTED_DICE = [3, 2, 4, 6, 1, 1, 5, 1, 3, 5, 1, 5]
EXPECTED_ORDER = "cdfeab"
EXPECTED_SAMPLE = [1, 2, 3]
EXPECTED_GAUSS = 12.358571009468019


class StandInData:
    """Takes the place of the compiled Data: what the API does with one is to recognise and to fill it."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}

    def __setitem__(self, index: Any, value: Any) -> None:
        if type(index) is not int:
            raise TypeError("index: a whole number from 1 to 127")
        self.values[index] = value


class Host:
    """Capabilities that note what they are asked for."""

    session_id = "S-1"
    seed = 7

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.present: dict[int, Player] = {}
        self.now = 0
        self.charged = 0
        self.known: Quality | None = Quality((41.25, 2.5, 38.0, 0.0125, 52_000))
        self.asked: list[int] = []
        self.own_globals: dict[str, Any] = {}

    def now_ms(self) -> int:
        return self.now

    def charge(self, ticks: int) -> None:
        self.charged += ticks

    def text(self, value: object) -> str:
        return f"text of {type(value).__name__}"

    def is_own(self, function: types.FunctionType) -> bool:
        return function.__globals__ is self.own_globals

    def new_data(self) -> Any:
        return StandInData()

    def send(self, *arguments: Any) -> None:
        self.calls.append(("send", *arguments))

    def on_packet(self, op_code: int, function: Any) -> None:
        self.calls.append(("on_packet", op_code, function))

    def on_player_connect(self, function: Any) -> None:
        self.calls.append(("on_player_connect", function))

    def on_player_disconnect(self, function: Any) -> None:
        self.calls.append(("on_player_disconnect", function))

    def set_timer(self, function: Any, milliseconds: float, repeat: bool) -> int:
        self.calls.append(("set_timer", function, milliseconds, repeat))
        return len(self.calls)

    def clear_timer(self, timer_id: int) -> None:
        self.calls.append(("clear_timer", timer_id))

    def player(self, peer_id: int) -> Player | None:
        return self.present.get(peer_id)

    def players(self) -> list[Player]:
        return list(self.present.values())

    def quality(self, peer_id: int) -> Any:
        self.asked.append(peer_id)
        return self.known

    def kick(self, peer_id: int, reason: str) -> None:
        self.calls.append(("kick", peer_id, reason))

    def log(self, level: str, text: str) -> None:
        self.calls.append(("log", level, text))

    def request(self, name: str, player_id: str | None, fields: dict[str, object], callback: Any) -> None:
        self.calls.append(("request", name, player_id, fields, callback))


class Odd:
    """What a hostile script would hand over: every way of asking it anything is a failure of the test."""

    def _fail(self, *_: object) -> Any:
        pytest.fail("the host has run a method of the script's")

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __len__ = __iter__ = __getitem__ = __bool__ = __index__ = _fail
    __float__ = __int__ = __str__ = __repr__ = __contains__ = __call__ = __format__ = __getattr__ = _fail
    __hash__ = _fail


class OddInt(int):
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __repr__ = Odd._fail
    __hash__ = Odd._fail


class OddText(str):
    __slots__ = ()
    __eq__ = __len__ = __repr__ = __iter__ = __getitem__ = Odd._fail
    __hash__ = Odd._fail


class OddList(list[Any]):
    __eq__ = __len__ = __repr__ = __iter__ = __getitem__ = __bool__ = Odd._fail


class OddDict(dict[Any, Any]):
    __eq__ = __len__ = __repr__ = __iter__ = __getitem__ = items = keys = Odd._fail


SCRIPT = """
def handler(*arguments):
    return "called"

class Ship:
    def method(self, *arguments):
        return "called"
"""


def kind_of(value: object) -> str:
    """What a test with this value is called: pytest would ask the value itself."""
    return type(value).__name__


@pytest.fixture
def host() -> Host:
    host = Host()
    exec(SCRIPT, host.own_globals)
    for peer_id, player_id in ((1, "anna"), (4, "ben")):
        host.present[peer_id] = Player(host, peer_id, player_id)
    return host


@pytest.fixture
def session(host: Host) -> Session:
    return Session(host)


@pytest.fixture
def handler(host: Host) -> Callable[..., object]:
    function: Callable[..., object] = host.own_globals["handler"]
    return function


def refusal(kind: type[Exception], call: Callable[..., object], *arguments: Any) -> str:
    """The message with which the call is refused."""
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert type(caught.value) is kind
    assert len(str(caught.value)) < BOUND
    assert " at 0x" not in str(caught.value)
    return str(caught.value)


WRONG_WHOLE_NUMBERS: list[tuple[type[Exception], Any, str]] = [
    (TypeError, "x", "'x'"),
    (TypeError, "x" * 1000, repr("x" * 40 + "...")),
    (TypeError, None, "None"),
    (TypeError, True, "True"),
    (TypeError, 5.0, "5.0"),
    (TypeError, float("nan"), "nan"),
    (TypeError, [1], "something of type list"),
    (TypeError, Odd(), "something of type Odd"),
    (TypeError, OddInt(5), "something of type OddInt"),
    (TypeError, Odd, "something of type type"),
    (ValueError, -1, "-1"),
    (ValueError, 2**31, "2147483648"),
    (ValueError, 1 << 5000, "a number of 5001 bits"),
]


class TestRegistering:
    def test_a_handler_of_an_op_code(self, session: Session, host: Host, handler: Any) -> None:
        assert session.on_packet(100, handler) is handler
        assert session.on_packet(101)(handler) is handler
        assert host.calls == [("on_packet", 100, handler), ("on_packet", 101, handler)]

    def test_handlers_of_connections_are_decorators_too(self, session: Session, host: Host, handler: Any) -> None:
        assert session.on_player_connect(handler) is handler
        assert session.on_player_disconnect(handler) is handler
        assert host.calls == [("on_player_connect", handler), ("on_player_disconnect", handler)]

    def test_a_method_of_a_scripts_object_may_be_a_handler(self, session: Session, host: Host) -> None:
        method = host.own_globals["Ship"]().method
        session.on_packet(1, method)
        session.set_timeout(method, 5)
        assert [call[0] for call in host.calls] == ["on_packet", "set_timer"]
        assert host.calls[0][2]() == "called"

    @pytest.mark.parametrize("op_code", [1, 2**31 - 1])
    def test_the_first_and_the_last_op_code(self, session: Session, host: Host, handler: Any, op_code: int) -> None:
        session.on_packet(op_code, handler)
        assert host.calls == [("on_packet", op_code, handler)]

    @pytest.mark.parametrize(("kind", "value", "shown"), [*WRONG_WHOLE_NUMBERS, (ValueError, 0, "0")], ids=kind_of)
    def test_no_op_code(
        self, session: Session, host: Host, handler: Any, kind: type[Exception], value: Any, shown: str
    ) -> None:
        expected = f"op_code: a whole number from 1 to 2147483647, not {shown}"
        for call in (lambda: session.on_packet(value, handler), lambda: session.on_packet(value)):
            assert refusal(kind, call) == expected
        assert refusal(kind, session.send, value) == expected
        assert refusal(kind, session.new_packet().set_op_code, value) == expected
        assert host.calls == []

    @pytest.mark.parametrize("what", ["decorated", "given"])
    def test_only_functions_of_the_script_are_called(
        self, session: Session, host: Host, handler: Any, what: str
    ) -> None:
        """Anything of the host's, called by the host with arguments that the script chose, could do more."""
        ship = host.own_globals["Ship"]
        strangers = [
            None,
            5,
            "handler",
            Odd(),
            Odd,
            ship,
            print,
            len,
            "".join,
            session.get_logger().info,
            session.send,
            session.new_request().create_log_event_request().set_event_key,
            session.on_packet(5),
            make_print(host),
            host.present[1].kick,
            host.kick,
            lambda packet: None,
            types.MethodType(len, []),
            types.MethodType(host.kick, 1),
            types.MethodType(Odd(), 1),
            staticmethod(handler),
        ]
        for stranger in strangers:
            if what == "given":
                calls: list[Callable[[], object]] = [
                    lambda: session.on_packet(5, stranger),  # noqa: B023 - called in the same round
                    lambda: session.set_timeout(stranger, 5),  # noqa: B023
                    lambda: session.set_interval(stranger, 5),  # noqa: B023
                ]
            else:
                calls = [
                    lambda: session.on_packet(5)(stranger),  # noqa: B023
                    lambda: session.on_player_connect(stranger),  # noqa: B023
                    lambda: session.on_player_disconnect(stranger),  # noqa: B023
                    lambda: session.every(5)(stranger),  # noqa: B023
                ]
            for call in calls:
                assert refusal(TypeError, call).startswith("function: a function of this script, not ")
            if stranger is not None:
                request = session.new_request().create_log_event_request()
                assert refusal(TypeError, request.send, stranger).startswith("function: a function of this script, ")
        assert host.calls == []


class TestTimers:
    def test_once_and_again_and_again(self, session: Session, host: Host, handler: Any) -> None:
        assert session.set_timeout(handler, 250) == 1
        assert session.set_interval(handler, 0.5) == 2
        assert session.every(100)(handler) is handler
        assert host.calls == [
            ("set_timer", handler, 250.0, False),
            ("set_timer", handler, 0.5, True),
            ("set_timer", handler, 100.0, True),
        ]
        assert all(type(call[2]) is float for call in host.calls)

    def test_taken_back(self, session: Session, host: Host) -> None:
        session.clear_timeout(3)
        session.clear_interval(4)
        session.clear_timeout(None)
        session.clear_interval(None)
        assert host.calls == [("clear_timer", 3), ("clear_timer", 4)]
        for call in (session.clear_timeout, session.clear_interval):
            for wrong in ("3", 3.0, True, Odd(), OddInt(3)):
                assert refusal(TypeError, call, wrong).startswith("timer_id: a whole number from 0 to ")
            refusal(ValueError, call, -1)

    @pytest.mark.parametrize("milliseconds", [0, 86_400_000, 0.0, 86_400_000.0])
    def test_the_shortest_and_the_longest(
        self, session: Session, host: Host, handler: Any, milliseconds: float
    ) -> None:
        session.set_timeout(handler, milliseconds)
        assert host.calls == [("set_timer", handler, milliseconds, False)]

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (ValueError, -1),
            (ValueError, -0.001),
            (ValueError, 86_400_001),
            (ValueError, 1 << 5000),
            (ValueError, math.inf),
            (ValueError, -math.inf),
            (ValueError, math.nan),
            (TypeError, "5"),
            (TypeError, True),
            (TypeError, None),
            (TypeError, Odd()),
            (TypeError, OddInt(5)),
        ],
        ids=kind_of,
    )
    def test_no_time(self, session: Session, host: Host, handler: Any, kind: type[Exception], value: Any) -> None:
        for call in (
            lambda: session.set_timeout(handler, value),
            lambda: session.set_interval(handler, value),
            lambda: session.every(value),
        ):
            assert refusal(kind, call).startswith("ms: milliseconds, a number from 0 to 86400000, not ")
        assert host.calls == []


class TestPlayers:
    def test_who_is_there(self, session: Session, host: Host) -> None:
        assert session.get_player(1) is host.present[1]
        assert session.get_player(2) is None
        assert session.get_players() == [host.present[1], host.present[4]]

    @pytest.mark.parametrize(("kind", "value", "shown"), [*WRONG_WHOLE_NUMBERS, (ValueError, 0, "0")], ids=kind_of)
    def test_no_peer_id(self, session: Session, kind: type[Exception], value: Any, shown: str) -> None:
        for call in (session.get_player, session.quality):
            assert refusal(kind, call, value) == f"peer_id: a whole number from 1 to 255, not {shown}"

    def test_a_player_has_a_number_and_a_name(self, host: Host) -> None:
        player = host.present[4]
        assert (player.peer_id, player.get_peer_id()) == (4, 4)
        assert (player.player_id, player.get_player_id()) == ("ben", "ben")
        assert repr(player) == "<player 4 'ben'>"

    def test_the_way_to_a_player(self, session: Session, host: Host) -> None:
        player = host.present[4]
        quality = player.quality
        assert quality is not None
        assert quality is player.get_quality() is session.quality(4) is host.known
        assert host.asked == [4, 4, 4]
        assert (quality.rtt_ms, quality.jitter_ms, quality.min_rtt_ms) == (41.25, 2.5, 38.0)
        assert (quality.loss, quality.bandwidth) == (0.0125, 52_000)
        assert repr(quality) == "<quality 41.25 ms, 1.2% lost>"

    def test_nothing_is_known_of_the_way(self, session: Session, host: Host) -> None:
        host.known = None
        assert host.present[1].quality is host.present[1].get_quality() is session.quality(1) is None

    def test_the_way_to_one_who_is_out_is_not_that_of_whoever_has_the_number_now(self, host: Host) -> None:
        out = Player(host, 4, "carl", is_out=True)
        assert out.quality is out.get_quality() is None
        assert host.asked == []

    def test_a_player_is_thrown_out_with_or_without_a_reason(self, host: Host) -> None:
        host.present[4].kick()
        host.present[1].kick("x" * 200)
        assert host.calls == [("kick", 4, ""), ("kick", 1, "x" * 200)]

    def test_no_reason(self, host: Host) -> None:
        expected = "reason: a text of at most 200 characters, not "
        assert refusal(ValueError, host.present[1].kick, "x" * 201) == expected + "201"
        for wrong in (None, 5, b"x", Odd(), OddText("x")):
            assert refusal(TypeError, host.present[1].kick, wrong).startswith(expected)
        assert host.calls == []


class TestSending:
    def test_to_all_as_the_server_and_as_quick_as_can_be(self, session: Session, host: Host) -> None:
        session.send(5)
        assert host.calls == [("send", 5, None, None, None, False, 0)]

    def test_with_data(self, session: Session, host: Host) -> None:
        data: Any = session.new_data()
        values: dict[int, object] = {1: 5, 2: "text"}
        session.send(5, data, reliable=True)
        session.send(6, values)
        assert host.calls[0][2] is data
        assert host.calls[0][5] is True
        assert host.calls[1][2] is values  # judged and copied by the one who writes it

    def test_data_of_a_builder_is_what_the_dict_held_then(self, session: Session, host: Host) -> None:
        values: dict[int, object] = {1: 5, 2: "text"}
        packet = session.new_packet().set_op_code(5).set_data(values)
        values[1] = 6
        packet.send()
        assert type(host.calls[0][2]) is StandInData
        assert host.calls[0][2].values == {1: 5, 2: "text"}

    @pytest.mark.parametrize("wrong", ["x", 5, [1], (1,), True, b"", Odd(), OddDict(), Odd, object()], ids=kind_of)
    def test_no_data(self, session: Session, host: Host, wrong: Any) -> None:
        expected = "data: a Data, a dict of index to value, or None, not "
        assert refusal(TypeError, session.send, 5, wrong).startswith(expected)
        assert refusal(TypeError, session.new_packet().set_data, wrong).startswith(expected)
        assert host.calls == []

    def test_an_index_is_judged_by_the_data(self, session: Session) -> None:
        assert refusal(TypeError, session.new_packet().set_data, {"1": 5}).startswith("index: ")

    def test_to_some(self, session: Session, host: Host) -> None:
        anna, ben = host.present[1], host.present[4]
        cases: list[tuple[Any, tuple[int, ...] | None]] = [
            (None, None),
            (7, (7,)),
            (ben, (4,)),
            ([7, 8], (7, 8)),
            ((8, 7), (8, 7)),
            ([anna, 9, ben], (1, 9, 4)),
            ([4, ben, 4, 1], (4, 1)),
            (list(range(1, 256)), tuple(range(1, 256))),
        ]
        for peers, expected in cases:
            session.send(5, peers=peers)
            session.new_packet().set_op_code(5).set_target_peers(peers).send()
            assert [call[4] for call in host.calls] == [expected, expected]
            host.calls.clear()

    def test_to_nobody(self, session: Session, host: Host) -> None:
        session.send(5, peers=[])
        session.send(5, peers=())
        session.new_packet().set_op_code(5).set_target_peers([]).send()
        assert host.calls == []
        refusal(TypeError, session.send, 5, "no data", [])

    @pytest.mark.parametrize(
        ("kind", "peers"),
        [
            (TypeError, "12"),
            (TypeError, True),
            (TypeError, {1: 2}),
            (TypeError, {1, 2}),
            (TypeError, range(3)),
            (TypeError, Odd()),
            (TypeError, OddList([1])),
            (TypeError, OddInt(1)),
            (TypeError, ["1"]),
            (TypeError, [1, None]),
            (TypeError, [1.0]),
            (TypeError, [True]),
            (TypeError, [Odd()]),
            (TypeError, [OddInt(1)]),
            (TypeError, [[1]]),
            (ValueError, 0),
            (ValueError, 256),
            (ValueError, [1, 0]),
            (ValueError, [-1]),
            (ValueError, [1] * 256),
            (ValueError, [1 << 5000]),
        ],
        ids=kind_of,
    )
    def test_to_no_peers(self, session: Session, host: Host, kind: type[Exception], peers: Any) -> None:
        assert refusal(kind, lambda: session.send(5, None, peers)).startswith("peers: ")
        assert refusal(kind, session.new_packet().set_target_peers, peers).startswith("peers: ")
        assert host.calls == []

    @pytest.mark.parametrize("wrong", [None, 0, 1, "yes", Odd(), OddInt(1)], ids=kind_of)
    def test_reliable_is_true_or_false(self, session: Session, host: Host, wrong: Any) -> None:
        expected = "reliable: True or False, not "
        assert refusal(TypeError, lambda: session.send(5, reliable=wrong)).startswith(expected)
        assert refusal(TypeError, session.new_packet().set_reliable, wrong).startswith(expected)
        assert host.calls == []


class TestPacketBuilder:
    def test_every_step_gives_the_builder_back(self, session: Session, host: Host) -> None:
        packet = session.new_packet()
        data = session.new_data()
        steps: list[tuple[Callable[..., PacketBuilder], Any]] = [
            (packet.set_op_code, 9),
            (packet.set_data, data),
            (packet.set_payload, b"\0\1"),
            (packet.set_reliable, True),
            (packet.set_sender, 3),
            (packet.set_target_peers, [1, 4]),
        ]
        for step, value in steps:
            assert step(value) is packet
        assert packet.send() is packet
        assert host.calls == [("send", 9, data, b"\0\1", (1, 4), True, 3)]

    def test_it_begins_unreliable_from_the_server_to_all(self, session: Session, host: Host) -> None:
        session.new_packet().set_op_code(9).send()
        assert host.calls == [("send", 9, None, None, None, False, 0)]

    def test_it_may_be_sent_again_and_changed_between(self, session: Session, host: Host) -> None:
        packet = session.new_packet().set_op_code(9).set_data({1: 1}).set_payload(b"x").set_target_peers(4)
        packet.send().set_data(None).set_payload(None).set_target_peers(None).set_reliable(False).send()
        assert host.calls[0][3:5] == (b"x", (4,))
        assert host.calls[1] == ("send", 9, None, None, None, False, 0)

    def test_without_op_code_there_is_no_packet(self, session: Session, host: Host) -> None:
        message = refusal(ValueError, session.new_packet().set_data({1: 1}).send)
        assert message == "op_code: a packet needs one, call set_op_code first"
        assert host.calls == []

    def test_a_sender_is_a_peer_or_the_server(self, session: Session) -> None:
        packet = session.new_packet()
        for right in (0, 1, 255):
            packet.set_sender(right)
        for kind, value, shown in WRONG_WHOLE_NUMBERS:
            assert refusal(kind, packet.set_sender, value) == f"peer_id: a whole number from 0 to 255, not {shown}"

    def test_a_payload_is_bytes(self, session: Session) -> None:
        packet = session.new_packet()
        packet.set_payload(bytes(16_300))
        expected = "payload: at most 16300 bytes, or None, not "
        assert refusal(ValueError, packet.set_payload, bytes(16_301)) == expected + "16301"
        for wrong in ("text", 5, [1], bytearray(3), Odd()):
            assert refusal(TypeError, packet.set_payload, wrong).startswith(expected)


class TestTime:
    def test_is_the_hosts(self, session: Session, host: Host) -> None:
        assert session.now_ms == 0
        host.now = 1234
        assert session.now_ms == 1234

    def test_the_session_has_an_id(self, session: Session) -> None:
        assert session.get_session_id() == "S-1"


class TestLogger:
    def test_four_levels(self, session: Session, host: Host) -> None:
        logger = session.get_logger()
        assert session.get_logger() is logger
        for level in ("debug", "info", "warn", "error"):
            getattr(logger, level)("text")
        assert host.calls == [("log", level, "text") for level in ("debug", "info", "warn", "error")]

    @pytest.mark.parametrize("value", [None, 5, [1], Odd(), OddText("x")], ids=kind_of)
    def test_what_is_no_text_is_made_one_by_the_host(self, session: Session, host: Host, value: Any) -> None:
        session.get_logger().info(value)
        assert host.calls == [("log", "info", f"text of {type(value).__name__}")]

    def test_print_writes_a_line(self, host: Host) -> None:
        write = make_print(host)
        write()
        write("a", 5, Odd())
        write("a", "b", sep="")
        write("a", "b", sep=", ", end="\n", file=None)
        assert [call[2] for call in host.calls] == ["", "a text of int text of Odd", "ab", "a, b"]
        assert {call[:2] for call in host.calls} == {("log", "info")}

    def test_print_writes_no_more_than_a_line_holds(self, host: Host) -> None:
        write = make_print(host)
        for values in (["x" * 1_000_000], ["xy"] * 100_000, [5] * 100_000):
            write(*values)
            assert PRINT_CHARACTERS_MAX < len(host.calls[-1][2]) < PRINT_CHARACTERS_MAX + 200
        write("x" * 4096)
        assert host.calls[-1][2] == "x" * 4096
        assert host.charged == 2 * 100_000 // 16

    def test_print_writes_nowhere_else(self, host: Host) -> None:
        write = make_print(host)
        for options in ({"end": ""}, {"file": Odd()}, {"end": Odd()}, {"end": OddText("\n")}, {"file": 1}):
            message = refusal(TypeError, lambda: write("a", **options))  # noqa: B023
            assert message == "print: it writes lines to the log; file= and end= are not available"
        for sep in (None, 5, Odd(), OddText(" ")):
            assert refusal(TypeError, lambda: write("a", sep=sep)).startswith("sep: a text of at most 100 ")  # noqa: B023
        refusal(ValueError, lambda: write("a", sep="x" * 101))
        assert refusal(TypeError, lambda: write("a", flush=True)).startswith("print() got an unexpected keyword")
        assert host.calls == []


class TestRandom:
    def test_is_the_same_for_the_same_seed_only(self, host: Host) -> None:
        def some() -> list[Any]:
            random = Session(host).random
            elements = list(range(20))
            random.shuffle(elements)
            return [
                random.random(),
                random.randint(1, 1000),
                random.uniform(-1, 1),
                random.choice("abcdefgh"),
                elements,
                random.sample(elements, 5),
                random.gauss(0, 1),
            ]

        first = some()
        assert some() == first
        host.seed = 8
        assert some() != first

    def test_is_one_for_the_session(self, session: Session) -> None:
        assert session.random is session.random
        assert session.random.random() != session.random.random()

    def test_the_numbers_of_a_seed_are_the_same_on_every_python(self, session: Session) -> None:
        random = session.random
        assert [random.randint(1, 6) for _ in range(12)] == EXPECTED_DICE
        elements = list("abcdef")
        random.shuffle(elements)
        assert "".join(elements) == EXPECTED_ORDER
        assert random.sample((1, 2, 3, 4), 3) == EXPECTED_SAMPLE
        assert random.gauss(10, 2) == pytest.approx(EXPECTED_GAUSS, rel=1e-12)

    def test_whole_numbers_lie_between_and_each_comes(self, session: Session) -> None:
        random = session.random
        assert {random.randint(-2, 2) for _ in range(500)} == {-2, -1, 0, 1, 2}
        assert random.randint(5, 5) == 5
        largest = 2**63 - 1
        assert all(-largest <= random.randint(-largest, largest) <= largest for _ in range(100))

    def test_dice_are_fair(self, session: Session) -> None:
        counts = [0] * 6
        for _ in range(6000):
            counts[session.random.randint(0, 5)] += 1
        assert all(850 < count < 1150 for count in counts)

    def test_whole_numbers_are_asked_for_rightly(self, session: Session) -> None:
        randint = session.random.randint
        for a, b in ((2, 1), (-(2**63), 0), (0, 2**63), (1 << 5000, 1 << 5001)):
            refusal(ValueError, randint, a, b)
        for wrong_a, wrong_b in ((1.0, 2), (1, "2"), (None, 2), (Odd(), 2), (1, OddInt(5)), (False, True)):
            refusal(TypeError, randint, wrong_a, wrong_b)

    def test_uniform_and_gauss(self, session: Session) -> None:
        random = session.random
        assert all(2 <= random.uniform(2, 3) < 3 for _ in range(100))
        assert all(-3 < random.uniform(-2, -3) <= -2 for _ in range(100))
        assert all(math.isfinite(random.uniform(-1e300, 1e300)) for _ in range(100))
        assert all(math.isfinite(random.gauss(1e300, 1e300)) for _ in range(1000))
        assert random.gauss(5, 0) == 5.0
        values = [random.gauss(10, 2) for _ in range(5000)]
        mean = sum(values) / len(values)
        assert abs(mean - 10) < 0.15
        assert abs(math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) - 2) < 0.15
        for call in (random.uniform, random.gauss):
            for wrong in (math.nan, math.inf, -math.inf, 1.1e300, 1 << 5000):
                refusal(ValueError, call, wrong, 1)
                refusal(ValueError, call, 1, wrong)
            for other in ("1", None, True, Odd(), OddInt(1), [1]):
                refusal(TypeError, call, other, 1)
                refusal(TypeError, call, 1, other)
        refusal(ValueError, random.gauss, 0, -1)

    def test_choice(self, session: Session) -> None:
        choice = session.random.choice
        for sequence in ([1, 2, 3], (1, 2, 3), range(1, 4), "123"):
            assert {str(choice(sequence)) for _ in range(100)} == {"1", "2", "3"}
        assert choice([5]) == 5
        nothing: list[Any] = [[], (), "", range(0)]
        for empty in nothing:
            assert refusal(ValueError, choice, empty) == "sequence: there is nothing in it to choose from"
        for wrong in ({1: 2}, {1}, 5, None, b"ab", Odd(), OddList([1]), OddText("x")):
            assert refusal(TypeError, choice, wrong).startswith("sequence: a list, tuple, range or text, not ")

    def test_shuffle(self, session: Session, host: Host) -> None:
        orders = set()
        for _ in range(200):
            elements = [1, 2, 3]
            assert session.random.shuffle(elements) is None  # type: ignore[func-returns-value]
            orders.add(tuple(elements))
        assert len(orders) == 6
        session.random.shuffle([])
        host.charged = 0
        session.random.shuffle(list(range(20_000)))
        assert host.charged == 5000
        refusal(ValueError, session.random.shuffle, [0] * 20_001)
        for wrong in ((1, 2), "ab", {1: 2}, None, Odd(), OddList([1])):
            refusal(TypeError, session.random.shuffle, wrong)

    def test_sample(self, session: Session, host: Host) -> None:
        elements: list[Any] = [Odd() for _ in range(5)]
        sample = session.random.sample(elements, 3)
        assert len({id(each) for each in sample}) == 3
        assert {id(each) for each in sample} <= {id(each) for each in elements}
        assert len(elements) == 5
        assert session.random.sample((1, 2), 0) == []
        assert sorted(session.random.sample((3, 1, 2), 3)) == [1, 2, 3]
        assert {tuple(session.random.sample([1, 2, 3], 2)) for _ in range(200)} == {
            (1, 2),
            (1, 3),
            (2, 1),
            (2, 3),
            (3, 1),
            (3, 2),
        }
        for few in (-1, 6):
            refusal(ValueError, session.random.sample, elements, few)
        refusal(ValueError, session.random.sample, [0] * 20_001, 1)
        for wrong in ("ab", {1: 2}, range(3), None, Odd(), OddList([1])):
            refusal(TypeError, session.random.sample, wrong, 1)
        for count in (1.0, None, True, Odd(), OddInt(1)):
            refusal(TypeError, session.random.sample, elements, count)


class TestRequests:
    NAMES = {
        "create_registration_request": "RegistrationRequest",
        "create_authentication_request": "AuthenticationRequest",
        "create_device_authentication_request": "DeviceAuthenticationRequest",
        "create_end_session_request": "EndSessionRequest",
        "create_account_details_request": "AccountDetailsRequest",
        "create_change_user_details_request": "ChangeUserDetailsRequest",
        "create_matchmaking_request": "MatchmakingRequest",
        "create_find_pending_matches_request": "FindPendingMatchesRequest",
        "create_join_pending_match_request": "JoinPendingMatchRequest",
        "create_match_details_request": "MatchDetailsRequest",
        "create_log_event_request": "LogEventRequest",
        "create_leaderboard_data_request": "LeaderboardDataRequest",
        "create_around_me_leaderboard_request": "AroundMeLeaderboardRequest",
        "create_list_achievements_request": "ListAchievementsRequest",
        "create_list_message_request": "ListMessageRequest",
        "create_dismiss_message_request": "DismissMessageRequest",
        "create_list_virtual_goods_request": "ListVirtualGoodsRequest",
        "create_buy_virtual_goods_request": "BuyVirtualGoodsRequest",
        "create_consume_virtual_good_request": "ConsumeVirtualGoodRequest",
        "create_change_currency_request": "ChangeCurrencyRequest",
        "create_grant_good_request": "GrantGoodRequest",
        "create_award_achievement_request": "AwardAchievementRequest",
        "create_send_message_request": "SendMessageRequest",
        "create_submit_score_request": "SubmitScoreRequest",
        "create_document_get_request": "DocumentGetRequest",
        "create_document_set_request": "DocumentSetRequest",
        "create_document_remove_request": "DocumentRemoveRequest",
        "create_document_find_request": "DocumentFindRequest",
    }

    @pytest.fixture
    def request_to_fill(self, session: Session) -> Request:
        return session.new_request().create_log_event_request()

    def sent(self, request: Request, host: Host) -> dict[str, object]:
        request.send()
        fields: dict[str, object] = host.calls.pop()[3]
        return fields

    def test_there_is_one_of_every_kind(self, session: Session, host: Host) -> None:
        requests = session.new_request()
        assert {name for name in dir(requests) if not name.startswith("_")} == set(self.NAMES)
        for method, name in self.NAMES.items():
            getattr(requests, method)().send()
            assert host.calls.pop() == ("request", name, None, {}, None)

    def test_it_is_filled_and_sent_on_behalf_of_a_player(self, session: Session, host: Host, handler: Any) -> None:
        request = session.new_request().create_log_event_request()
        assert request.set_event_key("SHOT").set_SCORE(5).set_player_id("anna") is request
        assert request.send(handler) is None  # type: ignore[func-returns-value]
        fields = {"eventKey": "SHOT", "SCORE": 5}
        assert host.calls == [("request", "LogEventRequest", "anna", fields, handler)]

    @pytest.mark.parametrize(
        ("setter", "field"),
        [
            ("set_skill", "skill"),
            ("set_match_short_code", "matchShortCode"),
            ("set_max_matches_to_find", "maxMatchesToFind"),
            ("set_currency1", "currency1"),
            ("set_a_1_b", "a1B"),
            ("set_device_os", "deviceOS"),
            ("set_SCORE", "SCORE"),
            ("set_HIGH_SCORE_2", "HIGH_SCORE_2"),
            ("set_" + "x" * 64, "x" * 64),
            ("set_player_ids", "playerIds"),
        ],
    )
    def test_a_setter_names_a_field(self, request_to_fill: Request, host: Host, setter: str, field: str) -> None:
        assert getattr(request_to_fill, setter)(1) is request_to_fill
        assert self.sent(request_to_fill, host) == {field: 1}

    @pytest.mark.parametrize(
        "name",
        [
            "skill",
            "set_",
            "set__x",
            "set_x_",
            "set_x__y",
            "set_1x",
            "set_camelCase",
            "set_Skill",
            "set_ß",
            "set_\u017f",  # becomes "s" where names are normalised
            "set_" + "x" * 65,
            "get_skill",
            "__class_getitem__",
            "set_x.y",
        ],
    )
    def test_nothing_else_is_a_setter(self, request_to_fill: Request, name: str) -> None:
        with pytest.raises(AttributeError, match=r"set_player_id\(id\), set_NAME\(value\) for each of its fields"):
            getattr(request_to_fill, name)

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            5,
            -(2**63) + 1,
            1.5,
            "text",
            "",
            [],
            {},
            [1, "two", [3.0, None]],
            {"a": {"b": [True, {"c": 1}]}},
            list(range(499)),
        ],
        ids=str,
    )
    def test_values(self, request_to_fill: Request, host: Host, value: Any) -> None:
        request_to_fill.set_value(value)
        sent = self.sent(request_to_fill, host)["value"]
        assert sent == value
        assert type(sent) is type(value)

    def test_a_tuple_is_sent_as_a_list(self, request_to_fill: Request, host: Host) -> None:
        request_to_fill.set_value((1, (2, 3)))
        assert self.sent(request_to_fill, host) == {"value": [1, [2, 3]]}

    def test_what_happens_to_a_value_afterwards_changes_nothing(self, request_to_fill: Request, host: Host) -> None:
        value: dict[str, Any] = {"a": [1]}
        request_to_fill.set_value(value)
        value["a"].append(2)
        value["b"] = 3
        first = self.sent(request_to_fill, host)
        request_to_fill.set_other(5)
        assert first == {"value": {"a": [1]}}
        assert self.sent(request_to_fill, host) == {"value": {"a": [1]}, "other": 5}

    def test_no_values(self, request_to_fill: Request, host: Host) -> None:
        cycle: list[Any] = []
        cycle.append(cycle)
        wide: dict[str, Any] = {"x": []}
        wide["x"] = [wide, wide]
        doubled: list[Any] = [1]
        for _ in range(20):
            doubled = [doubled, doubled]
        deep: list[Any] = []
        for _ in range(32):
            deep = [deep]
        cases: list[tuple[type[Exception], Any, str]] = [
            (TypeError, Odd(), "a text, number, bool, None, list or dict, not something of type Odd"),
            (TypeError, [Odd()], "a text, number, bool, None, list or dict, not something of type Odd"),
            (TypeError, {"a": OddInt(1)}, "a text, number, bool, None, list or dict, not something of type OddInt"),
            (TypeError, OddText("x"), "a text, number, bool, None, list or dict, not something of type OddText"),
            (TypeError, OddList([1]), "a text, number, bool, None, list or dict, not something of type OddList"),
            (TypeError, OddDict(a=1), "a text, number, bool, None, list or dict, not something of type OddDict"),
            (TypeError, {1}, "a text, number, bool, None, list or dict, not something of type set"),
            (TypeError, b"x", "a text, number, bool, None, list or dict, not something of type bytes"),
            (TypeError, {1: 2}, "a dict whose keys are texts, not 1"),
            (TypeError, {None: 2}, "a dict whose keys are texts, not None"),
            (TypeError, {OddTextKey("x"): 2}, "a dict whose keys are texts, not something of type OddTextKey"),
            (ValueError, math.nan, "a number between -1e+300 and 1e+300, not nan"),
            (ValueError, [math.inf], "a number between -1e+300 and 1e+300, not inf"),
            (
                ValueError,
                1 << 5000,
                "a whole number from -9223372036854775807 to 9223372036854775807, not a number of ",
            ),
            (ValueError, cycle, "at most 32 lists and dicts inside one another"),
            (ValueError, wide, "at most "),
            (ValueError, doubled, "at most 500 values in all"),
            (ValueError, deep, "at most 32 lists and dicts inside one another"),
            (ValueError, [0] * 500, "at most 500 values in all"),
            (ValueError, "x" * 65_537, "at most 65536 characters in all"),
            (ValueError, {"x" * 40_000: "y" * 40_000}, "at most 65536 characters in all"),
        ]
        for kind, value, expected in cases:
            assert refusal(kind, request_to_fill.set_value, value).startswith(f"value: {expected}")
        assert self.sent(request_to_fill, host) == {}

    def test_as_many_fields_as_a_request_has(self, request_to_fill: Request, host: Host) -> None:
        for number in range(64):
            getattr(request_to_fill, f"set_field_{number}")(number)
        assert refusal(ValueError, request_to_fill.set_more, 1) == "more: a request has at most 64 fields"
        request_to_fill.set_field_0("again")
        assert len(self.sent(request_to_fill, host)) == 64

    def test_filling_costs_gas(self, request_to_fill: Request, host: Host) -> None:
        request_to_fill.set_value(list(range(499)))
        assert host.charged == 500 // 16

    def test_a_player_is_named_by_a_text(self, request_to_fill: Request, host: Host) -> None:
        request_to_fill.set_player_id("anna").set_player_id(None).send()
        assert host.calls == [("request", "LogEventRequest", None, {}, None)]
        for wrong in (5, Odd(), OddText("anna"), host.present[1]):
            assert refusal(TypeError, request_to_fill.set_player_id, wrong).startswith(
                "player_id: a text of at most 128"
            )
        refusal(ValueError, request_to_fill.set_player_id, "x" * 129)


class OddTextKey(str):
    """A key that can be put into a dict but not be asked anything by the host."""

    __slots__ = ()
    __len__ = __repr__ = __iter__ = Odd._fail


class TestResponse:
    def test_fields(self) -> None:
        response = Response({"displayName": "Anna", "currency1": None})
        assert response["displayName"] == response.get("displayName") == "Anna"
        assert response.get("nothing") is None
        assert response.get("nothing", 5) == 5
        assert response.get("currency1", 5) is None
        assert "currency1" in response
        assert "nothing" not in response
        with pytest.raises(KeyError, match="nothing"):
            response["nothing"]
        assert not response.has_errors()
        assert response.get_errors() == {}

    def test_errors(self) -> None:
        response = Response({"error": {"backend": "NOT_AVAILABLE: this server has no backend yet"}})
        assert response.has_errors()
        assert response.get_errors() == {"backend": "NOT_AVAILABLE: this server has no backend yet"}
        assert not Response({"error": {}}).has_errors()

    @pytest.mark.parametrize("wrong", [5, None, Odd(), OddText("x")], ids=kind_of)
    def test_a_field_is_named_by_a_text(self, wrong: Any) -> None:
        response = Response({"a": 1})
        for call in (response.get, response.__getitem__, response.__contains__):
            assert refusal(TypeError, call, wrong).startswith("name: a text, not ")


class TestWhatAScriptCanReach:
    def objects(self, session: Session, host: Host) -> list[Any]:
        requests = session.new_request()
        return [
            session,
            session.new_packet(),
            session.get_logger(),
            session.random,
            host.present[1],
            host.present[1].quality,
            requests,
            requests.create_log_event_request(),
            Response({}),
        ]

    def test_only_functions_and_plain_values_have_public_names(self, session: Session, host: Host) -> None:
        """A script may read every attribute that begins with no underscore."""
        for each in self.objects(session, host):
            for name in dir(each):
                if name.startswith("_"):
                    continue
                value = getattr(each, name)
                assert type(value) in (types.MethodType, int, float, str, Random, Quality), (each, name)

    def test_nothing_shows_an_address(self, session: Session, host: Host) -> None:
        for each in self.objects(session, host):
            assert "0x" not in repr(each)
            assert repr(each).startswith("<")

    def test_everything_says_what_it_does(self, session: Session, host: Host) -> None:
        for each in self.objects(session, host):
            assert type(each).__doc__
            for name in dir(type(each)):
                if not name.startswith("_"):
                    assert getattr(type(each), name).__doc__, (each, name)

    def test_every_call_takes_a_wrong_argument_for_wrong_and_asks_it_nothing(
        self, session: Session, host: Host, handler: Any
    ) -> None:
        right: dict[str, Any] = {"op_code": 5, "function": handler, "ms": 5, "sequence": [1], "elements": [1, 2]}
        right |= {"a": 1, "b": 2, "mu": 1, "sigma": 1, "count": 1, "name": "x", "peer_id": 1}
        takes_anything = {"default", "value"}  # of Response.get and of the logger
        wrong = [Odd(), Odd, OddInt(1), OddText("x"), OddList([1]), OddDict({1: 1}), object(), 1j, 1 << 5000, math.nan]
        tried = 0
        for each in self.objects(session, host):
            for name in dir(each):
                call = getattr(each, name)
                if name.startswith("_") or type(call) is not types.MethodType:
                    continue
                parameters = inspect.signature(call).parameters.values()
                needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
                for parameter in parameters:
                    if parameter.name in takes_anything:
                        continue
                    others = {other: right[other] for other in needed if other != parameter.name}
                    for value in wrong:
                        with pytest.raises((TypeError, ValueError)) as caught:
                            call(**others, **{parameter.name: value})
                        assert len(str(caught.value)) < BOUND
                        tried += 1
        assert tried > 300
        assert host.calls == []

    def test_what_the_host_hands_out_has_no_dict(self, session: Session, host: Host) -> None:
        for each in self.objects(session, host):
            assert not hasattr(each, "__dict__")
