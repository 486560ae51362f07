# A server's links at C level: who is connected, and the way of their datagrams to and from one socket. Contract: docs/LINK.md.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from gsrt._link cimport DATAGRAM_MAX, LINK_COUNTERS, Kept, Link
from gsrt._sockets cimport Address, GSRT_SEGMENT_CONTROL, iovec, mmsghdr, socklen_t

cdef enum:
    ADDRESS_BYTES = 28          # sockaddr_in6
    OUT_BATCH = 64              # datagrams that a system call sends


cdef class Carrier:
    """What the links hand on to. A base: what it does is its subclass's."""
    cdef bint link_admits(self, Leg leg, double now) except -1
    cdef int link_message(self, Leg leg, int kind, uint32_t stream, const uint8_t* packet, uint32_t size,
                          double now) except -1
    cdef int link_established(self, Leg leg, double now) except -1
    cdef int link_closed(self, Leg leg, double now) except -1


cdef class Leg(Link):
    cdef readonly Links links
    cdef public object owner                # whatever the handler keeps with it
    cdef object member                      # the carrier's
    cdef readonly double opened_at
    cdef readonly bint established          # the client has shown that it has the keys
    cdef bint dirty
    cdef object bad_up, bad_down            # a bad network in between, to try the game on: BadLinks, or None
    cdef bint told                          # the carrier knows that it is closed
    cdef uint16_t slot
    cdef Address address
    cdef uint8_t raw_address[ADDRESS_BYTES]
    cdef socklen_t raw_size
    cdef Address candidate                  # from where datagrams have come, too
    cdef uint8_t raw_candidate[ADDRESS_BYTES]
    cdef socklen_t raw_candidate_size
    cdef double challenged_at
    cdef int mark(self) except -1


cdef class Links:
    cdef readonly double earliest           # nothing is due before
    cdef readonly int count
    cdef Carrier carrier
    cdef object entropy
    cdef list legs                          # by slot; None where it is free
    cdef list free_slots
    cdef list dirty                         # with something for flush
    cdef list strays                        # (address, datagram) that belong to no leg, or go elsewhere
    cdef uint64_t totals[LINK_COUNTERS]
    cdef Kept kept
    cdef readonly uint64_t unsent, unknown, moved
    cdef uint8_t* buffers
    cdef iovec parts[OUT_BATCH]             # a datagram each
    cdef const void* to[OUT_BATCH]          # where it goes: one pointer for one address
    cdef socklen_t to_size[OUT_BATCH]
    cdef int filled
    cdef mmsghdr outgoing[OUT_BATCH]
    cdef int first_part[OUT_BATCH]          # of each message
    cdef uint8_t controls[OUT_BATCH][GSRT_SEGMENT_CONTROL]
    cdef readonly bint segments             # the kernel takes several datagrams to one address as one message

    cdef bint has_output(self) noexcept
    cdef int take(self, uint8_t* datagram, uint32_t size, const uint8_t* raw_address, socklen_t raw_size, double now) except -1
    cdef int receive(self, Leg leg, uint8_t* datagram, uint32_t size, const uint8_t* raw_address, socklen_t raw_size,
                     double now) except -1
    cdef int release_impaired(self, Leg leg, double now) except -1
    cdef int challenge(self, Leg leg, uint32_t size, const uint8_t* raw_address, socklen_t raw_size, const Address* address,
                       double now) except -1
    cdef int flush(self, int fd, double now) except -1
    cdef int send_batch(self, int fd) except -1
    cdef int gather(self, int first) noexcept
    cdef void add_part(self, uint32_t size, const void* to, socklen_t to_size) noexcept
    cdef int forget(self, Leg leg) except -1
    cdef int settle(self, Leg leg, double now) except -1
    cdef int run_timers(self, double now) except -1
    cdef int enter(self, Leg leg, const uint8_t* address, socklen_t size) except -1
