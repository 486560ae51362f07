"""Batched socket I/O and fan-out: the way of a packet from one player to the others.

A `Relay` owns the UDP socket's batches and all TCP connections (`Stream`). A `Room` is the fan-out table of one session,
a `Member` one peer in it. A packet for other players is scanned to its header and checked; its new header is written once
and copied with the untouched body into each target's output, which leaves at `flush`. Everything else goes up to the
handler given to the Relay:

    opening(stream, data: bytes) -> str | None      what the first bytes are: "rt", "http", "tls" (the handler has called
                                                    start_tls), "unknown"; "wait": ask again later; None: more is needed
    http(stream, data: bytes, now) -> int           bytes consumed; 0: more are needed
    control(stream, op_code, packet: bytes, now)    a packet before login, or UDPConnect or PlayerReady of a peer
    text(stream, message: str, now)                 a whole message of a text WebSocket
    drained(stream, now)                            all that was written has gone out, as await_drained has asked to know
    datagram(address: bytes, packet: bytes, now)    a packet with opCode 0 by UDP: a login, if it is one
    closed(stream, reason: str, orderly: bool, now) the other side is gone; the stream is already closed
    link_opening(address: bytes, datagram: bytes, now) -> bytes | None   a datagram of a link's handshake: the answer
    seek(datagram: bytes, now) -> bytes | None      somebody asks whether there is a server: the answer
    link_established(leg, now)                      a link is there: whoever opened it has shown that it has the keys
    failed(stream: Stream | None, error, now)       one of the above raised; the stream is already closed

A link's leg (`_links.Leg`) that is closed goes to closed(), as a stream does, and its control packets to control().

A TLS layer (`Stream.layer`) has the methods of transports.tls.TlsLayer. No clock: `now` is an argument (seconds).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset, strerror

from collections import deque
from os import urandom

from gsrt._core import Packet, ProtocolError
from gsrt._link cimport CHANNELS, Cipher, ORDERED, SEQUENCED, TYPE_DATA, UNORDERED, UNRELIABLE
from gsrt._links cimport ADDRESS_BYTES, Carrier, Leg, Links
from gsrt._sockets cimport (
    AF_INET, AF_INET6, Address, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL,
    EPOLL_CTL_MOD, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, SHUT_WR, close, epoll_create1, epoll_ctl, epoll_event,
    address_text, epoll_wait, iovec, make_address, mmsghdr, recv, recvmmsg, same, send, sendmmsg, shutdown,
    sockaddr_in, sockaddr_in6, socklen_t, spread,
)
from gsrt._streams cimport Block, release_block
from gsrt._websocket cimport (
    FRAME_BAD, FRAME_MORE, FRAME_OVER, Frame, HEAD_MAX, OP_BINARY, OP_CLOSE, OP_CONTINUATION, OP_PING, OP_PONG,
    OP_TEXT, scan_frame, unmask, write_head,
)
from gsrt._wire cimport (
    HEADER_MAX, Header, KEY_OP_CODE, KEY_SENDER, PREFIX_MAX, check_data, load16, read_length, scan_packet, store16,
    varint_size, write_varint, zigzag,
)

cdef enum:
    BATCH = 64                  # datagrams a system call takes; more gains nothing measurable
    RECEIVED_BYTES = 2048        # room for a datagram: over the largest that a client sends (1,472 on Ethernet)
    DATAGRAM_BYTES = 1472       # room for an outgoing datagram; the profile says how much of it is used
    DATAGRAMS = 512             # outgoing datagrams a tick gathers before it has to send some early
    EVENTS = 128                # ready connections looked at in one go
    READ_BYTES = 65536          # taken from one connection in one tick
    OPENING_BYTES = 16          # enough to know any protocol by
    HEAD_BYTES = 8192           # HTTP request head
    MESSAGE_BYTES = 65536       # WebSocket message; many packets fit
    RECORD_BYTES = 16384        # TLS record: a packet cut over two kills the C++ client
    SINGLE_RECORDS = 32         # so many packets of a tick have a TLS record each, the rest share
    WIRE_BYTES = 65536          # TLS records are gathered up to this for one write
    KEEP_BYTES = 16384          # an empty output buffer larger than this is given back
    MADE_MUCH_PART = 64         # of the memory that the server may have: output of one turn that is flushed before its end
    MADE_MOST_PART = 32         # the same: output beyond which readers get the soft limit only
    DISCARD_READS = 64          # of 4 KB, when a connection is closed over unread bytes
    LATER_MAX = 256             # datagrams kept in one turn for scripts that others go before
    LOGINS_PER_TICK = 256       # UDP logins passed up in one tick; the rest is dropped, clients repeat
    TYPE_SEEK = 7               # of a datagram that begins with 0, and is no link's: docs/LINK.md, section 10
    PEERS = 256                 # peer ids fit a byte
    WAY_BYTES = 3               # how a held frame is to travel: kind and stream

    OP_UDP_CONNECT = -5         # the two system packets of a peer that is logged in
    OP_PLAYER_READY = -7

cdef enum Mode:
    OPENING = 0
    RT = 1
    WEBSOCKET = 2
    HTTP = 3
    TEXT = 4                    # a WebSocket whose messages go to the handler
    DRAIN = 5                   # our side is shut; what still comes is thrown away until the other side closes too

cdef enum Counter:
    PACKETS_IN = 0
    BYTES_IN
    PACKETS_OUT
    BYTES_OUT
    DATAGRAMS_IN
    DATAGRAMS_OUT
    WRITES_OUT
    TO_SERVER
    FROM_SERVER
    HELD
    PAUSED_RATE
    PAUSED_SCRIPT
    DROPPED_MALFORMED
    DROPPED_OVERSIZE
    DROPPED_OP_CODE
    DROPPED_STALE
    DROPPED_RATE
    DROPPED_BY_SCRIPT
    DROPPED_SCRIPT_BUSY
    DROPPED_NO_TARGET
    DROPPED_UNKNOWN_ADDRESS
    DROPPED_LOGIN_RATE
    DROPPED_SLOW
    DROPPED_HELD_FULL
    DROPPED_ABSENT
    DROPPED_UDP_SEND
    DROPPED_UNSENT
    COUNTERS

COUNTER_NAMES = (
    "packets_in", "bytes_in", "packets_out", "bytes_out", "datagrams_in", "datagrams_out", "writes_out",
    "packets_to_server", "packets_from_server", "packets_held", "streams_paused_rate", "streams_paused_script",
    "dropped_malformed", "dropped_oversize", "dropped_op_code", "dropped_stale", "dropped_rate", "dropped_by_script",
    "dropped_script_busy", "dropped_no_target", "dropped_unknown_address",
    "dropped_login_rate", "dropped_slow", "dropped_held_full", "dropped_absent", "dropped_udp_send",
    "dropped_unsent",
)

cdef struct Slot:
    Address address
    int32_t place               # of the member in Relay.bound; -1: the slot is empty

cdef struct Way:                # how a packet travels to its targets
    int kind                    # of docs/LINK.md; other legs only ask whether it is reliable
    uint32_t stream             # on a link
    Block* block                # its bytes for the links that keep them; NULL until there is one


cdef struct Datagram:
    uint32_t size
    uint32_t packets
    PyObject* member            # borrowed; NULL when it may no longer go out
    uint8_t bytes[DATAGRAM_BYTES]


cdef const char* raw_address(bytes address) except NULL:
    """The sockaddr in an address as the relay hands them out."""
    cdef const sockaddr_in* raw = <const sockaddr_in*>PyBytes_AS_STRING(address)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(address)
    if size == sizeof(sockaddr_in) and raw.sin_family == AF_INET or (
            size == sizeof(sockaddr_in6) and raw.sin_family == AF_INET6):
        return <const char*>raw
    raise ValueError(f"{size} bytes that are no IPv4 or IPv6 socket address")


def format_address(bytes address):
    """"ip:port" of an address as the relay hands them out."""
    return address_text(raw_address(address))


cdef bint is_held(bytes held, uint32_t packets):
    """Whether these bytes are so many packets as a Member holds them."""
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(held)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(held)
    cdef uint64_t length
    while at < end:
        if end - at < WAY_BYTES or at[0] > UNORDERED:
            return False
        at = read_length(at + WAY_BYTES, end, &length)
        if at == NULL or length > <uint64_t>(end - at) or packets == 0:
            return False
        at += length
        packets -= 1
    return packets == 0


cdef bytes normal_form(bytes packet):
    """A sound packet whose fields stand in an unusual order, rewritten as every client reads it."""
    made = Packet.decode(packet)
    if made.payload == b"":
        made.payload = None
    return made.encode()


cdef class Interceptor:
    """Sees packets of one room before anyone gets them. A base: what it does with them is its subclass's.

    Packets whose opCode nobody has asked for do not come here, and cost one look at a bit."""

    def __cinit__(self):
        memset(self.small, 0, sizeof(self.small))
        self.others = set()

    def want(self, int32_t op_code):
        """Packets of this opCode (1 to 2**31 - 1) come here from now on."""
        if op_code < 1:
            raise ValueError(f"opCode {op_code}: 1 to 2147483647")
        if op_code < SMALL_OP_CODES:
            self.small[op_code >> 6] |= <uint64_t>1 << (op_code & 63)
        else:
            self.others.add(op_code)

    def want_every(self):
        """All packets come here from now on."""
        self.every = True

    cdef bint wants(self, int32_t op_code):
        if self.every:
            return True
        if op_code < SMALL_OP_CODES:
            return (self.small[op_code >> 6] >> (op_code & 63)) & 1
        return op_code in self.others

    cdef int packet(self, int sender, const Header* header, const uint8_t* packet, uint32_t size, bint reliable,
                    double now) except -1:
        """A Verdict. `packet` (`size` bytes, sound, in normal form) is only there during the call."""
        return PASSES


@cython.final
cdef class Room:
    """Fan-out table of one session, with its counters."""

    cdef public Interceptor interceptor
    cdef Relay relay
    cdef dict members                   # peer id -> Member; owns what by_id points to
    cdef PyObject* by_id[PEERS]
    cdef uint8_t ids[PEERS]             # those that packets go to
    cdef int size
    cdef uint64_t counters[COUNTERS]

    def __cinit__(self, Relay relay):
        self.relay = relay
        self.members = {}
        self.size = 0
        memset(self.by_id, 0, sizeof(self.by_id))
        memset(self.counters, 0, sizeof(self.counters))

    def counts(self):
        """Counter values by name, zeros left out."""
        cdef int i
        return {COUNTER_NAMES[i]: self.counters[i] for i in range(<int>COUNTERS) if self.counters[i]}

    def deliver(self, bytes frame, peers, bint reliable):
        """A packet of the server's own to those of `peers` (ids; None: all) that are here: how many."""
        cdef Member target
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(frame)
        cdef uint32_t size = <uint32_t>PyBytes_GET_SIZE(frame)
        cdef int i, peer_id, delivered = 0
        cdef Way way = Way(ORDERED if reliable else UNRELIABLE, 0, NULL)
        if size > self.relay.packet_bytes_max:
            raise ValueError(f"a packet of {size} bytes; at most {self.relay.packet_bytes_max}")
        self.relay.count(self, FROM_SERVER, 1)
        if peers is None:
            for i in range(self.size):
                self.relay.give(<Member>self.by_id[self.ids[i]], at, size, NULL, 0, &way)
            delivered = self.size
        else:
            for peer_id in peers:
                if 0 < peer_id < PEERS and self.by_id[peer_id] != NULL:
                    self.relay.give(<Member>self.by_id[peer_id], at, size, NULL, 0, &way)
                    delivered += 1
        if way.block != NULL:
            release_block(way.block)
        if not delivered:
            self.relay.count(self, DROPPED_NO_TARGET, 1)
        return delivered

    cdef int enter(self, Member member) except -1:
        if self.by_id[member.peer_id] == NULL:
            self.members[member.peer_id] = member
            self.by_id[member.peer_id] = <PyObject*>member
            self.ids[self.size] = member.peer_id
            self.size += 1
        return 0

    cdef int leave(self, Member member) except -1:
        cdef int i
        if self.by_id[member.peer_id] != <PyObject*>member:
            return 0
        self.by_id[member.peer_id] = NULL
        for i in range(self.size):
            if self.ids[i] == member.peer_id:
                self.size -= 1
                memmove(&self.ids[i], &self.ids[i + 1], self.size - i)
                break
        del self.members[member.peer_id]
        return 0


