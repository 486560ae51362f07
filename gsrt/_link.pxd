# The link at C level: what ciphers are made on, one connection's state, and what a server's relay makes of it (_relay).
# Contract: docs/LINK.md.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from gsrt._core cimport AckTracker, Sent
from gsrt._streams cimport Block, Node, Ring, Stream, Streams

cdef enum:
    HEADER_BYTES = 14
    DATAGRAM_MAX = 1472
    CONNECTION_BYTES = 8
    TYPE_DATA = 6
    CHANNELS = 16
    REFUSED_MAX = 16
    CLOSE_HANDED_OVER = -2      # no reason on the wire: this end goes on elsewhere
    DATAGRAM_MIN = 1200
    FRAGMENT_BYTES = 1100
    MESSAGE_BYTES_MAX = 262144
    MESSAGE_BYTES_MIN = FRAGMENT_BYTES
    RECEIVE_BYTES = 393216
    RECEIVE_BYTES_MIN = 65536
    STREAM_MAX = 4095
    MIN_WINDOW = 4
    PROBES = 4                  # sizes that are tried
    UNITS_MAX = 16384           # reliable frames that wait or are under way; more of them than bytes only if they are tiny
    NODE_BYTES = 40             # what a kept frame takes besides its bytes

    FRAME_MESSAGE = 0x80
    FRAME_LAST = 0x8b
    FRAME_TYPES = 0xccf         # which from FRAME_MESSAGE on there are, a bit each
    FLAG_UNORDERED = 1
    FLAG_BEGIN = 4
    FLAG_MORE = 8

cdef enum State:                # of a Unit
    FREE = 0
    WAITING                     # in a queue
    FLYING                      # in a datagram under way, at least one
    DONE                        # acknowledged while in a queue
    HELD                        # acknowledged, but not all pieces of the message that it begins

cdef enum Kind:                 # the low bits of a message's frame
    UNRELIABLE = 0
    SEQUENCED = 1
    ORDERED = 2
    UNORDERED = 3

cdef enum Counter:
    LINK_DATAGRAMS_IN = 0
    LINK_DATAGRAMS_OUT
    LINK_BYTES_IN
    LINK_BYTES_OUT
    LINK_ACKS_OUT               # datagrams that only acknowledge
    LINK_FORGED                 # they did not open
    LINK_REPLAYED
    LINK_MALFORMED
    LINK_NOT_TAKEN              # not acknowledged, for there was no room or the peer was over its rate
    LINK_DUPLICATES             # reliable frames that had come before
    LINK_STALE                  # sequenced messages that came behind a later one
    LINK_RESENT                 # reliable frames sent again
    LINK_REPEATED               # reliable frames sent twice in advance
    LINK_CONGESTED              # unreliable messages that the window had no room for
    LINK_COUNTERS


