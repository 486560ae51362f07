"""The gsrt link: the state of one connection. Contract: docs/LINK.md.

Pure: no sockets, no clock, no randomness; times are seconds, given with each call. `Link` is what the relay drives at C level,
`LinkEndpoint` the same for Python: the client, and tests. What a datagram's arrival or loss means for the numbers and
estimates is the AckTracker's (_core); here is what it carried: reliable frames that are kept until they are acknowledged,
streams, congestion, and the path.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from collections import deque

from gsrt._core cimport (
    ACK_BYTES_MAX, ELICITS_LATER, ELICITS_NO, ELICITS_SOON, FATE_FLYING, SENT_MAX, AckTracker, Sent,
)
from gsrt._streams cimport (
    Block, Node, Ring, SEQUENCE_WINDOW, Stream, Streams, clear_bit, find_stream, free_ring, free_streams, has_bit,
    is_in_window, make_block, make_stream, move_base, prefetch, read_number, release_block, rest_streams, ring_put, set_bit,
)
from gsrt._wire cimport load16, load32, store16, store32, varint_size, write_varint

cdef enum:
    REPEAT_BYTES = 300
    PACE_BURST = 10
    INITIAL_WINDOW = 10
    PERSISTENT_PTOS = 3
    UNRELIABLE_EXCESS = 2
    PROBE_ATTEMPTS = 3
    BLACK_HOLE = 4
    CLOSE_TIMES = 3
    CLOSE_TEXT_BYTES = 200

    REFS_MAX = 32768            # units that datagrams under way carry
    REPEATS_MAX = 1024          # units that are to be repeated
    FILL_UP_BYTES = 80          # that may be padded so that datagrams in a row are equally long: a small packet did not fit
    LOOSE_MAX = 65536           # bytes of unreliable frames in one flush
    TURN_BYTES = FRAGMENT_BYTES # of one stream, before it is the next one's turn
    PING_BYTES = 64             # of a datagram with a PING, at least: the answer may be as long as a CHALLENGE
    FRAME_HEAD_MAX = 16         # type, stream, sequence, total, length

    FRAME_PADDING = 0
    FRAME_PING = 1
    FRAME_CHALLENGE = 2
    FRAME_RESPONSE = 3
    FRAME_CLOSE = 4

    CLOSE_PROTOCOL = 1
    CLOSE_SILENCE = -1

cdef uint32_t[PROBES] PROBE_SIZES = [1300, 1400, 1452, 1472]
cdef double REPEAT_LOSS = 0.01
cdef double REPEAT_MIN = 0.005
cdef double REPEAT_MAX = 0.02
cdef double PACE_GAIN = 1.25
cdef double SRTT_LEAST = 0.0001
cdef double KEEPALIVE_SECONDS = 4.0
cdef double IDLE_SECONDS = 15.0
cdef double PROBE_AFTER = 1.0
cdef double PROBE_AGAIN = 0.1   # between attempts, after a loss
cdef double REPROBE_SECONDS = 600.0
cdef double REST_SECONDS = 1.0  # without anything under way, after which memory for bursts is given back

KIND_UNRELIABLE, KIND_SEQUENCED, KIND_ORDERED, KIND_UNORDERED = UNRELIABLE, SEQUENCED, ORDERED, UNORDERED

LINK_LIMITS = {
    "DATAGRAM_MIN": DATAGRAM_MIN, "DATAGRAM_MAX": DATAGRAM_MAX, "HEADER_BYTES": HEADER_BYTES,
    "FRAGMENT_BYTES": FRAGMENT_BYTES, "MESSAGE_BYTES_MAX": MESSAGE_BYTES_MAX, "RECEIVE_BYTES": RECEIVE_BYTES,
    "CHANNELS": CHANNELS, "STREAM_MAX": STREAM_MAX, "SEQUENCE_WINDOW": SEQUENCE_WINDOW, "REPEAT_BYTES": REPEAT_BYTES, "PACE_BURST": PACE_BURST,
    "INITIAL_WINDOW": INITIAL_WINDOW, "MIN_WINDOW": MIN_WINDOW, "PERSISTENT_PTOS": PERSISTENT_PTOS,
    "UNRELIABLE_EXCESS": UNRELIABLE_EXCESS, "PROBE_ATTEMPTS": PROBE_ATTEMPTS, "BLACK_HOLE": BLACK_HOLE,
    "REPEAT_LOSS": REPEAT_LOSS, "REPEAT_MIN": REPEAT_MIN, "REPEAT_MAX": REPEAT_MAX, "PACE_GAIN": PACE_GAIN,
    "KEEPALIVE_SECONDS": KEEPALIVE_SECONDS, "IDLE_SECONDS": IDLE_SECONDS, "PROBE_AFTER": PROBE_AFTER,
    "REPROBE_SECONDS": REPROBE_SECONDS, "PING_BYTES": PING_BYTES,
}
FRAMES = {
    "PADDING": FRAME_PADDING, "PING": FRAME_PING, "CHALLENGE": FRAME_CHALLENGE, "RESPONSE": FRAME_RESPONSE,
    "CLOSE": FRAME_CLOSE, "UNRELIABLE": FRAME_MESSAGE | UNRELIABLE, "SEQUENCED": FRAME_MESSAGE | SEQUENCED,
    "ORDERED": FRAME_MESSAGE | ORDERED, "UNORDERED": FRAME_MESSAGE | UNORDERED,
    "ORDERED_BEGIN": FRAME_MESSAGE | ORDERED | FLAG_BEGIN, "UNORDERED_BEGIN": FRAME_MESSAGE | UNORDERED | FLAG_BEGIN,
    "ORDERED_MORE": FRAME_MESSAGE | ORDERED | FLAG_MORE, "UNORDERED_MORE": FRAME_MESSAGE | UNORDERED | FLAG_MORE,
}
COUNTER_NAMES = (
    "link_datagrams_in", "link_datagrams_out", "link_bytes_in", "link_bytes_out", "link_acks_out", "link_forged",
    "link_replayed", "link_malformed", "link_not_taken", "link_duplicates", "link_stale", "link_resent", "link_repeated",
    "link_congested",
)


cdef class Cipher:
    """Suite 0: datagrams go as they are."""

    cdef int seal(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept:
        """Encrypts `body` in place and writes the tag behind it."""
        return 0

    cdef bint open(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept:
        """Decrypts `body` (`size` bytes without the tag behind it) in place; False: it is not what was sealed."""
        return True

    cdef bytes secrets(self):
        """The suite (1 byte) and its keys, from which _linkdump makes the same again."""
        return b"\0"


cdef bytes cut_text(str text):
    """UTF-8 of a text, as much as fits a CLOSE."""
    return text.encode("utf-8", "replace")[:CLOSE_TEXT_BYTES].decode("utf-8", "ignore").encode()


cdef class Link(AckTracker):
    """One connection of two that have keys in common. A base: what comes is its subclass's (`deliver`)."""

    def __cinit__(self, Cipher cipher not None, bytes connection not None, double now, *, bint is_client,
                  receive_bytes=RECEIVE_BYTES, message_bytes=MESSAGE_BYTES_MAX, peer_receive_bytes=RECEIVE_BYTES,
                  peer_message_bytes=MESSAGE_BYTES_MAX, uint64_t first_number=0, **options):
        """`connection`: its id, 8 bytes; the terms are what each side takes, in bytes (docs/LINK.md, section 1);
        `first_number`: other than 0 to see what happens after years. Raises ValueError for terms below the least."""
        if len(connection) != CONNECTION_BYTES:
            raise ValueError(f"a connection id has {CONNECTION_BYTES} bytes")
        for terms in ((receive_bytes, message_bytes), (peer_receive_bytes, peer_message_bytes)):
            if terms[0] < RECEIVE_BYTES_MIN or not MESSAGE_BYTES_MIN <= terms[1] <= MESSAGE_BYTES_MAX:
                raise ValueError(f"terms of {terms[0]} and {terms[1]} bytes: at least {RECEIVE_BYTES_MIN}, and "
                                 f"{MESSAGE_BYTES_MIN} to {MESSAGE_BYTES_MAX}")
        self.cipher = cipher
        self.is_client = is_client
        self.header[0] = 0
        self.header[1] = TYPE_DATA
        memcpy(self.header + 2, PyBytes_AS_STRING(connection), CONNECTION_BYTES)
        self.receive_bytes = receive_bytes
        self.message_bytes = message_bytes
        self.peer_receive_bytes = peer_receive_bytes
        self.peer_message_bytes = peer_message_bytes
        self.unit_free = self.again_first = self.again_last = -1
        self.next_number = self.oldest = first_number
        self.heard_at = self.elicited_at = now
        self.new_path(now)
        self.schedule(now)

    def __dealloc__(self):
        self.release()

    cdef int release(self) except -1:
        """Gives all memory back."""
        cdef uint32_t i
        if self.units != NULL:
            for i in range(self.unit_capacity):
                if self.units[i].state == FLYING or self.units[i].state == WAITING:
                    release_block(self.units[i].block)
            PyMem_Free(self.units)
        self.units = NULL
        self.unit_capacity = self.unit_count = 0
        self.unit_free = self.again_first = self.again_last = -1
        self.turn_first = self.turn_last = 0
        self.waiting_bytes = self.flown_bytes = self.begun_bytes = 0
        free_ring(&self.refs)
        free_ring(&self.repeats)
        PyMem_Free(self.loose)
        self.loose = NULL
        self.loose_at = self.loose_size = self.loose_capacity = 0
        free_streams(&self.sending)
        free_streams(&self.sequences)
        free_streams(&self.receiving)
        free_streams(&self.heard)
        self.keeps(-<int64_t>self.pending_bytes)
        return 0

    cdef int rest(self) except -1:
        """Gives back what a burst has taken. Nothing is under way."""
        if self.flying_soon + self.flying_later == 0 and self.unit_count == 0 and self.loose_size == 0:
            self.shrink()
            PyMem_Free(self.units)
            self.units = NULL
            self.unit_capacity = 0
            self.unit_free = self.again_first = self.again_last = -1
            free_ring(&self.refs)
            free_ring(&self.repeats)
            PyMem_Free(self.loose)
            self.loose = NULL
            self.loose_capacity = 0
            rest_streams(&self.sending)
            rest_streams(&self.sequences)
            rest_streams(&self.receiving)
            rest_streams(&self.heard)
        return 0

    cdef void count(self, int counter, uint64_t number) noexcept:
        self.counters[counter] += number
        if self.totals != NULL:
            self.totals[counter] += number

    cdef void new_path(self, double now) noexcept:
        """The connection has moved to another path, or begins."""
        self.reset_path()
        self.congestion_window = INITIAL_WINDOW * DATAGRAM_MIN
        self.threshold = <uint32_t>-1
        self.recovery = self.next_number
        self.pace_bytes = PACE_BURST * DATAGRAM_MIN
        self.pace_at = now
        self.pto_count = 0
        self.datagram_bytes = DATAGRAM_MIN
        self.probe_index = self.probe_attempts = self.large_lost = 0
        self.probe_at = now + PROBE_AFTER
        self.wants_probe = self.probe_flies = False

    def quality(self):
        """What is known of the path: rtt, rtt_variation, min_rtt, jitter (seconds), loss (0 to 1, of what this side sends),
        bandwidth (bytes a second that have got through), congestion_window and datagram_bytes (bytes)."""
        return {
            "rtt": self.srtt, "rtt_variation": self.rttvar, "min_rtt": self.min_rtt, "jitter": self.jitter,
            "loss": self.loss, "bandwidth": self.bandwidth, "congestion_window": self.congestion_window,
            "datagram_bytes": self.datagram_bytes,
        }

    def counts(self):
        """Counters by name."""
        return {COUNTER_NAMES[i]: self.counters[i] for i in range(<int>LINK_COUNTERS)}

    @property
    def connection(self):
        """The connection id."""
        return PyBytes_FromStringAndSize(<const char*>self.header + 2, CONNECTION_BYTES)

    # ---- out: what is to be sent

    cdef bint put(self, int kind, uint32_t stream, const uint8_t* head, uint32_t head_size, const uint8_t* body,
                  uint32_t body_size, Block** shared) except -1:
        """One message, of head and body, leaves with the next datagrams. Where many links get the same one, `shared` keeps
        its bytes between the calls (NULL at first; the caller releases it). False: the link is closed, the message
        longer than the other side takes, or too many wait."""
        cdef uint32_t size = head_size + body_size, at = 0, length
        cdef int32_t begin = -1
        cdef Block* block
        cdef Stream* line
        if self.closed or size == 0 or size > self.peer_message_bytes or size > self.peer_receive_bytes or (
                stream > STREAM_MAX):
            return False
        if kind < ORDERED:
            if size + FRAME_HEAD_MAX + ACK_BYTES_MAX + HEADER_BYTES + self.cipher.tag_bytes <= self.datagram_bytes:
                return self.put_loose(kind, stream, head, head_size, body, body_size)
            kind = UNORDERED
            stream = 0
        if self.unit_count + size // FRAGMENT_BYTES >= UNITS_MAX:
            return False
        if shared != NULL and shared[0] != NULL:
            block = shared[0]
        else:
            block = make_block(head, head_size, body, body_size)
            if shared != NULL:
                shared[0] = block
        if shared == NULL:
            block.users = 0
        line = make_stream(&self.sending, 1 + 2 * stream + (kind == UNORDERED))
        if size <= FRAGMENT_BYTES:
            self.add_unit(line, block, 0, size, FRAME_MESSAGE | kind, 0)
        else:
            while at < size:
                length = min(<uint32_t>FRAGMENT_BYTES, size - at)
                if at == 0:
                    begin = self.add_unit(line, block, 0, length, FRAME_MESSAGE | kind | FLAG_BEGIN, size)
                    self.units[begin].pieces = <uint16_t>((size + FRAGMENT_BYTES - 1) // FRAGMENT_BYTES)
                else:
                    self.add_unit(line, block, at, length, FRAME_MESSAGE | kind | FLAG_MORE, <uint32_t>begin)
                at += length
        self.waiting_bytes += size
        return True

    cdef int32_t add_unit(self, Stream* line, Block* block, uint32_t offset, uint32_t length, int type,
                          uint32_t total) except -1:
        """A frame for the end of its stream: its place."""
        cdef Unit* unit
        cdef Unit* grown
        cdef uint32_t capacity, i
        cdef int32_t place
        if self.unit_free < 0:
            capacity = self.unit_capacity * 2 if self.unit_capacity else 4
            grown = <Unit*>PyMem_Realloc(self.units, capacity * sizeof(Unit))
            if grown == NULL:
                raise MemoryError
            self.units = grown
            for i in range(capacity, self.unit_capacity, -1):
                grown[i - 1].state = FREE
                grown[i - 1].serial = 0
                grown[i - 1].next = self.unit_free
                self.unit_free = <int32_t>i - 1
            self.unit_capacity = capacity
        place = self.unit_free
        unit = &self.units[place]
        self.unit_free = unit.next
        if self.unit_free >= 0:
            prefetch(&self.units[self.unit_free])
        self.unit_count += 1
        self.serial += 1
        block.users += 1
        unit.block = block
        unit.offset = offset
        unit.length = <uint16_t>length
        unit.key = line.key
        unit.sequence = line.next
        line.next += 1
        unit.type = <uint8_t>type
        unit.total = total
        unit.serial = self.serial
        unit.state = WAITING
        unit.copies = 0
        unit.next = -1
        if line.waiting_last >= 0:
            self.units[line.waiting_last].next = place
        else:
            line.waiting_first = place
            if not line.in_turn:
                self.take_turn(line)
        line.waiting_last = place
        return place

    cdef void take_turn(self, Stream* line) noexcept:
        """A stream that may have something to send is the last of those that are in turn."""
        line.in_turn = True
        line.turn_next = 0
        if self.turn_last:
            find_stream(&self.sending, self.turn_last).turn_next = line.key
        else:
            self.turn_first = line.key
        self.turn_last = line.key

    cdef void leave_turn(self, Stream* line) noexcept:
        """The first of those that are in turn is none of them any more."""
        self.turn_first = line.turn_next
        if self.turn_first == 0:
            self.turn_last = 0
        line.in_turn = False

    cdef void free_unit(self, int32_t place) noexcept:
        self.units[place].state = FREE
        self.units[place].next = self.unit_free
        self.unit_free = place
        self.unit_count -= 1

    cdef bint put_loose(self, int kind, uint32_t stream, const uint8_t* head, uint32_t head_size, const uint8_t* body,
                        uint32_t body_size) except -1:
        cdef uint32_t size = head_size + body_size, capacity
        cdef uint8_t* at
        cdef uint8_t* begin
        cdef Stream* line
        if self.loose_size + 2 + FRAME_HEAD_MAX + size > self.loose_capacity:
            capacity = self.loose_capacity or 256
            while capacity < self.loose_size + 2 + FRAME_HEAD_MAX + size:
                capacity *= 2
            if capacity > LOOSE_MAX:
                self.count(LINK_CONGESTED, 1)
                return False
            at = <uint8_t*>PyMem_Realloc(self.loose, capacity)
            if at == NULL:
                raise MemoryError
            self.loose = at
            self.loose_capacity = capacity
        begin = self.loose + self.loose_size
        at = begin + 2
        at[0] = <uint8_t>(FRAME_MESSAGE | kind)
        at += 1
        if kind == SEQUENCED:
            line = make_stream(&self.sequences, 1 + stream)
            at = store16(write_varint(at, stream), line.next)
            line.next += 1
        at = write_varint(at, size)
        memcpy(at, head, head_size)
        if body_size:
            memcpy(at + head_size, body, body_size)
        at += size
        store16(begin, <uint16_t>(at - begin - 2))
        self.loose_size += <uint32_t>(at - begin)
        return True

    cdef int shut(self, int reason, str text) except -1:
        """Closes: the other side is told, what waits is forgotten."""
        if self.closed:
            return 0
        self.closed = True
        self.close_reason = reason
        self.close_text = text
        self.closes_left = 0 if reason == CLOSE_SILENCE else CLOSE_TIMES
        if not self.taking:
            self.release()
        self.deadline = INFINITY
        return 0

    # ---- out: datagrams

    cdef bint has_output(self, double now) noexcept:
        """Whether pack() may have something."""
        return (self.loose_size > 0 or self.turn_first != 0 or self.again_first >= 0 or self.ack_due <= now
                or self.wants_ping or self.wants_response or self.wants_probe or self.pto_probes > 0
                or self.closes_left > 0 or self.repeats.head != self.repeats.tail)

    cdef bint has_pace(self, double now) noexcept:
        """Whether reliable frames may go out now, as far as their spacing is concerned."""
        if not self.has_sample:
            return True
        if now > self.pace_at:
            self.pace_bytes = min(<double>PACE_BURST * self.datagram_bytes,
                                  self.pace_bytes + (now - self.pace_at) * self.pace_rate())
            self.pace_at = now
        return self.pace_bytes > 0

    cdef double pace_rate(self) noexcept:
        """Bytes a second at which reliable frames go out; twice as many while the window is sought."""
        cdef double rate = PACE_GAIN * self.congestion_window / max(self.srtt, SRTT_LEAST)
        return rate * 2 if self.congestion_window < self.threshold else rate

    cdef uint32_t pack(self, uint8_t* out, double now) except? 0xffffffff:
        """Writes the next datagram (up to DATAGRAM_MAX bytes): its size; 0: nothing more is to go out now."""
        cdef uint8_t* body = out + HEADER_BYTES
        cdef uint32_t room = self.datagram_bytes - HEADER_BYTES - self.cipher.tag_bytes
        cdef uint32_t size, filled
        cdef double ack_due = self.ack_due
        cdef uint32_t unacked_soon = self.unacked_soon, unacked_later = self.unacked_later
        cdef uint32_t most = self.congestion_window + UNRELIABLE_EXCESS * DATAGRAM_MIN
        cdef int elicits = ELICITS_NO
        cdef bint due = ack_due <= now, can_elicit = self.can_elicit(), has_units, units_lead
        cdef bytes text
        self.refs_mark = self.refs.head
        if self.closed:
            if self.closes_left == 0:
                return 0
            self.closes_left -= 1
            text = cut_text(self.close_text)
            size = self.write_ack(body, now)
            body[size] = FRAME_CLOSE
            body[size + 1] = <uint8_t>self.close_reason
            body[size + 2] = <uint8_t>len(text)
            memcpy(body + size + 3, PyBytes_AS_STRING(text), len(text))
            return self.finish(out, size + 3 + <uint32_t>len(text), ELICITS_NO, False, now)
        if self.pto_probes > 0:
            room = DATAGRAM_MIN - HEADER_BYTES - self.cipher.tag_bytes      # longer ones may be what does not arrive
        size = self.write_ack(body, now)
        if self.wants_response:
            due = True
            body[size] = FRAME_RESPONSE
            memcpy(body + size + 1, self.response, 8)
            size += 9
            self.wants_response = False
        if can_elicit and self.wants_probe:
            self.wants_probe = False
            self.probe_flies = True
            body[size] = FRAME_PING
            room = PROBE_SIZES[self.probe_index] - HEADER_BYTES - self.cipher.tag_bytes
            memset(body + size + 1, FRAME_PADDING, room - size - 1)
            return self.finish(out, room, ELICITS_SOON, True, now)
        if can_elicit:
            has_units = self.again_first >= 0 or self.turn_first != 0
            # Where the window has no room for all, what is reliable gets every other datagram.
            units_lead = self.loose_led and has_units and self.loose_size > 0 and self.in_flight < most
            if units_lead:
                filled = self.fill_units(body + size, room - size, now)
                if filled:
                    size += filled
                    elicits = ELICITS_SOON
            self.loose_led = False
            if self.loose_size and self.in_flight < most:
                filled = self.fill_loose(body + size, room - size)
                if filled:
                    size += filled
                    if elicits == ELICITS_NO:
                        elicits = ELICITS_LATER
                        self.loose_led = has_units
            if self.pto_probes > 0:
                filled = self.fill_probe(body + size, room - size, now)
                if filled == 0:
                    self.wants_ping = True
                else:
                    size += filled
                    elicits = ELICITS_SOON
            elif self.in_flight < self.congestion_window:
                if has_units and not units_lead and self.has_pace(now):
                    filled = self.fill_units(body + size, room - size, now)
                    if filled:
                        size += filled
                        elicits = ELICITS_SOON
                        self.loose_led = False
                if self.repeats.head != self.repeats.tail:
                    filled = self.fill_repeats(body + size, room - size, now)
                    if filled:
                        size += filled
                        elicits = ELICITS_SOON
            if self.wants_ping and size < room:
                self.wants_ping = False
                body[size] = FRAME_PING
                size += 1
                elicits = ELICITS_SOON
                if HEADER_BYTES + size + self.cipher.tag_bytes < PING_BYTES:
                    filled = PING_BYTES - HEADER_BYTES - self.cipher.tag_bytes - size
                    memset(body + size, FRAME_PADDING, filled)
                    size += filled
        if elicits == ELICITS_NO and not due:
            self.ack_due = ack_due
            self.unacked_soon = unacked_soon
            self.unacked_later = unacked_later
            return 0
        if elicits == ELICITS_NO:
            self.count(LINK_ACKS_OUT, 1)
        elif self.fills_up and room - size <= FILL_UP_BYTES and (
                self.again_first >= 0 or self.turn_first or self.loose_size):
            memset(body + size, FRAME_PADDING, room - size)
            size = room
        return self.finish(out, size, elicits, False, now)

    cdef uint32_t pack_challenge(self, uint8_t* out, const uint8_t* secret, double now) except? 0xffffffff:
        """A datagram with nothing but a CHALLENGE, for another address than the connection's: its size. Whether it arrives
        says nothing of the path in use."""
        cdef uint8_t* body = out + HEADER_BYTES
        cdef uint32_t size
        cdef Sent* record
        if self.closed:
            return 0
        memcpy(self.challenge, secret, 8)
        self.challenged = True
        self.refs_mark = self.refs.head
        body[0] = 0                 # acknowledges nothing
        body[1] = FRAME_CHALLENGE
        memcpy(body + 2, secret, 8)
        size = self.finish(out, 10, ELICITS_NO, False, now)
        record = &self.sent[(self.next_number - 1) & self.sent_mask]
        if record.number == self.next_number - 1:
            record.told = 0
        return size

    cdef bint can_elicit(self) noexcept:
        """Whether there is room to remember one more datagram and what it carries."""
        self.skip_settled()
        if self.flying_soon + self.flying_later:
            self.refs.tail = self.sent[self.oldest & self.sent_mask].refs_at
        else:
            self.refs.tail = self.refs.head
        return self.may_send() and self.refs.head - self.refs.tail <= REFS_MAX - DATAGRAM_MAX // 5

    cdef uint32_t finish(self, uint8_t* out, uint32_t size, int elicits, bint is_probe, double now) except? 0xffffffff:
        """Header, number and seal around a body of `size` bytes: the datagram's size."""
        cdef uint32_t total = HEADER_BYTES + size + self.cipher.tag_bytes
        cdef Sent* record = self.note_sent(total, elicits, now)
        record.refs_at = self.refs_mark
        record.refs = <uint16_t>(self.refs.head - self.refs_mark)
        record.is_probe = is_probe
        memcpy(out, self.header, HEADER_BYTES - 4)
        store32(out + HEADER_BYTES - 4, <uint32_t>record.number)
        self.cipher.seal(out + HEADER_BYTES, size, out, record.number)
        if elicits:
            self.elicited_at = now
            self.pace_bytes = max(self.pace_bytes - total, -<double>PACE_BURST * DATAGRAM_MIN)
        self.count(LINK_DATAGRAMS_OUT, 1)
        self.count(LINK_BYTES_OUT, total)
        return total

    cdef uint32_t fill_loose(self, uint8_t* at, uint32_t room) except? 0xffffffff:
        """Unreliable frames, as many as there is room for: bytes written."""
        cdef uint32_t used = 0, length
        while self.loose_at < self.loose_size:
            length = load16(self.loose + self.loose_at)
            if length > room - used:
                break
            memcpy(at + used, self.loose + self.loose_at + 2, length)
            used += length
            self.loose_at += 2 + length
        if self.loose_at == self.loose_size:
            self.loose_at = self.loose_size = 0
        return used

    cdef int forget_loose(self) except -1:
        """Unreliable frames that could not go out at this flush: late is worse than lost."""
        while self.loose_at < self.loose_size:
            self.loose_at += 2 + load16(self.loose + self.loose_at)
            self.count(LINK_CONGESTED, 1)
        self.loose_at = self.loose_size = 0
        return 0

    cdef uint32_t write_unit(self, uint8_t* at, uint32_t room, int32_t place) noexcept:
        """The frame of a unit: its bytes; 0: it does not fit."""
        cdef Unit* unit = &self.units[place]
        cdef uint32_t stream = (unit.key - 1) >> 1
        cdef uint8_t* begin = at
        cdef uint32_t head = 3 + varint_size(stream) + varint_size(unit.length)
        if unit.type & FLAG_BEGIN:
            head += varint_size(unit.total)
        if head + unit.length > room:
            return 0
        at[0] = unit.type
        at = store16(write_varint(at + 1, stream), unit.sequence)
        if unit.type & FLAG_BEGIN:
            at = write_varint(at, unit.total)
        at = write_varint(at, unit.length)
        memcpy(at, unit.block.bytes + unit.offset, unit.length)
        return head + unit.length

    cdef int carry(self, int32_t place, bint first, double now) except -1:
        """The datagram that is being made carries this unit."""
        cdef Unit* unit = &self.units[place]
        unit.state = FLYING
        if unit.copies < 255:
            unit.copies += 1
        ring_put(&self.refs, <uint64_t>unit.serial << 32 | <uint32_t>place, REFS_MAX)
        if first:
            if unit.type & FLAG_BEGIN:
                self.flown_bytes += unit.total
            elif not unit.type & FLAG_MORE:
                self.flown_bytes += unit.length
            if self.loss >= REPEAT_LOSS and unit.length <= REPEAT_BYTES:
                unit.due = now + max(REPEAT_MIN, min(self.srtt / 4, REPEAT_MAX))
                ring_put(&self.repeats, <uint64_t>unit.serial << 32 | <uint32_t>place, REPEATS_MAX)
        return 0

    cdef uint32_t carry_again(self, uint8_t* at, uint32_t room, int32_t place, int counter, double now) except? 0xffffffff:
        """A unit that was sent before goes out in this datagram, too: its bytes; 0: it does not fit."""
        cdef uint32_t wrote = self.write_unit(at, room, place)
        if wrote:
            self.carry(place, False, now)
            self.count(counter, 1)
        return wrote

    cdef uint32_t fill_units(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff:
        """Reliable frames, those that were lost first: bytes written."""
        cdef uint32_t used = 0, wrote
        cdef int32_t place
        while self.again_first >= 0:
            place = self.again_first
            wrote = 0
            if self.units[place].state == WAITING:
                wrote = self.carry_again(at + used, room - used, place, LINK_RESENT, now)
                if wrote == 0:
                    return used
            self.again_first = self.units[place].next
            if self.again_first < 0:
                self.again_last = -1
            if wrote:
                used += wrote
            elif self.units[place].type & FLAG_BEGIN and self.units[place].pieces:
                self.units[place].state = HELD
            else:
                self.free_unit(place)
        return used + self.fill_waiting(at + used, room - used, now)

    cdef uint32_t fill_waiting(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff:
        """Frames that were never sent, TURN_BYTES of each stream in turn: bytes written."""
        cdef uint32_t used = 0, wrote, part, idle = 0      # idle: the first of a row of streams that may not send
        cdef int32_t place
        cdef Stream* line
        while self.turn_first:
            line = find_stream(&self.sending, self.turn_first)
            part = 0
            while line.waiting_first >= 0 and part < TURN_BYTES:
                place = line.waiting_first
                if not self.may_fly(line, &self.units[place]):
                    break
                wrote = self.write_unit(at + used, room - used, place)
                if wrote == 0:
                    return used
                line.waiting_first = self.units[place].next
                if line.waiting_first < 0:
                    line.waiting_last = -1
                self.carry(place, True, now)
                used += wrote
                part += wrote
            if part:
                idle = 0
            elif idle == line.key:
                return used
            elif idle == 0:
                idle = line.key
            self.leave_turn(line)
            if line.waiting_first >= 0 and is_in_window(line, self.units[line.waiting_first].sequence):
                self.take_turn(line)
            elif idle == line.key:
                idle = 0
        return used

    cdef bint may_fly(self, const Stream* line, const Unit* unit) noexcept:
        """Whether a frame may be sent, as far as the other side's windows are concerned. A message counts as a whole from its
        beginning on, so one that was begun can be finished."""
        cdef uint32_t more = unit.total if unit.type & FLAG_BEGIN else 0 if unit.type & FLAG_MORE else unit.length
        return is_in_window(line, unit.sequence) and self.flown_bytes + more <= self.peer_receive_bytes

    cdef uint32_t fill_repeats(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff:
        """Frames whose second copy is due: bytes written."""
        cdef uint32_t used = 0, wrote
        cdef uint64_t reference
        cdef Unit* unit
        while self.repeats.tail != self.repeats.head:
            reference = self.repeats.at[self.repeats.tail & self.repeats.mask]
            unit = self.unit_of(reference)
            if unit != NULL and unit.state == FLYING:
                if unit.due > now:
                    break
                wrote = self.carry_again(at + used, room - used, <int32_t><uint32_t>reference, LINK_REPEATED, now)
                if wrote == 0:
                    break
                used += wrote
            self.repeats.tail += 1
        return used

    cdef Unit* unit_of(self, uint64_t reference) noexcept:
        """The unit that a reference means; NULL: it is no more."""
        cdef uint32_t place = <uint32_t>reference
        if place >= self.unit_capacity or self.units[place].serial != reference >> 32 or self.units[place].state == FREE:
            return NULL
        return &self.units[place]

    cdef uint32_t fill_probe(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff:
        """What the pto timer asks with: bytes written. From the second time in a row on, first what the other side waits for."""
        cdef uint32_t filled = 0
        self.pto_probes -= 1
        if self.pto_count > 1 and self.asks_awaited:
            self.asks_awaited = False
            filled = self.fill_awaited(at, room, now)
        filled += self.fill_units(at + filled, room - filled, now)
        return filled or self.fill_flying(at, room, now)

    cdef uint32_t fill_awaited(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff:
        """Frames under way that are next in their streams, which the other side always has room for: bytes written."""
        cdef uint32_t used = 0, wrote, i, begin = self.refs.head
        cdef uint64_t number = self.oldest, end = self.next_number, reference
        cdef Sent* record
        cdef Unit* unit
        while number < end:
            record = &self.sent[number & self.sent_mask]
            number += 1
            if record.number != number - 1 or record.fate != FATE_FLYING or not record.elicits:
                continue
            for i in range(record.refs):
                reference = self.refs.at[(record.refs_at + i) & self.refs.mask]
                unit = self.unit_of(reference)
                if unit == NULL or unit.state != FLYING or self.is_carried(reference, begin) or (
                        find_stream(&self.sending, unit.key).base != unit.sequence):
                    continue
                wrote = self.carry_again(at + used, room - used, <int32_t><uint32_t>reference, LINK_RESENT, now)
                if wrote == 0:
                    return used
                used += wrote
        return used

    cdef bint is_carried(self, uint64_t reference, uint32_t begin) noexcept:
        """Whether the references from `begin` on, of the datagram that is being made, have this one."""
        while begin != self.refs.head:
            if self.refs.at[begin & self.refs.mask] == reference:
                return True
            begin += 1
        return False

    cdef uint32_t fill_flying(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff:
        """The frames of one datagram under way, of another one each time: bytes written."""
        cdef uint32_t used = 0, wrote, i
        cdef uint64_t count = self.next_number - self.oldest, number, looked = 0, reference
        cdef Sent* record
        cdef Unit* unit
        number = max(self.oldest, self.asked)
        while looked < count and used == 0:
            if number >= self.next_number:
                number = self.oldest
            record = &self.sent[number & self.sent_mask]
            number += 1
            looked += 1
            if record.number != number - 1 or record.fate != FATE_FLYING or not record.elicits:
                continue
            for i in range(record.refs):
                reference = self.refs.at[(record.refs_at + i) & self.refs.mask]
                unit = self.unit_of(reference)
                if unit != NULL and unit.state == FLYING:
                    wrote = self.carry_again(at + used, room - used, <int32_t><uint32_t>reference, LINK_RESENT, now)
                    if wrote == 0:
                        break
                    used += wrote
        self.asked = number
        return used

    # ---- what became of it

    cdef int concluded(self, Sent* sent, bint arrived, double now) except -1:
        cdef uint32_t i, refs_at = sent.refs_at
        cdef bint known = self.refs.at != NULL and self.refs.head - refs_at <= self.refs.mask + 1   # it is overwritten else
        if arrived:
            self.pto_count = 0
            self.grow(sent)
            if sent.number >= self.path_first:
                if sent.is_probe:
                    self.probe_flies = False
                if sent.size > self.datagram_bytes:
                    self.datagram_bytes = sent.size
                    while self.probe_index < PROBES and PROBE_SIZES[self.probe_index] <= sent.size:
                        self.probe_index += 1
                    self.probe_attempts = 0
                    self.probe_at = now
                elif sent.size > DATAGRAM_MIN:
                    self.large_lost = 0
            if known:
                self.settle_all(refs_at, sent.refs)
            return 0
        if sent.is_probe:
            if sent.number < self.path_first:
                return 0
            self.probe_flies = False
            self.probe_attempts += 1
            self.probe_at = now + PROBE_AGAIN
            if self.probe_attempts >= PROBE_ATTEMPTS:
                self.probe_attempts = 0
                self.probe_at = now + REPROBE_SECONDS
            return 0
        if sent.size > DATAGRAM_MIN and sent.number >= self.path_first:
            self.large_lost += 1
            if self.large_lost >= BLACK_HOLE:
                self.large_lost = 0
                self.datagram_bytes = DATAGRAM_MIN
                self.probe_index = self.probe_attempts = 0
                self.probe_at = now + REPROBE_SECONDS
        if known:
            for i in range(sent.refs):
                self.lose(self.refs.at[(refs_at + i) & self.refs.mask])
        return self.react_to_loss(sent.number)

    cdef void grow(self, const Sent* sent) noexcept:
        """The window's answer to an arrival."""
        if sent.fate != FATE_FLYING or sent.number < self.recovery or (
                self.flight_before * 2 < self.congestion_window) or (
                self.congestion_window >= <uint32_t>SENT_MAX * DATAGRAM_MIN):
            return
        if self.congestion_window < self.threshold:
            self.congestion_window += sent.size
        else:
            self.congestion_window += <uint32_t>(<uint64_t>DATAGRAM_MIN * sent.size // self.congestion_window)

    cdef int react_to_loss(self, uint64_t number) except -1:
        """The window's answer to a loss, once a round trip."""
        if number < self.recovery:
            return 0
        self.recovery = self.next_number
        self.congestion_window = self.threshold = max(self.congestion_window // 2, <uint32_t>MIN_WINDOW * DATAGRAM_MIN)
        return 0

    cdef int settle_all(self, uint32_t refs_at, uint32_t count) except -1:
        """The units of a datagram have arrived. They, and what they are of, were last touched a round trip ago: they are asked
        of memory all at once, or each would be waited for."""
        cdef uint32_t i, place
        for i in range(count):
            place = <uint32_t>self.refs.at[(refs_at + i) & self.refs.mask]
            if place < self.unit_capacity:
                prefetch(&self.units[place])
        for i in range(count):
            place = <uint32_t>self.refs.at[(refs_at + i) & self.refs.mask]
            if place < self.unit_capacity:
                prefetch(self.units[place].block)
        for i in range(count):
            self.settle(self.refs.at[(refs_at + i) & self.refs.mask])
        return 0

    cdef int settle(self, uint64_t reference) except -1:
        """A unit has arrived."""
        cdef Unit* unit = self.unit_of(reference)
        cdef Unit* begin
        cdef Stream* line
        cdef int32_t place = <int32_t><uint32_t>reference
        if unit == NULL or unit.state == DONE or unit.state == HELD:
            return 0
        line = find_stream(&self.sending, unit.key)
        set_bit(line, unit.sequence)
        move_base(line)
        if line.waiting_first >= 0 and not line.in_turn:
            self.take_turn(line)
        release_block(unit.block)
        self.waiting_bytes -= unit.length
        if unit.type & (FLAG_BEGIN | FLAG_MORE):
            begin = unit if unit.type & FLAG_BEGIN else &self.units[unit.total]
            begin.pieces -= 1
            if begin.pieces == 0:
                self.flown_bytes -= begin.total
                if begin.state == HELD:
                    self.free_unit(<int32_t>(begin - self.units))
        else:
            self.flown_bytes -= unit.length
        if unit.state == WAITING:
            unit.state = DONE               # it stands in the queue of those that were lost
        elif unit.type & FLAG_BEGIN and unit.pieces:
            unit.state = HELD
        else:
            self.free_unit(place)
        return 0

    cdef int lose(self, uint64_t reference) except -1:
        """A datagram that carried this unit is lost."""
        cdef Unit* unit = self.unit_of(reference)
        cdef int32_t place = <int32_t><uint32_t>reference
        if unit == NULL or unit.state != FLYING:
            return 0
        unit.copies -= 1
        if unit.copies:
            return 0
        unit.state = WAITING
        unit.next = -1
        if self.again_last >= 0:
            self.units[self.again_last].next = place
        else:
            self.again_first = place
        self.again_last = place
        return 0

    # ---- timers

    cdef int schedule(self, double now) except -1:
        """Finds out when on_timer is to be called."""
        cdef double due
        cdef Unit* unit
        if self.closed:
            self.deadline = INFINITY
            return 0
        due = min(self.ack_due, self.lost_due)
        due = min(due, self.pto_due(self.pto_count))
        due = min(due, self.heard_at + IDLE_SECONDS)
        if not self.can_elicit():
            self.deadline = due
            return 0
        if self.is_client:
            due = min(due, self.elicited_at + KEEPALIVE_SECONDS)
        if self.probe_index < PROBES and not self.probe_flies:
            due = min(due, self.probe_at)
        if self.in_flight < self.congestion_window:
            if (self.again_first >= 0 or self.turn_first != 0) and self.has_sample and self.pace_bytes <= 0:
                due = min(due, self.pace_at + (DATAGRAM_MIN - self.pace_bytes) / self.pace_rate())
            if self.repeats.tail != self.repeats.head:
                unit = self.unit_of(self.repeats.at[self.repeats.tail & self.repeats.mask])
                due = min(due, unit.due if unit != NULL and unit.state == FLYING else now)
        self.deadline = due
        return 0

    cdef int on_timer(self, double now) except -1:
        """Does what is due; then pack() may have something."""
        if self.closed or now < self.deadline:
            return 0
        if now >= self.heard_at + IDLE_SECONDS:
            return self.shut(CLOSE_SILENCE, "nothing was heard of it")
        if now >= self.lost_due:
            self.detect_lost(now)
        if now >= self.pto_due(self.pto_count):
            if not self.can_elicit():
                self.give_up(self.next_number - (self.next_number - self.oldest) // 2, now)
            self.soon_at = self.later_at = now
            self.pto_count += 1
            self.asks_awaited = True
            self.pto_probes = 1 if self.pto_count == 1 else 2
            if self.pto_count >= PERSISTENT_PTOS:
                self.congestion_window = MIN_WINDOW * DATAGRAM_MIN
        if self.is_client and now >= self.elicited_at + KEEPALIVE_SECONDS:
            self.wants_ping = True
            self.rest()
        if self.probe_index < PROBES and not self.probe_flies and now >= self.probe_at:
            self.wants_probe = True
        return self.schedule(now)

    # ---- in

    cdef bint admits(self, double now) except -1:
        """Whether messages are taken now; a datagram with messages that comes meanwhile is not acknowledged."""
        return True

    cdef int deliver(self, int kind, uint32_t stream, const uint8_t* packet, uint32_t size, double now) except -1:
        """A message has come, and it is its turn. `packet` is there during the call only."""
        return 0

    cdef int broken(self, str why) except -1:
        """The other side breaks the contract."""
        self.count(LINK_MALFORMED, 1)
        return self.shut(CLOSE_PROTOCOL, why)

    cdef bint take(self, uint8_t* datagram, uint32_t size, double now) except -1:
        """A DATA datagram with this connection's id; it is decrypted in place. False: it counts as if it had not come, or is not
        from the other side."""
        cdef uint8_t* body = datagram + HEADER_BYTES
        cdef uint32_t body_size
        cdef uint64_t number
        cdef int used, elicits = -1
        self.challenge_met = False
        if self.closed:
            return False
        if size <= HEADER_BYTES + self.cipher.tag_bytes:
            self.count(LINK_MALFORMED, 1)
            return False
        body_size = size - HEADER_BYTES - self.cipher.tag_bytes
        number = self.widen(load32(datagram + HEADER_BYTES - 4))
        if not self.is_fresh(number) or self.was_refused(number):
            self.count(LINK_REPLAYED, 1)
            return False
        if not self.cipher.open(body, body_size, datagram, number):
            self.count(LINK_FORGED, 1)
            return False
        self.count(LINK_DATAGRAMS_IN, 1)
        self.count(LINK_BYTES_IN, size)
        self.heard_at = now
        self.taking = True
        try:
            used = self.take_ack(body, body_size, now)
            if used < 0:
                self.broken("acknowledgements that cannot be")
            else:
                elicits = self.take_frames(body + used, body + body_size, now)
        finally:
            self.taking = False
            if self.closed:
                self.release()
        if elicits >= 0:
            self.note_received(number, elicits, now)
        elif not self.closed:
            self.count(LINK_NOT_TAKEN, 1)
            self.refused[self.refused_count % REFUSED_MAX] = number + 1
            self.refused_count += 1
            self.note_refused(now)
        if now > self.elicited_at + REST_SECONDS and not self.closed:
            self.rest()
        self.schedule(now)
        return elicits >= 0

    cdef bint was_refused(self, uint64_t number) noexcept:
        """Whether a datagram with this number has come before, and was not taken: what it has is sent again in others."""
        cdef uint32_t i
        for i in range(min(self.refused_count, <uint32_t>REFUSED_MAX)):
            if self.refused[i] == number + 1:
                return True
        return False

    cdef int take_frames(self, const uint8_t* at, const uint8_t* end, double now) except? -2:
        """The frames of a datagram: what they elicit; -1: it is not to be acknowledged."""
        cdef int type, elicits = ELICITS_NO
        cdef bint taken = True
        cdef uint64_t malformed = self.counters[<int>LINK_MALFORMED]
        self.admitted = -1
        while at < end and not self.closed:
            type = at[0]
            if type >= FRAME_MESSAGE:
                elicits = max(elicits, <int>(ELICITS_SOON if type & 2 else ELICITS_LATER))
                at = self.take_message(at, end, &taken, now)
            elif type == FRAME_PADDING:
                break
            elif type == FRAME_PING:
                elicits = ELICITS_SOON
                at += 1
            elif type <= FRAME_CLOSE:
                if type == FRAME_CHALLENGE:
                    elicits = ELICITS_SOON
                at = self.take_control(at, end)
            else:
                self.broken("a frame of no known type")
            if at == NULL:
                self.broken("a frame that is cut, or longer than may be")
                break
        return elicits if taken and self.counters[<int>LINK_MALFORMED] == malformed else -1

    cdef const uint8_t* take_control(self, const uint8_t* at, const uint8_t* end) except? NULL:
        """CHALLENGE, RESPONSE or CLOSE: the position behind it; NULL: it is cut."""
        if at[0] == FRAME_CLOSE:
            if end - at < 3 or end - at - 3 < at[2]:
                return NULL
            self.shut(at[1], PyBytes_FromStringAndSize(<const char*>at + 3, at[2]).decode("utf-8", "replace"))
            self.closes_left = 0
            return end
        if end - at < 9:
            return NULL
        if at[0] == FRAME_CHALLENGE:
            memcpy(self.response, at + 1, 8)
            self.wants_response = True
        elif self.challenged and memcmp(self.challenge, at + 1, 8) == 0:
            self.challenge_met = True
        return at + 9

    cdef const uint8_t* take_message(self, const uint8_t* at, const uint8_t* end, bint* taken, double now) except? NULL:
        """The frame of a message: the position behind it; NULL: it is cut. `taken` becomes False if it was not."""
        cdef int type = at[0], kind = type & 3
        cdef uint32_t stream = 0, total = 0, length
        cdef uint16_t sequence = 0
        if type > FRAME_LAST or not (FRAME_TYPES >> (type - FRAME_MESSAGE)) & 1:
            self.broken("a frame of no known type")
            return end
        at += 1
        if kind != UNRELIABLE:
            at = read_number(at, end, &stream)
            if at == NULL or end - at < 2:
                return NULL
            sequence = load16(at)
            at += 2
        if type & FLAG_BEGIN:
            at = read_number(at, end, &total)
            if at == NULL:
                return NULL
        at = read_number(at, end, &length)
        if at == NULL or length == 0 or length > <uint32_t>(end - at):
            return NULL
        if stream > most_stream(kind, self.is_client):
            self.broken("a stream that there is not")
            return end
        if self.admitted < 0:
            self.admitted = self.admits(now)
        if not self.admitted:
            taken[0] = False
        elif kind == UNRELIABLE:
            self.deliver(kind, 0, at, length, now)
        elif kind == SEQUENCED:
            self.take_sequenced(stream, sequence, at, length, now)
        elif not self.take_reliable(type, stream, sequence, total, at, length, now):
            taken[0] = False
        return at + length

    cdef int take_sequenced(self, uint32_t stream, uint16_t sequence, const uint8_t* bytes, uint32_t length,
                            double now) except -1:
        cdef Stream* line = make_stream(&self.heard, 1 + stream)
        if line.next and <uint16_t>(sequence - line.base - 1) >= 0x7fff:
            self.count(LINK_STALE, 1)
            return 0
        line.next = 1                       # one has come
        line.base = sequence
        return self.deliver(SEQUENCED, stream, bytes, length, now)

    cdef bint take_reliable(self, int type, uint32_t stream, uint16_t sequence, uint32_t total, const uint8_t* bytes,
                            uint32_t length, double now) except -1:
        """A reliable frame: whether it was taken, or has been before."""
        cdef uint32_t key = 1 + 2 * stream + (type & FLAG_UNORDERED)
        cdef Stream* line = make_stream(&self.receiving, key)
        cdef uint16_t distance = <uint16_t>(sequence - line.base)
        cdef bint piece = type & (FLAG_BEGIN | FLAG_MORE) != 0
        if distance >= 0x8000 or (distance < SEQUENCE_WINDOW and has_bit(line, sequence)):
            self.count(LINK_DUPLICATES, 1)
            return True
        if distance >= SEQUENCE_WINDOW:
            self.broken("a sequence that is too far ahead")
            return False
        if length > (FRAGMENT_BYTES if piece else self.message_bytes) or total > self.message_bytes:
            self.broken("a message that is longer than is taken")
            return False
        if not type & FLAG_UNORDERED and distance == 0:
            if not self.has_room(2 * FRAGMENT_BYTES if piece else 0, True):
                return False
            line.base += 1
            self.take_in_turn(key, type, total, bytes, length, now)
            self.take_kept(key, now)
        elif type & FLAG_UNORDERED and not piece:
            set_bit(line, sequence)
            move_base(line)
            self.deliver(UNORDERED, stream, bytes, length, now)
            self.join_unordered(key, now)
        else:
            if not self.has_room(NODE_BYTES + length, distance == 0):
                return False
            self.keep_node(line, type, sequence, total, bytes, length)
            set_bit(line, sequence)
            if type & FLAG_UNORDERED:
                move_base(line)
                self.join_unordered(key, now)
        return True

    cdef int keep_node(self, Stream* line, int type, uint16_t sequence, uint32_t total, const uint8_t* bytes,
                       uint32_t length) except -1:
        """A frame before its turn, put where it belongs by its sequence."""
        cdef Node** place
        cdef Node* node = <Node*>PyMem_Malloc(sizeof(Node) + length)
        if node == NULL:
            raise MemoryError
        self.keeps(NODE_BYTES + length)
        node.total = total
        node.length = <uint16_t>length
        node.sequence = sequence
        node.type = <uint8_t>type
        memcpy(node.bytes, bytes, length)
        if line.first != NULL and <uint16_t>(sequence - line.last.sequence) < 0x8000:
            place = &line.last.next
        else:
            place = &line.first
            while place[0] != NULL and <uint16_t>(sequence - place[0].sequence) < 0x8000:
                place = &place[0].next
        node.next = place[0]
        place[0] = node
        if node.next == NULL:
            line.last = node
        return 0

    cdef bint has_room(self, uint32_t size, bint in_turn) noexcept:
        """Whether so much more can be kept. What is in turn is only bound by what all links of a server may keep, for it is
        what the others wait for. Where that is used up, one of them goes beyond until it keeps nothing any more, or all
        would wait for each other."""
        if size and self.kept_all != NULL and self.kept_all.bytes + size > self.kept_all.bytes_max:
            if not in_turn:
                return False
            if self.kept_all.first == NULL:
                self.kept_all.first = <void*>self
            return self.kept_all.first == <void*>self
        return in_turn or self.pending_bytes + size <= self.receive_bytes

    cdef void keeps(self, int64_t size) noexcept:
        """So many bytes more, or less, are kept."""
        self.pending_bytes = <uint32_t>(self.pending_bytes + size)
        if self.kept_all != NULL:
            self.kept_all.bytes = <uint64_t>(<int64_t>self.kept_all.bytes + size)
            if self.pending_bytes == 0 and self.kept_all.first == <void*>self:
                self.kept_all.first = NULL

    cdef int take_kept(self, uint32_t key, double now) except -1:
        """What is in turn now, of an ordered stream."""
        cdef Stream* line = find_stream(&self.receiving, key)
        cdef Node* node
        while not self.closed and line.first != NULL and line.first.sequence == line.base:
            node = line.first
            line.first = node.next
            clear_bit(line, line.base)
            line.base += 1
            self.keeps(-<int64_t>(NODE_BYTES + node.length))
            try:
                self.take_in_turn(key, node.type, node.total, node.bytes, node.length, now)
            finally:
                PyMem_Free(node)
        return 0

    cdef int take_in_turn(self, uint32_t key, int type, uint32_t total, const uint8_t* bytes, uint32_t length,
                          double now) except -1:
        """The next frame of an ordered stream: a message, or a piece of one."""
        cdef Stream* line = find_stream(&self.receiving, key)
        cdef uint32_t stream = (key - 1) >> 1, capacity
        cdef uint8_t* whole
        if not type & (FLAG_BEGIN | FLAG_MORE):
            if line.whole_total:
                return self.broken("a message within another")
            return self.deliver(ORDERED, stream, bytes, length, now)
        if (line.whole_total != 0) == ((type & FLAG_BEGIN) != 0):
            return self.broken("a piece of no message")
        if type & FLAG_BEGIN:
            if total <= FRAGMENT_BYTES:
                return self.broken("pieces of a message that needs none")
            if self.begun_bytes + total > self.receive_bytes:
                return self.broken("more messages of several frames at a time than are taken")
            self.begun_bytes += total
            line.whole_total = total
        if length != min(<uint32_t>FRAGMENT_BYTES, line.whole_total - line.whole_size):
            return self.broken("a piece of the wrong length")
        if line.whole_size + length > line.whole_capacity:
            capacity = min(line.whole_total, max(line.whole_capacity * 2, <uint32_t>4 * FRAGMENT_BYTES))
            whole = <uint8_t*>PyMem_Realloc(line.whole, capacity)
            if whole == NULL:
                raise MemoryError
            self.keeps(<int64_t>capacity - line.whole_capacity)
            line.whole = whole
            line.whole_capacity = capacity
        memcpy(line.whole + line.whole_size, bytes, length)
        line.whole_size += length
        if line.whole_size < line.whole_total:
            return 0
        whole = line.whole
        length = line.whole_total
        self.keeps(-<int64_t>line.whole_capacity)
        self.begun_bytes -= length
        line.whole = NULL
        line.whole_size = line.whole_capacity = line.whole_total = 0
        try:
            return self.deliver(ORDERED, stream, whole, length, now)
        finally:
            PyMem_Free(whole)

    cdef int join_unordered(self, uint32_t key, double now) except -1:
        """Hands on the unordered messages of several frames that are whole by now."""
        cdef Stream* line = find_stream(&self.receiving, key)
        cdef Node** begin = &line.first
        cdef Node* node
        cdef Node* last
        cdef uint32_t size, total
        cdef uint16_t expected
        while begin[0] != NULL and not self.closed:
            node = begin[0]
            if node.type & FLAG_MORE:
                if begin == &line.first and <uint16_t>(node.sequence - line.base) >= 0x8000:
                    return self.broken("a piece of no message")
                begin = &node.next
                continue
            total = node.total
            if total <= FRAGMENT_BYTES:
                return self.broken("pieces of a message that needs none")
            size = 0
            expected = node.sequence
            last = NULL
            while node != NULL and node.sequence == expected and size < total:
                if (last != NULL and not node.type & FLAG_MORE) or (
                        node.length != min(<uint32_t>FRAGMENT_BYTES, total - size)):
                    return self.broken("a piece of the wrong length")
                size += node.length
                expected += 1
                last = node
                node = node.next
            if size == total:
                self.hand_on_pieces(line, begin, last, total, now)
                line = find_stream(&self.receiving, key)
                begin = &line.first
            elif <uint16_t>(expected - line.base) >= 0x8000:
                return self.broken("a message that has no end")     # what comes next has come, and is no piece of it
            else:
                begin = &last.next
        return 0

    cdef int hand_on_pieces(self, Stream* line, Node** begin, Node* last, uint32_t total, double now) except -1:
        """An unordered message, of the nodes from `begin` to `last`."""
        cdef Node* node = begin[0]
        cdef Node* following
        cdef uint32_t stream = (line.key - 1) >> 1, size = 0
        cdef uint8_t* whole = <uint8_t*>PyMem_Malloc(total)
        if whole == NULL:
            raise MemoryError
        begin[0] = last.next
        last.next = NULL
        while node != NULL:
            memcpy(whole + size, node.bytes, node.length)
            size += node.length
            self.keeps(-<int64_t>(NODE_BYTES + node.length))
            following = node.next
            PyMem_Free(node)
            node = following
        line.last = line.first
        while line.last != NULL and line.last.next != NULL:
            line.last = line.last.next
        try:
            return self.deliver(UNORDERED, stream, whole, total, now)
        finally:
            PyMem_Free(whole)


cdef class LinkEndpoint(Link):
    """A Link for Python. After each call `datagrams_to_send`, then `next_message` until it is None; `handle_timer` when
    `next_timer` is due."""

    def __cinit__(self, *arguments, **options):
        self.messages = deque()

    @property
    def ended(self):
        """(reason, text) of a connection that is closed; reason -1: nothing was heard of the other side. None: it is open."""
        return (self.close_reason, self.close_text) if self.closed else None

    cdef int deliver(self, int kind, uint32_t stream, const uint8_t* packet, uint32_t size, double now) except -1:
        self.messages.append((kind, stream, PyBytes_FromStringAndSize(<const char*>packet, size)))
        return 0

    def receive_datagram(self, bytes datagram not None, double now):
        """A datagram has come. False: it was dropped, as if it had not."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(datagram)
        cdef const uint8_t* begin = <const uint8_t*>PyBytes_AS_STRING(datagram)
        cdef uint8_t copy[DATAGRAM_MAX]
        if size < HEADER_BYTES or size > DATAGRAM_MAX or memcmp(begin, self.header, HEADER_BYTES - 4):
            self.count(LINK_MALFORMED, 1)
            return False
        memcpy(copy, begin, size)
        return self.take(copy, <uint32_t>size, now)

    def send(self, bytes packet not None, int kind, uint32_t stream, double now):
        """A message leaves with the next datagrams. False: the connection is closed, the message empty or longer than the
        other side takes, or too many wait. Raises ValueError for a kind or stream that there is not (stream 0 alone is
        for the kinds without one)."""
        if kind < 0 or kind > <int>UNORDERED or stream > most_stream(kind, not self.is_client):
            raise ValueError(f"there is no stream {stream} of kind {kind} from this side")
        return self.put(kind, stream, <const uint8_t*>PyBytes_AS_STRING(packet), <uint32_t>PyBytes_GET_SIZE(packet),
                        NULL, 0, NULL)

    def datagrams_to_send(self, double now):
        """What is to go out now, each at most DATAGRAM_MAX bytes."""
        cdef uint8_t out[DATAGRAM_MAX]
        cdef uint32_t size
        cdef list datagrams = []
        while self.has_output(now):
            size = self.pack(out, now)
            if size == 0:
                break
            datagrams.append(PyBytes_FromStringAndSize(<const char*>out, size))
        self.forget_loose()
        self.schedule(now)
        return datagrams

    def next_timer(self):
        """When handle_timer is to be called; infinity: never."""
        return self.deadline

    def handle_timer(self, double now):
        """Something may be due; datagrams_to_send has what comes of it."""
        self.on_timer(now)

    def next_message(self):
        """The oldest message not taken yet, as (kind, stream, packet); None: there is none."""
        return self.messages.popleft() if self.messages else None

    def close(self, int reason, str text not None, double now):
        """Ends the connection; datagrams_to_send has the goodbye."""
        self.shut(reason, text)

    def dump(self):
        """All that `restore` needs, as bytes, with the keys; messages that were not taken yet are in it. This endpoint is
        ended by that, and the other side is not told. ValueError where it is closed."""
        from gsrt._linkdump import dump_endpoint
        return dump_endpoint(self)

    @staticmethod
    def restore(bytes dump not None, double now):
        """The endpoint that was dumped, once: in datagrams_to_send is at once what it says again. ValueError for bytes that are
        no dump of an endpoint, or of another version."""
        from gsrt._linkdump import restore_endpoint
        return restore_endpoint(dump, now)
