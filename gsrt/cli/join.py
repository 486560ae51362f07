"""`gsrt join HOST PORT TOKEN`: a terminal client, to try a server by hand or from a pipe."""

from __future__ import annotations

import sys
import threading

from gsrt._core import Data, Float32
from gsrt.cli import CommandError
from gsrt.cli.arguments import port_number
from gsrt.client import Intent, Session
from gsrt.protocol.client_connection import CHANNELS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gsrt._core import Packet

TEXT_SLOT = 1  # a typed line travels as a string in this slot
TEXT_OP_CODE = 1
MAX_REFUSALS = 3  # in a row; then the token is taken to be wrong
MAX_FAILURES = 8  # in a row; about 15 s
MAX_LINK_FAILURES = 3  # the same with the link alone, which waits 5 s for an answer
MAX_LINE_BYTES = 65_536
RUN_SECONDS = 0.1  # how soon /quit and a change of fortune are noticed

LEGS = {
    "link": "the link",
    "tcp": "TCP",
    "tls": "TLS",
    "tcp+udp": "TCP and UDP",
    "tls+udp": "TLS and UDP",
}

HELP = """\
TEXT                        send TEXT reliably to all others (a string in slot 1, opCode 1)
/unreliable TEXT            send it by UDP where that works
/sequenced TEXT             the same, and late ones are dropped
/unordered TEXT             send it reliably; over the link it waits for nothing that was sent before
/channel 3 TEXT             send it in another channel (0 to 15); over the link they do not wait for each other
/to 2,3 TEXT                send it to these peers only (0: the server)
/op 42 TEXT                 send it with another opCode
/data {"1": 5, "2": 1.5, "3": "text", "4": [1, 2, 3]}
                            send data: long, double, string, vector by slot
/peers                      who is here
/quality                    what is known of the way to the server
/help                       this text
/quit                       leave (so does the end of the input, or Ctrl-C)
Commands can be put in a row: /unreliable /to 2 /op 42 TEXT"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `gsrt join` takes on its command line."""
    parser.add_argument("host", metavar="HOST", help="where the server runs")
    parser.add_argument("port", metavar="PORT", type=port_number, help="its port")
    parser.add_argument("token", metavar="TOKEN", help="a player's access token, as `gsrt session create` prints it")
    parser.add_argument("--tls", action="store_true", help="use TCP wrapped in TLS; any certificate is taken")
    leg = parser.add_mutually_exclusive_group()
    leg.add_argument("--link", action="store_true", help="use the gsrt link and nothing else")
    leg.add_argument("--legacy", action="store_true", help="use TCP with UDP beside it, as the official SDKs do")


def run(arguments: argparse.Namespace) -> int:
    """Join, print and send until the input ends. 0: left in order; 1: the server could not be joined."""
    if arguments.port == 0:
        raise CommandError("port 0 is no place to join; give the port that the server printed when it started")
    if arguments.tls and arguments.link:
        raise CommandError("--tls is for TCP, the link has an encryption of its own; give one of --tls and --link")
    link = True if arguments.link else False if arguments.legacy else None
    sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    try:
        terminal = Terminal(arguments.host, arguments.port, arguments.token, arguments.tls, link)
    except ValueError as error:
        raise CommandError(f"this token cannot be right: {error}") from None
    return terminal.run()


