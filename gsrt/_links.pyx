"""A server's links: who is connected, and the way of their datagrams to and from one socket.

A `Leg` is the link of one player. `Links` finds it by the connection id of a datagram, sends what a tick has made for each in as
few datagrams as it fits, runs the timers, and moves a leg to another address once that has answered a challenge. Whose
packets they are is the carrier's to know: the relay. No clock: `now` is an argument (seconds). Contract: docs/LINK.md.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, ENOBUFS, EOPNOTSUPP, errno
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from gsrt._link cimport CONNECTION_BYTES, DATAGRAM_MAX, HEADER_BYTES, Kept, LINK_COUNTERS, Cipher, Link
from gsrt._sockets cimport (
    Address, MSG_DONTWAIT, address_text, gsrt_cut_into_segments, iovec, make_address, mmsghdr, same, sendmmsg, socklen_t,
)
from gsrt._wire cimport load16

from gsrt._link import COUNTER_NAMES

cdef enum:
    SEGMENTED_BYTES_MAX = 60000 # of one message; an IP packet has at most 65,535
    SLOTS_MAX = 65536           # they have two bytes of a connection id
    CHALLENGE_SIZE = HEADER_BYTES + 10      # without the tag
    CLOSE_LEFT = 0
    CLOSE_ENDED = 4

cdef double PENDING_SECONDS = 5.0
cdef double CHALLENGE_SECONDS = 0.5

LINKS_LIMITS = {"PENDING_SECONDS": PENDING_SECONDS, "CHALLENGE_SECONDS": CHALLENGE_SECONDS}


cdef class Carrier:

    cdef bint link_admits(self, Leg leg, double now) except -1:
        """Whether messages of that leg are taken now."""
        return True

    cdef int link_message(self, Leg leg, int kind, uint32_t stream, const uint8_t* packet, uint32_t size,
                          double now) except -1:
        """A message of an established leg."""
        return 0

    cdef int link_established(self, Leg leg, double now) except -1:
        """The client has shown that it has the keys."""
        return 0

    cdef int link_closed(self, Leg leg, double now) except -1:
        """An established leg was closed by the other side, or for a fault or silence of it."""
        return 0


@cython.final
cdef class Leg(Link):
    """One player's link on the server: what a Stream is for TCP."""

    kind = "link"               # the leg's name for logs and status
    is_websocket = False

    def __dealloc__(self):
        if self.links is not None:      # None where all are garbage: then its table may have gone before
            self.release()              # now, for with this reference the table may go
        self.kept_all = NULL
        self.totals = NULL

    @property
    def peer_name(self):
        """"ip:port" of where it is now."""
        return address_text(self.raw_address)

    @property
    def backlog(self):
        """Bytes that wait to go out or to be acknowledged."""
        return self.waiting_bytes

    def close(self, bint orderly=True, int reason=CLOSE_ENDED, str text=""):
        """Ends the connection; the client is told at the next flush."""
        if not self.closed:
            self.told = True
            self.member = None
            self.shut(reason, text)
            self.mark()

    def drop(self):
        """Forgets the connection without a word."""
        self.told = self.closed = True
        self.member = None
        self.links.forget(self)

    cdef int mark(self) except -1:
        """There is something for flush."""
        if not self.dirty:
            self.dirty = True
            self.links.dirty.append(self)
        return 0

    cdef bint admits(self, double now) except -1:
        if not self.established:
            self.established = True
            self.links.carrier.link_established(self, now)
        return not self.closed and self.links.carrier.link_admits(self, now)

    cdef int deliver(self, int kind, uint32_t stream, const uint8_t* packet, uint32_t size, double now) except -1:
        if self.closed:
            return 0
        return self.links.carrier.link_message(self, kind, stream, packet, size, now)


