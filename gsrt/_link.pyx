"""The gsrt link: one connection's state, without sockets and clock. Contract: docs/LINK.md."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef class Cipher:
    """Suite 0: datagrams go as they are."""

    cdef int seal(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept:
        return 0

    cdef bint open(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept:
        return True
