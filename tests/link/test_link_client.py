"""The client's connections as machines of their own, against a Door and LinkEndpoints, over a made-up network."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import pytest

from gsrt._core import Data, FrameReader, Packet
from gsrt._link import KIND_ORDERED, KIND_SEQUENCED, KIND_UNORDERED, KIND_UNRELIABLE
from gsrt.protocol import rt
from gsrt.protocol.client_connection import (
    FIRST_REFUSED_RETRY_SECONDS,
    FIRST_RETRY_SECONDS,
    LOGIN_SECONDS,
    MAX_HELD_PACKETS,
    ConnectionState,
    Failed,
    Lost,
    PacketReceived,
    PeerConnected,
    PeerDisconnected,
    Ready,
)
from gsrt.protocol.either_client import ANSWER_SECONDS, KNOWN_ANSWER_SECONDS, EitherConnection
from gsrt.protocol.link import HANDSHAKE_SECONDS, SUITE_INSECURE, Terms
from gsrt.protocol.link_client import (
    CLOSE_ENDED,
    CLOSE_KICKED,
    CLOSE_LEFT,
    CLOSE_PROTOCOL,
    CLOSE_REPLACED,
    CLOSE_SLOW,
    MAX_OUTPUT_BYTES,
    REBIND_SECONDS,
    LinkConnection,
)
from gsrt.protocol.rt import Intent
from tests.link.link_server import LinkServer
from tests.support.link import LossyLink

IDLE_SECONDS = 15.0


class World:
    """A client, a server and the network between them. The client's address is the number of its socket."""

    def __init__(
        self,
        client: LinkConnection | EitherConnection | None = None,
        server: LinkServer | None = None,
        *,
        seed: int = 1,
        loss: float = 0.0,
        delay: float = 0.02,
    ) -> None:
        self.now = 1000.0
        self.client = client or LinkConnection("access", entropy=random.Random(seed).randbytes)
        self.server = server or LinkServer("access")
        self.network = LossyLink(
            seed, loss=loss, duplicate=loss / 4, shortest_delay=delay, longest_delay=delay * (1 + 2 * loss)
        )
        self.lost_ways: set[int] = set()
        self.sent: list[tuple[float, int, int]] = []  # when, over which socket, the datagram's type
        self.told: list[object] = []
        self.stream_answers = False  # so that a stream leads somewhere
        self.stream_logins: list[str] = []
        self._stream = 0
        self._reader = FrameReader(1 << 20)

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Until it is true, or that time has passed."""
        end = self.now + seconds
        while True:
            self._exchange()
            if condition():
                return
            timers = (self.client.next_timer(), self.server.next_timer(), self.network.next_timer(), end)
            due = min(timer for timer in timers if timer is not None)
            if due >= end:
                self.now = end
                return
            self.now = max(self.now, due)
            self.network.handle_timer(self.now)
            self.client.handle_timer(self.now)
            self.server.handle_timer(self.now)

    def become_ready(self) -> None:
        self.client.start(self.now)
        self.run_until(lambda: self.client.ready)
        assert self.client.ready, self.reasons()
        self.told.clear()

    def until_told(self, kind: type, seconds: float = 60.0) -> None:
        self.run_until(lambda: any(isinstance(event, kind) for event in self.told), seconds)
        assert any(isinstance(event, kind) for event in self.told), self.told

    def reasons(self) -> list[str]:
        return [event.reason for event in self.told if isinstance(event, Lost | Failed)]

    def packets(self) -> list[Packet]:
        return [event.packet for event in self.told if isinstance(event, PacketReceived)]

    def _exchange(self) -> None:
        for _ in range(3):
            self._follow_stream()
            socket = self.client.wanted_socket
            for datagram in self.client.datagrams_to_send(self.now):
                if socket or datagram[:2] == b"\0\6":  # a goodbye goes out over the last one
                    self.sent.append((self.now, socket, datagram[1]))
                    if socket not in self.lost_ways:
                        self.network.carry(datagram, self.now, self._to_server(socket))
            for address, datagram in self.server.datagrams_to_send(self.now):
                if address[0] not in self.lost_ways:
                    self.network.carry(datagram, self.now, self._to_client(address[0]))
            while (event := self.client.next_event()) is not None:
                self.told.append(event)

    def _to_server(self, socket: int) -> Callable[[bytes, float], None]:
        return lambda datagram, now: self.server.receive(datagram, bytes([socket]), now)

    def _to_client(self, socket: int) -> Callable[[bytes, float], None]:
        def deliver(datagram: bytes, now: float) -> None:
            if socket == self.client.wanted_socket:
                self.client.receive_datagram(datagram, now)

        return deliver

    def _follow_stream(self) -> None:
        if not isinstance(self.client, EitherConnection):
            return
        if self.client.wanted_stream != self._stream:
            self._stream = self.client.wanted_stream
            self._reader = FrameReader(1 << 20)
            if self._stream and self.stream_answers:
                self.client.stream_opened(self.now)
            elif self._stream:
                self.client.stream_lost(self.now, "nobody is there")
        for body in self._reader.feed(self.client.stream_to_send()):
            packet = Packet.decode(body)
            if packet.op_code == rt.OP_LOGIN:
                self.stream_logins.append(rt.parse_login(packet).token)
                for fast in (False, True):
                    self.client.receive_stream(rt.login_result_frame("reconnect", 1, (), fast=fast), self.now)


def kinds(told: list[object]) -> list[type]:
    return [type(event) for event in told]


class TestComingIn:
    def test_the_whole_sequence(self) -> None:
        world = World(server=LinkServer("access"))
        world.server.peer_id, world.server.peers = 2, (1,)
        client = world.client
        assert (client.state, client.wanted_socket, client.next_timer()) == (ConnectionState.IDLE, 0, None)
        client.start(world.now)
        assert (client.state, client.wanted_socket) == (ConnectionState.CONNECTING, 1)
        assert not client.answered
        world.run_until(lambda: client.answered)
        assert (client.ready, client.quality) == (False, None)
        world.run_until(lambda: client.ready)
        assert (client.peer_id, client.active_peers, client.state) == (2, (1, 2), ConnectionState.RELIABLE_AND_FAST)
        world.run(1)
        assert world.server.guest.ready
        assert kinds(world.told) == [Ready]
        assert [kind for _, _, kind in world.sent[:3]] == [1, 3, 6]
        assert client.quality is not None
        assert client.quality["rtt"] == pytest.approx(0.04, rel=0.5)
        assert world.now - world.sent[0][0] < 1.2

    def test_player_ready_is_the_first_message(self) -> None:
        world = World(LinkConnection("access", entropy=random.Random(1).randbytes, suite=SUITE_INSECURE))
        world.server = LinkServer("access", insecure=True)
        seen: list[bytes] = []
        receive = world.server.receive

        def watch(datagram: bytes, address: bytes, now: float) -> None:
            seen.append(datagram)
            receive(datagram, address, now)

        world.server.receive = watch  # type: ignore[method-assign]
        world.become_ready()
        first = next(datagram for datagram in seen if datagram[1] == 6)
        assert first[14:] == bytes.fromhex("00 82 00 0000 02 080d")  # nothing acknowledged; ORDERED 0, sequence 0

    def test_a_wrong_token(self) -> None:
        world = World(server=LinkServer("another"))
        world.client.start(world.now)
        world.until_told(Failed)
        [failed] = world.told
        assert isinstance(failed, Failed)
        assert failed.refused
        assert "does not know the token" in failed.reason
        assert (world.client.failures, world.client.refusals, world.client.wanted_socket) == (1, 1, 0)
        due = world.client.next_timer()
        assert due is not None
        assert FIRST_REFUSED_RETRY_SECONDS / 2 <= due - world.now <= FIRST_REFUSED_RETRY_SECONDS
        world.server.tokens.add("access")
        world.run_until(lambda: world.client.ready)
        assert (world.client.refusals, world.client.wanted_socket) == (0, 2)

    def test_nobody_answers(self) -> None:
        world = World()
        world.server.quiet = True
        world.client.start(world.now)
        world.until_told(Failed)
        assert world.now == 1000 + HANDSHAKE_SECONDS
        assert "nothing answers by UDP" in world.reasons()[0]
        assert (world.client.failures, world.client.refusals) == (1, 0)

    @pytest.mark.parametrize(
        ("reason", "words", "not_offered"),
        [
            (1, "speaks versions 2 to 3 of the link, we speak 1", True),
            (2, "does not take suite 1", True),
            (5, "as many connections as it may", False),
        ],
    )
    def test_other_refusals(self, reason: int, words: str, not_offered: bool) -> None:
        connection = LinkConnection("access", entropy=random.Random(1).randbytes)
        connection.start(5.0)
        [hello] = connection.datagrams_to_send(5.0)
        connection.receive_datagram(bytes((0, 5, reason, 2, 3, 1, 0, 0)) + hello[4:20], 5.0)
        event = connection.next_event()
        assert isinstance(event, Failed)
        assert words in event.reason
        assert (event.refused, connection.not_offered) == (False, not_offered)
        assert connection.state == ConnectionState.WAITING

    def test_the_port_is_nobodys(self) -> None:
        world = World()
        world.client.start(world.now)
        assert isinstance(world.client, LinkConnection)
        world.client.unreachable(world.now, "nobody has that port")
        world.until_told(Failed)
        assert world.reasons() == ["nobody has that port"]
        assert world.now == 1000

    @pytest.mark.parametrize(
        ("frame", "words", "refused"),
        [
            (b"\x06\x08\x01\x7a\x02\x08\x00", "the server refused the login", True),
            (b"\x06\x08\x01\x7a\x02\x08\x01", "cannot be read", False),
            (None, "no answer to the login", False),
        ],
    )
    def test_a_login_that_fails(self, monkeypatch: pytest.MonkeyPatch, frame: bytes, words: str, refused: bool) -> None:
        monkeypatch.setattr(rt, "login_result_frame", lambda *_, **__: frame or b"\x02\x08\x7f")
        world = World()
        world.client.start(world.now)
        world.until_told(Failed)
        [failed] = [event for event in world.told if isinstance(event, Failed)]
        assert words in failed.reason
        assert failed.refused == refused
        assert (world.now > 1000 + LOGIN_SECONDS) == (frame is None)

    def test_a_token_that_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="a token has 1 to"):
            LinkConnection("", entropy=random.Random(1).randbytes)

    def test_starting_twice_is_starting_once(self) -> None:
        world = World()
        world.client.start(world.now)
        world.client.start(world.now)
        world.run_until(lambda: world.client.ready)
        world.client.start(world.now)
        assert (world.client.wanted_socket, len(world.server.guests)) == (1, 1)


class TestSending:
    @pytest.mark.parametrize(
        ("intent", "kind", "stream"),
        [
            (Intent.RELIABLE, KIND_ORDERED, 7),
            (Intent.RELIABLE_UNORDERED, KIND_UNORDERED, 0),
            (Intent.UNRELIABLE, KIND_UNRELIABLE, 0),
            (Intent.UNRELIABLE_SEQUENCED, KIND_SEQUENCED, 7),
        ],
    )
    def test_each_intent(self, intent: Intent, kind: int, stream: int) -> None:
        world = World()
        world.become_ready()
        data = Data({1: "text"})
        size = world.client.send(42, intent, data, b"payload", [3, 0], 7, now=world.now)
        world.run(1)
        [(got_kind, got_stream, packet)] = world.server.guest.received
        assert (got_kind, got_stream) == (kind, stream)
        assert (packet.op_code, packet.data, packet.payload, packet.targets) == (42, data, b"payload", (3, 0))
        assert (packet.sequence, packet.reliable) == (None, None)  # the frame says it
        assert size == len(packet.encode())

    def test_the_largest_packet_is_the_servers_to_say(self) -> None:
        world = World(server=LinkServer("access", terms=Terms(message_bytes=20_000)))
        world.become_ready()
        assert world.client.send(1, payload=b"x" * 19_990, now=world.now)
        with pytest.raises(ValueError, match="20000 is the most"):
            world.client.send(1, payload=b"x" * 20_000, now=world.now)
        world.run(2)
        assert [len(packet.payload or b"") for _, _, packet in world.server.guest.received] == [19_990]

    def test_up_to_256_kilobytes(self) -> None:
        world = World()
        world.become_ready()
        payload = random.Random(5).randbytes(262_000)
        assert world.client.send(1, payload=payload, channel=2, now=world.now)
        world.run_until(lambda: world.server.guest.received)
        assert world.server.guest.received[0][2].payload == payload

    def test_what_cannot_be_sent(self) -> None:
        world = World()
        send = world.client.send
        assert send(1, now=world.now) == 0  # not connected
        for arguments, words in (
            ({"op_code": 0}, "opCode 0"),
            ({"op_code": 1, "peers": [-1]}, "peer -1"),
            ({"op_code": 1, "channel": 16}, "channel 16"),
            ({"op_code": 1, "channel": -1}, "channel -1"),
            ({"op_code": 1, "payload": b"x" * 262_144}, "262144 is the most"),
        ):
            with pytest.raises(ValueError, match=words):
                send(**arguments, now=world.now)
        assert isinstance(world.client, LinkConnection)
        assert world.client.delivered

    def test_a_server_that_does_not_keep_up(self) -> None:
        world = World()
        world.become_ready()
        assert isinstance(world.client, LinkConnection)
        sent = 0
        while world.client.send(1, payload=b"x" * 10_000, now=world.now):
            sent += 1
        assert MAX_OUTPUT_BYTES - 20_000 < sent * 10_000 < MAX_OUTPUT_BYTES
        assert world.client.sends_dropped == 1
        assert not world.client.delivered
        world.run_until(lambda: isinstance(world.client, LinkConnection) and world.client.delivered)
        assert len(world.server.guest.received) == sent
        assert world.client.send(1, now=world.now)


class TestHearing:
    def test_who_is_here(self) -> None:
        world = World()
        world.become_ready()
        guest = world.server.guest
        guest.say(rt.player_connect_frame(2, (1, 2)), world.now)
        guest.packet(Packet(5, sender=2, payload=b"p"), world.now)
        guest.say(rt.player_disconnect_frame(2, (1,)), world.now)
        world.run(1)
        assert kinds(world.told) == [PeerConnected, PacketReceived, PeerDisconnected]
        assert (world.packets()[0].sender, world.packets()[0].payload) == (2, b"p")
        assert world.client.active_peers == (1,)

    def test_a_packet_that_overtakes_word_of_its_senders_coming_waits_for_that(self) -> None:
        world = World()
        world.become_ready()
        guest = world.server.guest
        guest.packet(Packet(5, sender=2), world.now, KIND_ORDERED, 2 * 16 + 1)
        guest.packet(Packet(6, sender=3), world.now, KIND_UNRELIABLE)
        guest.packet(Packet(7, sender=0), world.now, KIND_UNRELIABLE)
        world.run(1)
        assert [packet.op_code for packet in world.packets()] == [7]
        guest.say(rt.player_connect_frame(2, (1, 2)), world.now)
        guest.packet(Packet(8, sender=2), world.now)
        world.run(1)
        assert [packet.op_code for packet in world.packets()] == [7, 5, 8]
        assert kinds(world.told) == [PacketReceived, PeerConnected, PacketReceived, PacketReceived]
        guest.say(rt.player_connect_frame(3, (1, 2, 3)), world.now)
        world.run(1)
        assert [packet.op_code for packet in world.packets()] == [7, 5, 8, 6]

    def test_who_has_left_may_still_be_heard(self) -> None:
        world = World()
        world.become_ready()
        guest = world.server.guest
        guest.say(rt.player_connect_frame(2, (1, 2)), world.now)
        guest.say(rt.player_disconnect_frame(2, (1,)), world.now)
        world.run(1)
        guest.packet(Packet(5, sender=2), world.now, KIND_ORDERED, 2 * 16 + 1)
        world.run(1)
        assert [packet.op_code for packet in world.packets()] == [5]

    def test_only_so_many_wait(self) -> None:
        world = World()
        world.become_ready()
        for number in range(MAX_HELD_PACKETS + 5):
            world.server.guest.packet(Packet(1 + number, sender=2), world.now, KIND_ORDERED, 2 * 16 + 1)
        world.run(2)
        assert world.packets() == []
        assert isinstance(world.client, LinkConnection)
        assert world.client.held_dropped == 5
        world.server.guest.say(rt.player_connect_frame(2, (1, 2)), world.now)
        world.run(1)
        assert [packet.op_code for packet in world.packets()] == list(range(1, MAX_HELD_PACKETS + 1))

    def test_packets_before_the_login_result_wait_for_it(self) -> None:
        world = World()
        world.server.peers = (2,)
        world.client.start(world.now)
        world.run_until(lambda: world.server.guests)
        world.server.guest.packet(Packet(5, sender=2), world.now, KIND_UNRELIABLE)
        world.server.guest.packet(Packet(6, sender=0), world.now, KIND_UNRELIABLE)
        world.run(1)
        assert kinds(world.told) == [Ready, PacketReceived, PacketReceived]

    def test_system_messages_that_do_not_belong_there(self) -> None:
        world = World()
        world.become_ready()
        guest = world.server.guest
        connect = rt.player_connect_frame(2, (1, 2))
        guest.say(connect, world.now, KIND_UNORDERED)
        guest.say(connect, world.now, KIND_ORDERED, 1)
        guest.say(rt.login_result_frame("x", 1, ()), world.now)
        guest.say(rt.udp_connect_frame(), world.now)
        guest.say(b"\x03\x08\xc9\x01", world.now)  # PlayerConnect without a body
        guest.say(b"\x06\x08\xc9\x01\x7a\x01\xff", world.now)  # and with one that cannot be read
        guest.say(b"\x01\xff", world.now)  # no packet at all
        world.run(1)
        assert isinstance(world.client, LinkConnection)
        assert (world.told, world.client.ignored, world.client.malformed) == ([], 5, 2)
        assert world.client.active_peers == (1,)


class TestLossAndReturn:
    def test_silence_ends_it_and_it_comes_back_with_the_reconnect_token(self) -> None:
        world = World()
        world.become_ready()
        world.run(20)
        world.server.quiet = True
        world.until_told(Lost)
        assert world.reasons() == ["nothing was heard of the server for too long"]
        assert (world.client.ready, world.client.wanted_socket) == (False, 0)
        due = world.client.next_timer()
        assert due is not None
        assert FIRST_RETRY_SECONDS / 2 <= due - world.now <= FIRST_RETRY_SECONDS
        world.server.quiet = False
        world.run_until(lambda: world.client.ready)
        assert world.server.tokens_seen == ["access", "reconnect"]
        assert kinds(world.told) == [Lost, Ready]

    @pytest.mark.parametrize(
        ("reason", "text", "words"),
        [
            (CLOSE_LEFT, "", "the server closed the connection"),
            (CLOSE_PROTOCOL, "what is that?", "the server says that we broke the contract of the link: what is that?"),
            (CLOSE_REPLACED, "", "this player has come in anew from elsewhere"),
            (CLOSE_KICKED, "", "the server put this player out of the session"),
            (CLOSE_ENDED, "\x1b[2J", "the session is over, or the server has stopped"),
            (CLOSE_SLOW, "", "the server closed the connection: more was waiting for us than it keeps"),
            (99, "", "the server closed the connection for reason 99"),
        ],
    )
    def test_the_server_says_why(self, reason: int, text: str, words: str) -> None:
        world = World()
        world.become_ready()
        world.server.guest.packet(Packet(5), world.now)
        world.run(0.01)
        world.server.guest.end.close(reason, text, world.now)
        world.until_told(Lost)
        assert kinds(world.told) == [PacketReceived, Lost]
        assert world.reasons() == [words]
        world.run_until(lambda: world.client.ready)  # as with a stream that ends: it tries again
        assert world.server.tokens_seen == ["access", "reconnect"]

    def test_a_server_that_breaks_the_contract_is_told(self) -> None:
        world = World(LinkConnection("access", entropy=random.Random(1).randbytes, suite=SUITE_INSECURE))
        world.server = LinkServer("access", insecure=True)
        world.become_ready()
        number = (1000).to_bytes(4, "little")
        world.client.receive_datagram(b"\0\6" + world.server.guest.connection + number + b"\0\x7f", world.now)
        goodbyes = world.client.datagrams_to_send(world.now)
        world.until_told(Lost, 0)
        assert len(goodbyes) == 3
        assert all(datagram[:2] == b"\0\6" for datagram in goodbyes)
        assert world.reasons()[0].startswith("the server broke the contract of the link")

    def test_another_socket_when_the_first_one_has_no_way_any_more(self) -> None:
        world = World()
        world.become_ready()
        world.run(2)
        world.lost_ways.add(1)
        lost_at = world.now
        world.client.send(5, now=world.now)
        world.run_until(lambda: world.client.wanted_socket == 2)
        assert REBIND_SECONDS <= world.now - lost_at < 4
        world.run_until(lambda: world.server.guest.received)
        assert [packet.op_code for _, _, packet in world.server.guest.received] == [5]
        world.server.guest.packet(Packet(6), world.now)
        world.run(2)
        assert [packet.op_code for packet in world.packets()] == [6]
        assert (kinds(world.told), len(world.server.guests)) == ([PacketReceived], 1)
        assert world.client.wanted_socket == 2

    def test_more_sockets_and_less_often_while_nothing_is_heard(self) -> None:
        world = World()
        world.become_ready()
        world.run(2)
        world.lost_ways.update(range(10))
        world.client.send(5, now=world.now)
        numbers = set()
        world.run_until(lambda: numbers.add(world.client.wanted_socket) or world.told)  # type: ignore[func-returns-value]
        assert kinds(world.told) == [Lost]
        assert 3 <= len(numbers) - 1 <= 7  # 0 is after the end

    def test_a_server_that_has_forgotten_us_is_asked_and_we_begin_anew(self) -> None:
        world = World()
        world.become_ready()
        world.run(2)
        world.server.guests.clear()
        world.client.send(5, now=world.now)
        forgotten_at = world.now
        world.until_told(Lost)
        assert "may have been restarted" in world.reasons()[0]
        assert REBIND_SECONDS < world.now - forgotten_at < 6
        world.until_told(Ready)
        assert world.server.tokens_seen == ["access", "reconnect"]

    def test_one_that_is_slow_is_not_taken_for_that(self) -> None:
        world = World()
        world.become_ready()
        world.run(2)
        held: list[tuple[bytes, bytes]] = []
        receive = world.server.receive
        world.server.receive = lambda datagram, address, now: held.append((datagram, address))  # type: ignore[method-assign]
        world.client.send(5, now=world.now)
        world.run(4)
        world.server.receive = receive  # type: ignore[method-assign]
        assert {datagram[1] for datagram, _ in held} == {1, 6}  # it was asked by a HELLO as well
        for datagram, address in held:
            world.server.receive(datagram, address, world.now)
        world.run(20)
        assert (world.told, len(world.server.guests)) == ([], 1)
        assert [packet.op_code for _, _, packet in world.server.guest.received] == [5]

    def test_a_forged_cookie_says_nothing(self) -> None:
        world = World()
        world.become_ready()
        world.run(2)
        world.server.quiet = True
        world.client.send(5, now=world.now)
        world.run_until(lambda: world.client.wanted_socket == 2)
        for _ in range(10):
            world.client.receive_datagram(b"\0\2\1\1" + bytes(40), world.now)
            world.run(0.5)
        assert world.told == []

    def test_an_idle_link_stays_as_it_is(self) -> None:
        world = World(loss=0.05, seed=4)
        world.become_ready()
        world.run(300)
        assert (world.told, world.client.wanted_socket) == ([], 1)

    def test_word_that_the_port_is_nobodys_counts_only_with_silence(self) -> None:
        world = World()
        world.become_ready()
        world.run(2)
        assert isinstance(world.client, LinkConnection)
        for _ in range(100):  # forged
            world.client.unreachable(world.now, "forged")
            world.client.send(5, now=world.now)
            world.run(0.1)
        assert (world.told, world.client.wanted_socket) == ([], 1)
        world.server.quiet = True
        went = world.now
        world.client.send(5, now=world.now)
        world.client.unreachable(world.now, "true")
        world.until_told(Lost)
        assert world.now - went < 4
        assert "the server is gone" in world.reasons()[0]

    def test_leaving_tells_the_server_three_times(self) -> None:
        world = World()
        world.become_ready()
        world.client.send(5, now=world.now)
        assert isinstance(world.client, LinkConnection)
        world.run_until(lambda: isinstance(world.client, LinkConnection) and world.client.delivered)
        before = len(world.sent)
        world.client.close(world.now)
        assert (world.client.wanted_socket, world.client.ready, world.client.delivered) == (0, False, True)
        world.run(1)
        assert len(world.sent) - before == 3
        assert world.server.guest.end.ended == (CLOSE_LEFT, "")
        assert (world.told, world.client.next_timer()) == ([], None)
        world.client.start(world.now)
        world.run_until(lambda: world.client.ready)
        assert world.server.tokens_seen == ["access", "reconnect"]

    def test_leaving_in_the_middle_of_the_handshake(self) -> None:
        world = World()
        world.client.start(world.now)
        world.run_until(lambda: world.client.answered)
        world.client.close(world.now)
        world.run(10)
        assert (world.told, world.client.state) == ([], ConnectionState.CLOSED)

    @pytest.mark.parametrize("seed", range(6))
    def test_over_a_bad_network_everything_reliable_comes_once_and_in_order(self, seed: int) -> None:
        world = World(loss=0.25, delay=0.03, seed=seed)
        world.become_ready()
        for number in range(100):
            for channel in range(4):
                assert world.client.send(1 + number, channel=channel, now=world.now)
                world.server.guest.packet(Packet(1 + number), world.now, KIND_ORDERED, 0 * 16 + channel)
            assert world.client.send(1 + number, Intent.RELIABLE_UNORDERED, now=world.now)
            world.run(0.02)
        world.run_until(lambda: len(world.server.guest.received) >= 500 and len(world.packets()) >= 400)
        assert kinds(world.told) == [PacketReceived] * 400
        heard: dict[tuple[int, int], list[int]] = {}
        for kind, stream, packet in world.server.guest.received:
            heard.setdefault((kind, stream), []).append(packet.op_code)
        for channel in range(4):
            assert heard.pop((KIND_ORDERED, channel)) == list(range(1, 101))
        assert sorted(heard.pop((KIND_UNORDERED, 0))) == list(range(1, 101))
        assert not heard
        assert sorted(packet.op_code for packet in world.packets()) == sorted([*range(1, 101)] * 4)

    def test_a_blackout_of_five_seconds_is_survived(self) -> None:
        world = World()
        world.become_ready()
        world.run(3)
        world.server.quiet = True
        for number in range(10):
            world.client.send(1 + number, now=world.now)
            world.run(0.5)
        world.server.quiet = False
        world.run_until(lambda: len(world.server.guest.received) == 10, 5)
        assert [packet.op_code for _, _, packet in world.server.guest.received] == list(range(1, 11))
        assert (world.told, len(world.server.guests)) == ([], 1)


class TestEither:
    def world(self, link: bool | None = None, delay: float = 0.02) -> World:
        return World(EitherConnection("access", entropy=random.Random(1).randbytes, link=link), delay=delay)

    def test_the_link_where_it_is_offered(self) -> None:
        world = self.world()
        assert isinstance(world.client, EitherConnection)
        world.stream_answers = True
        world.become_ready()
        world.run(30)
        assert (world.client.over_link, world.stream_logins, world.told) == (True, [], [])
        assert world.client.quality is not None
        assert world.client.send(5, channel=3, now=world.now)
        world.run(1)
        assert [stream for _, stream, _ in world.server.guest.received] == [3]

    def test_the_stream_where_nothing_answers(self) -> None:
        world = self.world()
        assert isinstance(world.client, EitherConnection)
        world.server.quiet = world.stream_answers = True
        world.client.start(world.now)
        world.run_until(lambda: world.client.ready)
        assert world.now == pytest.approx(1000 + ANSWER_SECONDS)
        assert [when - 1000 for when, _, _ in world.sent] == pytest.approx([0, 0.2, 0.4])  # three HELLOs
        assert kinds(world.told) == [Ready]  # no failure
        assert (world.client.over_link, world.client.wanted_socket, world.client.quality) == (False, 0, None)
        assert world.client.send(5, Intent.RELIABLE_UNORDERED, channel=3, now=world.now)

        before = len(world.sent)
        world.client.stream_lost(world.now)  # what worked is where the next attempt begins
        world.run_until(lambda: world.client.ready)
        assert (len(world.sent), world.stream_logins) == (before, ["access", "reconnect"])

    def test_a_slow_answer_is_waited_for(self) -> None:
        world = self.world(delay=0.27)
        world.stream_answers = True
        world.become_ready()
        assert isinstance(world.client, EitherConnection)
        assert world.client.over_link

    def test_a_port_that_is_nobodys_is_not_waited_for(self) -> None:
        world = self.world()
        world.stream_answers = True
        assert isinstance(world.client, EitherConnection)
        world.client.start(world.now)
        world.client.unreachable(world.now, "nobody has that port")
        world.run_until(lambda: world.client.ready)
        assert (world.now, kinds(world.told)) == (1000, [Ready])
        world.client.unreachable(world.now, "nor of its datagrams beside the stream")
        assert world.client.ready

    def test_a_server_with_another_version_of_the_link(self) -> None:
        world = self.world()
        world.stream_answers = True
        world.client.start(world.now)
        [hello] = world.client.datagrams_to_send(world.now)
        world.client.receive_datagram(bytes((0, 5, 1, 2, 3, 2, 0, 0)) + hello[4:20], world.now)
        world.run_until(lambda: world.client.ready)
        assert world.now == 1000
        assert "speaks versions 2 to 3" in world.reasons()[0]

    def test_a_client_without_libsodium(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gsrt.protocol.noise", None)
        world = self.world()
        world.stream_answers = True
        world.client.start(world.now)
        world.run_until(lambda: world.client.ready)
        assert "needs libsodium" in world.reasons()[0]
        assert kinds(world.told) == [Failed, Ready]

    def test_a_refused_token_is_no_reason_to_change(self) -> None:
        world = self.world()
        world.server.tokens.clear()
        world.stream_answers = True
        world.client.start(world.now)
        world.run(20)
        assert isinstance(world.client, EitherConnection)
        assert (world.client.over_link, world.stream_logins) == (True, [])
        assert world.client.refusals >= 3

    def test_the_link_again_after_a_loss_and_the_stream_when_it_is_gone_for_good(self) -> None:
        world = self.world()
        world.stream_answers = True
        world.become_ready()
        world.run(3)
        world.server.guest.end.close(CLOSE_ENDED, "", world.now)
        world.until_told(Ready)
        assert isinstance(world.client, EitherConnection)
        assert (world.client.over_link, world.server.tokens_seen) == (True, ["access", "reconnect"])
        world.told.clear()
        world.server.quiet = True
        world.until_told(Lost)
        lost_at = world.now
        world.until_told(Ready)
        assert (world.client.over_link, world.stream_logins) == (False, ["reconnect"])
        assert KNOWN_ANSWER_SECONDS <= world.now - lost_at <= KNOWN_ANSWER_SECONDS + 1

    def test_each_in_turn_while_neither_works(self) -> None:
        world = self.world()
        world.server.quiet = True
        world.client.start(world.now)
        world.run(30)
        assert set(world.reasons()) == {"nobody is there"}
        assert world.client.failures == len(world.told) >= 5
        assert len({socket for _, socket, _ in world.sent}) >= 5
        world.server.quiet = False
        world.run_until(lambda: world.client.ready)
        assert isinstance(world.client, EitherConnection)
        assert world.client.over_link

    def test_an_attempt_that_was_answered_and_failed_is_followed_by_one_over_the_stream(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = self.world()
        world.stream_answers = True
        world.client.start(world.now)
        world.run_until(lambda: world.server.guests)
        world.server.quiet = True  # a firewall that lets only the first few through
        world.run_until(lambda: world.client.ready)
        assert kinds(world.told) == [Failed, Ready]
        assert world.client.state == ConnectionState.RELIABLE_AND_FAST_SEND

    def test_insisting_on_the_link(self) -> None:
        world = self.world(link=True)
        world.server.quiet = world.stream_answers = True
        world.client.start(world.now)
        world.run(20)
        assert world.stream_logins == []
        assert all("nothing answers by UDP" in reason for reason in world.reasons())
        assert len(world.reasons()) >= 3

    def test_never_the_link(self) -> None:
        world = self.world(link=False)
        world.stream_answers = True
        world.client.start(world.now)
        world.run_until(lambda: world.client.ready)
        assert (world.client.ready, world.sent, world.stream_logins) == (True, [], ["access"])
        assert isinstance(world.client, EitherConnection)
        assert not world.client.over_link

    @pytest.mark.parametrize("quiet", [False, True])
    def test_leaving_and_coming_back(self, quiet: bool) -> None:
        world = self.world()
        world.server.quiet, world.stream_answers = quiet, True
        world.become_ready()
        world.client.close(world.now)
        world.run(30)
        assert (world.client.state, world.told, world.client.next_timer()) == (ConnectionState.CLOSED, [], None)
        before = world.now
        world.client.start(world.now)
        world.run_until(lambda: world.client.ready)
        assert world.now - before < 0.5  # what worked is known

    def test_leaving_between_two_attempts(self) -> None:
        world = self.world()
        world.server.quiet = True
        world.client.start(world.now)
        world.until_told(Failed)
        assert world.client.state == ConnectionState.WAITING
        world.client.close(world.now)
        world.told.clear()
        world.run(30)
        assert (world.client.state, world.told) == (ConnectionState.CLOSED, [])

    @pytest.mark.parametrize("seed", range(20))
    def test_over_a_bad_network_it_comes_in_one_way_or_the_other(self, seed: int) -> None:
        world = World(
            EitherConnection("access", entropy=random.Random(seed).randbytes), loss=0.3, delay=0.05, seed=seed
        )
        world.stream_answers = True
        world.client.start(world.now)
        world.run_until(lambda: world.client.ready, 10)
        assert world.client.ready


class Garbling(World):
    """Some of what the client gets has been changed on the way."""

    def __init__(self, client: LinkConnection | EitherConnection, server: LinkServer, seed: int) -> None:
        super().__init__(client, server, loss=0.05, seed=seed)
        self.chance = random.Random(seed)
        self.garbles = True

    def _to_client(self, socket: int) -> Callable[[bytes, float], None]:
        deliver = super()._to_client(socket)

        def garbled(datagram: bytes, now: float) -> None:
            if self.garbles and self.chance.random() < 0.3:
                deliver(self._garble(datagram), now)
            deliver(datagram, now)

        return garbled

    def _garble(self, datagram: bytes) -> bytes:
        changed = bytearray(datagram)
        for _ in range(self.chance.randrange(1, 4)):
            kind = self.chance.randrange(3)
            at = self.chance.randrange(len(changed))
            if kind == 0:
                changed[at] ^= 1 << self.chance.randrange(8)
            elif kind == 1:
                changed[14:] = changed[14:] + self.chance.randbytes(self.chance.randrange(20))
            else:
                changed[at:] = b""
            changed = changed or bytearray(b"\0")
        return bytes(changed)

    def play(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.client.send(1 + self.chance.randrange(9), self.chance.choice(list(Intent)), payload=b"p", now=self.now)
            if self.server.guests and self.server.guest.opened:
                guest = self.server.guest
                guest.end.send(
                    Packet(5, sender=self.chance.randrange(3)).encode(), self.chance.randrange(3), 0, self.now
                )
            self.run(0.05)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_arrives_is_borne(seed: int) -> None:
    """Without encryption, so that what was changed reaches every layer."""
    connection = EitherConnection("access", entropy=random.Random(seed).randbytes, suite=SUITE_INSECURE)
    world = Garbling(connection, LinkServer("access", insecure=True), seed)
    world.stream_answers = seed % 2 == 0
    world.client.start(world.now)
    world.play(20)
    assert world.told


@pytest.mark.parametrize("seed", range(10))
def test_what_was_changed_on_the_way_does_no_harm_to_an_encrypted_link(seed: int) -> None:
    world = Garbling(LinkConnection("access", entropy=random.Random(seed).randbytes), LinkServer("access"), seed)
    world.client.start(world.now)
    world.play(10)
    assert kinds(world.told)[0] == Ready
    assert set(kinds(world.told)[1:]) == {PacketReceived}
    assert len(world.server.guests) == 1