@cython.final
cdef class Links:
    """All legs of a server. `entropy(n)` gives n random bytes; `pending_max`: bytes that all of them together may keep of
    messages whose turn has not come."""

    def __cinit__(self, Carrier carrier not None, entropy, uint64_t pending_max):
        cdef int i
        self.carrier = carrier
        self.entropy = entropy
        self.kept = Kept(0, pending_max, NULL)
        self.legs = []
        self.free_slots = []
        self.dirty = []
        self.strays = []
        self.earliest = INFINITY
        memset(self.totals, 0, sizeof(self.totals))
        self.buffers = <uint8_t*>PyMem_Malloc(OUT_BATCH * DATAGRAM_MAX)
        if self.buffers == NULL:
            raise MemoryError
        self.segments = True
        for i in range(OUT_BATCH):
            self.parts[i].iov_base = self.buffers + i * DATAGRAM_MAX

    def __dealloc__(self):
        PyMem_Free(self.buffers)

    def counts(self):
        """All counters by name, of all legs that there ever were."""
        counts = {COUNTER_NAMES[i]: self.totals[i] for i in range(<int>LINK_COUNTERS)}
        counts.update(link_unsent=self.unsent, link_unknown=self.unknown, link_moved=self.moved)
        return counts

    def open(self, bytes address not None, Cipher cipher not None, double now, *, receive_bytes, message_bytes,
             peer_receive_bytes, peer_message_bytes):
        """A new leg for who has proved a token from `address` (a sockaddr); the carrier hears of it when the client has shown
        that it has the keys. None: as many as there can be are open."""
        cdef Leg leg
        cdef int slot
        if self.free_slots:
            slot = self.free_slots.pop()
        elif len(self.legs) < SLOTS_MAX:
            slot = <int>len(self.legs)
            self.legs.append(None)
        else:
            return None
        leg = Leg(cipher, slot.to_bytes(2, "little") + self.entropy(CONNECTION_BYTES - 2), now, is_client=False,
                  receive_bytes=receive_bytes, message_bytes=message_bytes, peer_receive_bytes=peer_receive_bytes,
                  peer_message_bytes=peer_message_bytes)
        leg.opened_at = now
        self.enter(leg, <const uint8_t*>PyBytes_AS_STRING(address), <socklen_t>PyBytes_GET_SIZE(address))
        self.earliest = min(self.earliest, now + PENDING_SECONDS)
        return leg

    cdef int enter(self, Leg leg, const uint8_t* address, socklen_t size) except -1:
        """A leg takes the place in the table that its connection id names, which is free."""
        leg.links = self
        leg.slot = load16(leg.header + 2)
        leg.challenged_at = -INFINITY
        leg.totals = self.totals
        leg.kept_all = &self.kept
        self.kept.bytes += leg.pending_bytes
        leg.raw_size = size
        memcpy(leg.raw_address, address, size)
        make_address(leg.raw_address, &leg.address)
        self.legs[leg.slot] = leg
        self.count += 1
        return 0

    def dump_leg(self, Leg leg not None):
        """A leg as bytes, its keys among them, for restore_leg of another process of the same boot. It is ended here without a
        word: nothing more of it is sent or taken, and the carrier is not told. Its carrier, owner, bad network
        and unreliable frames that wait are not in it. ValueError where it is closed, or taking a datagram."""
        from gsrt._linkdump import dump_leg
        return dump_leg(self, leg)

    def restore_leg(self, bytes dump not None, double now):
        """The leg that was dumped, with its connection id, without a member yet; `dump` is good for one time. What
        was not acknowledged goes out again with the next flush. Before it has a member, it should take no datagram.
        ValueError for bytes that are no dump of a leg, or of another version, or where its place is taken."""
        from gsrt._linkdump import restore_leg
        return restore_leg(self, dump, now)

    def answer(self, bytes address not None, bytes datagram not None):
        """A datagram to whoever is there goes out with the next flush."""
        self.strays.append((address, datagram))

    cdef bint has_output(self) noexcept:
        return len(self.dirty) > 0 or len(self.strays) > 0

    cdef int forget(self, Leg leg) except -1:
        """It is no more."""
        if self.legs[leg.slot] is leg:
            self.legs[leg.slot] = None
            self.free_slots.append(leg.slot)
            self.count -= 1
            leg.closed = leg.told = True
            leg.release()
        return 0

    cdef int settle(self, Leg leg, double now) except -1:
        """After something has happened to it: the carrier is told of its end, flush and timers of what there is to do."""
        if leg.closed:
            if not leg.told:
                leg.told = True
                if leg.established:
                    self.carrier.link_closed(leg, now)
            if leg.closes_left:
                leg.mark()
            elif not leg.dirty:
                self.forget(leg)
            return 0
        if leg.has_output(now):
            leg.mark()
        if leg.deadline < self.earliest:
            self.earliest = leg.deadline
        return 0

    cdef int take(self, uint8_t* datagram, uint32_t size, const uint8_t* raw_address, socklen_t raw_size, double now) except -1:
        """A DATA datagram."""
        cdef Leg leg
        cdef uint32_t slot
        if size < HEADER_BYTES or size > DATAGRAM_MAX:
            self.unknown += 1
            return 0
        slot = load16(datagram + 2)
        if slot >= <uint32_t>len(self.legs) or self.legs[slot] is None:
            self.unknown += 1
            return 0
        leg = <Leg>self.legs[slot]
        if memcmp(datagram + 2, leg.header + 2, CONNECTION_BYTES):
            self.unknown += 1
            return 0
        if leg.bad_up is not None:
            leg.bad_up.put(PyBytes_FromStringAndSize(<const char*>datagram, size), now)
            return 0
        return self.receive(leg, datagram, size, raw_address, raw_size, now)

    cdef int release_impaired(self, Leg leg, double now) except -1:
        """Hands on what has come through the bad network that somebody has put before this leg."""
        cdef uint8_t copy[DATAGRAM_MAX]
        cdef bytes datagram
        if leg.bad_up is not None:
            for datagram in leg.bad_up.take(now):
                memcpy(copy, PyBytes_AS_STRING(datagram), PyBytes_GET_SIZE(datagram))
                self.receive(leg, copy, <uint32_t>PyBytes_GET_SIZE(datagram), leg.raw_address, leg.raw_size, now)
        if leg.bad_down is not None:
            for datagram in leg.bad_down.take(now):
                self.strays.append((PyBytes_FromStringAndSize(<const char*>leg.raw_address, leg.raw_size), datagram))
        return 0

    cdef int receive(self, Leg leg, uint8_t* datagram, uint32_t size, const uint8_t* raw_address, socklen_t raw_size,
                     double now) except -1:
        cdef Address address
        cdef uint64_t highest
        cdef bint is_first, is_newest
        highest = leg.highest
        is_first = not leg.has_highest
        if leg.take(datagram, size, now):
            if not leg.established and not leg.closed:
                leg.admits(now)
            is_newest = is_first or leg.highest > highest
            make_address(raw_address, &address)
            if not same(&address, &leg.address) and not leg.closed:
                if leg.challenge_met and same(&address, &leg.candidate):
                    leg.address = address
                    leg.raw_size = raw_size
                    memcpy(leg.raw_address, raw_address, raw_size)
                    leg.challenged = False
                    leg.new_path(now)
                    self.moved += 1
                elif is_newest and now >= leg.challenged_at + CHALLENGE_SECONDS:
                    self.challenge(leg, size, raw_address, raw_size, &address, now)
        return self.settle(leg, now)

    cdef int challenge(self, Leg leg, uint32_t size, const uint8_t* raw_address, socklen_t raw_size, const Address* address,
                       double now) except -1:
        """Asks at another address whether the client is there; nothing else goes there meanwhile."""
        cdef uint8_t out[DATAGRAM_MAX]
        cdef bytes secret
        cdef uint32_t length
        if size < CHALLENGE_SIZE + leg.cipher.tag_bytes:
            return 0
        secret = self.entropy(8)
        length = leg.pack_challenge(out, <const uint8_t*>PyBytes_AS_STRING(secret), now)
        if length:
            leg.challenged_at = now
            leg.candidate = address[0]
            self.strays.append((PyBytes_FromStringAndSize(<const char*>raw_address, raw_size),
                                PyBytes_FromStringAndSize(<const char*>out, length)))
        return 0

    cdef int run_timers(self, double now) except -1:
        """Does what is due for any of them."""
        cdef Leg leg
        cdef double earliest = INFINITY
        if now < self.earliest:
            return 0
        self.earliest = INFINITY            # settle() lowers it for what it sees
        for each in list(self.legs):
            if each is None:
                continue
            leg = <Leg>each
            if not leg.established:         # nothing is sent to who has not shown that it has the keys
                if now >= leg.opened_at + PENDING_SECONDS:
                    self.forget(leg)
                else:
                    earliest = min(earliest, leg.opened_at + PENDING_SECONDS)
                continue
            if now >= leg.deadline:
                leg.on_timer(now)
                self.settle(leg, now)
            if not leg.closed:
                earliest = min(earliest, leg.deadline)
        self.earliest = min(self.earliest, earliest)
        return 0

    cdef int flush(self, int fd, double now) except -1:
        """Sends what this tick has made."""
        cdef Leg leg
        cdef uint32_t size
        cdef bytes address, datagram
        if self.dirty:
            dirty = self.dirty
            self.dirty = []
            for each in dirty:
                leg = <Leg>each
                leg.dirty = False
                leg.fills_up = self.segments
                while True:
                    if self.filled == OUT_BATCH:
                        self.send_batch(fd)
                    size = leg.pack(self.buffers + self.filled * DATAGRAM_MAX, now)
                    if size == 0:
                        break
                    if leg.bad_down is not None and not leg.closed:
                        leg.bad_down.put(PyBytes_FromStringAndSize(
                            <const char*>self.buffers + self.filled * DATAGRAM_MAX, size), now)
                        continue
                    self.add_part(size, leg.raw_address, leg.raw_size)
                if leg.closed:
                    self.send_batch(fd)     # while its address is there
                    self.forget(leg)
                    continue
                leg.forget_loose()
                leg.schedule(now)
                if leg.deadline < self.earliest:
                    self.earliest = leg.deadline
        self.send_batch(fd)
        if self.strays:
            strays = self.strays
            self.strays = []
            for address, datagram in strays:
                if self.filled == OUT_BATCH:
                    self.send_batch(fd)
                memcpy(self.buffers + self.filled * DATAGRAM_MAX, PyBytes_AS_STRING(datagram), PyBytes_GET_SIZE(datagram))
                self.add_part(<uint32_t>PyBytes_GET_SIZE(datagram), PyBytes_AS_STRING(address),
                              <socklen_t>PyBytes_GET_SIZE(address))
            self.send_batch(fd)
        return 0

    cdef void add_part(self, uint32_t size, const void* to, socklen_t to_size) noexcept:
        """The datagram in the next buffer is to go out."""
        self.parts[self.filled].iov_len = size
        self.to[self.filled] = to
        self.to_size[self.filled] = to_size
        self.filled += 1

    cdef int gather(self, int first) noexcept:
        """Messages of the datagrams from `first` on: how many. Those to one address that are equally long, and a shorter
        one behind them, are one message."""
        cdef int count = 0, last
        cdef size_t total
        while first < self.filled:
            last = first
            total = self.parts[first].iov_len
            while (self.segments and last + 1 < self.filled and self.to[last + 1] == self.to[first]
                    and self.parts[last].iov_len == self.parts[first].iov_len
                    and self.parts[last + 1].iov_len <= self.parts[first].iov_len
                    and total + self.parts[last + 1].iov_len <= SEGMENTED_BYTES_MAX):
                last += 1
                total += self.parts[last].iov_len
            self.first_part[count] = first
            memset(&self.outgoing[count], 0, sizeof(mmsghdr))
            self.outgoing[count].msg_hdr.msg_name = <void*>self.to[first]
            self.outgoing[count].msg_hdr.msg_namelen = self.to_size[first]
            self.outgoing[count].msg_hdr.msg_iov = &self.parts[first]
            self.outgoing[count].msg_hdr.msg_iovlen = last - first + 1
            if last > first:
                gsrt_cut_into_segments(&self.outgoing[count].msg_hdr, self.controls[count],
                                       <uint16_t>self.parts[first].iov_len)
            count += 1
            first = last + 1
        return count

    cdef int send_batch(self, int fd) except -1:
        """Hands the kernel what was gathered. What it does not take is lost, as any datagram may be: what matters of it is sent
        again."""
        cdef int first = 0, count, at, sent
        while first < self.filled:
            count = self.gather(first)
            at = 0
            while at < count:
                sent = sendmmsg(fd, self.outgoing + at, count - at, MSG_DONTWAIT)
                if sent > 0:
                    at += sent
                elif errno == EAGAIN or errno == ENOBUFS:
                    self.unsent += self.filled - self.first_part[at]
                    self.filled = 0
                    return 0
                elif self.outgoing[at].msg_hdr.msg_controllen and (errno == EINVAL or errno == EIO or errno == EOPNOTSUPP):
                    self.segments = False           # not with this kernel or device: from here on one by one
                    break
                elif errno != EINTR:
                    self.unsent += self.outgoing[at].msg_hdr.msg_iovlen
                    at += 1
            first = self.first_part[at] if at < count else self.filled
        self.filled = 0
        return 0
