# What a link is made of, at C level: messages that several links share, streams, the frames that wait for their turn, rings of
# references. Contract: docs/LINK.md. Only memory and arithmetic; what it is for is the link's (_link) to know.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    SEQUENCE_WINDOW = 512

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void* at) noexcept nogil      # of gcc and clang: has no effect but on time


cdef struct Block:              # the bytes of a message, as many links as it goes to share them
    uint32_t users
    uint32_t size
    uint8_t bytes[1]


cdef struct Node:               # a reliable frame that came before its turn
    Node* next
    uint32_t total
    uint16_t length
    uint16_t sequence
    uint8_t type
    uint8_t bytes[1]


cdef struct Stream:
    uint32_t key                # 1 + 2 x stream + 1 if unordered; 0: the place is free
    uint16_t base               # the lowest that is not acknowledged, or has not come
    uint16_t next               # the next to be sent
    uint64_t bits[8]            # of SEQUENCE_WINDOW: acknowledged, or come; at sequence modulo the window
    Node* first                 # by sequence
    Node* last
    uint8_t* whole              # a message of several frames, so far
    uint32_t whole_size
    uint32_t whole_capacity
    uint32_t whole_total        # 0: none is being put together
    int32_t waiting_first       # units that were never sent
    int32_t waiting_last
    uint32_t turn_next          # key of the stream whose turn is next
    uint8_t in_turn


cdef struct Resting:            # a stream with which nothing is going on
    uint32_t key
    uint16_t base
    uint16_t next


cdef struct Streams:
    Stream* places              # NULL: there are none, or all of them rest
    uint32_t mask
    uint32_t count
    Resting* resting


cdef struct Ring:               # of unit references: place and serial
    uint64_t* at
    uint32_t mask
    uint32_t tail
    uint32_t head


cdef inline Block* make_block(const uint8_t* head, uint32_t head_size, const uint8_t* body, uint32_t body_size) except NULL:
    """The bytes of a message, with one user."""
    cdef Block* block = <Block*>PyMem_Malloc(sizeof(Block) + head_size + body_size)
    if block == NULL:
        raise MemoryError
    block.users = 1
    block.size = head_size + body_size
    memcpy(block.bytes, head, head_size)
    if body_size:
        memcpy(block.bytes + head_size, body, body_size)
    return block


cdef inline void release_block(Block* block) noexcept:
    """One user less."""
    block.users -= 1
    if block.users == 0:
        PyMem_Free(block)


cdef inline uint32_t home_of(const Streams* streams, uint32_t key) noexcept:
    """Where the search for a key begins."""
    return ((key * <uint32_t>0x9E3779B1) >> 16) & streams.mask


cdef inline uint32_t free_place(const Streams* streams, uint32_t key) noexcept:
    """Where a key that is not there goes."""
    cdef uint32_t at = home_of(streams, key)
    while streams.places[at].key:
        at = (at + 1) & streams.mask
    return at


cdef inline int wake_streams(Streams* streams) except -1:
    """All of them have their places again."""
    cdef Resting* resting = streams.resting
    cdef uint32_t i, count = streams.count
    cdef Stream* line
    streams.resting = NULL
    streams.count = 0
    try:
        for i in range(count):
            line = make_stream(streams, resting[i].key)
            line.base = resting[i].base
            line.next = resting[i].next
    finally:
        PyMem_Free(resting)
    return 0


cdef inline bint rests(const Stream* stream) noexcept:
    """Whether base and next are all that is to be known of it."""
    cdef int word
    for word in range(8):
        if stream.bits[word]:
            return False
    return stream.first == NULL and stream.whole_total == 0 and stream.waiting_first < 0 and not stream.in_turn


cdef inline int rest_streams(Streams* streams) except -1:
    """Has all of them rest, if each one can: eight bytes for each, until one of them is needed again."""
    cdef uint32_t i, count = 0
    cdef Resting* resting
    if streams.places == NULL:
        return 0
    for i in range(streams.mask + 1):
        if streams.places[i].key and not rests(&streams.places[i]):
            return 0
    resting = <Resting*>PyMem_Malloc(streams.count * sizeof(Resting))
    if resting == NULL:
        raise MemoryError
    for i in range(streams.mask + 1):
        if streams.places[i].key:
            resting[count].key = streams.places[i].key
            resting[count].base = streams.places[i].base
            resting[count].next = streams.places[i].next
            count += 1
    PyMem_Free(streams.places)
    streams.places = NULL
    streams.mask = 0
    streams.resting = resting
    return 0


cdef inline Stream* find_stream(Streams* streams, uint32_t key) except? NULL:
    """The stream of that key, or NULL."""
    cdef uint32_t at
    if streams.places == NULL:
        if streams.resting == NULL:
            return NULL
        wake_streams(streams)
    at = home_of(streams, key)
    while streams.places[at].key:
        if streams.places[at].key == key:
            return &streams.places[at]
        at = (at + 1) & streams.mask
    return NULL


