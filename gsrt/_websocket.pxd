# WebSocket frames at C level (RFC 6455 section 5.2), the server's side: a client's frames taken apart, ours begun.
# Pure: nothing here allocates, calls Python or reads past `end`.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    OP_CONTINUATION = 0
    OP_TEXT = 1
    OP_BINARY = 2
    OP_CLOSE = 8
    OP_PING = 9
    OP_PONG = 10

    CONTROL_MAX = 125       # bytes in a control frame
    HEAD_MAX = 10           # bytes of the longest head that we write

# What scan_frame finds.
cdef enum FrameState:
    FRAME_WHOLE = 0
    FRAME_MORE              # not all of it is there
    FRAME_BAD               # unmasked, reserved bits, or a control frame too long or in pieces
    FRAME_OVER              # longer than the limit

cdef struct Frame:
    int op_code
    bint last               # of its message
    uint8_t* mask
    uint8_t* body
    uint32_t length


cdef inline int scan_frame(uint8_t* at, const uint8_t* end, uint32_t limit, Frame* frame) noexcept nogil:
    """The frame that begins at `at`, with at most `limit` bytes in it unless it is a control frame: a FrameState. Its
    mask is not taken off."""
    cdef uint64_t length
    cdef int i
    if end - at < 2:
        return FRAME_MORE
    if at[0] & 0x70 or not at[1] & 0x80:
        return FRAME_BAD
    frame.op_code = at[0] & 0x0f
    frame.last = (at[0] & 0x80) != 0
    length = at[1] & 0x7f
    if frame.op_code >= OP_CLOSE and (not frame.last or length > CONTROL_MAX):
        return FRAME_BAD
    frame.mask = at + 2
    if length == 126:
        if end - at < 4:
            return FRAME_MORE
        length = <uint64_t>at[2] << 8 | at[3]
        frame.mask = at + 4
    elif length == 127:
        if end - at < 10:
            return FRAME_MORE
        length = 0
        for i in range(8):
            length = length << 8 | at[2 + i]
        frame.mask = at + 10
    if length > limit and frame.op_code < OP_CLOSE:
        return FRAME_OVER
    frame.length = <uint32_t>length
    frame.body = frame.mask + 4
    return FRAME_WHOLE if end - frame.mask >= <long>length + 4 else FRAME_MORE


cdef inline void unmask(const Frame* frame) noexcept nogil:
    """Takes the mask off a whole frame, in place."""
    cdef uint8_t* at = frame.body
    cdef uint32_t left = frame.length, i
    cdef uint64_t mask, word
    memcpy(&mask, frame.mask, 4)
    memcpy(<uint8_t*>&mask + 4, frame.mask, 4)
    while left >= 8:
        memcpy(&word, at, 8)        # not through a cast pointer: 32-bit ARM faults where it is not aligned
        word ^= mask
        memcpy(at, &word, 8)
        at += 8
        left -= 8
    for i in range(left):
        at[i] ^= frame.mask[i & 3]


cdef inline uint32_t write_head(uint8_t* at, int op_code, uint32_t length) noexcept nogil:
    """The head of one whole message, at most HEAD_MAX bytes: how many it has."""
    cdef int i
    at[0] = 0x80 | <uint8_t>op_code
    if length <= CONTROL_MAX:
        at[1] = <uint8_t>length
        return 2
    if length <= 0xffff:
        at[1] = 126
        at[2] = <uint8_t>(length >> 8)
        at[3] = <uint8_t>length
        return 4
    at[1] = 127
    memset(at + 2, 0, 4)
    for i in range(4):
        at[6 + i] = <uint8_t>(length >> (24 - 8 * i))
    return 10