@cython.final
cdef class Member:
    """One peer as the relay sees it: its legs, what is held for it, its rate, its last sequence number."""

    cdef readonly uint8_t peer_id
    cdef readonly Room room
    cdef readonly Stream stream
    cdef readonly Leg link              # in a stream's place
    cdef object bad_up, bad_down        # see impair()
    cdef readonly bint is_open          # ready: packets go out; otherwise they are held
    cdef readonly bint udp_confirmed
    cdef readonly bint udp_bound
    cdef public object owner            # whose member this is: the handler's to set
    cdef public bint is_known           # the others count on it: it may not miss a reliable packet and stay
    cdef bint doomed                    # over a limit; nothing more is sent to it or held for it
    cdef bint has_sequence
    cdef int32_t last_sequence
    cdef Address address
    cdef uint8_t raw_address[ADDRESS_BYTES]
    cdef socklen_t raw_size
    cdef int datagram                   # open datagram of this tick, -1: none
    cdef uint8_t* held
    cdef uint32_t held_size
    cdef uint32_t held_packets
    cdef uint32_t held_capacity
    cdef double packet_tokens
    cdef double byte_tokens
    cdef double filled_at

    def __cinit__(self, Room room, int peer_id):
        if not 0 < peer_id < PEERS:
            raise ValueError(f"peer id {peer_id}: 1 to {PEERS - 1}")
        self.room = room
        self.peer_id = <uint8_t>peer_id
        self.datagram = -1
        self.packet_tokens = room.relay.packets_burst
        self.byte_tokens = room.relay.bytes_burst

    def __dealloc__(self):
        PyMem_Free(self.held)

    @property
    def held_bytes(self):
        """Bytes of memory for what waits until the peer is ready, or is back."""
        return self.held_size

    def attach(self, Stream stream):
        """A login on `stream`: from here it is this peer's; packets for it are held until `open`."""
        self.begin()
        self.stream = stream
        stream.member = self

    def attach_link(self, Leg leg):
        """A login by a link, as attach()."""
        self.begin()
        self.link = leg
        leg.member = self
        leg.bad_up, leg.bad_down = self.bad_up, self.bad_down

    cdef int begin(self) except -1:
        self.doomed = False
        self.has_sequence = False
        self.is_open = False
        return self.room.enter(self)

    def open(self):
        """The peer is ready: what was held goes out first."""
        cdef const uint8_t* at = self.held
        cdef const uint8_t* end = self.held + self.held_size
        cdef const uint8_t* body
        cdef uint64_t length
        cdef Way way
        self.is_open = True
        while at < end:
            # What was held has waited; it is not to be lost now, whatever it was sent as.
            way = Way(at[0] if at[0] >= ORDERED else UNORDERED, load16(at + 1) if at[0] >= ORDERED else 0, NULL)
            at += WAY_BYTES
            body = read_length(at, end, &length)
            self.room.relay.give(self, at, <uint32_t>(body - at) + <uint32_t>length, NULL, 0, &way)
            if way.block != NULL:
                release_block(way.block)
            at = body + length
        self.held_packets = 0
        self.forget_held()

    def detach(self):
        """The connection is gone; the peer may come back. Reliable packets for it are held."""
        self.unbind()
        self.is_open = False
        if self.stream is not None:
            self.stream.member = None
            self.stream = None
        if self.link is not None:
            self.link.member = None
            self.link = None

    def impair(self, up, down):
        """Puts a bad network before this peer's datagrams, those of a link and of the UDP leg, until the peer leaves, or it is
        taken away with None, None: a gsrt.netsim.model.BadLink for each direction. What is under way in one that is taken away is lost."""
        cdef Relay relay = self.room.relay
        self.bad_up, self.bad_down = up, down
        if self.link is not None:
            self.link.bad_up, self.link.bad_down = up, down
        if self in relay.impaired:
            relay.impaired.remove(self)
        if up is not None:
            relay.impaired.append(self)

    def leave(self):
        """The peer has left: nothing is sent to it or held for it."""
        self.detach()
        self.forget_held()
        self.doomed = False
        if self.bad_up is not None:
            self.impair(None, None)
        self.room.leave(self)

    cdef int forget_held(self) except -1:
        self.room.relay.count(self.room, DROPPED_UNSENT, self.held_packets)
        PyMem_Free(self.held)
        self.held = NULL
        self.held_size = self.held_capacity = self.held_packets = 0
        return 0

    cdef int hold(self, const uint8_t* head, uint32_t head_size, const uint8_t* body, uint32_t body_size,
                  const Way* way) except -1:
        cdef Relay relay = self.room.relay
        cdef uint32_t size = head_size + body_size
        cdef uint32_t capacity
        cdef uint8_t* grown
        cdef bint reliable = way.kind >= ORDERED
        if not reliable and self.stream is None and self.link is None:
            relay.count(self.room, DROPPED_ABSENT, 1)
            return 0
        if self.doomed:
            relay.count(self.room, DROPPED_HELD_FULL, 1)
            return 0
        # Half of the room is kept for what must arrive.
        if self.held_size - WAY_BYTES * self.held_packets + size > (
                relay.held_bytes_max if reliable else relay.held_bytes_max // 2):
            relay.count(self.room, DROPPED_HELD_FULL, 1)
            if reliable and self.is_known:
                self.forget_held()
                relay.doom(self, "more had to be held for it than its limit")
            return 0
        if self.held_size + WAY_BYTES + size > self.held_capacity:
            capacity = self.held_capacity or 512
            while capacity < self.held_size + WAY_BYTES + size:
                capacity *= 2
            grown = <uint8_t*>PyMem_Realloc(self.held, capacity)
            if grown == NULL:
                raise MemoryError
            self.held = grown
            self.held_capacity = capacity
        self.held[self.held_size] = <uint8_t>way.kind
        store16(self.held + self.held_size + 1, <uint16_t>way.stream)
        self.held_size += WAY_BYTES
        memcpy(self.held + self.held_size, head, head_size)
        if body_size:
            memcpy(self.held + self.held_size + head_size, body, body_size)
        self.held_size += size
        self.held_packets += 1
        relay.count(self.room, HELD, 1)
        return 0

    def bind(self, bytes address):
        """Datagrams from `address` are this peer's; any address it had before is forgotten."""
        cdef Relay relay = self.room.relay
        cdef Address wanted
        cdef Member holder
        make_address(raw_address(address), &wanted)
        if self.udp_bound and same(&wanted, &self.address):
            return
        holder = relay.lookup(&wanted)
        if holder is not None:
            holder.unbind()
        self.unbind()
        relay.remember(&wanted, self)
        self.address = wanted
        self.raw_size = <socklen_t>PyBytes_GET_SIZE(address)
        memcpy(self.raw_address, PyBytes_AS_STRING(address), self.raw_size)
        self.udp_bound = True

    def unbind(self):
        """No datagram comes from or goes to this peer any more; what waits for this tick's end is dropped."""
        cdef Relay relay = self.room.relay
        cdef int i
        if not self.udp_bound:
            return
        for i in range(relay.datagram_count):
            if relay.datagrams[i].member == <PyObject*>self:
                relay.datagrams[i].member = NULL
                relay.count(self.room, DROPPED_UNSENT, relay.datagrams[i].packets)
        self.datagram = -1
        relay.forget(&self.address)
        self.udp_bound = self.udp_confirmed = False

    def confirm_udp(self):
        """The peer has said that datagrams reach it."""
        self.udp_confirmed = self.udp_bound

    def dump(self):
        """What a later program has to know of the peer besides its connection, as restore() takes it."""
        return {
            "open": self.is_open, "known": self.is_known,
            "sequence": self.last_sequence if self.has_sequence else None,
            "address": PyBytes_FromStringAndSize(<const char*>self.raw_address, self.raw_size) if self.udp_bound else None,
            "confirmed": self.udp_confirmed,
            "held": PyBytes_FromStringAndSize(<const char*>self.held, self.held_size), "packets": self.held_packets,
        }

    def restore(self, dumped):
        """What dump() has told, after the peer's connection, if it has one, was attached. Raises ValueError, with nothing
        changed, for what is no such thing."""
        cdef bytes held = dumped["held"]
        cdef int32_t sequence = dumped["sequence"] or 0
        cdef uint32_t packets = dumped["packets"]
        if <uint64_t>PyBytes_GET_SIZE(held) > 1 << 30 or not is_held(held, packets):
            raise ValueError("what was held for a peer is damaged")
        if dumped["address"] is not None:
            self.bind(dumped["address"])
            self.udp_confirmed = dumped["confirmed"]
        self.room.enter(self)
        self.is_open = dumped["open"]
        self.is_known = dumped["known"]
        self.has_sequence = dumped["sequence"] is not None
        self.last_sequence = sequence
        PyMem_Free(self.held)
        self.held_size = self.held_capacity = self.held_packets = 0
        self.held = NULL
        if packets:
            self.held = <uint8_t*>PyMem_Malloc(PyBytes_GET_SIZE(held))
            if self.held == NULL:
                raise MemoryError
            self.held_size = self.held_capacity = <uint32_t>PyBytes_GET_SIZE(held)
            self.held_packets = packets
            memcpy(self.held, PyBytes_AS_STRING(held), self.held_size)

    def send(self, bytes frame):
        """A frame of the server's own to the peer's stream or link; ready or not. Dropped where it has none."""
        cdef Way way = Way(ORDERED, 0, NULL)
        if self.stream is not None or self.link is not None:
            self.room.relay.put(self, <const uint8_t*>PyBytes_AS_STRING(frame), <uint32_t>PyBytes_GET_SIZE(frame), NULL, 0,
                                &way)
            if way.block != NULL:
                release_block(way.block)

    def send_datagram(self, bytes frame):
        """A frame of the server's own by UDP, to the bound address, confirmed or not."""
        if self.udp_bound:
            self.room.relay.put_datagram(self, <const uint8_t*>PyBytes_AS_STRING(frame),
                                         <uint32_t>PyBytes_GET_SIZE(frame), NULL, 0)

    cdef bint within_rate(self, double now) noexcept:
        """Whether the peer may send one more packet now, by its packet and its byte rate."""
        cdef Relay relay = self.room.relay
        if now != self.filled_at:
            if now > self.filled_at:        # a clock set back gives nothing, and goes on from there
                self.packet_tokens = min(relay.packets_burst,
                                         self.packet_tokens + (now - self.filled_at) * relay.packets_per_second)
                self.byte_tokens = min(relay.bytes_burst,
                                       self.byte_tokens + (now - self.filled_at) * relay.bytes_per_second)
            self.filled_at = now
        return self.packet_tokens >= 1 and self.byte_tokens >= 0

    cdef void spend(self, uint32_t size) noexcept:
        """One packet of `size` bytes is accounted for; the balance may become negative."""
        self.packet_tokens -= 1
        self.byte_tokens -= size


@cython.final
cdef class Stream:
    """One TCP connection: what came and is not whole yet, what goes out at the next flush."""

    cdef readonly int fd
    cdef readonly str peer_name         # "ip:port"
    cdef readonly Member member
    cdef readonly object layer          # TLS, or None
    cdef readonly bint is_websocket
    cdef public object owner            # whatever the handler keeps with it
    cdef readonly Relay relay
    cdef int mode
    cdef bint dirty
    cdef bint paused
    cdef bint wants_write
    cdef bint awaits_drained            # handler.drained is to be called when the kernel takes more
    cdef bint deaf                      # not read: an answer in pieces is under way
    cdef bint finishing
    cdef bint goodbye_said
    cdef bint ended                     # the other side's TLS goodbye has been read
    cdef bint restarted                 # TLS began: what was being looked at has been dealt with elsewhere
    cdef bint overrun                   # more would have waited to go out than may: flush closes it
    cdef uint32_t text_bytes_max        # of a text message
    cdef double text_tokens             # text messages that may come at once
    cdef readonly double heard_at       # when the last frame of a text WebSocket came, be it a ping
    cdef uint64_t skip                  # bytes of an oversize frame still to come
    cdef uint8_t* kept
    cdef uint32_t kept_size
    cdef uint32_t kept_capacity
    cdef uint8_t* message               # fragments of a WebSocket message
    cdef uint32_t message_size
    cdef bint in_message
    cdef bytes rest                     # packets of a message that have to wait for their room's script
    cdef int send_error                 # errno of a send that found the other side gone
    cdef uint32_t out_packets           # put out since all was last sent
    cdef uint8_t* out
    cdef uint32_t out_at
    cdef uint32_t out_size
    cdef uint32_t out_capacity
    cdef object records                 # with TLS: a deque of plaintext records waiting, each of whole packets
    cdef uint32_t records_bytes

    def __cinit__(self, Relay relay, int fd, str peer_name):
        self.relay = relay
        self.fd = fd
        self.peer_name = peer_name
        self.mode = OPENING

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)
        PyMem_Free(self.kept)
        PyMem_Free(self.message)
        PyMem_Free(self.out)

    @property
    def kind(self):
        """The leg's name for logs and status: tcp, tls, ws, wss."""
        if self.is_websocket:
            return "ws" if self.layer is None else "wss"
        return "tcp" if self.layer is None else "tls"

    @property
    def backlog(self):
        """Bytes waiting to go out."""
        return self.out_size - self.out_at + self.records_bytes

    @property
    def weight(self):
        """Bytes of memory for it: what waits to go out, and what has come and is not whole yet."""
        return self.out_size - self.out_at + self.records_bytes + self.kept_size + self.message_size

    def start_tls(self, layer):
        """From the bytes being looked at on, the connection speaks TLS; inside it the opening starts again."""
        self.layer = layer
        self.records = deque()

    def start_websocket(self):
        """From the next byte on, the connection carries WebSocket frames."""
        self.is_websocket = True
        self.mode = WEBSOCKET

    def start_text(self, uint32_t bytes_max):
        """From the next byte on, the connection carries WebSocket text messages of up to `bytes_max` bytes, which go to
        handler.text. Called again it changes that limit."""
        self.text_bytes_max = bytes_max
        if self.mode != TEXT:
            self.is_websocket = True
            self.mode = TEXT
            self.text_tokens = self.relay.texts_burst
            self.heard_at = self.relay.now

    def send_text(self, bytes message):
        """A text message (UTF-8) into the output of this tick. False: nobody will get it, for the connection is closed,
        or is about to be, as the other side does not read."""
        return self.fd >= 0 and not self.finishing and self.relay.put_text(
            self, <const uint8_t*>PyBytes_AS_STRING(message), <uint32_t>PyBytes_GET_SIZE(message))

    def write(self, bytes data):
        """Raw bytes (an HTTP answer) into the output of this tick."""
        if self.fd >= 0:
            self.relay.put_raw(self, <const uint8_t*>PyBytes_AS_STRING(data), <uint32_t>PyBytes_GET_SIZE(data))

    def await_drained(self):
        """Calls handler.drained once, in a later turn, when all that was written has gone out and the kernel takes more."""
        if self.fd >= 0:
            self.awaits_drained = True
            self.relay.mark(self)

    def start_answer(self):
        """From the next byte on, the connection carries an answer that is written in pieces, and is not read until
        finish()."""
        if self.fd >= 0 and not self.deaf:
            self.mode = DRAIN
            self.deaf = True
            self.relay.watch(self, EPOLL_CTL_MOD)

    def finish(self):
        """Sends what waits, then shuts our side; what still comes is thrown away until the other side closes."""
        self.finishing = True
        self.awaits_drained = False
        self.mode = DRAIN
        if self.deaf and self.fd >= 0:
            self.deaf = False
            self.relay.watch(self, EPOLL_CTL_MOD)
        self.relay.mark(self)

    def close(self, bint orderly=True):
        """Closes at once; with `orderly`, output that the kernel takes is sent, and the goodbye of each layer."""
        cdef bytes goodbye
        if self.fd < 0:
            return
        if orderly and not self.finishing:
            try:
                if self.is_websocket:
                    goodbye = b"\x88\x02\x03\xe9"           # close, 1001: going away
                    self.relay.put_raw(self, <const uint8_t*>PyBytes_AS_STRING(goodbye), 4)
                self.relay.flush_stream(self)
                if self.layer is not None and self.fd >= 0:
                    self.layer.close()
                    self.relay.take_wire(self)
                    self.relay.flush_stream(self)
            except Exception as error:
                self.relay.handler.failed(None, error, self.relay.now)
            self.relay.discard_input(self)
        self.relay.drop_stream(self)

    def dump(self):
        """What a later program has to know to go on with a connection, a peer's or one that is about to log in, as
        Relay.restore_stream() takes it. None: it cannot, for TLS is in the way, the connection is about to end, or it carries
        something else."""
        if self.fd < 0 or self.layer is not None or self.send_error or self.overrun or self.finishing or self.ended:
            return None
        if self.member is None:
            if self.owner is not None or self.mode not in (OPENING, RT, WEBSOCKET, HTTP):
                return None
        elif self.member.doomed or self.mode not in (RT, WEBSOCKET):
            return None
        return {
            "mode": self.mode, "skip": self.skip,
            "kept": PyBytes_FromStringAndSize(<const char*>self.kept, self.kept_size),
            "message": PyBytes_FromStringAndSize(<const char*>self.message, self.message_size) if self.in_message else None,
            "rest": self.rest,
            "out": PyBytes_FromStringAndSize(<const char*>self.out + self.out_at, self.out_size - self.out_at),
            "packets": self.out_packets,
        }

    def give_up(self):
        """The descriptor, which is open and the caller's from now on; here the connection is as if closed, and the other side
        hears nothing of it."""
        cdef int fd = self.fd
        if fd < 0:
            raise ValueError("the connection is closed")
        self.relay.forget_stream(self)
        return fd

    cdef int restore(self, dumped) except -1:
        """What dump() has told. Raises ValueError."""
        cdef bytes kept = dumped["kept"], out = dumped["out"], message = dumped["message"] or b""
        cdef uint64_t skip = dumped["skip"]
        cdef int mode = dumped["mode"]
        cdef Relay relay = self.relay
        if (mode not in (OPENING, RT, WEBSOCKET, HTTP) or skip > relay.frame_skip_bytes_max
                or PyBytes_GET_SIZE(message) > MESSAGE_BYTES or <uint64_t>PyBytes_GET_SIZE(out) > 1 << 30):
            raise ValueError("a connection's state is damaged")
        if mode == WEBSOCKET:
            self.start_websocket()
        else:
            self.mode = mode
        self.skip = skip
        if kept:
            self.keep(<const uint8_t*>PyBytes_AS_STRING(kept), <uint32_t>PyBytes_GET_SIZE(kept))
        if dumped["message"] is not None:
            relay.keep_fragment(self, <const uint8_t*>PyBytes_AS_STRING(message), <uint32_t>PyBytes_GET_SIZE(message))
        self.rest = dumped["rest"]
        if out:
            self.append_out(<const uint8_t*>PyBytes_AS_STRING(out), <uint32_t>PyBytes_GET_SIZE(out))
        self.out_packets = dumped["packets"]
        relay.pause(self)               # resume() takes what was kept, and has it read again
        return relay.mark(self)

    cdef int reserve_out(self, uint32_t size) except -1:
        cdef uint32_t capacity
        cdef uint8_t* grown
        if self.out_at and self.out_size + size > self.out_capacity:
            memmove(self.out, self.out + self.out_at, self.out_size - self.out_at)
            self.out_size -= self.out_at
            self.out_at = 0
        if self.out_size + size > self.out_capacity:
            capacity = self.out_capacity or 1024
            while capacity < self.out_size + size:
                capacity *= 2
            grown = <uint8_t*>PyMem_Realloc(self.out, capacity)
            if grown == NULL:
                raise MemoryError
            self.out = grown
            self.out_capacity = capacity
        return 0

    cdef int append_out(self, const uint8_t* data, uint32_t size) except -1:
        self.reserve_out(size)
        memcpy(self.out + self.out_size, data, size)
        self.out_size += size
        return 0

    cdef int keep(self, const uint8_t* data, uint32_t size) except -1:
        """Appends to what is kept for later; `data` may lie in it."""
        cdef uint32_t capacity
        cdef uint8_t* grown
        if self.kept_size + size > self.kept_capacity:
            capacity = self.kept_capacity or 256
            while capacity < self.kept_size + size:
                capacity *= 2
            grown = <uint8_t*>PyMem_Realloc(self.kept, capacity)
            if grown == NULL:
                raise MemoryError
            self.kept = grown
            self.kept_capacity = capacity
        memcpy(self.kept + self.kept_size, data, size)
        self.kept_size += size
        return 0

    cdef int keep_rest(self, const uint8_t* begin, uint32_t used, uint32_t size) except -1:
        """After `used` of `size` bytes at `begin` were dealt with: keeps the rest, wherever it lies."""
        cdef uint32_t rest = size - used
        if begin == self.kept:
            if used:
                memmove(self.kept, self.kept + used, rest)
            self.kept_size = rest
            if rest == 0 and self.kept_capacity > 1024:
                PyMem_Free(self.kept)
                self.kept = NULL
                self.kept_capacity = 0
        elif rest:
            self.keep(begin + used, rest)
        return 0