cdef class Cipher:
    cdef readonly uint32_t tag_bytes
    cdef int seal(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept
    cdef bint open(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept
    cdef bytes secrets(self)


cdef inline uint32_t most_stream(int kind, bint to_client) noexcept:
    """The highest stream of a kind, by direction."""
    return STREAM_MAX if to_client and kind != UNORDERED else 0 if kind == UNORDERED else CHANNELS - 1


cdef struct Unit:               # a reliable frame that is not acknowledged
    Block* block
    double due                  # of its repetition
    uint32_t offset
    uint32_t key
    uint32_t total              # bytes of the message, if it begins one of several frames; in the others the place of that
    uint32_t serial             # tells it from others that had the same place
    int32_t next
    uint16_t length
    uint16_t sequence
    uint16_t pieces             # of the message that it begins, not acknowledged
    uint8_t type
    uint8_t state
    uint8_t copies              # in datagrams under way


cdef struct Kept:               # before its turn, by all links of a server together
    uint64_t bytes
    uint64_t bytes_max
    void* first                 # the link that may go beyond; NULL: none does


cdef class Link(AckTracker):
    cdef readonly Cipher cipher
    cdef readonly bint is_client
    cdef readonly bint closed               # nothing is taken or put any more; CLOSE may still have to go out
    cdef readonly int close_reason
    cdef readonly str close_text
    cdef readonly double heard_at
    cdef double deadline                    # when handle_timer is to be called
    cdef uint8_t header[HEADER_BYTES]
    cdef uint32_t receive_bytes, message_bytes, peer_receive_bytes, peer_message_bytes
    cdef readonly uint32_t datagram_bytes   # of the path
    cdef bint fills_up                      # datagrams that others follow are as long as may be; see Links.segments
    cdef uint64_t counters[LINK_COUNTERS]
    cdef uint64_t* totals                   # counters of all links of a server, or NULL
    cdef Kept* kept_all                     # of all links of a server, or NULL
    # out
    cdef uint8_t* loose                     # unreliable frames of this flush, each with its length (2 bytes) in front
    cdef uint32_t loose_at, loose_size, loose_capacity
    cdef Unit* units
    cdef uint32_t unit_capacity
    cdef readonly uint32_t unit_count
    cdef int32_t unit_free
    cdef uint32_t serial
    cdef uint32_t turn_first, turn_last             # keys of streams with units that may be sent
    cdef int32_t again_first, again_last            # lost
    cdef readonly uint32_t waiting_bytes            # of reliable messages that are not acknowledged
    cdef readonly uint32_t flown_bytes              # of those that are begun; each as a whole
    cdef uint32_t refs_mark                         # where those of the datagram that is being made begin
    cdef Ring refs                                  # what the datagrams under way carry
    cdef Ring repeats                               # what is to be repeated
    cdef Streams sending
    cdef Streams sequences                          # of SEQUENCED messages, out
    cdef readonly uint32_t congestion_window
    cdef uint32_t threshold                         # of slow start
    cdef uint64_t recovery                          # numbers below it were sent before the last reaction to a loss
    cdef double pace_bytes, pace_at
    cdef readonly int pto_count                     # in a row
    cdef int pto_probes
    cdef bint asks_awaited
    cdef uint64_t asked                             # below it, datagrams under way were asked after
    cdef bint loose_led                             # the last datagram had unreliable frames while reliable ones waited
    cdef bint wants_ping
    cdef double elicited_at                         # when something that elicits was last sent
    cdef bint wants_response
    cdef uint8_t response[8]
    cdef int closes_left
    # datagram size
    cdef int probe_index, probe_attempts, large_lost
    cdef double probe_at
    cdef bint wants_probe, probe_flies
    # in
    cdef Streams receiving
    cdef Streams heard                              # of SEQUENCED messages, in
    cdef readonly uint32_t pending_bytes            # kept until what is missing has come
    cdef uint32_t begun_bytes                       # of ordered messages that are not whole
    cdef bint taking
    cdef int admitted                               # -1: not asked yet
    cdef uint64_t refused[REFUSED_MAX]              # numbers, plus 1, of the last datagrams that were not taken
    cdef uint32_t refused_count
    # another path
    cdef uint8_t challenge[8]
    cdef bint challenged
    cdef bint challenge_met                         # in the datagram that was taken last

    cdef bint put(self, int kind, uint32_t stream, const uint8_t* head, uint32_t head_size, const uint8_t* body,
                  uint32_t body_size, Block** shared) except -1
    cdef uint32_t pack(self, uint8_t* out, double now) except? 0xffffffff
    cdef uint32_t pack_challenge(self, uint8_t* out, const uint8_t* secret, double now) except? 0xffffffff
    cdef bint take(self, uint8_t* datagram, uint32_t size, double now) except -1
    cdef int on_timer(self, double now) except -1
    cdef int schedule(self, double now) except -1
    cdef int shut(self, int reason, str text) except -1
    cdef bint has_output(self, double now) noexcept
    cdef void new_path(self, double now) noexcept
    cdef bint admits(self, double now) except -1
    cdef int deliver(self, int kind, uint32_t stream, const uint8_t* packet, uint32_t size, double now) except -1

    cdef void count(self, int counter, uint64_t number) noexcept
    cdef bint put_loose(self, int kind, uint32_t stream, const uint8_t* head, uint32_t head_size, const uint8_t* body,
                        uint32_t body_size) except -1
    cdef int32_t add_unit(self, Stream* line, Block* block, uint32_t offset, uint32_t length, int type,
                          uint32_t total) except -1
    cdef void take_turn(self, Stream* line) noexcept
    cdef void leave_turn(self, Stream* line) noexcept
    cdef void free_unit(self, int32_t place) noexcept
    cdef int settle_all(self, uint32_t refs_at, uint32_t count) except -1
    cdef int settle(self, uint64_t reference) except -1
    cdef int lose(self, uint64_t reference) except -1
    cdef int react_to_loss(self, uint64_t number) except -1
    cdef uint32_t write_unit(self, uint8_t* at, uint32_t room, int32_t place) noexcept
    cdef int carry(self, int32_t place, bint first, double now) except -1
    cdef uint32_t carry_again(self, uint8_t* at, uint32_t room, int32_t place, int counter, double now) except? 0xffffffff
    cdef uint32_t fill_units(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff
    cdef uint32_t fill_repeats(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff
    cdef uint32_t fill_probe(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff
    cdef uint32_t fill_awaited(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff
    cdef bint is_carried(self, uint64_t reference, uint32_t begin) noexcept
    cdef uint32_t fill_flying(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff
    cdef uint32_t fill_loose(self, uint8_t* at, uint32_t room) except? 0xffffffff
    cdef int forget_loose(self) except -1
    cdef bint can_elicit(self) noexcept
    cdef double pace_rate(self) noexcept
    cdef Unit* unit_of(self, uint64_t reference) noexcept
    cdef void grow(self, const Sent* sent) noexcept
    cdef uint32_t fill_waiting(self, uint8_t* at, uint32_t room, double now) except? 0xffffffff
    cdef bint may_fly(self, const Stream* line, const Unit* unit) noexcept
    cdef bint has_pace(self, double now) noexcept
    cdef uint32_t finish(self, uint8_t* out, uint32_t size, int elicits, bint is_probe, double now) except? 0xffffffff
    cdef int broken(self, str why) except -1
    cdef bint was_refused(self, uint64_t number) noexcept
    cdef int take_frames(self, const uint8_t* at, const uint8_t* end, double now) except? -2
    cdef const uint8_t* take_control(self, const uint8_t* at, const uint8_t* end) except? NULL
    cdef const uint8_t* take_message(self, const uint8_t* at, const uint8_t* end, bint* taken, double now) except? NULL
    cdef bint take_reliable(self, int type, uint32_t stream, uint16_t sequence, uint32_t total, const uint8_t* bytes,
                            uint32_t length, double now) except -1
    cdef int keep_node(self, Stream* line, int type, uint16_t sequence, uint32_t total, const uint8_t* bytes,
                       uint32_t length) except -1
    cdef int take_sequenced(self, uint32_t stream, uint16_t sequence, const uint8_t* bytes, uint32_t length,
                            double now) except -1
    cdef bint has_room(self, uint32_t size, bint in_turn) noexcept
    cdef void keeps(self, int64_t size) noexcept
    cdef int take_in_turn(self, uint32_t key, int type, uint32_t total, const uint8_t* bytes, uint32_t length,
                          double now) except -1
    cdef int hand_on_pieces(self, Stream* line, Node** begin, Node* last, uint32_t total, double now) except -1
    cdef int take_kept(self, uint32_t key, double now) except -1
    cdef int join_unordered(self, uint32_t key, double now) except -1
    cdef int rest(self) except -1
    cdef int release(self) except -1


cdef class LinkEndpoint(Link):
    cdef object messages                            # deque of (kind, stream, packet)