class Terminal:
    """One session seen from a terminal: events are printed by run(), input is read in a thread."""

    def __init__(self, host: str, port: int, token: str, tls: bool, link: bool | None) -> None:
        self._where = f"{host} port {port}"
        self._failures_most = MAX_LINK_FAILURES if link else MAX_FAILURES
        self._leaving = threading.Event()
        self._ready = threading.Event()
        self._told_failures = 0
        self._session = Session(
            host,
            port,
            token,
            on_ready=self._on_ready,
            on_data=self._on_data,
            on_player_connect=self._on_player_connect,
            on_player_disconnect=self._on_player_disconnect,
            tls=tls,
            link=link,
        )

    def run(self) -> int:
        """Until /quit, the end of the input, Ctrl-C, or too many failures in a row."""
        print(f"* connecting to {self._where}; /help tells what can be typed")
        try:
            self._session.start()
            if sys.stdin is not None:  # where it is closed, this only watches
                threading.Thread(target=self._read_input, name="input", daemon=True).start()
            while not self._leaving.is_set():
                self._session.run(RUN_SECONDS)
                if not self._report_failures():
                    return 1
        except KeyboardInterrupt:
            pass
        except ConnectionError as error:
            print(f"* {error}")
            return 1
        finally:
            self._session.stop()
        print("* left")
        return 0

    def _report_failures(self) -> bool:
        """Tell of new trouble; False: give up."""
        failures, refusals = self._session.failures, self._session.refusals
        if self._session.ready or failures == self._told_failures:
            return True
        self._told_failures = failures
        if refusals:
            if refusals == 1:
                print("* the server refused this token: it is wrong or revoked, or its session has ended; trying again")
            if refusals >= MAX_REFUSALS:
                print("* refused again; get a fresh token with `gsrt session create` and join with that one")
                return False
            return True
        if failures >= self._failures_most:
            print(f"* giving up: {self._session.problem}; is the server running there (`gsrt status`)?")
            return False
        print(f"* {self._session.problem}; trying again")
        return True

    # Callbacks of the session, in the thread of run().

    def _on_ready(self, ready: bool) -> None:
        if ready:
            self._told_failures = 0
            print(
                f"* ready over {LEGS[self._session.leg]}: you are peer {self._session.peer_id}; {self._who_is_here()}"
            )
            self._ready.set()
        else:
            self._ready.clear()
            print(f"* connection lost: {self._session.problem}; trying again")
            self._told_failures = self._session.failures

    def _on_data(self, packet: Packet) -> None:
        print(describe_packet(packet))

    def _on_player_connect(self, peer_id: int) -> None:
        print(f"* peer {peer_id} connected; {self._who_is_here()}")

    def _on_player_disconnect(self, peer_id: int) -> None:
        print(f"* peer {peer_id} disconnected; {self._who_is_here()}")

    def _who_is_here(self) -> str:
        return "here: " + ", ".join(map(str, self._session.active_peers))

    # The input, in its own thread.

    def _read_input(self) -> None:
        # Unbuffered: at exit a thread waiting inside a buffered file would hold a lock that the interpreter wants.
        with open(0, "rb", buffering=0, closefd=False) as source:
            while line := source.readline(MAX_LINE_BYTES):
                self._ready.wait()  # a pipe is quicker than the connection
                try:
                    self._obey(line.decode(errors="surrogateescape").rstrip("\r\n"))
                except (ValueError, TypeError, OverflowError) as error:
                    print(f"! {error}")
                if self._leaving.is_set():
                    return
        self._ready.wait()  # so that an empty input still tells whether the token is good
        self._leaving.set()

    def _obey(self, line: str) -> None:
        """Do what one line of input asks for. Raises ValueError, TypeError or OverflowError in plain words."""
        if line == "/quit":
            self._leaving.set()
        elif line == "/help":
            print(HELP)
        elif line == "/peers":
            print(f"* {self._who_is_here()}; you are peer {self._session.peer_id}")
        elif line == "/quality":
            print(f"* {describe_quality(self._session.quality, self._session.leg)}")
        elif line:
            request = Request(line)
            sent = self._session.send(
                request.op_code, request.intent, request.data, peers=request.peers, channel=request.channel
            )
            if sent == 0:
                print("! not sent: there is no connection now")