@cython.final
cdef class Relay(Carrier):
    """All of a server's packet I/O. `profile` gives the limits (attributes of gsrt.profile.Profile); `entropy(n)` n random
    bytes fit for secrets."""

    cdef readonly object handler
    cdef object entropy
    cdef readonly dict streams              # fd -> Stream
    cdef readonly Links links               # None until there is one
    cdef public bint texts_held             # text WebSockets are not read until it is False again: the handler's to set
    cdef public object made_much            # None, or made_much(now): much was put out within a turn, and has been flushed
    cdef int udp_fd
    cdef int poll_fd
    cdef double now                         # of the last receiving; for faults met outside of it
    cdef uint64_t counters[COUNTERS]
    # limits, from the profile
    cdef double packets_per_second, packets_burst, bytes_per_second, bytes_burst, texts_per_second, texts_burst
    cdef uint32_t packet_bytes_max, datagram_bytes_max, frame_skip_bytes_max, login_bytes_max, held_bytes_max
    cdef uint32_t out_soft_bytes, out_hard_bytes, message_bytes_max, link_out_bytes
    cdef uint64_t link_pending_max
    cdef int batches_max
    # datagrams in
    cdef uint8_t* received
    cdef mmsghdr incoming[BATCH]
    cdef iovec incoming_parts[BATCH]
    cdef uint8_t incoming_addresses[BATCH][ADDRESS_BYTES]
    cdef int logins_left
    # datagrams out
    cdef Datagram* datagrams
    cdef mmsghdr* outgoing
    cdef iovec* outgoing_parts
    cdef Datagram** outgoing_from
    cdef int datagram_count
    # who has which address
    cdef list bound                         # members with an address; None where a place is free
    cdef list free_places
    cdef Slot* table
    cdef uint32_t table_mask
    cdef uint32_t table_used
    # streams
    cdef uint8_t* scratch
    cdef list dirty                         # streams with something for flush
    cdef list paused
    cdef list doomed
    cdef list impaired                      # members with a bad network before them
    cdef list later                         # (member, packet) of datagrams that others go before
    cdef list closed_now                    # keeps streams alive while events may still point to them
    # What is put out within a turn takes memory until the flush at its end: so much of it goes out before, and beyond the
    # most of it nobody has more than the soft limit.
    cdef uint64_t made, made_much_bytes, made_most_bytes

    def __cinit__(self, int udp_fd, profile, handler, entropy=urandom):
        cdef int i
        self.handler = handler
        self.entropy = entropy
        self.streams = {}
        self.bound = []
        self.free_places = []
        self.dirty = []
        self.paused = []
        self.doomed = []
        self.later = []
        self.impaired = []
        self.closed_now = []
        self.udp_fd = udp_fd
        self.poll_fd = -1
        memset(self.counters, 0, sizeof(self.counters))
        self.packets_per_second = profile.packets_per_second
        self.packets_burst = profile.packets_burst
        self.bytes_per_second = profile.bytes_per_second
        self.bytes_burst = profile.bytes_burst
        self.texts_per_second = profile.platform_messages_per_second
        self.texts_burst = profile.platform_messages_burst
        self.packet_bytes_max = profile.packet_bytes_max
        self.datagram_bytes_max = profile.datagram_bytes_max
        if self.datagram_bytes_max > DATAGRAM_BYTES:
            raise ValueError(f"datagram_bytes_max is at most {DATAGRAM_BYTES}")
        self.frame_skip_bytes_max = profile.frame_skip_bytes_max
        self.login_bytes_max = profile.login_bytes_max
        self.held_bytes_max = profile.held_bytes_max
        self.out_soft_bytes = profile.stream_out_soft_bytes
        self.out_hard_bytes = profile.stream_out_hard_bytes
        self.message_bytes_max = profile.link_message_bytes_max
        self.link_out_bytes = profile.link_out_bytes
        self.link_pending_max = profile.link_receive_bytes_all
        self.made_much_bytes = profile.memory_bytes_max // MADE_MUCH_PART
        self.made_most_bytes = profile.memory_bytes_max // MADE_MOST_PART
        self.batches_max = profile.datagram_batches_max
        self.received = <uint8_t*>PyMem_Malloc(BATCH * RECEIVED_BYTES)
        self.datagrams = <Datagram*>PyMem_Malloc(DATAGRAMS * sizeof(Datagram))
        self.outgoing = <mmsghdr*>PyMem_Malloc(DATAGRAMS * sizeof(mmsghdr))
        self.outgoing_parts = <iovec*>PyMem_Malloc(DATAGRAMS * sizeof(iovec))
        self.outgoing_from = <Datagram**>PyMem_Malloc(DATAGRAMS * sizeof(Datagram*))
        self.scratch = <uint8_t*>PyMem_Malloc(READ_BYTES)
        self.table_mask = 255
        self.table = <Slot*>PyMem_Malloc((self.table_mask + 1) * sizeof(Slot))
        if (self.received == NULL or self.datagrams == NULL or self.outgoing == NULL or self.outgoing_parts == NULL
                or self.outgoing_from == NULL or self.scratch == NULL or self.table == NULL):
            raise MemoryError
        memset(self.table, 0xff, (self.table_mask + 1) * sizeof(Slot))      # all places -1
        for i in range(BATCH):
            self.incoming_parts[i].iov_base = self.received + i * RECEIVED_BYTES
            self.incoming_parts[i].iov_len = RECEIVED_BYTES
            memset(&self.incoming[i], 0, sizeof(mmsghdr))
            self.incoming[i].msg_hdr.msg_name = &self.incoming_addresses[i][0]
            self.incoming[i].msg_hdr.msg_namelen = ADDRESS_BYTES
            self.incoming[i].msg_hdr.msg_iov = &self.incoming_parts[i]
            self.incoming[i].msg_hdr.msg_iovlen = 1
        self.poll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.poll_fd < 0:
            raise OSError(errno, strerror(errno).decode())

    def __dealloc__(self):
        PyMem_Free(self.received)
        PyMem_Free(self.datagrams)
        PyMem_Free(self.outgoing)
        PyMem_Free(self.outgoing_parts)
        PyMem_Free(self.outgoing_from)
        PyMem_Free(self.scratch)
        PyMem_Free(self.table)
        if self.poll_fd >= 0:
            close(self.poll_fd)

    def fileno(self):
        """A file descriptor that is readable when a stream has something for receive_streams."""
        return self.poll_fd

    def counts(self):
        """All counters by name."""
        cdef int i
        counts = {COUNTER_NAMES[i]: self.counters[i] for i in range(<int>COUNTERS)}
        if self.links is not None:
            counts.update(self.links.counts())
        return counts

    @property
    def paused_count(self):
        """Streams not read now, because their peer is over its rate or the handler wants to wait; resume() sees to them."""
        return len(self.paused)

    @property
    def has_output(self):
        """Whether anything waits for flush()."""
        return self.datagram_count > 0 or len(self.dirty) > 0 or (self.links is not None and self.links.has_output())

    cdef inline void count(self, Room room, int counter, uint64_t number) noexcept:
        self.counters[counter] += number
        if room is not None:
            room.counters[counter] += number

    # ---- addresses

    cdef Member lookup(self, const Address* address):
        """Whose address it is, or None."""
        cdef uint32_t at = spread(address) & self.table_mask
        while self.table[at].place >= 0:
            if same(&self.table[at].address, address):
                return <Member>self.bound[self.table[at].place]
            at = (at + 1) & self.table_mask
        return None

    cdef int remember(self, const Address* address, Member member) except -1:
        cdef Slot* old = self.table
        cdef uint32_t old_mask = self.table_mask
        cdef uint32_t i
        cdef int32_t place
        if (self.table_used + 1) * 2 > self.table_mask:
            self.table = <Slot*>PyMem_Malloc((old_mask + 1) * 2 * sizeof(Slot))
            if self.table == NULL:
                self.table = old
                raise MemoryError
            self.table_mask = old_mask * 2 + 1
            memset(self.table, 0xff, (self.table_mask + 1) * sizeof(Slot))
            for i in range(old_mask + 1):
                if old[i].place >= 0:
                    self.enter(&old[i].address, old[i].place)
            PyMem_Free(old)
        if self.free_places:
            place = self.free_places.pop()
            self.bound[place] = member
        else:
            place = <int32_t>len(self.bound)
            self.bound.append(member)
        self.enter(address, place)
        self.table_used += 1
        return 0

    cdef void enter(self, const Address* address, int32_t place) noexcept:
        cdef uint32_t at = spread(address) & self.table_mask
        while self.table[at].place >= 0:
            at = (at + 1) & self.table_mask
        self.table[at].address = address[0]
        self.table[at].place = place

    cdef int forget(self, const Address* address) except -1:
        """Takes an address out and closes the gap, so that no search ends early."""
        cdef uint32_t at = spread(address) & self.table_mask
        cdef uint32_t gap, home
        while self.table[at].place >= 0 and not same(&self.table[at].address, address):
            at = (at + 1) & self.table_mask
        if self.table[at].place < 0:
            return 0
        self.bound[self.table[at].place] = None
        self.free_places.append(self.table[at].place)
        gap = at
        while True:
            at = (at + 1) & self.table_mask
            if self.table[at].place < 0:
                break
            home = spread(&self.table[at].address) & self.table_mask
            if ((at - home) & self.table_mask) >= ((at - gap) & self.table_mask):
                self.table[gap] = self.table[at]
                gap = at
        self.table[gap].place = -1
        self.table_used -= 1
        return 0

    # ---- datagrams in

    def receive_datagrams(self, double now):
        """Takes what datagrams have come, at most the profile's number of batches: how many there were."""
        cdef int batch, got, i, total = 0
        self.now = now
        self.logins_left = LOGINS_PER_TICK
        for batch in range(self.batches_max):
            got = recvmmsg(self.udp_fd, self.incoming, BATCH, MSG_DONTWAIT, NULL)
            if got < 0:
                if errno != EAGAIN:
                    continue            # a pending error of an earlier send; the call has cleared it
                break
            total += got
            for i in range(got):
                self.one_datagram(i, now)
                self.incoming[i].msg_hdr.msg_namelen = ADDRESS_BYTES
                if self.made > self.made_much_bytes:
                    self.let_out(now)
            if got < BATCH:
                break
        self.count(None, DATAGRAMS_IN, total)
        return total

    cdef int one_datagram(self, int which, double now) except -1:
        cdef const uint8_t* at = self.received + which * RECEIVED_BYTES
        cdef const uint8_t* end = at + self.incoming[which].msg_len
        cdef Address address
        cdef Member member
        if at < end and at[0] == 0:
            return self.link_datagram(which, now)
        make_address(&self.incoming_addresses[which][0], &address)
        member = self.lookup(&address)
        if self.incoming[which].msg_hdr.msg_flags & MSG_TRUNC:
            self.count(member.room if member is not None else None, DROPPED_OVERSIZE, 1)
            return 0
        if member is not None and member.bad_up is not None:
            member.bad_up.put(PyBytes_FromStringAndSize(<const char*>at, end - at), now)
            return 0
        return self.take_datagram(at, end, &self.incoming_addresses[which][0], self.incoming[which].msg_hdr.msg_namelen,
                                  member, now)

    cdef int take_datagram(self, const uint8_t* at, const uint8_t* end, const uint8_t* raw, socklen_t raw_size,
                           Member member, double now) except -1:
        """The packets of a datagram that came from the address `raw`, which is `member`'s or nobody's."""
        cdef const uint8_t* body
        cdef uint64_t length
        cdef Address address
        cdef Header header
        cdef Room room = member.room if member is not None else None
        while at < end:
            body = read_length(at, end, &length)
            if body == NULL or length > <uint64_t>(end - body) or length == 0:
                self.count(room, DROPPED_MALFORMED, 1)
                return 0
            at = body + length
            if scan_packet(body, <uint32_t>length, &header):
                self.count(room, DROPPED_MALFORMED, 1)
            elif header.op_code > 0:
                if member is None:
                    self.count(None, DROPPED_UNKNOWN_ADDRESS, 1)
                    return 0
                if not member.within_rate(now):
                    self.count(room, DROPPED_RATE, 1)
                    continue
                member.spend(<uint32_t>length)
                if room.interceptor is not None and room.interceptor.is_behind:
                    if room.interceptor.is_late and len(self.later) < LATER_MAX:
                        self.later.append((member, PyBytes_FromStringAndSize(<const char*>body, length)))
                    else:
                        self.count(room, DROPPED_SCRIPT_BUSY, 1)
                    continue
                self.relay_packet(member, &header, body, <uint32_t>length, UNRELIABLE, 0)
            elif header.op_code != 0:
                self.count(room, DROPPED_OP_CODE, 1)
            elif member is not None and not member.within_rate(now):
                self.count(room, DROPPED_RATE, 1)
            elif self.logins_left == 0:
                self.count(room, DROPPED_LOGIN_RATE, 1)
            else:
                self.logins_left -= 1
                if member is not None:
                    member.spend(<uint32_t>length)
                try:
                    self.handler.datagram(PyBytes_FromStringAndSize(<const char*>raw, raw_size),
                                          PyBytes_FromStringAndSize(<const char*>body, length), now)
                except Exception as error:
                    self.handler.failed(None, error, now)
                make_address(raw, &address)
                member = self.lookup(&address)      # whose it is now
                room = member.room if member is not None else None
                if member is None:
                    if at < end:
                        self.count(None, DROPPED_UNKNOWN_ADDRESS, 1)
                    return 0
        return 0

    def take_later(self, double now):
        """Deals with the datagrams that were put off for their room's script was late."""
        cdef Member member
        cdef bytes packet
        cdef Header header
        cdef const uint8_t* at
        if not self.later:
            return
        later = self.later
        self.later = []
        self.now = now
        for member, packet in later:
            at = <const uint8_t*>PyBytes_AS_STRING(packet)
            if not member.udp_bound:
                self.count(member.room, DROPPED_UNKNOWN_ADDRESS, 1)
            elif member.room.interceptor is not None and member.room.interceptor.is_behind:
                self.count(member.room, DROPPED_SCRIPT_BUSY, 1)
            elif not scan_packet(at, <uint32_t>PyBytes_GET_SIZE(packet), &header):
                self.relay_packet(member, &header, at, <uint32_t>PyBytes_GET_SIZE(packet), UNRELIABLE, 0)

    # ---- the way of a packet

    cdef int relay_packet(self, Member sender, Header* header, const uint8_t* packet, uint32_t size, int kind,
                          uint32_t channel) except -1:
        """One packet (opCode > 0) of `sender` to its targets. What is said to be unreliable is sequenced if it has a number
        to be so by."""
        cdef Room room = sender.room
        cdef Member target
        cdef const uint8_t* where
        cdef uint8_t head[HEADER_MAX]
        cdef uint8_t* at
        cdef uint32_t head_size, body_size, i
        cdef uint8_t prefix_size, peer_id
        cdef bytes rewritten
        cdef Interceptor interceptor
        cdef Header second
        cdef Way way
        cdef bint unreliable = kind < ORDERED
        cdef int delivered = 0, verdict
        self.count(room, PACKETS_IN, 1)
        self.count(room, BYTES_IN, size)
        if not header.plain:
            try:
                rewritten = normal_form(PyBytes_FromStringAndSize(<const char*>packet, size))
            except ProtocolError:
                self.count(room, DROPPED_MALFORMED, 1)
                return 0
            packet = <const uint8_t*>PyBytes_AS_STRING(rewritten)
            size = <uint32_t>PyBytes_GET_SIZE(rewritten)
            scan_packet(packet, size, &second)
            header = &second
        if header.data_count and check_data(packet + header.data_at, packet + header.data_at + header.data_length, 1,
                                            &where):
            self.count(room, DROPPED_MALFORMED, 1)
            return 0
        if header.has_sequence and unreliable:
            if sender.has_sequence and <int32_t>(<uint32_t>header.sequence - <uint32_t>sender.last_sequence) <= 0:
                self.count(room, DROPPED_STALE, 1)
                return 0
            sender.has_sequence = True
            sender.last_sequence = header.sequence
            kind = SEQUENCED
        interceptor = room.interceptor          # the room may have another one, or none, afterwards
        if interceptor is not None and interceptor.wants(header.op_code):
            verdict = interceptor.packet(sender.peer_id, header, packet, size, not unreliable, self.now)
            self.made += interceptor.took       # as good as output, for it is memory until somebody looks
            interceptor.took = 0
            if verdict == CANCELLED:
                self.count(room, DROPPED_BY_SCRIPT, 1)
                return 0
            if verdict == REPLACED:
                rewritten = interceptor.replacement
                packet = <const uint8_t*>PyBytes_AS_STRING(rewritten)
                scan_packet(packet, <uint32_t>PyBytes_GET_SIZE(rewritten), &second)
                header = &second
        body_size = header.tail_end - header.tail_at
        head_size = 1 + varint_size(<uint32_t>zigzag(header.op_code)) + 1 + varint_size(sender.peer_id)
        prefix_size = varint_size(head_size + body_size)
        if prefix_size + head_size + body_size > (self.packet_bytes_max if sender.link is None else self.message_bytes_max):
            self.count(room, DROPPED_OVERSIZE, 1)
            return 0
        way.kind = kind
        way.stream = 0
        if kind == SEQUENCED or (kind == ORDERED and channel):
            way.stream = CHANNELS * sender.peer_id + channel
        way.block = NULL
        at = write_varint(head, head_size + body_size)
        at[0] = KEY_OP_CODE
        at = write_varint(at + 1, <uint32_t>zigzag(header.op_code))
        at[0] = KEY_SENDER
        at = write_varint(at + 1, sender.peer_id)
        head_size = <uint32_t>(at - head)
        if header.to_server:
            self.count(room, TO_SERVER, 1)
            delivered = 1
        for i in range(<uint32_t>room.size):
            peer_id = room.ids[i]
            if header.target_count:
                if not (header.target_bits[peer_id >> 6] >> (peer_id & 63)) & 1:
                    continue
            elif peer_id == sender.peer_id:
                continue
            target = <Member>room.by_id[peer_id]
            delivered += 1
            self.give(target, head, head_size, packet + header.tail_at, body_size, &way)
        if way.block != NULL:
            release_block(way.block)
        if not delivered:
            self.count(room, DROPPED_NO_TARGET, 1)
        return 0

    cdef int give(self, Member target, const uint8_t* head, uint32_t head_size, const uint8_t* body, uint32_t body_size,
                  Way* way) except -1:
        """A frame (head, then body) to a peer, or held for it until it is ready."""
        if target.link is None and head_size + body_size > self.packet_bytes_max:
            self.count(target.room, DROPPED_OVERSIZE, 1)        # only links carry so long a packet
            return 0
        if target.is_open:
            return self.put(target, head, head_size, body, body_size, way)
        return target.hold(head, head_size, body, body_size, way)

    cdef int put(self, Member target, const uint8_t* head, uint32_t head_size, const uint8_t* body, uint32_t body_size,
                 Way* way) except -1:
        """A frame into the output of a peer."""
        cdef bint reliable = way.kind >= ORDERED
        if target.link is not None:
            return self.put_link(target, head, head_size, body, body_size, way)
        if not reliable and target.udp_confirmed and head_size + body_size <= self.datagram_bytes_max:
            return self.put_datagram(target, head, head_size, body, body_size)
        if target.stream is not None:
            return self.put_stream(target.stream, target, head, head_size, body, body_size, reliable)
        self.count(target.room, DROPPED_UNSENT, 1)
        return 0

    cdef int put_link(self, Member target, const uint8_t* head, uint32_t head_size, const uint8_t* body, uint32_t body_size,
                      Way* way) except -1:
        cdef Leg leg = target.link
        cdef uint32_t prefix_size = 1
        cdef uint32_t size
        while head[prefix_size - 1] & 0x80:     # a frame of the link says its length itself
            prefix_size += 1
        head += prefix_size
        head_size -= prefix_size
        size = head_size + body_size
        if target.doomed:
            self.count(target.room, DROPPED_SLOW, 1)
            return 0
        if leg.waiting_bytes + size > self.link_out_bytes and way.kind >= ORDERED:
            self.count(target.room, DROPPED_SLOW, 1)
            return self.doom(target, "it does not acknowledge what is sent to it")
        if not leg.put(way.kind, way.stream, head, head_size, body, body_size, &way.block):
            self.count(target.room, DROPPED_UNSENT if leg.closed else DROPPED_SLOW, 1)
            if way.kind >= ORDERED and not leg.closed:
                return self.doom(target, "too much waits to be acknowledged by it, or is longer than it takes")
            return 0
        leg.mark()
        self.made += size
        self.count(target.room, PACKETS_OUT, 1)
        self.count(target.room, BYTES_OUT, size)
        return 0

    cdef int put_datagram(self, Member target, const uint8_t* head, uint32_t head_size, const uint8_t* body,
                          uint32_t body_size) except -1:
        cdef Datagram* datagram
        cdef uint32_t size = head_size + body_size
        if target.datagram < 0 or self.datagrams[target.datagram].size + size > self.datagram_bytes_max:
            if self.datagram_count == DATAGRAMS:
                self.flush_datagrams()
            target.datagram = self.datagram_count
            self.datagram_count += 1
            datagram = &self.datagrams[target.datagram]
            datagram.size = 0
            datagram.packets = 0
            datagram.member = <PyObject*>target
        else:
            datagram = &self.datagrams[target.datagram]
        memcpy(datagram.bytes + datagram.size, head, head_size)
        if body_size:
            memcpy(datagram.bytes + datagram.size + head_size, body, body_size)
        datagram.size += size
        datagram.packets += 1
        self.count(target.room, PACKETS_OUT, 1)
        self.count(target.room, BYTES_OUT, size)
        return 0

    cdef int put_stream(self, Stream stream, Member target, const uint8_t* head, uint32_t head_size,
                        const uint8_t* body, uint32_t body_size, bint reliable) except -1:
        cdef uint32_t size = head_size + body_size
        cdef uint32_t waiting = stream.out_size - stream.out_at + stream.records_bytes
        cdef uint8_t frame[HEAD_MAX]
        cdef uint32_t frame_size = 0
        cdef bytearray record
        if stream.fd < 0:
            self.count(target.room, DROPPED_UNSENT, 1)
            return 0
        if target.doomed:
            self.count(target.room, DROPPED_SLOW, 1)
            return 0
        if waiting + size > self.out_soft_bytes:
            if not reliable:
                self.count(target.room, DROPPED_SLOW, 1)
                return 0
            if waiting + size > self.out_hard_bytes or self.made > self.made_most_bytes:
                self.count(target.room, DROPPED_SLOW, 1)
                return self.doom(target, "it does not read what is sent to it")
        if stream.is_websocket:
            frame_size = write_head(frame, OP_BINARY, size)
        if stream.layer is None:
            stream.reserve_out(frame_size + size)
            memcpy(stream.out + stream.out_size, frame, frame_size)
            memcpy(stream.out + stream.out_size + frame_size, head, head_size)
            if body_size:
                memcpy(stream.out + stream.out_size + frame_size + head_size, body, body_size)
            stream.out_size += frame_size + size
        else:
            # A record each where packets follow one another bare, for clients that read by the record; not where so
            # many wait that the records would cost more than they are worth.
            if (not stream.records or len(<bytearray>stream.records[-1]) + frame_size + size > RECORD_BYTES
                    or (not stream.is_websocket and len(stream.records) < SINGLE_RECORDS)):
                stream.records.append(bytearray())
            record = <bytearray>stream.records[-1]
            record += PyBytes_FromStringAndSize(<const char*>frame, frame_size)
            record += PyBytes_FromStringAndSize(<const char*>head, head_size)
            if body_size:
                record += PyBytes_FromStringAndSize(<const char*>body, body_size)
            stream.records_bytes += frame_size + size
        stream.out_packets += 1
        self.made += size
        self.mark(stream)
        self.count(target.room, PACKETS_OUT, 1)
        self.count(target.room, BYTES_OUT, size)
        return 0

    cdef bint put_text(self, Stream stream, const uint8_t* body, uint32_t size) except -1:
        """A WebSocket text message; whether there is room for it."""
        cdef uint8_t head[HEAD_MAX]
        cdef uint32_t head_size = write_head(head, OP_TEXT, size)
        cdef uint32_t piece
        cdef bytearray record
        cdef uint64_t waiting = <uint64_t>(stream.out_size - stream.out_at) + stream.records_bytes
        if stream.overrun or waiting + head_size + size > self.out_hard_bytes:
            stream.overrun = True       # closed when it is flushed: whoever sends may be in the middle of something
            self.count(None, DROPPED_SLOW, 1)
            self.mark(stream)
            return False
        if stream.layer is None:
            stream.append_out(head, head_size)
            stream.append_out(body, size)
        else:
            if not stream.records or len(<bytearray>stream.records[-1]) + head_size + size > RECORD_BYTES:
                stream.records.append(bytearray())
            record = <bytearray>stream.records[-1]
            record += PyBytes_FromStringAndSize(<const char*>head, head_size)
            stream.records_bytes += head_size + size
            while True:
                piece = min(size, <uint32_t>(RECORD_BYTES - len(record)))
                record += PyBytes_FromStringAndSize(<const char*>body, piece)
                body += piece
                size -= piece
                if size == 0:
                    break
                record = bytearray()
                stream.records.append(record)
        stream.out_packets += 1
        self.mark(stream)
        return True

    cdef int put_raw(self, Stream stream, const uint8_t* data, uint32_t size) except -1:
        """Bytes that are no packet: HTTP answers, WebSocket control frames."""
        cdef uint32_t piece
        if stream.layer is None:
            stream.append_out(data, size)
        else:
            stream.records_bytes += size
            while size:
                piece = min(size, <uint32_t>RECORD_BYTES)
                stream.records.append(bytearray(PyBytes_FromStringAndSize(<const char*>data, piece)))
                data += piece
                size -= piece
        return self.mark(stream)

    cdef int mark(self, Stream stream) except -1:
        """The stream has something for flush."""
        if not stream.dirty and stream.fd >= 0:
            stream.dirty = True
            self.dirty.append(stream)
        return 0

    cdef int doom(self, Member member, str reason) except -1:
        """The peer is to be cut, but not in the middle of a fan-out: take_doomed hands it out."""
        if not member.doomed:
            member.doomed = True
            self.doomed.append((member, member.stream or member.link, reason))
        return 0

    def take_doomed(self):
        """Peers over a limit, as (Member, reason): for the session to cut, be their connection lost meanwhile or not.
        Those that have left or come anew since are spared."""
        cdef Member member
        if not self.doomed:
            return ()
        doomed = self.doomed
        self.doomed = []
        return [(member, reason) for member, leg, reason in doomed
                if member.doomed and (member.stream or member.link) in (leg, None)]

    # ---- links

    cdef int link_datagram(self, int which, double now) except -1:
        """A datagram that begins with 0."""
        cdef uint8_t* at = self.received + which * RECEIVED_BYTES
        cdef uint32_t size = self.incoming[which].msg_len
        cdef bytes address
        if self.incoming[which].msg_hdr.msg_flags & MSG_TRUNC:
            self.count(None, DROPPED_OVERSIZE, 1)
            return 0
        if size < 2 or not 0 < at[1] <= TYPE_SEEK:
            self.count(None, DROPPED_MALFORMED, 1)
            return 0
        if at[1] == TYPE_DATA:
            if self.links is None:
                self.count(None, DROPPED_MALFORMED, 1)
                return 0
            try:
                return self.links.take(at, size, &self.incoming_addresses[which][0],
                                       self.incoming[which].msg_hdr.msg_namelen, now)
            except Exception as error:
                self.handler.failed(None, error, now)
                return 0
        if self.logins_left == 0:
            self.count(None, DROPPED_LOGIN_RATE, 1)
            return 0
        self.logins_left -= 1
        address = PyBytes_FromStringAndSize(<const char*>&self.incoming_addresses[which][0],
                                            self.incoming[which].msg_hdr.msg_namelen)
        try:
            datagram = PyBytes_FromStringAndSize(<const char*>at, size)
            if at[1] == TYPE_SEEK:
                answer = self.handler.seek(datagram, now)
            else:
                answer = self.handler.link_opening(address, datagram, now)
            if answer is not None:
                self.get_links().answer(address, answer)
        except Exception as error:
            self.handler.failed(None, error, now)
        return 0

    cdef Links get_links(self):
        if self.links is None:
            self.links = Links(self, self.entropy, self.link_pending_max)
        return self.links

    def open_link(self, bytes address, Cipher cipher, double now, **terms):
        """A leg for who has proved a token from `address`: see Links.open."""
        return self.get_links().open(address, cipher, now, **terms)

    def restore_link(self, bytes dump, double now):
        """A leg that the program before had open: see Links.restore_leg."""
        return self.get_links().restore_leg(dump, now)

    def answer(self, bytes address, bytes datagram):
        """A datagram to whoever is at `address` goes out with the next flush."""
        self.get_links().answer(address, datagram)

    @property
    def links_count(self):
        """Links that are open."""
        return self.links.count if self.links is not None else 0

    @property
    def links_due(self):
        """When run_links is to be called; infinity: never."""
        cdef Member member
        cdef double due = self.links.earliest if self.links is not None else INFINITY
        for member in self.impaired:
            for bad in (member.bad_up, member.bad_down):
                arrives = bad.next_time()
                if arrives is not None and <double>arrives < due:
                    due = arrives
        return due

    def run_links(self, double now):
        """Does what is due for links, and hands on what has come through the bad networks before some peers."""
        cdef Member member
        self.now = now
        if self.links is not None:
            self.links.run_timers(now)
        for member in list(self.impaired):
            try:
                if member.link is not None:
                    self.links.release_impaired(member.link, now)
                else:
                    self.release_impaired(member, now)
            except Exception as error:
                self.handler.failed(None, error, now)

    cdef int release_impaired(self, Member member, double now) except -1:
        """What has come through the bad network before a peer's UDP leg, or through that of a link that is gone."""
        cdef bytes datagram
        cdef const uint8_t* at
        for datagram in member.bad_up.take(now):
            if member.udp_bound:
                at = <const uint8_t*>PyBytes_AS_STRING(datagram)
                self.take_datagram(at, at + PyBytes_GET_SIZE(datagram), member.raw_address, member.raw_size, member, now)
        for datagram in member.bad_down.take(now):
            if member.udp_bound:
                self.get_links().answer(PyBytes_FromStringAndSize(<const char*>member.raw_address, member.raw_size),
                                        datagram)
        return 0

    cdef bint link_admits(self, Leg leg, double now) except -1:
        cdef Member member = <Member>leg.member
        if leg.member is None:
            return False
        if member.room.interceptor is not None and member.room.interceptor.is_behind:
            self.count(member.room, DROPPED_SCRIPT_BUSY, 1)
        elif member.within_rate(now):
            return True
        else:
            self.count(member.room, DROPPED_RATE, 1)
        return False

    cdef int link_message(self, Leg leg, int kind, uint32_t stream, const uint8_t* packet, uint32_t size,
                          double now) except -1:
        cdef Member member
        cdef Header header
        if leg.member is None:
            return 0
        member = <Member>leg.member
        member.spend(size)
        if scan_packet(packet, size, &header):
            self.count(member.room, DROPPED_MALFORMED, 1)
        elif header.op_code > 0:
            return self.relay_packet(member, &header, packet, size, kind, stream)
        elif header.op_code != OP_PLAYER_READY:
            self.count(member.room, DROPPED_OP_CODE, 1)
        else:
            self.handler.control(leg, header.op_code, PyBytes_FromStringAndSize(<const char*>packet, size), now)
        return 0

    cdef int link_established(self, Leg leg, double now) except -1:
        self.handler.link_established(leg, now)
        return 0

    cdef int link_closed(self, Leg leg, double now) except -1:
        cdef Member member = <Member>leg.member if leg.member is not None else None
        cdef bint orderly = leg.close_reason == 0
        if member is not None:
            member.link = None
            leg.member = None
        try:
            self.handler.closed(leg, "closed by the other side" if orderly else leg.close_text or "closed by the other side",
                                orderly, now)
        except Exception as error:
            self.handler.failed(None, error, now)
        return 0

    # ---- streams in

    def add_stream(self, int fd, str peer_name):
        """Takes over a connected socket: its Stream. It is closed by close() or by the other side."""
        cdef Stream stream = Stream(self, fd, peer_name)
        self.watch(stream, EPOLL_CTL_ADD)
        self.streams[fd] = stream
        return stream

    def restore_stream(self, int fd, str peer_name, dumped):
        """Takes over a connected socket from the program before: its Stream, with the state that Stream.dump() has told. It
        is to be attached to its member, if it has one, before anything else happens. Raises ValueError for what is no such
        state; the socket is closed then."""
        cdef Stream stream = self.add_stream(fd, peer_name)
        try:
            stream.restore(dumped)
        except BaseException:
            self.drop_stream(stream)
            raise
        return stream

    cdef int watch(self, Stream stream, int operation) except -1:
        cdef epoll_event event
        event.events = (0 if stream.paused or stream.deaf else EPOLLIN) | (EPOLLOUT if stream.wants_write else 0)
        event.data.ptr = <void*>stream
        if epoll_ctl(self.poll_fd, operation, stream.fd, &event) < 0:
            raise OSError(errno, strerror(errno).decode())
        return 0

    cdef int discard_input(self, Stream stream) except -1:
        """Takes what lies unread: closing over it would send a reset, and the other side might lose our last words."""
        cdef char unread[4096]      # not the scratch: the bytes there may be being looked at
        cdef int i
        for i in range(DISCARD_READS):
            if stream.fd < 0 or recv(stream.fd, &unread[0], sizeof(unread), MSG_DONTWAIT) <= 0:
                break
        return 0

    cdef int drop_stream(self, Stream stream) except -1:
        cdef int fd = stream.fd
        if fd < 0:
            return 0
        self.forget_stream(stream)
        close(fd)
        return 0

    cdef int forget_stream(self, Stream stream) except -1:
        """All of it but its descriptor."""
        self.streams.pop(stream.fd, None)
        epoll_ctl(self.poll_fd, EPOLL_CTL_DEL, stream.fd, NULL)
        stream.fd = -1
        self.drop_output(stream)
        PyMem_Free(stream.out)      # now, for the object may be kept for a while, and it may be much
        stream.out = NULL
        stream.out_capacity = 0
        if stream.member is not None and stream.member.stream is stream:
            stream.member.stream = None
        self.closed_now.append(stream)
        return 0

    cdef int lost(self, Stream stream, str reason, bint orderly, double now) except -1:
        """The connection is over from the other side, or for a fault of it."""
        cdef Member member = stream.member
        if stream.fd < 0:
            return 0
        self.drop_stream(stream)
        if member is not None:
            member.stream = None
        try:
            self.handler.closed(stream, reason, orderly, now)
        except Exception as error:
            self.handler.failed(stream, error, now)
        return 0

    cdef int refuse(self, Stream stream, str reason, double now) except -1:
        """Closes a connection that breaks the protocol."""
        if stream.fd >= 0:
            self.flush_stream(stream)
            self.lost(stream, reason, False, now)
        return 0

    def receive_streams(self, double now):
        """Takes what has come on ready connections, at most one piece of 64 KB each: how many were ready."""
        cdef epoll_event events[EVENTS]
        cdef int i, got
        cdef Stream stream
        self.now = now
        self.closed_now.clear()
        got = epoll_wait(self.poll_fd, events, EVENTS, 0)
        for i in range(got):
            stream = <Stream>events[i].data.ptr
            if stream.fd < 0:
                continue
            if events[i].events & EPOLLOUT:
                stream.wants_write = False
                self.watch(stream, EPOLL_CTL_MOD)
                self.mark(stream)
                if stream.awaits_drained and stream.backlog == 0 and not stream.send_error:
                    self.tell_drained(stream, now)
                    if stream.fd < 0:
                        continue
            if stream.paused and events[i].events & (EPOLLERR | EPOLLHUP):
                self.lost(stream, "reset while over its rate", False, now)
            elif self.texts_held and stream.mode == TEXT and not stream.paused:
                self.pause(stream)
            elif events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP):
                self.read_stream(stream, now)
            if self.made > self.made_much_bytes:
                self.let_out(now)
        self.closed_now.clear()
        return got if got > 0 else 0

    cdef int tell_drained(self, Stream stream, double now) except -1:
        stream.awaits_drained = False
        try:
            self.handler.drained(stream, now)
        except Exception as error:
            self.drop_stream(stream)
            self.handler.failed(stream, error, now)
        return 0

    cdef int read_stream(self, Stream stream, double now) except -1:
        cdef ssize_t got = recv(stream.fd, self.scratch, READ_BYTES, MSG_DONTWAIT)
        if got <= 0 and stream.send_error:
            return self.lost(stream, strerror(stream.send_error).decode(), False, now)
        if got == 0:
            return self.lost(stream, "closed by the other side", True, now)
        if got < 0:
            if errno == EAGAIN or errno == EINTR:
                return 0
            return self.lost(stream, strerror(errno).decode(), False, now)
        try:
            if stream.layer is not None:
                self.decrypt(stream, PyBytes_FromStringAndSize(<const char*>self.scratch, got), now)
            else:
                self.feed(stream, self.scratch, <uint32_t>got, now)
        except Exception as error:
            self.drop_stream(stream)
            self.handler.failed(stream, error, now)
        return 0

    cdef bint floods_answers(self, Stream stream, double now) except? -1:
        """Whether answers that the other side has provoked (pongs, TLS) pile up unread; the connection is then closed."""
        if stream.backlog <= self.out_hard_bytes:
            return False
        self.drop_output(stream)
        self.refuse(stream, "it does not read the answers it asks for", now)
        return True

    cdef int decrypt(self, Stream stream, bytes data, double now) except -1:
        cdef bytes plain
        layer = stream.layer
        try:
            plain = layer.received(data)
        except ValueError as error:     # TlsError
            self.take_wire(stream)
            return self.refuse(stream, str(error), now)
        self.take_wire(stream)
        if self.floods_answers(stream, now):
            return 0
        if plain:
            self.feed(stream, <uint8_t*>PyBytes_AS_STRING(plain), <uint32_t>PyBytes_GET_SIZE(plain), now)
        if layer.peer_closed and stream.fd >= 0:
            stream.ended = True
            self.end_if_done(stream, now)
        return 0

    cdef int end_if_done(self, Stream stream, double now) except -1:
        """The other side has said goodbye; what its rate has kept back comes first."""
        if stream.ended and not stream.paused and stream.fd >= 0:
            self.lost(stream, "closed by the other side", True, now)
        return 0

    cdef int take_wire(self, Stream stream) except -1:
        """What the TLS layer has for the socket goes to the output."""
        cdef bytes wire = stream.layer.to_send()
        if wire:
            stream.append_out(<const uint8_t*>PyBytes_AS_STRING(wire), <uint32_t>PyBytes_GET_SIZE(wire))
            self.mark(stream)
        return 0

    cdef int feed(self, Stream stream, uint8_t* data, uint32_t size, double now) except -1:
        """Plain bytes of a stream. `data` may be changed (WebSocket masks are taken off in place)."""
        if stream.kept_size:
            stream.keep(data, size)
            return self.feed_kept(stream, now)
        return self.feed_from(stream, data, size, now)

    cdef int feed_kept(self, Stream stream, double now) except -1:
        return self.feed_from(stream, stream.kept, stream.kept_size, now)

    cdef int feed_from(self, Stream stream, uint8_t* begin, uint32_t size, double now) except -1:
        cdef uint32_t used = self.take_apart(stream, begin, size, now)
        if stream.restarted:
            stream.restarted = False
        elif stream.fd >= 0:
            stream.keep_rest(begin, used, size)
        return 0

    cdef uint32_t take_apart(self, Stream stream, uint8_t* data, uint32_t size, double now) except? 0xffffffff:
        """Deals with what is whole: bytes used."""
        cdef uint32_t used = 0
        cdef uint32_t more
        cdef int mode
        while used < size and stream.fd >= 0 and not stream.paused:
            mode = stream.mode
            if mode == OPENING:
                more = self.see_opening(stream, data + used, size - used, now)
            elif mode == RT:
                more = self.take_frames(stream, data + used, size - used, now)
            elif mode == WEBSOCKET:
                more = self.take_messages(stream, data + used, size - used, now)
            elif mode == TEXT:
                more = self.take_texts(stream, data + used, size - used, now)
            elif mode == HTTP:
                more = self.take_http(stream, data + used, size - used, now)
            else:
                more = size - used
            used += more
            if more == 0 and stream.mode == mode:
                break
        return used

    cdef uint32_t see_opening(self, Stream stream, uint8_t* data, uint32_t size, double now) except? 0xffffffff:
        cdef bytes rest
        what = self.handler.opening(stream, PyBytes_FromStringAndSize(<const char*>data, min(size, <uint32_t>OPENING_BYTES)))
        if what is None:
            if size >= OPENING_BYTES:
                self.refuse(stream, "unknown protocol", now)
            return 0
        if what == "wait":
            self.pause(stream)
            return 0
        if what == "rt":
            stream.mode = RT
        elif what == "http":
            stream.mode = HTTP
        elif what == "tls" and stream.layer is not None:
            # The handler has started TLS: all of this is ciphertext, and what is inside begins anew.
            rest = PyBytes_FromStringAndSize(<const char*>data, size)
            stream.kept_size = 0
            self.decrypt(stream, rest, now)
            stream.restarted = True
            return size
        else:
            self.refuse(stream, "unknown protocol", now)
        return 0

    cdef uint32_t take_http(self, Stream stream, uint8_t* data, uint32_t size, double now) except? 0xffffffff:
        cdef uint32_t used
        try:
            used = self.handler.http(stream, PyBytes_FromStringAndSize(<const char*>data, min(size, <uint32_t>HEAD_BYTES)),
                                     now)
        except ProtocolError as error:
            self.refuse(stream, str(error), now)
            return 0
        if used == 0 and size >= HEAD_BYTES:
            self.refuse(stream, f"HTTP request head over {HEAD_BYTES} bytes", now)
        return used

    cdef uint32_t take_frames(self, Stream stream, const uint8_t* data, uint32_t size, double now) except? 0xffffffff:
        """Length-prefixed packets of a byte stream."""
        cdef const uint8_t* at = data
        cdef const uint8_t* end = data + size
        cdef const uint8_t* body
        cdef uint64_t length
        while at < end and stream.fd >= 0 and stream.mode == RT:
            if stream.skip:
                length = min(stream.skip, <uint64_t>(end - at))
                stream.skip -= length
                at += length
                continue
            body = read_length(at, end, &length)
            if body == NULL:
                if end - at >= PREFIX_MAX:
                    self.count(stream.member.room if stream.member is not None else None, DROPPED_MALFORMED, 1)
                    self.refuse(stream, "frame length over 5 bytes", now)
                break
            if length > (self.packet_bytes_max if stream.member is not None else self.login_bytes_max):
                if stream.member is not None and length <= self.frame_skip_bytes_max and self.over_rate(stream, now):
                    break
                self.count(stream.member.room if stream.member is not None else None, DROPPED_OVERSIZE, 1)
                if stream.member is None or length > self.frame_skip_bytes_max:
                    self.refuse(stream, f"frame of {length} bytes", now)
                    break
                stream.member.spend(<uint32_t>length)
                stream.skip = length
                at = body
                continue
            if length > <uint64_t>(end - body):
                break
            if self.over_rate(stream, now):
                break
            self.take_packet(stream, body, <uint32_t>length, now)
            at = body + length
        return <uint32_t>(at - data)

    cdef int take_packet(self, Stream stream, const uint8_t* packet, uint32_t size, double now) except -1:
        """One packet of a stream."""
        cdef Header header
        cdef Member member = stream.member
        if member is not None:
            member.spend(size)
        if scan_packet(packet, size, &header):
            self.count(member.room if member is not None else None, DROPPED_MALFORMED, 1)
            if member is None:
                self.refuse(stream, "the first packet is no login", now)
            return 0
        if member is not None:
            if header.op_code > 0:
                return self.relay_packet(member, &header, packet, size, UNRELIABLE if header.reliable == 0 else ORDERED, 0)
            if header.op_code != OP_UDP_CONNECT and header.op_code != OP_PLAYER_READY:
                self.count(member.room, DROPPED_OP_CODE, 1)
                return 0
        self.handler.control(stream, header.op_code, PyBytes_FromStringAndSize(<const char*>packet, size), now)
        return 0

    cdef bint over_rate(self, Stream stream, double now) except? -1:
        """Whether the stream's peer is over its rate, or its room's script behind; the stream is then not read until
        resume()."""
        cdef Room room
        if stream.member is None:
            return False
        room = stream.member.room
        if room.interceptor is not None and room.interceptor.is_behind:
            self.count(room, PAUSED_SCRIPT, 1)
        elif stream.member.within_rate(now):
            return False
        else:
            self.count(room, PAUSED_RATE, 1)
        return self.pause(stream)

    cdef bint pause(self, Stream stream) except? -1:
        if stream.paused:
            return True
        stream.paused = True
        self.watch(stream, EPOLL_CTL_MOD)
        self.paused.append(stream)
        return True

    def resume(self, double now):
        """Reads on where a peer is below its rate again."""
        cdef Stream stream
        cdef list held = []
        if not self.paused:
            return
        waiting = self.paused
        self.paused = []
        for stream in waiting:
            if stream.fd < 0:
                continue
            if self.texts_held and stream.mode == TEXT:
                held.append(stream)
                continue
            stream.paused = False
            try:
                if stream.rest is not None:
                    self.take_rest(stream, now)
                    if stream.paused or stream.fd < 0:
                        continue
                self.feed_kept(stream, now)
                self.end_if_done(stream, now)
                if stream.fd >= 0 and not stream.paused:
                    self.watch(stream, EPOLL_CTL_MOD)
            except Exception as error:
                self.drop_stream(stream)
                self.handler.failed(stream, error, now)
            if self.made > self.made_much_bytes:
                self.let_out(now)
        if held:
            self.paused = held + self.paused        # before those that have had their turn

    # ---- WebSocket

    cdef uint32_t take_messages(self, Stream stream, uint8_t* data, uint32_t size, double now) except? 0xffffffff:
        """WebSocket frames: binary messages of length-prefixed packets, and control frames."""
        cdef uint8_t* at = data
        cdef uint8_t* end = data + size
        cdef uint32_t limit
        cdef Frame frame
        cdef int state
        while stream.fd >= 0 and stream.mode == WEBSOCKET and not stream.paused:
            limit = <uint32_t>MESSAGE_BYTES if stream.member is not None else self.login_bytes_max + PREFIX_MAX
            state = scan_frame(at, end, limit - min(limit, stream.message_size), &frame)
            if state == FRAME_MORE or self.over_rate(stream, now):
                break
            if state == FRAME_BAD:
                self.close_websocket(stream, 1002, "WebSocket frame that RFC 6455 forbids", now)
            elif state == FRAME_OVER:
                self.count(stream.member.room if stream.member is not None else None, DROPPED_OVERSIZE, 1)
                self.close_websocket(stream, 1009, f"WebSocket message over {limit} bytes", now)
            else:
                unmask(&frame)
                at = frame.body + frame.length
                self.take_frame(stream, &frame, now)
        return <uint32_t>(at - data)

    cdef int take_frame(self, Stream stream, Frame* frame, double now) except -1:
        if stream.member is not None and (frame.op_code != OP_BINARY or not frame.last or frame.length == 0):
            stream.member.spend(frame.length)       # a message pays packet by packet, all else as it comes
        if frame.op_code == OP_BINARY and not stream.in_message:
            if frame.last:
                self.take_message(stream, frame.body, frame.length, now)
            else:
                self.keep_fragment(stream, frame.body, frame.length)
        elif frame.op_code == OP_TEXT:
            self.close_websocket(stream, 1003, "WebSocket text where packets are binary", now)
        else:
            self.take_other_frame(stream, frame, now)
        return 0

    cdef int take_other_frame(self, Stream stream, Frame* frame, double now) except -1:
        """A frame that does not begin a message."""
        cdef uint8_t* whole
        if frame.op_code == OP_CONTINUATION and stream.in_message:
            self.keep_fragment(stream, frame.body, frame.length)
            if frame.last:
                whole = stream.message
                stream.message = NULL
                stream.in_message = False
                try:
                    if stream.mode == TEXT:
                        self.take_text(stream, whole, stream.message_size, now)
                    else:
                        self.take_message(stream, whole, stream.message_size, now)
                finally:
                    PyMem_Free(whole)
                    stream.message_size = 0
        elif frame.op_code == OP_PING:
            self.answer_control(stream, 0x80 | OP_PONG, frame.body, frame.length)
            self.floods_answers(stream, now)
        elif frame.op_code == OP_CLOSE:
            self.answer_control(stream, 0x80 | OP_CLOSE, frame.body, 2 if frame.length >= 2 else 0)      # its code
            self.flush_stream(stream)
            self.lost(stream, "closed by the other side", True, now)
        elif frame.op_code != OP_PONG:
            self.close_websocket(stream, 1002, "WebSocket frame out of turn", now)
        return 0

    cdef uint32_t take_texts(self, Stream stream, uint8_t* data, uint32_t size, double now) except? 0xffffffff:
        """WebSocket frames: text messages, and control frames."""
        cdef uint8_t* at = data
        cdef uint8_t* end = data + size
        cdef Frame frame
        cdef int state
        while stream.fd >= 0 and stream.mode == TEXT and not stream.paused:
            state = scan_frame(at, end, stream.text_bytes_max - min(stream.text_bytes_max, stream.message_size), &frame)
            if state == FRAME_MORE or self.over_text_rate(stream, now):
                break
            if state == FRAME_BAD:
                self.close_websocket(stream, 1002, "WebSocket frame that RFC 6455 forbids", now)
            elif state == FRAME_OVER:
                self.count(None, DROPPED_OVERSIZE, 1)
                self.close_websocket(stream, 1009, f"WebSocket message over {stream.text_bytes_max} bytes", now)
            else:
                unmask(&frame)
                at = frame.body + frame.length
                self.take_text_frame(stream, &frame, now)
        return <uint32_t>(at - data)

    cdef int take_text_frame(self, Stream stream, Frame* frame, double now) except -1:
        if frame.last or frame.length == 0:         # other pieces pay with the last one
            stream.text_tokens -= 1
        if frame.op_code == OP_TEXT and not stream.in_message:
            if frame.last:
                self.take_text(stream, frame.body, frame.length, now)
            else:
                self.keep_fragment(stream, frame.body, frame.length)
        elif frame.op_code == OP_BINARY and not stream.in_message:
            self.close_websocket(stream, 1003, "binary WebSocket message where texts are due", now)
        else:
            self.take_other_frame(stream, frame, now)
        return 0

    cdef int take_text(self, Stream stream, const uint8_t* body, uint32_t size, double now) except -1:
        """A whole text message."""
        cdef str message
        try:
            message = PyUnicode_DecodeUTF8(<const char*>body, size, NULL)
        except UnicodeDecodeError:
            return self.close_websocket(stream, 1007, "WebSocket text that is no UTF-8", now)
        self.handler.text(stream, message, now)
        return 0

    cdef bint over_text_rate(self, Stream stream, double now) except? -1:
        """Whether the other side sends texts too fast, or all texts are held; the stream is then not read until
        resume()."""
        if self.texts_held:
            return self.pause(stream)
        if now != stream.heard_at:
            if now > stream.heard_at:       # a clock set back gives nothing
                stream.text_tokens = min(self.texts_burst,
                                         stream.text_tokens + (now - stream.heard_at) * self.texts_per_second)
            stream.heard_at = now
        if stream.text_tokens >= 1:
            return False
        self.count(None, PAUSED_RATE, 1)
        return self.pause(stream)

    cdef int keep_fragment(self, Stream stream, const uint8_t* data, uint32_t size) except -1:
        cdef uint8_t* grown = <uint8_t*>PyMem_Realloc(stream.message, stream.message_size + size + 1)
        if grown == NULL:
            raise MemoryError
        stream.message = grown
        memcpy(grown + stream.message_size, data, size)
        stream.message_size += size
        stream.in_message = True
        return 0

    cdef int take_message(self, Stream stream, const uint8_t* at, uint32_t size, double now) except -1:
        """The packets of one message. Its rate was looked at before; they may overdraw it."""
        cdef const uint8_t* end = at + size
        cdef const uint8_t* body
        cdef uint64_t length
        cdef Room room
        while at < end and stream.fd >= 0:
            room = stream.member.room if stream.member is not None else None
            if room is not None and room.interceptor is not None and room.interceptor.is_behind:
                stream.rest = PyBytes_FromStringAndSize(<const char*>at, end - at)
                self.count(room, PAUSED_SCRIPT, 1)
                self.pause(stream)
                return 0
            body = read_length(at, end, &length)
            if body == NULL or length > <uint64_t>(end - body) or length == 0:
                self.count(room, DROPPED_MALFORMED, 1)
                if stream.member is None:
                    self.refuse(stream, "the first packet is no login", now)
                else:
                    stream.member.spend(<uint32_t>(end - at))
                return 0
            if length > (self.packet_bytes_max if stream.member is not None else self.login_bytes_max):
                self.count(room, DROPPED_OVERSIZE, 1)
                if stream.member is None:
                    self.refuse(stream, f"frame of {length} bytes", now)
                else:
                    stream.member.spend(<uint32_t>length)
            else:
                self.take_packet(stream, body, <uint32_t>length, now)
            at = body + length
        return 0

    cdef int take_rest(self, Stream stream, double now) except -1:
        """Goes on with a message where it was left."""
        cdef bytes rest = stream.rest
        stream.rest = None
        return self.take_message(stream, <const uint8_t*>PyBytes_AS_STRING(rest), <uint32_t>PyBytes_GET_SIZE(rest), now)

    cdef int answer_control(self, Stream stream, uint8_t first, const uint8_t* body, uint32_t size) except -1:
        cdef uint8_t frame[128]
        frame[0] = first
        frame[1] = <uint8_t>size
        memcpy(frame + 2, body, size)
        return self.put_raw(stream, frame, 2 + size)

    cdef int close_websocket(self, Stream stream, int code, str reason, double now) except -1:
        cdef uint8_t body[2]
        body[0] = <uint8_t>(code >> 8)
        body[1] = <uint8_t>(code & 0xff)
        self.answer_control(stream, 0x80 | OP_CLOSE, body, 2)
        self.flush_stream(stream)
        self.discard_input(stream)
        return self.refuse(stream, reason, now)

    # ---- out

    def flush(self):
        """Sends what this tick has made: each peer's packets in as few datagrams and writes as they fit."""
        cdef Stream stream
        self.made = 0
        # Streams first: a client is to know that its UDP login has arrived before a datagram answers it.
        if self.dirty:
            for stream in self.dirty:       # it may grow meanwhile
                stream.dirty = False
                if stream.fd >= 0 and (stream.overrun or not stream.wants_write):
                    try:
                        if stream.overrun:
                            self.lost(stream, "it does not read what is sent to it", False, self.now)
                        else:
                            self.flush_stream(stream)
                    except Exception as error:
                        self.drop_stream(stream)
                        self.handler.failed(stream, error, self.now)
            self.dirty.clear()
        if self.datagram_count:
            self.flush_datagrams()
        if self.links is not None:
            self.links.flush(self.udp_fd, self.now)

    cdef int let_out(self, double now) except -1:
        """So much has been put out in this turn that it is not to wait for its end."""
        self.flush()
        if self.made_much is not None:
            self.made_much(now)
        return 0

    cdef int flush_datagrams(self) except -1:
        cdef int i, sent, count = 0, at = 0
        cdef Datagram* datagram
        cdef Member member
        for i in range(self.datagram_count):
            datagram = &self.datagrams[i]
            if datagram.member == NULL:
                continue
            member = <Member>datagram.member
            member.datagram = -1
            if member.bad_down is not None:
                member.bad_down.put(PyBytes_FromStringAndSize(<const char*>datagram.bytes, datagram.size), self.now)
                continue
            self.outgoing_parts[count].iov_base = datagram.bytes
            self.outgoing_parts[count].iov_len = datagram.size
            memset(&self.outgoing[count], 0, sizeof(mmsghdr))
            self.outgoing[count].msg_hdr.msg_name = &member.raw_address[0]
            self.outgoing[count].msg_hdr.msg_namelen = member.raw_size
            self.outgoing[count].msg_hdr.msg_iov = &self.outgoing_parts[count]
            self.outgoing[count].msg_hdr.msg_iovlen = 1
            self.outgoing_from[count] = datagram
            count += 1
        self.datagram_count = 0
        while at < count:
            sent = sendmmsg(self.udp_fd, self.outgoing + at, count - at, MSG_DONTWAIT)
            if sent > 0:
                at += sent
                self.count(None, DATAGRAMS_OUT, sent)
            elif errno == EAGAIN or errno == ENOBUFS:
                # The device is full. These packets are unreliable: late is worse than lost.
                while at < count:
                    self.not_sent(self.outgoing_from[at])
                    at += 1
            elif errno != EINTR:
                self.not_sent(self.outgoing_from[at])       # this one cannot go (EMSGSIZE, EPERM, unreachable)
                at += 1
        return 0

    cdef int not_sent(self, Datagram* datagram) except -1:
        self.count((<Member>datagram.member).room, DROPPED_UDP_SEND, datagram.packets)
        return 0

    cdef int drop_output(self, Stream stream) except -1:
        """Throws the output away. At most so many packets as are counted had not all left."""
        self.count(stream.member.room if stream.member is not None else None, DROPPED_UNSENT, stream.out_packets)
        stream.out_at = stream.out_size = stream.records_bytes = stream.out_packets = 0
        if stream.records:
            stream.records.clear()
        return 0

    cdef int flush_stream(self, Stream stream) except -1:
        cdef ssize_t sent
        cdef bint blocked = False
        cdef bytes record
        while stream.fd >= 0 and not blocked:
            if stream.records and stream.out_size - stream.out_at < WIRE_BYTES:
                record = bytes(stream.records.popleft())
                stream.records_bytes -= <uint32_t>len(record)
                try:
                    stream.layer.encrypt(record)
                except ValueError:      # TlsError: the other side has said goodbye; that is about to be read
                    self.drop_output(stream)
                    break
                self.take_wire(stream)
                continue
            if stream.out_size == stream.out_at:
                break
            sent = send(stream.fd, stream.out + stream.out_at, stream.out_size - stream.out_at,
                        MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent >= 0:
                self.count(None, WRITES_OUT, 1)
                stream.out_at += <uint32_t>sent
                if stream.out_at == stream.out_size:
                    stream.out_at = stream.out_size = 0
                    if not stream.records:
                        stream.out_packets = 0
            elif errno == EAGAIN:
                blocked = True
            elif errno != EINTR:
                # The other side is gone, which is told when that is read; the error itself is given only once.
                stream.send_error = errno
                self.drop_output(stream)
        # Who awaits that all has gone out is told in the next turn, however much more the kernel would take in this one.
        if (blocked or stream.awaits_drained and not stream.send_error) and stream.fd >= 0 and not stream.wants_write:
            stream.wants_write = True
            self.watch(stream, EPOLL_CTL_MOD)
        elif not blocked:
            if stream.out_capacity > KEEP_BYTES:
                PyMem_Free(stream.out)
                stream.out = NULL
                stream.out_capacity = 0
            if stream.finishing and stream.fd >= 0:
                if stream.layer is not None and not stream.goodbye_said:
                    stream.goodbye_said = True
                    stream.layer.close()
                    self.take_wire(stream)
                    return self.flush_stream(stream)
                shutdown(stream.fd, SHUT_WR)
        return 0