cdef inline Stream* make_stream(Streams* streams, uint32_t key) except NULL:
    """The stream of that key, new if it must be. Pointers to others are void then."""
    cdef Stream* found = find_stream(streams, key)      # which wakes them
    cdef Streams grown
    cdef uint32_t i, at
    if found != NULL:
        return found
    if streams.places == NULL or (streams.count + 1) * 4 > (streams.mask + 1) * 3:
        grown.mask = streams.mask * 2 + 1 if streams.places != NULL else 1
        grown.count = streams.count
        grown.resting = NULL
        grown.places = <Stream*>PyMem_Malloc((grown.mask + 1) * sizeof(Stream))
        if grown.places == NULL:
            raise MemoryError
        memset(grown.places, 0, (grown.mask + 1) * sizeof(Stream))
        if streams.places != NULL:
            for i in range(streams.mask + 1):
                if streams.places[i].key:
                    grown.places[free_place(&grown, streams.places[i].key)] = streams.places[i]
            PyMem_Free(streams.places)
        streams[0] = grown
    at = free_place(streams, key)
    streams.places[at].key = key
    streams.places[at].waiting_first = streams.places[at].waiting_last = -1
    streams.count += 1
    return &streams.places[at]


cdef inline bint has_bit(const Stream* stream, uint16_t sequence) noexcept:
    return (stream.bits[(sequence & (SEQUENCE_WINDOW - 1)) >> 6] >> (sequence & 63)) & 1


cdef inline void set_bit(Stream* stream, uint16_t sequence) noexcept:
    stream.bits[(sequence & (SEQUENCE_WINDOW - 1)) >> 6] |= <uint64_t>1 << (sequence & 63)


cdef inline void clear_bit(Stream* stream, uint16_t sequence) noexcept:
    stream.bits[(sequence & (SEQUENCE_WINDOW - 1)) >> 6] &= ~(<uint64_t>1 << (sequence & 63))


cdef inline bint is_in_window(const Stream* stream, uint16_t sequence) noexcept:
    return <uint16_t>(sequence - stream.base) < SEQUENCE_WINDOW


cdef inline void move_base(Stream* stream) noexcept:
    """Behind all that has its bit set."""
    while has_bit(stream, stream.base):
        clear_bit(stream, stream.base)
        stream.base += 1


cdef inline int ring_put(Ring* ring, uint64_t value, uint32_t most) except -1:
    """Appends; the oldest gives way in a ring of `most` (a power of two). What is behind the tail stays readable until it is
    overwritten; where nothing was written there are zeros."""
    cdef uint64_t* grown
    cdef uint32_t capacity, i
    if ring.at == NULL or ring.head - ring.tail > ring.mask:
        if ring.at != NULL and ring.mask + 1 >= most:
            ring.tail += 1
        else:
            capacity = (ring.mask + 1) * 2 if ring.at != NULL else 16
            grown = <uint64_t*>PyMem_Malloc(capacity * sizeof(uint64_t))
            if grown == NULL:
                raise MemoryError
            memset(grown, 0, capacity * sizeof(uint64_t))
            if ring.at != NULL:
                i = ring.head - ring.mask - 1
                while i != ring.head:
                    grown[i & (capacity - 1)] = ring.at[i & ring.mask]
                    i += 1
                PyMem_Free(ring.at)
            ring.at = grown
            ring.mask = capacity - 1
    ring.at[ring.head & ring.mask] = value
    ring.head += 1
    return 0


cdef inline void free_ring(Ring* ring) noexcept:
    """Gives memory back. It goes on counting: what was in it is not taken for what will be."""
    PyMem_Free(ring.at)
    ring.at = NULL
    ring.mask = 0
    ring.tail = ring.head


cdef inline void free_streams(Streams* streams) noexcept:
    cdef uint32_t i
    cdef Node* node
    PyMem_Free(streams.resting)
    streams.resting = NULL
    if streams.places == NULL:
        streams.count = 0
        return
    for i in range(streams.mask + 1):
        while streams.places[i].first != NULL:
            node = streams.places[i].first
            streams.places[i].first = node.next
            PyMem_Free(node)
        PyMem_Free(streams.places[i].whole)
    PyMem_Free(streams.places)
    streams.places = NULL
    streams.mask = streams.count = 0


cdef inline const uint8_t* read_number(const uint8_t* at, const uint8_t* end, uint32_t* value) noexcept:
    """A varint of at most four bytes: the position behind it, or NULL."""
    cdef uint32_t result = 0
    cdef int shift = 0
    while at < end and shift < 28:
        result |= <uint32_t>(at[0] & 0x7f) << shift
        if at[0] < 0x80:
            value[0] = result
            return at + 1
        at += 1
        shift += 7
    return NULL
