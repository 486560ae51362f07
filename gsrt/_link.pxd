# The link at C level: what ciphers are made on, and what the relay drives. Contract: docs/LINK.md.

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef class Cipher:
    cdef readonly uint32_t tag_bytes
    cdef int seal(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept
    cdef bint open(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept
