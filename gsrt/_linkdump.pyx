"""A link's state as bytes, so that another process goes on with it: a server that is upgraded under play.

`dump_*` ends the link here without a word to the other side, `restore_*` makes it again from the bytes, in this process or
another one of the same boot (times are those of the same clock). The other side notices a pause, and that numbers of datagrams
are left out. The keys are in the bytes: they belong into memory files, and nowhere else. A dump is good for one link: who
restores it twice has two that contradict each other.

* Exact: sequences both ways, what has come and what of it is acknowledged, what is kept before its turn, messages that are
  partly there, terms, estimates of the path, datagram size, counters.
* Careful: what was under way counts as lost and goes out again, the window is then half; numbers go on far above, so that no
  nonce is used twice. What the other side still acknowledges of before is not known any more and changes nothing: a frame that
  comes to it twice has one sequence, and the second is a duplicate.
* Dropped: unreliable frames that wait, the search for a datagram size where it is, repetitions, challenges, timers. An
  acknowledgement goes out at once, and the other side has its whole IDLE_SECONDS to be heard.

The bytes, little-endian; a number's bytes stand behind its name, real numbers have 8 (IEEE 754), lists their length before them:

    "gsrl", version 1, kind 1 (KIND_*), is_client 1, connection id 8, suite 1, in suite 1 both keys 32 (sending first)
    receive_bytes 4, message_bytes 4, the same of the other side; next_number 8, seen_at (when it was certainly alive)
    delivered 8, arrived 8, lost 8, spurious 8, counters: list 1 of 8
    has_highest 1, highest 8, seen 4 x 8, highest_at, told_floor 8, late_floor 8, late_until 8, later_floor 8,
    refused numbers plus 1, the oldest first: list 1 of 8
    has_sample 1, srtt, rttvar, min_rtt, latest, jitter, loss, bandwidth, bandwidth_at, held, reorder, reorder_at
    congestion_window 4, threshold 4, datagram_bytes 2, probe_index 1, probe_at
    sequences: list 2 of key 2, next 2; heard: list 2 of key 2, last 2
    receiving: list 2 of key 2, base 2, bits, whole_total 4, whole_size 4, so many bytes, nodes: list 2 of sequence 2, type 1,
        total 4, length 2, so many bytes
    sending: list 2 of key 2, base 2, next 2, bits
    units: list 4, the oldest first, of key 2, sequence 2, type 1, UNIT_* 1, total 4 (in a BEGIN), length 2, so many bytes
    an endpoint's messages that were not fetched: list 4 of kind 1, stream 2, length 4, so many bytes
    a leg's opened_at, established 1, address (a sockaddr): list 1 of 1

`bits` is 1 byte, and if that is 1, 8 x 8: Stream.bits. Restoring raises ValueError for bytes of another version, that no
link can have written, or that are too old, and takes no more memory than some times their length for them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Malloc
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from gsrt._core cimport SENT_MAX
from gsrt._link cimport (
    CLOSE_HANDED_OVER, CONNECTION_BYTES, DATAGRAM_MAX, DATAGRAM_MIN, DONE, FLAG_BEGIN, FLAG_MORE, FLYING,
    FRAGMENT_BYTES, FRAME_LAST, FRAME_MESSAGE, FRAME_TYPES, FREE, HELD, LINK_COUNTERS, MESSAGE_BYTES_MAX, MIN_WINDOW, ORDERED,
    PROBES, REFUSED_MAX, SEQUENCED, STREAM_MAX, UNITS_MAX, UNORDERED, Cipher, Link, LinkEndpoint, Unit, most_stream,
)
from gsrt._links cimport ADDRESS_BYTES, Leg, Links
from gsrt._sockets cimport AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6
from gsrt._streams cimport (
    Block, Node, SEQUENCE_WINDOW, Stream, Streams, find_stream, has_bit, make_block, make_stream, release_block,
    rest_streams,
)
from gsrt._wire cimport load16

cdef enum:
    VERSION = 1
    KIND_ENDPOINT = 1
    KIND_LEG = 2
    UNIT_NEW = 0                # was never sent
    UNIT_SENT = 1
    UNIT_HELD = 2               # is acknowledged, but not all of the message that it begins
    KEY_BYTES = 32
    STREAMS_MAX = 2 * (STREAM_MAX + 1)
    MARGIN = 65536              # numbers that are left out in any case,
    MARGIN_A_SECOND = 1 << 20   # and for each second since the link was certainly alive: more than can be sent in that time,
                                # so that not even one dump that is restored again later has a number twice
    MARGIN_SECONDS = 600        # after which it is too late: the other side tells the whole number by its low 32 bits

cdef bytes MAGIC = b"gsrl"
cdef uint64_t NEVER = 0xffffffffffffffff
cdef uint64_t NUMBER_MAX = <uint64_t>1 << 62
cdef double SECONDS_MAX = 1e9           # of anything that is a time
cdef double BYTES_A_SECOND_MAX = 1e18
cdef double PROBE_SECONDS_MAX = 600.0


cdef object damaged(str why):
    return ValueError(f"no dump of a link, or a damaged one: {why}")


cdef class Writer:
    cdef bytearray out

    def __cinit__(self):
        self.out = bytearray()

    cdef int number(self, uint64_t value, int size) except -1:
        cdef uint8_t packed[8]
        cdef int i
        for i in range(size):
            packed[i] = <uint8_t>(value >> (8 * i))
        return self.raw(packed, size)

    cdef int real(self, double value) except -1:
        cdef uint64_t packed
        memcpy(&packed, &value, sizeof(packed))
        return self.number(packed, 8)

    cdef int raw(self, const uint8_t* begin, Py_ssize_t size) except -1:
        self.out += PyBytes_FromStringAndSize(<const char*>begin, size)
        return 0


cdef class Reader:
    """Every call names what may be there; anything else raises ValueError."""

    cdef bytes dump
    cdef const uint8_t* at
    cdef const uint8_t* end

    def __cinit__(self, bytes dump not None):
        self.dump = dump
        self.at = <const uint8_t*>PyBytes_AS_STRING(dump)
        self.end = self.at + PyBytes_GET_SIZE(dump)

    cdef const uint8_t* raw(self, Py_ssize_t size) except NULL:
        cdef const uint8_t* begin = self.at
        if size > self.end - self.at:
            raise damaged("it is cut")
        self.at += size
        return begin

    cdef uint64_t number(self, int size, uint64_t least, uint64_t most) except? 0xfedcba9876543210:
        cdef const uint8_t* at = self.raw(size)
        cdef uint64_t value = 0
        cdef int i
        for i in range(size):
            value |= <uint64_t>at[i] << (8 * i)
        if value < least or value > most:
            raise damaged(f"{value} where {least} to {most} may be")
        return value

    cdef double real(self, double least, double most) except? -1:
        cdef uint64_t packed = self.number(8, 0, NEVER)
        cdef double value
        memcpy(&value, &packed, sizeof(value))
        if not least <= value <= most:          # nor is NaN
            raise damaged(f"{value} where {least} to {most} may be")
        return value

    cdef double time(self, double latest) except? -1:
        """A time that is not later than `latest`."""
        return min(self.real(-SECONDS_MAX, SECONDS_MAX), latest)


# ---- streams

cdef list keys_of(const Streams* streams):
    """Of all of them, in order."""
    cdef uint32_t i
    cdef list keys = []
    if streams.resting != NULL:
        keys = [streams.resting[i].key for i in range(streams.count)]
    elif streams.places != NULL:
        keys = [streams.places[i].key for i in range(streams.mask + 1) if streams.places[i].key]
    keys.sort()
    return keys


cdef int write_bits(Writer writer, const Stream* line) except -1:
    cdef int word
    cdef bint any_bit = False
    for word in range(8):
        any_bit = any_bit or line.bits[word] != 0
    writer.number(any_bit, 1)
    if any_bit:
        for word in range(8):
            writer.number(line.bits[word], 8)
    return 0


cdef int read_bits(Reader reader, Stream* line) except -1:
    cdef int word
    if reader.number(1, 0, 1):
        for word in range(8):
            line.bits[word] = reader.number(8, 0, NEVER)
        if has_bit(line, line.base):
            raise damaged("a stream that has more than it knows")
    return 0


cdef uint32_t read_key(Reader reader, Streams* streams, int kind, bint to_client) except 0:
    """The key of the next stream of a list; `kind`: SEQUENCED, or ORDERED for both kinds of reliable ones."""
    cdef uint32_t key = <uint32_t>reader.number(2, 1, STREAMS_MAX)
    cdef uint32_t stream = key - 1
    if kind == ORDERED:
        kind += stream & 1
        stream >>= 1
    if stream > most_stream(kind, to_client):
        raise damaged("a stream that there is not")
    if find_stream(streams, key) != NULL:
        raise damaged("a stream that is there twice")
    return key


cdef int write_sequenced(Writer writer, Streams* streams, bint outwards) except -1:
    cdef Stream* line
    cdef list keys = keys_of(streams)
    writer.number(len(keys), 2)
    for key in keys:
        line = find_stream(streams, key)
        writer.number(key, 2)
        writer.number(line.next if outwards else line.base, 2)
    return 0


cdef int read_sequenced(Reader reader, Streams* streams, bint outwards, bint to_client) except -1:
    cdef uint64_t count = reader.number(2, 0, STREAM_MAX + 1)
    cdef Stream* line
    while count:
        count -= 1
        line = make_stream(streams, read_key(reader, streams, SEQUENCED, to_client))
        if outwards:
            line.next = <uint16_t>reader.number(2, 0, 0xffff)
        else:
            line.base = <uint16_t>reader.number(2, 0, 0xffff)
            line.next = 1               # one has come
    return rest_streams(streams)


# ---- what has come of reliable messages

cdef int write_receiving(Writer writer, Link link) except -1:
    cdef list keys = keys_of(&link.receiving)
    cdef Stream* line
    cdef Node* node
    cdef uint32_t count
    writer.number(len(keys), 2)
    for key in keys:
        line = find_stream(&link.receiving, key)
        writer.number(key, 2)
        writer.number(line.base, 2)
        write_bits(writer, line)
        writer.number(line.whole_total, 4)
        writer.number(line.whole_size, 4)
        if line.whole_size:
            writer.raw(line.whole, line.whole_size)
        count = 0
        node = line.first
        while node != NULL:
            count += 1
            node = node.next
        writer.number(count, 2)
        node = line.first
        while node != NULL:
            writer.number(node.sequence, 2)
            writer.number(node.type, 1)
            writer.number(node.total, 4)
            writer.number(node.length, 2)
            writer.raw(node.bytes, node.length)
            node = node.next
    return 0


cdef int read_receiving(Reader reader, Link link) except -1:
    cdef uint64_t count = reader.number(2, 0, STREAMS_MAX)
    cdef uint32_t key, total
    cdef Stream* line
    while count:
        count -= 1
        key = read_key(reader, &link.receiving, ORDERED, link.is_client)
        line = make_stream(&link.receiving, key)
        line.base = <uint16_t>reader.number(2, 0, 0xffff)
        read_bits(reader, line)
        total = <uint32_t>reader.number(4, 0, link.message_bytes)
        read_whole(reader, link, line, total)
        read_nodes(reader, link, line)
    if link.begun_bytes > link.receive_bytes:
        raise damaged("more messages that are begun than are taken")
    return rest_streams(&link.receiving)


cdef int read_whole(Reader reader, Link link, Stream* line, uint32_t total) except -1:
    """An ordered message of `total` bytes (0: there is none) as far as it has come."""
    cdef uint32_t size = <uint32_t>reader.number(4, 0, total)
    if total == 0:
        return 0
    if not line.key & 1 or total <= FRAGMENT_BYTES or size == 0 or size == total or size % FRAGMENT_BYTES:
        raise damaged("a message that no pieces make")
    bytes_so_far = reader.raw(size)
    line.whole = <uint8_t*>PyMem_Malloc(size)
    if line.whole == NULL:
        raise MemoryError
    memcpy(line.whole, bytes_so_far, size)
    line.whole_total = total
    line.whole_size = line.whole_capacity = size
    link.begun_bytes += total
    link.keeps(size)
    return 0


cdef int read_nodes(Reader reader, Link link, Stream* line) except -1:
    """Frames before their turn. In an ordered stream they are what its bits say."""
    cdef uint64_t count = reader.number(2, 0, 0xffff)
    cdef bint ordered = line.key & 1
    cdef uint16_t sequence
    cdef uint32_t total, length
    cdef int type, distance, previous = -0x8000 - 1, i, kept = 0
    while count:
        count -= 1
        sequence = <uint16_t>reader.number(2, 0, 0xffff)
        type = read_type(reader, line.key)
        total = <uint32_t>reader.number(4, 0, link.message_bytes)
        if (total != 0) != (type & FLAG_BEGIN != 0):
            raise damaged("a frame with a length that is another's")
        length = <uint32_t>reader.number(2, 1, FRAGMENT_BYTES if type & (FLAG_BEGIN | FLAG_MORE) else
                                         min(link.message_bytes, <uint32_t>DATAGRAM_MAX))
        distance = <int16_t><uint16_t>(sequence - line.base)
        if distance <= previous or distance >= SEQUENCE_WINDOW or (distance >= 0 and not has_bit(line, sequence)) or (
                ordered and distance < 0) or (not ordered and not type & (FLAG_BEGIN | FLAG_MORE)):
            raise damaged("a frame that cannot have been kept")
        previous = distance
        kept += 1
        link.keep_node(line, type, sequence, total, reader.raw(length), length)
    if ordered:
        for i in range(SEQUENCE_WINDOW):
            kept -= has_bit(line, <uint16_t>i)
        if kept:
            raise damaged("frames that have come, and are not there")
    return 0


cdef int read_type(Reader reader, uint32_t key) except -1:
    """The first byte of a reliable frame of that stream."""
    cdef int type = <int>reader.number(1, FRAME_MESSAGE, FRAME_LAST)
    if not (FRAME_TYPES >> (type - FRAME_MESSAGE)) & 1 or type & 3 != ORDERED + ((key - 1) & 1):
        raise damaged("a frame of another kind than its stream's")
    return type


# ---- what is to be sent of reliable messages

cdef list units_of(Link link):
    """The places of what is not acknowledged, the oldest first, with those that others need."""
    cdef uint32_t place
    cdef const Unit* unit
    cdef list aged = []
    for place in range(link.unit_capacity):
        unit = &link.units[place]
        if unit.state == FREE or (unit.state == DONE and not (unit.type & FLAG_BEGIN and unit.pieces)):
            continue
        aged.append(<uint64_t><uint32_t>(link.serial - unit.serial) << 32 | place)
    aged.sort(reverse=True)
    return [age & 0xffffffff for age in aged]


cdef int state_of(Link link, const Unit* unit) except -1:
    """UNIT_*."""
    cdef const Stream* line
    if unit.state == HELD or unit.state == DONE:
        return UNIT_HELD
    if unit.state == FLYING:
        return UNIT_SENT
    line = find_stream(&link.sending, unit.key)
    if line.waiting_first >= 0 and (<uint16_t>(unit.sequence - line.base) >=
                                    <uint16_t>(link.units[line.waiting_first].sequence - line.base)):
        return UNIT_NEW
    return UNIT_SENT


cdef int write_sending(Writer writer, Link link) except -1:
    cdef list keys = keys_of(&link.sending), places = units_of(link)
    cdef Stream* line
    cdef const Unit* unit
    cdef int state
    writer.number(len(keys), 2)
    for key in keys:
        line = find_stream(&link.sending, key)
        writer.number(key, 2)
        writer.number(line.base, 2)
        writer.number(line.next, 2)
        write_bits(writer, line)
    writer.number(len(places), 4)
    for place in places:
        unit = &link.units[<uint32_t>place]
        state = state_of(link, unit)
        writer.number(unit.key, 2)
        writer.number(unit.sequence, 2)
        writer.number(unit.type, 1)
        writer.number(state, 1)
        if unit.type & FLAG_BEGIN:
            writer.number(unit.total, 4)
        if state == UNIT_HELD:
            writer.number(0, 2)
        else:
            writer.number(unit.length, 2)
            writer.raw(unit.block.bytes + unit.offset, unit.length)
    return 0


cdef int read_sending(Reader reader, Link link) except -1:
    cdef uint64_t count = reader.number(2, 0, STREAMS_MAX)
    cdef uint32_t key, span
    cdef int i
    cdef Stream* line
    cdef dict missing = {}              # by key: how far from the stream's base the next unit has to be
    while count:
        count -= 1
        key = read_key(reader, &link.sending, ORDERED, not link.is_client)
        line = make_stream(&link.sending, key)
        line.base = <uint16_t>reader.number(2, 0, 0xffff)
        line.next = <uint16_t>reader.number(2, 0, 0xffff)
        read_bits(reader, line)
        span = <uint16_t>(line.next - line.base)
        for i in range(span, SEQUENCE_WINDOW):
            if has_bit(line, <uint16_t>(line.base + i)):
                raise damaged("what was never sent is acknowledged")
        missing[key] = 0
    read_units(reader, link, missing)
    for key, distance in missing.items():
        line = find_stream(&link.sending, key)
        if distance != <uint16_t>(line.next - line.base):
            raise damaged("a frame that has to be sent is missing")
    if link.flown_bytes > link.peer_receive_bytes:
        raise damaged("more was sent than the other side takes")
    if link.unit_count == 0:
        rest_streams(&link.sending)
    return 0


cdef int read_units(Reader reader, Link link, dict missing) except -1:
    """The units, as those that wait, or that were under way and count as lost."""
    cdef uint64_t count = reader.number(4, 0, UNITS_MAX)
    cdef uint32_t key, total, length, index, distance
    cdef uint32_t begin_key = 0, begin_total = 0        # of the message whose pieces come
    cdef int32_t begin = -1, place
    cdef uint16_t sequence, begin_sequence = 0
    cdef int type, state
    cdef Stream* line
    while count:
        count -= 1
        key = <uint32_t>reader.number(2, 1, STREAMS_MAX)
        line = find_stream(&link.sending, key)
        if line == NULL:
            raise damaged("a frame of no stream")
        sequence = <uint16_t>reader.number(2, 0, 0xffff)
        type = read_type(reader, key)
        state = <int>reader.number(1, UNIT_NEW, UNIT_HELD)
        distance = <uint16_t>(sequence - line.base)
        if not type & FLAG_MORE and begin >= 0 and link.units[begin].pieces == 0:
            raise damaged("a message without what is missing of it")
        if type & FLAG_BEGIN:
            total = <uint32_t>reader.number(4, FRAGMENT_BYTES + 1, min(link.peer_message_bytes, link.peer_receive_bytes))
            length = FRAGMENT_BYTES
        elif type & FLAG_MORE:
            index = <uint16_t>(sequence - begin_sequence)
            if begin < 0 or key != begin_key or index == 0 or index * FRAGMENT_BYTES >= begin_total:
                raise damaged("a piece of no message")
            total = <uint32_t>begin
            length = min(<uint32_t>FRAGMENT_BYTES, begin_total - index * FRAGMENT_BYTES)
        else:
            total = 0
            length = 0
            begin = -1
        if state == UNIT_HELD:
            if not type & FLAG_BEGIN or reader.number(2, 0, 0) or (
                    distance < 0x8000 and not (distance < SEQUENCE_WINDOW and has_bit(line, sequence))):
                raise damaged("a frame that is held for nothing")
            length = 0
        else:
            length = <uint32_t>reader.number(2, length or 1, length or FRAGMENT_BYTES)
            if distance != missing[key] or distance == <uint16_t>(line.next - line.base) or (
                    state == UNIT_SENT and (distance >= SEQUENCE_WINDOW or line.waiting_first >= 0)):
                raise damaged("a frame that is not next in its stream")
            distance += 1
            while distance < <uint16_t>(line.next - line.base) and distance < SEQUENCE_WINDOW and (
                    has_bit(line, <uint16_t>(line.base + distance))):
                distance += 1
            missing[key] = distance
        place = add_unit(reader, link, line, sequence, type, state, total, length)
        if type & FLAG_BEGIN:
            begin = place
            begin_key = key
            begin_total = total
            begin_sequence = sequence
            link.units[begin].pieces = state != UNIT_HELD
        elif type & FLAG_MORE:
            link.units[begin].pieces += 1
    if begin >= 0 and link.units[begin].pieces == 0:
        raise damaged("a message without what is missing of it")
    return 0


cdef int32_t add_unit(Reader reader, Link link, Stream* line, uint16_t sequence, int type, int state, uint32_t total,
                      uint32_t length) except -1:
    """A unit whose bytes are next: its place."""
    cdef Block* block = make_block(reader.raw(length), length, NULL, 0)
    cdef uint16_t following = line.next
    cdef int32_t place
    block.users = 0
    line.next = sequence
    line.in_turn = line.in_turn or state != UNIT_NEW        # what was sent waits in no stream
    place = link.add_unit(line, block, 0, length, type, total)
    line.next = following
    link.waiting_bytes += length
    if state != UNIT_NEW:
        line.in_turn = False
        line.waiting_first = line.waiting_last = -1
        link.units[place].state = FLYING
        link.units[place].copies = 1
        if type & FLAG_BEGIN:
            link.flown_bytes += total
        elif not type & FLAG_MORE:
            link.flown_bytes += length
        if state == UNIT_SENT:
            link.lose(<uint64_t>link.units[place].serial << 32 | <uint32_t>place)
        else:
            release_block(link.units[place].block)
            link.units[place].state = HELD
    return place


# ---- the link

cdef int write_link(Writer writer, Link link, int kind) except -1:
    cdef int i
    cdef uint32_t window = link.congestion_window, threshold = link.threshold, refused
    if link.closed or link.taking:
        raise ValueError("a link that is closed, or is taking a datagram, cannot be dumped")
    writer.out += MAGIC
    writer.number(VERSION, 1)
    writer.number(kind, 1)
    writer.number(link.is_client, 1)
    writer.raw(link.header + 2, CONNECTION_BYTES)
    writer.out += link.cipher.secrets()
    writer.number(link.receive_bytes, 4)
    writer.number(link.message_bytes, 4)
    writer.number(link.peer_receive_bytes, 4)
    writer.number(link.peer_message_bytes, 4)
    writer.number(link.next_number, 8)
    writer.real(max(link.heard_at, link.elicited_at))
    writer.number(link.delivered, 8)
    writer.number(link.arrived_count, 8)
    writer.number(link.lost_count, 8)
    writer.number(link.spurious_count, 8)
    writer.number(LINK_COUNTERS, 1)
    for i in range(<int>LINK_COUNTERS):
        writer.number(link.counters[i], 8)
    writer.number(link.has_highest, 1)
    writer.number(link.highest, 8)
    for i in range(4):
        writer.number(link.seen[i], 8)
    writer.real(link.highest_at)
    writer.number(link.told_floor, 8)
    writer.number(link.late_floor, 8)
    writer.number(link.late_until, 8)
    writer.number(link.later_floor, 8)
    refused = min(link.refused_count, <uint32_t>REFUSED_MAX)
    writer.number(refused, 1)
    for i in range(<int>refused):
        writer.number(link.refused[(link.refused_count - refused + <uint32_t>i) % REFUSED_MAX], 8)
    writer.number(link.has_sample, 1)
    for estimate in (link.srtt, link.rttvar, link.min_rtt, link.latest, link.jitter, link.loss, link.bandwidth,
                     link.bandwidth_at, link.held, link.reorder, link.reorder_at):
        writer.real(estimate)
    if link.flying_soon + link.flying_later:        # as after a loss
        window = threshold = max(window // 2, <uint32_t>MIN_WINDOW * DATAGRAM_MIN)
    writer.number(window, 4)
    writer.number(threshold, 4)
    writer.number(link.datagram_bytes, 2)
    writer.number(link.probe_index, 1)
    writer.real(link.probe_at)
    write_sequenced(writer, &link.sequences, True)
    write_sequenced(writer, &link.heard, False)
    write_receiving(writer, link)
    write_sending(writer, link)
    return 0


cdef int end_here(Link link) except -1:
    """Another one goes on with it: nothing is sent or taken any more, and memory is given back."""
    link.shut(CLOSE_HANDED_OVER, "another process goes on with it")
    link.closes_left = 0
    return 0


cdef Link read_link(Reader reader, type made, int kind, double now):
    cdef uint64_t number
    cdef double seen_at
    cdef bint is_client
    cdef bytes connection
    cdef Cipher cipher
    cdef Link link
    if PyBytes_FromStringAndSize(<const char*>reader.raw(4), 4) != MAGIC:
        raise damaged("it begins otherwise")
    number = reader.number(1, 0, 255)
    if number != VERSION:
        raise ValueError(f"a dump of a link of version {number}: only version {<int>VERSION} is known here")
    reader.number(1, kind, kind)
    is_client = reader.number(1, 0, 0 if kind == KIND_LEG else 1)
    connection = PyBytes_FromStringAndSize(<const char*>reader.raw(CONNECTION_BYTES), CONNECTION_BYTES)
    cipher = read_cipher(reader)
    terms = [reader.number(4, 0, 0xffffffff) for _ in range(4)]
    number = reader.number(8, 0, NUMBER_MAX)
    seen_at = reader.time(now)
    if now - seen_at > MARGIN_SECONDS:
        raise ValueError(f"a dump of a link that was alive more than {<int>MARGIN_SECONDS} s ago, and is no more")
    number += MARGIN + <uint64_t>((now - seen_at) * MARGIN_A_SECOND)
    link = made(cipher, connection, now, is_client=is_client, receive_bytes=terms[0], message_bytes=terms[1],
                peer_receive_bytes=terms[2], peer_message_bytes=terms[3], first_number=number)
    read_numbers(reader, link, now)
    read_path(reader, link, now)
    read_sequenced(reader, &link.sequences, True, not is_client)
    read_sequenced(reader, &link.heard, False, is_client)
    read_receiving(reader, link)
    read_sending(reader, link)
    if link.has_highest:
        link.ack_due = now
    link.schedule(now)
    return link


cdef Cipher read_cipher(Reader reader):
    cdef const uint8_t* keys
    if reader.number(1, 0, 1) == 0:
        return Cipher()
    from gsrt._sodium import ChaCha20Poly1305
    keys = reader.raw(2 * KEY_BYTES)
    return ChaCha20Poly1305(keys[:KEY_BYTES], keys[KEY_BYTES:2 * KEY_BYTES])


cdef int read_numbers(Reader reader, Link link, double now) except -1:
    """What was counted, and which numbers have come."""
    cdef int i
    cdef uint64_t most
    link.delivered = reader.number(8, 0, NEVER)
    link.arrived_count = reader.number(8, 0, NEVER)
    link.lost_count = reader.number(8, 0, NEVER)
    link.spurious_count = reader.number(8, 0, NEVER)
    reader.number(1, LINK_COUNTERS, LINK_COUNTERS)
    for i in range(<int>LINK_COUNTERS):
        link.counters[i] = reader.number(8, 0, NEVER)
    link.has_highest = reader.number(1, 0, 1)
    link.highest = reader.number(8, 0, NUMBER_MAX if link.has_highest else 0)
    for i in range(4):
        link.seen[i] = reader.number(8, 0, NEVER if link.has_highest else 0)
    link.highest_at = reader.time(now)
    link.told_floor = reader.number(8, 0, link.highest + 1 if link.has_highest else 0)
    link.late_floor = reader.number(8, 0, NEVER)
    link.late_until = reader.number(8, 0, NEVER)
    link.later_floor = reader.number(8, 0, NEVER)
    most = reader.number(1, 0, REFUSED_MAX)
    link.refused_count = <uint32_t>most
    for i in range(<int>most):
        link.refused[i] = reader.number(8, 1, NUMBER_MAX)
    return 0


cdef int read_path(Reader reader, Link link, double now) except -1:
    """What was measured of the path, and follows from it."""
    link.has_sample = reader.number(1, 0, 1)
    link.srtt = reader.real(0, SECONDS_MAX)
    link.rttvar = reader.real(0, SECONDS_MAX)
    link.min_rtt = reader.real(0, SECONDS_MAX)
    link.latest = reader.real(0, SECONDS_MAX)
    link.jitter = reader.real(0, SECONDS_MAX)
    link.loss = reader.real(0, 1)
    link.bandwidth = reader.real(0, BYTES_A_SECOND_MAX)
    link.bandwidth_at = reader.time(now)
    link.held = reader.real(0, SECONDS_MAX)
    link.reorder = reader.real(0, SECONDS_MAX)
    link.reorder_at = reader.time(now)
    link.congestion_window = <uint32_t>reader.number(4, MIN_WINDOW * DATAGRAM_MIN, 2 * SENT_MAX * DATAGRAM_MIN)
    link.threshold = <uint32_t>reader.number(4, MIN_WINDOW * DATAGRAM_MIN, 0xffffffff)
    link.datagram_bytes = <uint32_t>reader.number(2, DATAGRAM_MIN, DATAGRAM_MAX)
    link.probe_index = <int>reader.number(1, 0, PROBES)
    link.probe_at = reader.time(now + PROBE_SECONDS_MAX)
    return 0


# ---- an endpoint, and a server's leg

def dump_endpoint(LinkEndpoint endpoint not None):
    """The endpoint as bytes; it is ended by this. ValueError where it is closed already."""
    cdef Writer writer = Writer()
    write_link(writer, endpoint, KIND_ENDPOINT)
    writer.number(len(endpoint.messages), 4)
    for kind, stream, packet in endpoint.messages:
        writer.number(kind, 1)
        writer.number(stream, 2)
        writer.number(len(packet), 4)
        writer.out += packet
    end_here(endpoint)
    endpoint.messages.clear()
    return bytes(writer.out)


def restore_endpoint(bytes dump not None, double now):
    """The endpoint that was dumped; ValueError for what is no dump of one, or of another version."""
    cdef Reader reader = Reader(dump)
    cdef LinkEndpoint endpoint = <LinkEndpoint>read_link(reader, LinkEndpoint, KIND_ENDPOINT, now)
    cdef uint64_t count = reader.number(4, 0, 0xffffffff), length
    cdef int kind, stream
    while count:
        count -= 1
        kind = <int>reader.number(1, 0, UNORDERED)
        stream = <int>reader.number(2, 0, STREAM_MAX)
        length = reader.number(4, 1, MESSAGE_BYTES_MAX)
        endpoint.messages.append((kind, stream, PyBytes_FromStringAndSize(<const char*>reader.raw(length), length)))
    if reader.at != reader.end:
        raise damaged("it is longer than it says")
    return endpoint


cdef int claim(Links links, uint16_t slot) except -1:
    """Has a place in the table be nobody else's."""
    cdef uint32_t free = <uint32_t>len(links.legs)
    if slot < free:
        if links.legs[slot] is not None:
            raise ValueError("the place of a dumped link is taken")
        links.free_slots.remove(slot)
    else:
        links.legs.extend([None] * (slot + 1 - free))
        links.free_slots.extend(range(free, slot))
    return 0


