# The wire of a packet, at C level: varints, the scan of a packet to its header, the structural check of its data.
# Shared by _core (which builds objects) and _relay (which never does). Formats: docs/PROTOCOL.md.
# Nothing here allocates, calls Python or reads past `end`.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "gsrt reads floats as they lie on the wire: little-endian machines only"
    #endif
    """

cdef enum:
    SLOT_MAX = 127          # RTData slots are 1..127; a higher one kills the C++ and C# clients' parsers
    DEPTH_MAX = 32          # nested RTData levels; real games use a handful, the C stack must never be a client's to spend
    TARGETS_MAX = 255       # peer ids fit a byte, so no honest target list is longer
    PREFIX_MAX = 5          # bytes of a length prefix, a 32-bit varint
    HEADER_MAX = 48         # opCode, sender, data and payload keys with their lengths, at their longest

    KEY_OP_CODE = 0x08
    KEY_SEQUENCE = 0x10
    KEY_REQUEST_ID = 0x18
    KEY_TARGET = 0x20
    KEY_SENDER = 0x28
    KEY_RELIABLE = 0x30
    KEY_DATA = 0x72
    KEY_PAYLOAD = 0x7a
    KEY_STRING = 0x0a
    KEY_VECTOR = 0x12

# What can be wrong with bytes; _core turns each into a sentence.
cdef enum Fault:
    FAULT_NONE = 0
    FAULT_CUT
    FAULT_VARINT
    FAULT_LENGTH
    FAULT_OP_CODE_FIRST
    FAULT_OP_CODE_RANGE
    FAULT_OP_CODE_AGAIN
    FAULT_INT32
    FAULT_BOOL
    FAULT_FIELD
    FAULT_TARGETS
    FAULT_SLOT
    FAULT_WIRE_TYPE
    FAULT_VALUE
    FAULT_VECTOR
    FAULT_DEPTH

cdef struct Header:
    int32_t op_code
    int32_t sequence
    int32_t request_id
    int32_t sender
    int reliable                # -1 absent, else 0 or 1
    bint has_sequence
    bint has_request_id
    bint to_server              # 0 is among the targets
    int target_count            # as written, with repetitions
    uint64_t target_bits[4]     # peer ids 1..255
    uint32_t data_at
    uint32_t data_length        # valid with data_count 1
    int data_count
    uint32_t payload_at
    uint32_t payload_length     # of the last payload field
    int payload_count
    uint32_t tail_at            # from here: data, then payload, exactly as they came
    uint32_t tail_end           # end of the tail without an empty payload
    bint plain                  # the tail is one optional data field and one optional payload field, nothing after
    int fault
    uint32_t fault_at


cdef inline uint16_t load16(const uint8_t* at) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)           # not a cast: 32-bit ARM faults over an odd address
    return value


cdef inline uint32_t load32(const uint8_t* at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


cdef inline uint64_t load64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return value


cdef inline uint8_t* store16(uint8_t* at, uint16_t value) noexcept nogil:
    memcpy(at, &value, 2)
    return at + 2


cdef inline uint8_t* store32(uint8_t* at, uint32_t value) noexcept nogil:
    memcpy(at, &value, 4)
    return at + 4


cdef inline uint8_t* store64(uint8_t* at, uint64_t value) noexcept nogil:
    memcpy(at, &value, 8)
    return at + 8


cdef inline const uint8_t* read_varint(const uint8_t* at, const uint8_t* end, uint64_t* value) noexcept nogil:
    """The position behind the varint, or NULL with the fault in `value`. Over-long forms are fine up to 64 bits."""
    cdef uint64_t result
    cdef int shift
    cdef uint8_t byte
    if at < end and at[0] < 0x80:
        value[0] = at[0]
        return at + 1
    result = 0
    shift = 0
    while at < end:
        byte = at[0]
        at += 1
        if shift == 63 and byte > 1:
            value[0] = FAULT_VARINT
            return NULL
        result |= <uint64_t>(byte & 0x7f) << shift
        if byte < 0x80:
            value[0] = result
            return at
        shift += 7
        if shift > 63:
            value[0] = FAULT_VARINT
            return NULL
    value[0] = FAULT_CUT
    return NULL


cdef inline const uint8_t* read_length(const uint8_t* at, const uint8_t* end, uint64_t* length) noexcept nogil:
    """A length or a key, as read_varint but of at most PREFIX_MAX bytes: clients read no more and give up at longer."""
    cdef const uint8_t* behind = read_varint(at, end if end - at < PREFIX_MAX else at + PREFIX_MAX, length)
    if behind == NULL and end - at >= PREFIX_MAX:
        length[0] = FAULT_LENGTH
    return behind


cdef inline uint8_t* write_varint(uint8_t* at, uint64_t value) noexcept nogil:
    while value > 0x7f:
        at[0] = <uint8_t>(value & 0x7f) | 0x80
        at += 1
        value >>= 7
    at[0] = <uint8_t>value
    return at + 1


cdef inline int varint_size(uint64_t value) noexcept nogil:
    cdef int size = 1
    while value > 0x7f:
        value >>= 7
        size += 1
    return size


cdef inline uint64_t zigzag(int64_t value) noexcept nogil:
    return (<uint64_t>value << 1) ^ (<uint64_t>0 - <uint64_t>(value < 0))


cdef inline int64_t unzigzag(uint64_t value) noexcept nogil:
    return <int64_t>((value >> 1) ^ (<uint64_t>0 - (value & 1)))


cdef inline int check_data(const uint8_t* at, const uint8_t* end, int depth, const uint8_t** where) noexcept nogil:
    """Whether RTData in [at, end) is sound: a Fault, with its place in `where`. Reads each byte at most once."""
    cdef uint64_t key, length, inner
    cdef const uint8_t* start
    cdef const uint8_t* value_end
    cdef int fault
    while at < end:
        start = at
        where[0] = start
        at = read_length(at, end, &key)
        if at == NULL:
            return <int>key
        if (key >> 3) == 0 or (key >> 3) > SLOT_MAX:
            return FAULT_SLOT
        if (key & 7) == 0:
            where[0] = at
            at = read_varint(at, end, &inner)
            if at == NULL:
                return <int>inner
        elif (key & 7) == 5:
            if end - at < 4:
                return FAULT_CUT
            at += 4
        elif (key & 7) == 1:
            if end - at < 8:
                return FAULT_CUT
            at += 8
        elif (key & 7) == 2:
            where[0] = at
            at = read_length(at, end, &length)
            if at == NULL:
                return <int>length
            if length > <uint64_t>(end - at):
                return FAULT_CUT
            value_end = at + length
            where[0] = at
            if length < 2:
                return FAULT_VALUE
            key = at[0]
            if key != KEY_STRING and key != KEY_VECTOR and key != KEY_DATA:
                return FAULT_VALUE
            at = read_length(at + 1, value_end, &inner)
            if at == NULL:
                return <int>inner
            if inner > <uint64_t>(value_end - at):
                return FAULT_CUT
            if inner < <uint64_t>(value_end - at):
                return FAULT_VALUE
            if key == KEY_DATA:
                if depth >= DEPTH_MAX:
                    return FAULT_DEPTH
                fault = check_data(at, value_end, depth + 1, where)
                if fault:
                    return fault
            elif key == KEY_VECTOR and inner & 3:
                return FAULT_VECTOR
            at = value_end
        else:
            return FAULT_WIRE_TYPE
    return FAULT_NONE


cdef inline bint as_int32(uint64_t raw, int32_t* value) noexcept nogil:
    """int32 as protobuf writes it: negative numbers sign-extended to 64 bits. A plain 32-bit form is taken too."""
    cdef int64_t wide = <int64_t>raw
    if wide < -(<int64_t>1 << 31) or (wide >> 32) > 0:
        return False
    value[0] = <int32_t><uint32_t>raw
    return True


cdef inline int scan_fail(Header* header, int fault, const uint8_t* begin, const uint8_t* at) noexcept nogil:
    header.fault = fault
    header.fault_at = <uint32_t>(at - begin)
    return fault


cdef inline int scan_packet(const uint8_t* begin, uint32_t size, Header* header) noexcept nogil:
    """Scans one packet (no length prefix) into `header`: a Fault. The data's inside is not looked at."""
    cdef const uint8_t* at = begin
    cdef const uint8_t* end = begin + size
    cdef const uint8_t* field
    cdef uint64_t key, value
    cdef int32_t number
    memset(header, 0, sizeof(Header))
    header.reliable = -1
    header.plain = True
    header.tail_at = size
    header.tail_end = size
    if size == 0 or at[0] != KEY_OP_CODE:
        return scan_fail(header, FAULT_OP_CODE_FIRST, begin, at)
    at = read_varint(at + 1, end, &value)
    if at == NULL:
        return scan_fail(header, <int>value, begin, begin + 1)
    if (value >> 32) != 0 or at - begin > 6:
        return scan_fail(header, FAULT_OP_CODE_RANGE, begin, begin + 1)
    header.op_code = <int32_t>unzigzag(value)
    while at < end:
        field = at
        at = read_length(at, end, &key)
        if at == NULL:
            return scan_fail(header, <int>key, begin, field)
        if (key & 7) == 2 and (key == KEY_DATA or key == KEY_PAYLOAD):
            if at - field != 1:
                header.plain = False    # clients know these two by their one byte
            at = read_length(at, end, &value)
            if at == NULL:
                return scan_fail(header, <int>value, begin, field + 1)
            if value > <uint64_t>(end - at):
                return scan_fail(header, FAULT_CUT, begin, field + 1)
            if header.data_count + header.payload_count == 0:
                header.tail_at = <uint32_t>(field - begin)
            if key == KEY_DATA:
                if header.data_count or header.payload_count:
                    header.plain = False
                header.data_at = <uint32_t>(at - begin)
                header.data_length = <uint32_t>value
                header.data_count += 1
            else:
                if header.payload_count:
                    header.plain = False
                header.payload_at = <uint32_t>(at - begin)
                header.payload_length = <uint32_t>value
                header.payload_count += 1
                if value == 0:
                    header.tail_end = <uint32_t>(field - begin)
            at += value
            continue
        if (key & 7) != 0:
            return scan_fail(header, FAULT_FIELD, begin, field)
        if header.data_count or header.payload_count:
            header.plain = False
        at = read_varint(at, end, &value)
        if at == NULL:
            return scan_fail(header, <int>value, begin, field + 1)
        if key == KEY_RELIABLE:
            if value > 1:
                return scan_fail(header, FAULT_BOOL, begin, field + 1)
            header.reliable = <int>value
            continue
        if key == KEY_OP_CODE:
            return scan_fail(header, FAULT_OP_CODE_AGAIN, begin, field)
        if key > KEY_SENDER:
            continue                    # an unknown number: every client skips it
        if not as_int32(value, &number):
            return scan_fail(header, FAULT_INT32, begin, field + 1)
        if key == KEY_TARGET:
            header.target_count += 1
            if header.target_count > TARGETS_MAX:
                return scan_fail(header, FAULT_TARGETS, begin, field)
            if number == 0:
                header.to_server = True
            elif 0 < number <= 255:
                header.target_bits[number >> 6] |= <uint64_t>1 << (number & 63)
        elif key == KEY_SEQUENCE:
            header.sequence = number
            header.has_sequence = True
        elif key == KEY_REQUEST_ID:
            header.request_id = number
            header.has_request_id = True
        elif key == KEY_SENDER:
            header.sender = number
        else:
            return scan_fail(header, FAULT_FIELD, begin, field)
    return FAULT_NONE
