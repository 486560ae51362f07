# The tracking of acknowledgements at C level, for the link that is made on it (_link). Contract: docs/LINK.md, sections 4 and 5.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    ACK_WINDOW = 256            # numbers below the highest received that are remembered
    ACK_BYTES_MAX = 40          # of an acknowledgement block, rounded up
    SENT_MAX = 1024             # datagrams under way; more is more than any window that a game's link reaches

cdef enum Elicits:
    ELICITS_NO = 0
    ELICITS_LATER = 1
    ELICITS_SOON = 2

cdef enum Fate:
    FATE_NONE = 0
    FATE_FLYING
    FATE_ARRIVED
    FATE_LOST

cdef struct Sent:               # a datagram that was sent
    uint64_t number
    double at
    uint64_t delivered          # bytes acknowledged by then
    uint64_t told               # one more than the highest number that it acknowledged; 0: none
    uint32_t size               # 0 where it elicits nothing
    uint32_t refs_at            # whose is what it carries: Link.refs, counted from the first there ever was
    uint16_t refs
    uint8_t fate
    uint8_t elicits
    uint8_t is_probe            # of a datagram size


cdef class AckTracker:
    # what was sent
    cdef readonly uint64_t next_number
    cdef uint64_t oldest                    # nothing below it is under way
    cdef readonly uint64_t largest_acked    # valid with has_acked
    cdef bint has_acked
    cdef Sent* sent
    cdef uint32_t sent_mask
    cdef readonly uint64_t in_flight        # bytes
    cdef uint32_t flying_soon
    cdef uint32_t flying_later
    cdef double soon_at                     # since when an acknowledgement of what elicits soon is waited for
    cdef double later_at
    cdef uint64_t flight_before             # bytes in flight before the acknowledgement that is being read
    cdef uint64_t path_first                # lower numbers were sent on another path
    cdef Sent unrecorded
    cdef double lost_due                    # when the next may be taken for lost
    cdef readonly uint64_t delivered        # bytes acknowledged
    cdef readonly uint64_t arrived_count
    cdef readonly uint64_t lost_count
    cdef readonly uint64_t spurious_count   # taken for lost, and acknowledged after all
    # what was received
    cdef readonly uint64_t highest          # valid with has_highest
    cdef bint has_highest
    cdef uint64_t seen[4]                   # bit K: highest - 1 - K has come
    cdef double highest_at
    cdef readonly uint64_t told_floor       # the other side knows of all below
    cdef uint64_t late_floor                # the least of what came late and is told by numbers from late_until on only
    cdef uint64_t late_until
    cdef uint64_t later_floor               # of what came late after late_until was set
    cdef double ack_due
    cdef uint32_t unacked_soon
    cdef uint32_t unacked_later
    # estimates
    cdef readonly bint has_sample
    cdef readonly double srtt, rttvar, min_rtt, latest, jitter, loss, bandwidth
    cdef readonly double held               # how long acknowledgements take beyond a round trip, at their longest
    cdef double bandwidth_at
    cdef readonly double reorder
    cdef double reorder_at

    cdef int concluded(self, Sent* sent, bint arrived, double now) except -1
    cdef Sent* note_sent(self, uint32_t size, int elicits, double now) except NULL
    cdef bint may_send(self) noexcept
    cdef int acknowledge(self, uint64_t number, double now) except -1
    cdef void raise_floor(self, const Sent* record) noexcept
    cdef void land(self, Sent* record) noexcept
    cdef double lost_after(self) noexcept
    cdef void sample(self, double seconds, double delay) noexcept
    cdef void see_bandwidth(self, double bytes_per_second, double now) noexcept
    cdef void shift_seen(self, uint64_t distance) noexcept
    cdef int take_ack(self, const uint8_t* block, uint32_t size, double now) except? -2
    cdef int detect_lost(self, double now) except -1
    cdef int give_up(self, uint64_t number, double now) except -1
    cdef void skip_settled(self) noexcept
    cdef int shrink(self) except -1
    cdef double pto(self) noexcept
    cdef double pto_due(self, int count) noexcept
    cdef uint64_t widen(self, uint32_t low) noexcept
    cdef bint is_fresh(self, uint64_t number) noexcept
    cdef void note_received(self, uint64_t number, int elicits, double now) noexcept
    cdef void note_refused(self, double now) noexcept
    cdef uint32_t write_ack(self, uint8_t* at, double now) noexcept
    cdef void reset_path(self) noexcept