def dump_leg(Links links not None, Leg leg not None):
    """See Links.dump_leg."""
    cdef Writer writer = Writer()
    if leg.links is not links:
        raise ValueError("only a leg of these links can be dumped")
    write_link(writer, leg, KIND_LEG)
    writer.real(leg.opened_at)
    writer.number(leg.established, 1)
    writer.number(leg.raw_size, 1)
    writer.raw(leg.raw_address, leg.raw_size)
    end_here(leg)
    links.forget(leg)                   # and the carrier hears nothing of its end
    return bytes(writer.out)


def restore_leg(Links links not None, bytes dump not None, double now):
    """See Links.restore_leg."""
    cdef Reader reader = Reader(dump)
    cdef Leg leg = <Leg>read_link(reader, Leg, KIND_LEG, now)
    cdef const uint8_t* address
    cdef uint32_t size
    cdef uint16_t family
    cdef bint established
    leg.opened_at = reader.time(now)
    established = reader.number(1, 0, 1)
    size = <uint32_t>reader.number(1, sizeof(family), ADDRESS_BYTES)
    address = reader.raw(size)
    memcpy(&family, address, sizeof(family))
    if not (family == AF_INET and size == sizeof(sockaddr_in)) and not (family == AF_INET6 and size == sizeof(sockaddr_in6)):
        raise damaged("an address that is none")
    if reader.at != reader.end:
        raise damaged("it is longer than it says")
    claim(links, load16(leg.header + 2))
    leg.established = established
    links.enter(leg, address, size)
    if established:
        leg.mark()
    links.earliest = min(links.earliest, leg.deadline if established else now)      # run_timers knows when exactly
    return leg