class Request:
    """What a typed line asks to send. Raises ValueError in plain words for what it cannot mean."""

    def __init__(self, line: str) -> None:
        self.op_code = TEXT_OP_CODE
        self.intent = Intent.RELIABLE
        self.peers: tuple[int, ...] = ()
        self.channel = 0
        while line.startswith("/"):
            command, _, line = line.partition(" ")
            if command == "/unreliable":
                self.intent = Intent.UNRELIABLE
            elif command == "/sequenced":
                self.intent = Intent.UNRELIABLE_SEQUENCED
            elif command == "/unordered":
                self.intent = Intent.RELIABLE_UNORDERED
            elif command == "/channel":
                channel, _, line = line.partition(" ")
                self.channel = _whole_number(channel, "a channel")
                if not 0 <= self.channel < CHANNELS:
                    raise ValueError(f"channel {self.channel}: there are 0 to {CHANNELS - 1}")
            elif command == "/to":
                peers, _, line = line.partition(" ")
                self.peers = tuple(_whole_number(peer, "a peer id") for peer in peers.split(","))
            elif command == "/op":
                op_code, _, line = line.partition(" ")
                self.op_code = _whole_number(op_code, "an opCode")
            elif command == "/data":
                self.data = parse_data(line)
                return
            else:
                raise ValueError(f"there is no command {command}; /help tells which there are")
        self.data = Data().set_string(TEXT_SLOT, line.encode(errors="surrogateescape"))


def parse_data(text: str) -> Data:
    """Data from a JSON object of slot numbers. Raises ValueError or TypeError in plain words."""
    import json

    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f'data is a JSON object, such as {{"1": 5, "2": "text"}}: {error}') from None
    return _data_of(values)


def _data_of(values: object) -> Data:
    if not isinstance(values, dict):
        raise ValueError('data is a JSON object of slots, such as {"1": 5, "2": "text"}')
    data = Data()
    for slot, value in values.items():
        if value is None or isinstance(value, bool):
            raise ValueError(f"slot {slot}: a slot holds a number, a text, a list of up to 4 numbers, or an object")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"slot {slot}: {value} does not fit a long (64 bits)")
        data[_whole_number(slot, "a slot")] = _data_of(value) if isinstance(value, dict) else value
    return data


def _whole_number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {what}: a whole number is needed") from None


def describe_quality(quality: dict[str, float] | None, leg: str) -> str:
    """One line about the way to the server: what Session.quality and Session.leg say."""
    if quality is None:
        return "nothing is known yet" if leg == "link" else f"only the link measures; this is {LEGS[leg]}"
    return (
        f"round trip {quality['rtt'] * 1000:.1f} ms (least {quality['min_rtt'] * 1000:.1f} ms,"
        f" jitter {quality['jitter'] * 1000:.1f} ms), loss {quality['loss'] * 100:.1f} %, at least"
        f" {quality['bandwidth'] / 1000:.1f} kB/s get through, datagrams of {quality['datagram_bytes']:.0f} bytes"
    )


def describe_packet(packet: Packet) -> str:
    """One line about a packet that arrived; nothing in it can move the cursor or change colours."""
    author = f"peer {packet.sender}" if packet.sender else "the server"
    parts = [f"< opCode {packet.op_code} from {author}"]
    if packet.data is not None:
        parts.append(f"data {_describe_value(packet.data)}")
    if packet.payload is not None:
        try:
            text = packet.payload.decode()
            if not text.isprintable():
                raise ValueError
            parts.append(f'payload "{text}"')
        except ValueError:
            parts.append(f"payload hex {packet.payload.hex()}")
    return ", ".join(parts)


def _describe_value(value: object) -> str:
    if isinstance(value, Data):
        return "{" + ", ".join(f'"{slot}": {_describe_value(inner)}' for slot, inner in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_describe_value, value)) + "]"
    if isinstance(value, str):
        import json

        quoted = json.dumps(value, ensure_ascii=False)
        return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in quoted)
    if isinstance(value, Float32):
        return f"{value:#.9g}"  # as many digits as tell one from the next
    return repr(value)
