# What the relay shows to other compiled modules: the place where a packet can be looked at before anyone gets it.

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from gsrt._wire cimport Header

cdef enum Verdict:
    PASSES = 0          # on to its targets, as it came
    CANCELLED           # nobody gets it
    REPLACED            # Interceptor.replacement goes on in its place

cdef enum:
    SMALL_OP_CODES = 1024
    SMALL_WORDS = 16


cdef class Interceptor:
    cdef uint64_t small[SMALL_WORDS]           # wanted opCodes, a bit each
    cdef set others                             # wanted opCodes from SMALL_OP_CODES on
    cdef bint every                             # whatever the opCode
    cdef readonly bint is_behind                # it has used up its time in this turn: what is for its room has to wait
    cdef readonly bint is_late                  # it is behind since the turn before: others come first
    cdef public uint64_t took                   # bytes of memory that its calls took; who counts them sets it back
    cdef bytes replacement                      # a whole packet in normal form, with its targets
    cdef bint wants(self, int32_t op_code)
    cdef int packet(self, int sender, const Header* header, const uint8_t* packet, uint32_t size, bint reliable,
                    double now) except -1
