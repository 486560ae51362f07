"""Packet and data codec of the GameSparks Real-Time wire format, the framing of streams and datagrams, and the tracking
of acknowledgements.

Pure: no sockets, no clock, no randomness. The format is laid out in docs/PROTOCOL.md; the C-level scanner that this
module shares with the relay is in _wire.pxd. Everything that outside bytes can do wrong ends in ProtocolError.
Acknowledgements and the estimates made from them are those of docs/LINK.md, sections 4 and 5.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongAndOverflow, PyLong_Check
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyNumber_Index
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.math cimport INFINITY, fabs, isfinite
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from gsrt._wire cimport (
    DEPTH_MAX, FAULT_BOOL, FAULT_CUT, FAULT_DEPTH, FAULT_FIELD, FAULT_INT32, FAULT_LENGTH, FAULT_OP_CODE_AGAIN,
    FAULT_OP_CODE_FIRST, FAULT_OP_CODE_RANGE, FAULT_SLOT, FAULT_TARGETS, FAULT_VALUE, FAULT_VARINT, FAULT_VECTOR,
    FAULT_WIRE_TYPE, Header, KEY_DATA, KEY_OP_CODE, KEY_PAYLOAD, KEY_RELIABLE, KEY_REQUEST_ID, KEY_SENDER,
    KEY_SEQUENCE, KEY_STRING, KEY_TARGET, KEY_VECTOR, PREFIX_MAX, SLOT_MAX, TARGETS_MAX, check_data, load16, load32,
    read_length, read_varint, scan_packet, store16, store32, unzigzag, varint_size, write_varint, zigzag,
)

MAX_DEPTH = DEPTH_MAX
MAX_SLOT = SLOT_MAX
MAX_TARGETS = TARGETS_MAX
# More than any packet may carry; a bound on what one Data object can be made to hold.
MAX_DATA_BYTES = 1 << 20

cdef enum:
    DATA_BYTES_MAX = 1 << 20
    INLINE_BYTES = 128          # a typical packet's data fits without a further allocation
    INLINE_ENTRIES = 12
    HEAD_MAX = 64 + 10 * TARGETS_MAX + TARGETS_MAX

cdef enum Kind:
    LONG = 0
    DOUBLE = 1
    STRING = 2
    VECTOR = 3
    DATA = 4
    FLOAT = 5

cdef struct Entry:
    uint32_t at         # of the whole field
    uint32_t length     # of the whole field
    uint8_t skip        # from the field's start to its value
    uint8_t slot
    uint8_t kind

cdef tuple KIND_NAMES = ("long", "double", "string", "vector", "data", "float")

cdef dict FAULTS = {
    FAULT_CUT: "runs past the end",
    FAULT_VARINT: "number longer than 64 bits",
    FAULT_LENGTH: "length or key over 5 bytes",
    FAULT_OP_CODE_FIRST: "a packet begins with its opCode (key 0x08)",
    FAULT_OP_CODE_RANGE: "opCode is not a 32-bit number",
    FAULT_OP_CODE_AGAIN: "a second opCode",
    FAULT_INT32: "not a 32-bit number",
    FAULT_BOOL: "a flag is 0 or 1",
    FAULT_FIELD: "unknown field with a body",
    FAULT_TARGETS: f"more than {TARGETS_MAX} targets",
    FAULT_SLOT: f"data slots are 1 to {SLOT_MAX}",
    FAULT_WIRE_TYPE: "unknown wire type in data",
    FAULT_VALUE: "a value holds exactly one of string, vector, data",
    FAULT_VECTOR: "a vector is a multiple of 4 bytes",
    FAULT_DEPTH: f"data nested deeper than {DEPTH_MAX} levels",
}


class ProtocolError(ValueError):
    """Bytes that are not what the protocol says. `reason` says what is wrong, `offset` where (bytes from the start)."""

    def __init__(self, reason, offset=0):
        super().__init__(f"{reason} at byte {offset}")
        self.reason = reason
        self.offset = offset

    def __reduce__(self):
        return type(self), (self.reason, self.offset)


class Float32(float):
    """A float that is 32 bits wide on the wire; a plain Python float is written as a double."""

    __slots__ = ()


cdef int fail(int fault, Py_ssize_t offset) except -1:
    raise ProtocolError(FAULTS[fault], offset)


cdef inline int64_t int64_of(object value) except? -1:
    """A whole number of 64 bits; TypeError for a float, which C would cut silently."""
    return value if PyLong_Check(value) else PyNumber_Index(value)


cdef inline int32_t int32_of(object value) except? -1:
    return value if PyLong_Check(value) else PyNumber_Index(value)


cdef uint8_t check_slot(object slot) except 0:
    cdef int overflow
    cdef long number = PyLong_AsLongAndOverflow(slot, &overflow)
    if number < 1 or number > SLOT_MAX:
        raise ValueError(f"data slot {slot}: slots are 1 to {SLOT_MAX}")
    return <uint8_t>number


cdef float to_float(double value) except? -1:
    cdef float narrow = <float>value
    if isfinite(value) and not isfinite(narrow):
        raise ValueError(f"{value!r} does not fit a 32-bit float; use set_double")
    return narrow


cdef int levels_of(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Levels of nesting in sound data: 1 for data without data in it."""
    cdef uint64_t key, length, inner
    cdef const uint8_t* value
    cdef int deepest = 0, levels
    while at < end:
        at = read_varint(at, end, &key)
        if (key & 7) == 0:
            at = read_varint(at, end, &inner)
        elif (key & 7) == 5:
            at += 4
        elif (key & 7) == 1:
            at += 8
        else:
            at = read_varint(at, end, &length)
            if at[0] == KEY_DATA:
                value = read_varint(at + 1, end, &inner)
                levels = levels_of(value, value + inner)
                if levels > deepest:
                    deepest = levels
            at += length
    return deepest + 1


@cython.final
@cython.freelist(64)
cdef class Data:
    """Indexed values of a packet (RTData): slots 1..127, each empty or one long, float, double, string, vector or data.

    Values read from outside stay encoded until they are asked for, and go out again byte for byte. `get_*` answer None
    where the slot is empty or holds another type; types are never converted. Mapping access takes the type from the
    value: int -> long, Float32 -> float, float -> double, str or bytes -> string, sequence of numbers -> vector,
    Data or dict -> data (copied: later changes of the inner one are not seen). Data that was read out of other data is
    read-only; `Data(inner)` makes a copy that is not. Raises ValueError for what does not fit, KeyError for an empty
    slot in mapping access.
    """

    cdef bytes owner                    # what keeps `bytes` alive, where it is not our own
    cdef const uint8_t* bytes
    cdef uint8_t* room                  # our own buffer: inline_room, or from the heap
    cdef Entry* entries                 # by ascending slot
    cdef uint32_t size
    cdef uint32_t capacity
    cdef uint32_t entry_capacity
    cdef uint32_t count
    cdef bint indexed
    cdef bint in_order                  # the bytes are the fields by ascending slot without gaps
    cdef bint read_only
    cdef uint8_t inline_room[INLINE_BYTES]
    cdef Entry inline_entries[INLINE_ENTRIES]

    def __cinit__(self):
        self.room = self.inline_room
        self.bytes = self.inline_room
        self.entries = self.inline_entries
        self.capacity = INLINE_BYTES
        self.entry_capacity = INLINE_ENTRIES
        self.size = 0
        self.count = 0
        self.indexed = True
        self.in_order = True
        self.read_only = False

    def __init__(self, values=None):
        if values is None:
            return
        if isinstance(values, Data):
            self.take(<Data>values)
            return
        for slot, value in values.items():
            self[slot] = value

    def __dealloc__(self):
        if self.room != self.inline_room:
            PyMem_Free(self.room)
        if self.entries != self.inline_entries:
            PyMem_Free(self.entries)

    def __sizeof__(self):
        """Bytes in memory, with what is kept alive for it."""
        cdef Py_ssize_t size = sizeof(Entry) * INLINE_ENTRIES + INLINE_BYTES + 128
        if self.room != self.inline_room:
            size += self.capacity
        if self.entries != self.inline_entries:
            size += self.entry_capacity * sizeof(Entry)
        return size if self.owner is None else size + len(self.owner)

    # ---- storage

    cdef int take(self, Data other) except -1:
        """Becomes a writable copy of `other`."""
        cdef bytes encoded = other.encode()
        self.borrow(encoded, <const uint8_t*>PyBytes_AS_STRING(encoded), <uint32_t>PyBytes_GET_SIZE(encoded))
        return 0

    cdef int borrow(self, bytes owner, const uint8_t* begin, uint32_t size) except -1:
        """Looks at sound data inside `owner` without copying it."""
        self.owner = owner
        self.bytes = begin
        self.size = size
        self.count = 0
        self.indexed = False
        return 0

    cdef int own(self) except -1:
        """Makes the bytes ours to change."""
        cdef bytes owner
        if self.read_only:
            raise TypeError("this data was read out of other data and is read-only; change a copy: Data(data)")
        if not self.indexed:
            self.index()
        if self.owner is not None:
            owner = self.owner
            if self.capacity < self.size:
                self.grow(self.size)
            memcpy(self.room, self.bytes, self.size)
            self.bytes = self.room
            self.owner = None
        return 0

    cdef int grow(self, uint32_t needed) except -1:
        """Room for `needed` bytes; keeps the first `size` only where they are ours."""
        cdef uint32_t capacity = self.capacity
        cdef uint8_t* room
        if needed > DATA_BYTES_MAX:
            raise ValueError(f"data over {DATA_BYTES_MAX} bytes")
        while capacity < needed:
            capacity *= 2
        room = <uint8_t*>PyMem_Malloc(capacity)
        if room == NULL:
            raise MemoryError
        if self.owner is None:
            memcpy(room, self.room, self.size)
            self.bytes = room
        if self.room != self.inline_room:
            PyMem_Free(self.room)
        self.room = room
        self.capacity = capacity
        return 0

    cdef int tidy(self) except -1:
        """Rewrites the fields by ascending slot without gaps."""
        cdef bytes packed = self.gather()
        cdef uint32_t at = 0, i
        for i in range(self.count):
            self.entries[i].at = at
            at += self.entries[i].length
        memcpy(self.room, PyBytes_AS_STRING(packed), at)
        self.size = at
        self.in_order = True
        return 0

    cdef bint as_it_lies(self) noexcept:
        """Whether the bytes are the encoding: as they came, or written in order."""
        return self.owner is not None or self.in_order

    cdef int levels(self) except -1:
        """Levels of nesting, this one included."""
        cdef uint32_t i
        cdef Entry* entry
        cdef int deepest = 0
        if not self.indexed:
            self.index()
        for i in range(self.count):
            entry = &self.entries[i]
            if entry.kind == DATA:
                deepest = max(deepest, levels_of(self.bytes + entry.at + entry.skip, self.bytes + entry.at + entry.length))
        return deepest + 1

    cdef bytes gather(self):
        cdef uint32_t total = 0, i
        cdef bytes packed
        cdef uint8_t* at
        for i in range(self.count):
            total += self.entries[i].length
        packed = PyBytes_FromStringAndSize(NULL, total)
        at = <uint8_t*>PyBytes_AS_STRING(packed)
        for i in range(self.count):
            memcpy(at, self.bytes + self.entries[i].at, self.entries[i].length)
            at += self.entries[i].length
        return packed

    cdef int index(self) except -1:
        """Finds the fields of bytes that check_data has found sound."""
        cdef const uint8_t* at = self.bytes
        cdef const uint8_t* end = self.bytes + self.size
        cdef const uint8_t* field
        cdef const uint8_t* value
        cdef uint64_t key, length, inner
        cdef uint8_t kind
        self.indexed = True
        self.in_order = True
        while at < end:
            field = at
            at = read_varint(at, end, &key)
            kind = <uint8_t>(key & 7)
            value = at
            if kind == LONG:
                at = read_varint(at, end, &inner)
            elif kind == FLOAT:
                at += 4
            elif kind == DOUBLE:
                at += 8
            else:
                at = read_varint(at, end, &length)
                kind = STRING if at[0] == KEY_STRING else VECTOR if at[0] == KEY_VECTOR else DATA
                value = read_varint(at + 1, end, &inner)
                at += length
            self.note(<uint8_t>(key >> 3), kind, <uint32_t>(field - self.bytes), <uint32_t>(at - field),
                      <uint8_t>(value - field))
        return 0

    cdef int note(self, uint8_t slot, uint8_t kind, uint32_t at, uint32_t length, uint8_t skip) except -1:
        """Enters a field that stands at `at`; one in the same slot is replaced."""
        cdef uint32_t place = self.count
        cdef uint32_t capacity
        cdef Entry* entries
        if place < self.entry_capacity and (place == 0 or self.entries[place - 1].slot < slot):
            self.entries[place] = Entry(at, length, skip, slot, kind)       # the common case: ascending, and room
            self.count = place + 1
            return 0
        while place > 0 and self.entries[place - 1].slot >= slot:
            place -= 1
        if place < self.count:
            self.in_order = False
        if place == self.count or self.entries[place].slot != slot:
            if self.count == self.entry_capacity:
                capacity = SLOT_MAX
                entries = <Entry*>PyMem_Malloc(capacity * sizeof(Entry))
                if entries == NULL:
                    raise MemoryError
                memcpy(entries, self.entries, self.count * sizeof(Entry))
                self.entries = entries
                self.entry_capacity = capacity
            if place < self.count:
                memmove(self.entries + place + 1, self.entries + place, (self.count - place) * sizeof(Entry))
            self.count += 1
        self.entries[place] = Entry(at, length, skip, slot, kind)
        return 0

    cdef uint8_t* field(self, uint8_t slot, uint8_t kind, uint32_t length, uint32_t value_length) except NULL:
        """Begins the field of `slot` with `length` bytes in all: the place of its value, which is the last
        `value_length` bytes; the key is written."""
        cdef uint32_t at
        cdef uint8_t* place
        if self.read_only or self.owner is not None or not self.indexed:
            self.own()
        if length > DATA_BYTES_MAX or self.size + length > self.capacity:
            if not self.in_order:
                self.tidy()
            if length > DATA_BYTES_MAX or self.size + length > self.capacity:
                self.grow(self.size + length if length <= DATA_BYTES_MAX else length)
        at = self.size
        self.note(slot, kind, at, length, <uint8_t>(length - value_length))
        self.size = at + length
        place = self.room + at
        return write_varint(place, (slot << 3) | (kind if kind == LONG or kind == FLOAT or kind == DOUBLE else 2))

    cdef uint8_t* body(self, uint8_t slot, uint8_t kind, uint8_t inner_key, Py_ssize_t value_length) except NULL:
        """Begins a length-delimited value (RTVal) and gives the place of its content."""
        cdef uint32_t inner, length
        cdef uint8_t* at
        if value_length > DATA_BYTES_MAX:
            raise ValueError(f"data over {DATA_BYTES_MAX} bytes")
        inner = 1 + varint_size(value_length) + <uint32_t>value_length
        length = (1 if slot < 16 else 2) + varint_size(inner) + inner
        at = self.field(slot, kind, length, <uint32_t>value_length)
        at = write_varint(at, inner)
        at[0] = inner_key
        return write_varint(at + 1, value_length)

    cdef Entry* find(self, object slot) except? NULL:
        cdef int overflow
        cdef long wanted = PyLong_AsLongAndOverflow(slot, &overflow)
        cdef uint32_t i
        if not self.indexed:
            self.index()
        for i in range(self.count):
            if self.entries[i].slot == wanted:
                return &self.entries[i]
        return NULL

    cdef Entry* find_kind(self, object slot, int kind) except? NULL:
        cdef Entry* entry = self.find(slot)
        return entry if entry != NULL and entry.kind == kind else NULL

    # ---- values from their bytes

    cdef int64_t long_at(self, Entry* entry) noexcept:
        cdef uint64_t raw = 0
        read_varint(self.bytes + entry.at + entry.skip, self.bytes + entry.at + entry.length, &raw)
        return unzigzag(raw)

    cdef double float_at(self, Entry* entry) noexcept:
        cdef float value
        memcpy(&value, self.bytes + entry.at + entry.skip, 4)
        return value

    cdef double double_at(self, Entry* entry) noexcept:
        cdef double value
        memcpy(&value, self.bytes + entry.at + entry.skip, 8)
        return value

    cdef str string_at(self, Entry* entry):
        return PyUnicode_DecodeUTF8(<const char*>self.bytes + entry.at + entry.skip, entry.length - entry.skip,
                                    "surrogateescape")

    cdef bytes bytes_at(self, Entry* entry):
        return PyBytes_FromStringAndSize(<const char*>self.bytes + entry.at + entry.skip, entry.length - entry.skip)

    cdef tuple vector_at(self, Entry* entry):
        cdef float parts[4]
        cdef uint32_t count = (entry.length - entry.skip) >> 2
        if count > 4:
            count = 4                   # clients ignore what follows the fourth
        memcpy(parts, self.bytes + entry.at + entry.skip, count * 4)
        if count == 3:
            return (parts[0], parts[1], parts[2])
        if count == 2:
            return (parts[0], parts[1])
        if count == 4:
            return (parts[0], parts[1], parts[2], parts[3])
        return (parts[0],) if count else ()

    cdef Data data_at(self, Entry* entry):
        cdef Data inner = Data.__new__(Data)
        cdef bytes copy
        if self.owner is not None:
            inner.borrow(self.owner, self.bytes + entry.at + entry.skip, entry.length - entry.skip)
        else:
            copy = self.bytes_at(entry)
            inner.borrow(copy, <const uint8_t*>PyBytes_AS_STRING(copy), entry.length - entry.skip)
        inner.read_only = True
        return inner

    cdef object value_at(self, Entry* entry):
        if entry.kind == LONG:
            return self.long_at(entry)
        if entry.kind == FLOAT:
            return Float32(self.float_at(entry))
        if entry.kind == DOUBLE:
            return self.double_at(entry)
        if entry.kind == STRING:
            return self.string_at(entry)
        if entry.kind == VECTOR:
            return self.vector_at(entry)
        return self.data_at(entry)

    # ---- reading

    def has(self, slot):
        """Whether the slot holds anything."""
        return self.find(slot) != NULL

    def has_long(self, slot):
        return self.find_kind(slot, LONG) != NULL

    def has_int(self, slot):
        """The same as has_long: the wire does not tell them apart."""
        return self.find_kind(slot, LONG) != NULL

    def has_float(self, slot):
        return self.find_kind(slot, FLOAT) != NULL

    def has_double(self, slot):
        return self.find_kind(slot, DOUBLE) != NULL

    def has_string(self, slot):
        return self.find_kind(slot, STRING) != NULL

    def has_vector(self, slot):
        return self.find_kind(slot, VECTOR) != NULL

    def has_data(self, slot):
        return self.find_kind(slot, DATA) != NULL

    def get_long(self, slot):
        """64-bit integer, or None."""
        cdef Entry* entry = self.find_kind(slot, LONG)
        return None if entry == NULL else self.long_at(entry)

    def get_int(self, slot):
        """The long, cut to 32 bits with sign as the SDKs do, or None."""
        cdef Entry* entry = self.find_kind(slot, LONG)
        return None if entry == NULL else <int32_t><uint32_t><uint64_t>self.long_at(entry)

    def get_float(self, slot):
        cdef Entry* entry = self.find_kind(slot, FLOAT)
        return None if entry == NULL else self.float_at(entry)

    def get_double(self, slot):
        cdef Entry* entry = self.find_kind(slot, DOUBLE)
        return None if entry == NULL else self.double_at(entry)

    def get_string(self, slot):
        """The string read as UTF-8, or None. Bytes that are not UTF-8 become lone surrogates, so set_string gives
        the same bytes back; get_bytes has them as they are."""
        cdef Entry* entry = self.find_kind(slot, STRING)
        return None if entry == NULL else self.string_at(entry)

    def get_bytes(self, slot):
        """The bytes of a string, or None."""
        cdef Entry* entry = self.find_kind(slot, STRING)
        return None if entry == NULL else self.bytes_at(entry)

    def get_vector(self, slot):
        """Tuple of 0 to 4 floats, or None."""
        cdef Entry* entry = self.find_kind(slot, VECTOR)
        return None if entry == NULL else self.vector_at(entry)

    def get_data(self, slot):
        """Nested data (read-only), or None."""
        cdef Entry* entry = self.find_kind(slot, DATA)
        return None if entry == NULL else self.data_at(entry)

    # ---- writing

    cdef int put_long(self, uint8_t slot, int64_t value) except -1:
        cdef uint64_t raw = zigzag(value)
        cdef uint32_t length = varint_size(raw)
        write_varint(self.field(slot, LONG, (1 if slot < 16 else 2) + length, length), raw)
        return 0

    cdef int put_float(self, uint8_t slot, double value) except -1:
        cdef float narrow = to_float(value)
        memcpy(self.field(slot, FLOAT, (1 if slot < 16 else 2) + 4, 4), &narrow, 4)
        return 0

    cdef int put_double(self, uint8_t slot, double value) except -1:
        memcpy(self.field(slot, DOUBLE, (1 if slot < 16 else 2) + 8, 8), &value, 8)
        return 0

    cdef int put_string(self, uint8_t slot, object value) except -1:
        cdef const char* text
        cdef Py_ssize_t length
        if type(value) is str:
            try:
                text = PyUnicode_AsUTF8AndSize(value, &length)
            except UnicodeEncodeError:
                value = (<str>value).encode("utf-8", "surrogateescape")
                text = PyBytes_AS_STRING(value)
                length = PyBytes_GET_SIZE(value)
        elif isinstance(value, str):
            return self.put_string(slot, str.__str__(value))
        else:
            value = bytes(memoryview(value))
            text = PyBytes_AS_STRING(value)
            length = PyBytes_GET_SIZE(value)
        memcpy(self.body(slot, STRING, KEY_STRING, length), text, length)
        return 0

    cdef int put_vector(self, uint8_t slot, object value) except -1:
        cdef float parts[4]
        cdef uint32_t count = 0
        cdef tuple values = value if type(value) is tuple else tuple(value)
        if len(values) > 4:
            raise ValueError(f"a vector has 1 to 4 components, not {len(values)}")
        for part in values:
            parts[count] = to_float(part)
            count += 1
        memcpy(self.body(slot, VECTOR, KEY_VECTOR, count * 4), parts, count * 4)
        return 0

    cdef int put_data(self, uint8_t slot, object value) except -1:
        cdef Data inner
        cdef bytes packed
        cdef uint8_t* place
        if not isinstance(value, Data):
            value = Data(value)
        inner = <Data>value
        if inner.levels() >= DEPTH_MAX:
            raise ValueError(f"data nested deeper than {DEPTH_MAX} levels")
        if inner.as_it_lies() and inner is not self:
            place = self.body(slot, DATA, KEY_DATA, inner.size)
            memcpy(place, inner.bytes, inner.size)
        else:
            packed = inner.encode()
            memcpy(self.body(slot, DATA, KEY_DATA, PyBytes_GET_SIZE(packed)), PyBytes_AS_STRING(packed),
                   PyBytes_GET_SIZE(packed))
        return 0

    def set_long(self, slot, value):
        """64-bit integer; OverflowError beyond."""
        self.put_long(check_slot(slot), int64_of(value))
        return self

    def set_int(self, slot, value):
        """32-bit integer; OverflowError beyond. The same on the wire as a long."""
        self.put_long(check_slot(slot), int32_of(value))
        return self

    def set_float(self, slot, double value):
        """32-bit float; ValueError where a finite value would become infinite."""
        self.put_float(check_slot(slot), value)
        return self

    def set_double(self, slot, double value):
        self.put_double(check_slot(slot), value)
        return self

    def set_string(self, slot, value):
        """str (written as UTF-8) or bytes (written as they are)."""
        self.put_string(check_slot(slot), value)
        return self

    def set_vector(self, slot, value):
        """Sequence of 0 to 4 numbers, each a 32-bit float on the wire."""
        self.put_vector(check_slot(slot), value)
        return self

    def set_data(self, slot, value):
        """Data, or a mapping that makes one; copied."""
        self.put_data(check_slot(slot), value)
        return self

    # ---- mapping

    def __setitem__(self, slot, value):
        cdef uint8_t number = check_slot(slot)
        cdef object kind = type(value)
        if kind is int:
            self.put_long(number, value)
        elif kind is float:
            self.put_double(number, value)
        elif kind is str or kind is bytes:
            self.put_string(number, value)
        elif kind is tuple or kind is list:
            self.put_vector(number, value)
        elif kind is Data or kind is dict:
            self.put_data(number, value)
        elif kind is bool:
            raise TypeError("data has no bool; store 0 or 1")
        elif kind is Float32:
            self.put_float(number, value)
        elif isinstance(value, int):
            self.put_long(number, value)
        elif isinstance(value, float):
            self.put_double(number, value)
        elif isinstance(value, (str, bytearray, memoryview)):
            self.put_string(number, value)
        else:
            raise TypeError(f"data cannot hold {kind.__name__}; it holds int, float, Float32, str, bytes, tuples of "
                            "up to 4 numbers, Data")

    def __getitem__(self, slot):
        cdef Entry* entry = self.find(slot)
        if entry == NULL:
            raise KeyError(slot)
        return self.value_at(entry)

    def __delitem__(self, slot):
        cdef Entry* entry
        cdef uint32_t place
        self.own()
        entry = self.find(slot)
        if entry == NULL:
            raise KeyError(slot)
        place = <uint32_t>(entry - self.entries)
        self.count -= 1
        memmove(self.entries + place, self.entries + place + 1, (self.count - place) * sizeof(Entry))
        self.in_order = False
        self.tidy()

    def __contains__(self, slot):
        return isinstance(slot, int) and 0 < slot <= SLOT_MAX and self.find(slot) != NULL

    def __len__(self):
        if not self.indexed:
            self.index()
        return self.count

    def __iter__(self):
        return iter(self.keys())

    def keys(self):
        """The slots in use, ascending."""
        cdef uint32_t i
        if not self.indexed:
            self.index()
        return [self.entries[i].slot for i in range(self.count)]

    def items(self):
        """Pairs of slot and value, by ascending slot."""
        cdef uint32_t i
        if not self.indexed:
            self.index()
        return [(self.entries[i].slot, self.value_at(&self.entries[i])) for i in range(self.count)]

    def get(self, slot, default=None):
        cdef Entry* entry = self.find(slot)
        return default if entry == NULL else self.value_at(entry)

    def kind(self, slot):
        """Name of the type in the slot: "long", "float", "double", "string", "vector", "data"; None where empty."""
        cdef Entry* entry = self.find(slot)
        return None if entry == NULL else KIND_NAMES[entry.kind]

    def to_dict(self):
        """Slots and values as a dict; nested data as dicts."""
        return {slot: (<Data>value).to_dict() if type(value) is Data else value for slot, value in self.items()}

    def __eq__(self, other):
        cdef Data left = self, right
        cdef uint32_t i
        cdef Entry* a
        cdef Entry* b
        if type(other) is not Data:
            return NotImplemented
        right = <Data>other
        if not left.indexed:
            left.index()
        if not right.indexed:
            right.index()
        if left.count != right.count:
            return False
        for i in range(left.count):
            a = &left.entries[i]
            b = &right.entries[i]
            if a.slot != b.slot or a.kind != b.kind:
                return False
            if a.kind == LONG:
                if left.long_at(a) != right.long_at(b):
                    return False
            elif a.kind == DATA:
                if left.data_at(a) != right.data_at(b):
                    return False
            elif a.length - a.skip != b.length - b.skip or memcmp(
                    left.bytes + a.at + a.skip, right.bytes + b.at + b.skip, a.length - a.skip) != 0:
                return False
        return True

    __hash__ = None

    def __repr__(self):
        return f"Data({self.to_dict()!r})"

    def __reduce__(self):
        return restored_data, (self.encode(),)

    # ---- wire

    def encode(self):
        """The wire's bytes, fields by ascending slot; data that was decoded and not changed: as it came."""
        if self.as_it_lies():
            return PyBytes_FromStringAndSize(<const char*>self.bytes, self.size)
        return self.gather()

    @staticmethod
    def decode(data):
        """Data from the wire's bytes (bytes-like); ProtocolError where they are not sound."""
        cdef bytes body = data if type(data) is bytes else bytes(memoryview(data))
        cdef const uint8_t* begin = <const uint8_t*>PyBytes_AS_STRING(body)
        cdef const uint8_t* where = begin
        cdef int fault
        cdef Data made
        if PyBytes_GET_SIZE(body) > DATA_BYTES_MAX:
            raise ProtocolError(f"data over {DATA_BYTES_MAX} bytes", DATA_BYTES_MAX)
        fault = check_data(begin, begin + PyBytes_GET_SIZE(body), 1, &where)
        if fault:
            fail(fault, where - begin)
        made = Data.__new__(Data)
        made.borrow(body, begin, <uint32_t>PyBytes_GET_SIZE(body))
        return made


cdef inline uint64_t wide(int32_t value) noexcept:
    """A negative int32 is sign-extended to 64 bits on the wire."""
    return <uint64_t><int64_t>value


@cython.final
@cython.freelist(64)
@cython.no_gc       # it holds bytes, numbers and Data, which lead back to nothing
cdef class Packet:
    """One packet. Fields as on the wire: `op_code` (32 bits), `sequence`, `request_id`, `targets` (tuple of peer ids),
    `sender`, `reliable`, `data` (Data), `payload` (bytes). None stands for a field that is absent (sender: 0, targets:
    empty); an empty Data or payload is present and empty. Which fields a client writes differs by SDK: see
    docs/PROTOCOL.md.
    """

    cdef int32_t op_code_number
    cdef int32_t sender_id
    cdef int32_t sequence_number
    cdef int32_t request_number
    cdef int reliable_flag              # -1 absent
    cdef bint has_sequence
    cdef bint has_request_id
    cdef tuple target_ids
    cdef Data data_object
    cdef bytes source                   # where data and payload lie while nobody has asked for them
    cdef uint32_t data_at
    cdef uint32_t data_length
    cdef uint32_t payload_at
    cdef uint32_t payload_length
    cdef bint targets_wait
    cdef bint data_waits
    cdef bint payload_waits
    cdef bytes payload_bytes

    def __cinit__(self):
        self.reliable_flag = -1
        self.target_ids = ()

    def __init__(self, op_code, *, data=None, payload=None, targets=(), sender=0, sequence=None, reliable=None,
                 request_id=None):
        self.op_code_number = int32_of(op_code)
        self.sender_id = int32_of(sender)
        if data is not None:
            self.data = data
        if payload is not None:
            self.payload = payload
        if targets is not ():
            self.targets = targets
        if sequence is not None:
            self.sequence = sequence
        if reliable is not None:
            self.reliable = reliable
        if request_id is not None:
            self.request_id = request_id

    @property
    def op_code(self):
        """What the packet is about: over 0 the game's own, else the system's. 32 bits."""
        return self.op_code_number

    @op_code.setter
    def op_code(self, value):
        self.op_code_number = int32_of(value)

    @property
    def sender(self):
        """Peer id of the author; 0: the server, or the field is absent."""
        return self.sender_id

    @sender.setter
    def sender(self, value):
        self.sender_id = int32_of(value)

    @property
    def sequence(self):
        """Number of an unreliable-sequenced packet, or None."""
        return self.sequence_number if self.has_sequence else None

    @sequence.setter
    def sequence(self, value):
        cdef int32_t number = 0 if value is None else int32_of(value)
        self.sequence_number = number
        self.has_sequence = value is not None

    @property
    def request_id(self):
        """Defined by the protocol, used by no client; or None."""
        return self.request_number if self.has_request_id else None

    @request_id.setter
    def request_id(self, value):
        cdef int32_t number = 0 if value is None else int32_of(value)
        self.request_number = number
        self.has_request_id = value is not None

    @property
    def reliable(self):
        """True, False, or None where the field is absent (which clients mean as true)."""
        return None if self.reliable_flag < 0 else self.reliable_flag == 1

    @reliable.setter
    def reliable(self, value):
        self.reliable_flag = -1 if value is None else 1 if value else 0

    @property
    def targets(self):
        """Peer ids as a tuple; empty: everyone but the sender; 0: the server."""
        if self.targets_wait:
            self.targets_wait = False
            self.target_ids = targets_of(self.source)
        return self.target_ids

    @targets.setter
    def targets(self, value):
        cdef tuple ids = value if type(value) is tuple else tuple(value)
        if len(ids) > TARGETS_MAX:
            raise ValueError(f"{len(ids)} targets; at most {TARGETS_MAX}")
        for each in ids:
            int32_of(each)
        self.targets_wait = False
        self.target_ids = ids

    @property
    def data(self):
        """Data, or None where the field is absent."""
        if self.data_waits:
            self.data_waits = False
            self.data_object = Data.__new__(Data)
            self.data_object.borrow(self.source, <const uint8_t*>PyBytes_AS_STRING(self.source) + self.data_at,
                                    self.data_length)
        return self.data_object

    @data.setter
    def data(self, value):
        self.data_waits = False
        if value is None or type(value) is Data:
            self.data_object = value
        else:
            self.data_object = Data(value)

    @property
    def payload(self):
        """bytes, or None where the field is absent."""
        if self.payload_waits:
            self.payload_waits = False
            self.payload_bytes = PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.source) + self.payload_at,
                                                           self.payload_length)
        return self.payload_bytes

    @payload.setter
    def payload(self, value):
        self.payload_waits = False
        if value is None or type(value) is bytes:
            self.payload_bytes = value
        else:
            self.payload_bytes = bytes(memoryview(value))

    cdef uint8_t* write_head(self, uint8_t* at) except NULL:
        cdef int32_t target
        at[0] = KEY_OP_CODE
        at = write_varint(at + 1, <uint32_t>zigzag(self.op_code_number))
        if self.has_sequence:
            at[0] = KEY_SEQUENCE
            at = write_varint(at + 1, wide(self.sequence_number))
        if self.has_request_id:
            at[0] = KEY_REQUEST_ID
            at = write_varint(at + 1, wide(self.request_number))
        for each in self.targets:
            target = each
            at[0] = KEY_TARGET
            at = write_varint(at + 1, wide(target))
        if self.sender_id:
            at[0] = KEY_SENDER
            at = write_varint(at + 1, wide(self.sender_id))
        if self.reliable_flag >= 0:
            at[0] = KEY_RELIABLE
            at[1] = <uint8_t>self.reliable_flag
            at += 2
        return at

    cdef bytes build(self, bint prefixed):
        cdef uint8_t head[HEAD_MAX]
        cdef uint8_t* at = self.write_head(head)
        cdef const uint8_t* data = NULL
        cdef const uint8_t* payload = NULL
        cdef uint32_t data_length = 0
        cdef Py_ssize_t payload_length = 0
        cdef uint64_t size = <uint64_t>(at - head)
        cdef bytes packed_data = None
        cdef bytes made
        if self.data_waits:
            data = <const uint8_t*>PyBytes_AS_STRING(self.source) + self.data_at
            data_length = self.data_length
        elif self.data_object is not None:
            if self.data_object.as_it_lies():
                data = self.data_object.bytes
                data_length = self.data_object.size
            else:
                packed_data = self.data_object.gather()
                data = <const uint8_t*>PyBytes_AS_STRING(packed_data)
                data_length = <uint32_t>PyBytes_GET_SIZE(packed_data)
        if data != NULL:
            size += 1 + varint_size(data_length) + data_length
        if self.payload_waits:
            payload = <const uint8_t*>PyBytes_AS_STRING(self.source) + self.payload_at
            payload_length = self.payload_length
        elif self.payload_bytes is not None:
            payload = <const uint8_t*>PyBytes_AS_STRING(self.payload_bytes)
            payload_length = PyBytes_GET_SIZE(self.payload_bytes)
        if payload != NULL:
            size += 1 + varint_size(payload_length) + payload_length
        if size > <uint64_t>INT32_MAX:
            raise ValueError("a packet is at most 2 GB")
        made = PyBytes_FromStringAndSize(NULL, size + (varint_size(size) if prefixed else 0))
        cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(made)
        if prefixed:
            out = write_varint(out, size)
        memcpy(out, head, at - head)
        out += at - head
        if data != NULL:
            out[0] = KEY_DATA
            out = write_varint(out + 1, data_length)
            memcpy(out, data, data_length)
            out += data_length
        if payload != NULL:
            out[0] = KEY_PAYLOAD
            out = write_varint(out + 1, payload_length)
            memcpy(out, payload, payload_length)
        return made

    def encode(self):
        """The packet's bytes, fields in the order that every client reads, without a length prefix."""
        return self.build(False)

    def frame(self):
        """The packet's bytes with the length prefix: as they stand in streams, WebSocket messages and datagrams."""
        return self.build(True)

    @staticmethod
    def decode(data):
        """A packet from its bytes (bytes-like, no length prefix). Two payloads: the last counts; two data fields: merged
        by slot, as clients do. ProtocolError where the bytes are not sound."""
        cdef bytes body = data if type(data) is bytes else bytes(memoryview(data))
        cdef const uint8_t* begin = <const uint8_t*>PyBytes_AS_STRING(body)
        cdef const uint8_t* where
        cdef Header header
        cdef Packet packet
        cdef int fault
        if PyBytes_GET_SIZE(body) > DATA_BYTES_MAX:
            raise ProtocolError(f"packet over {DATA_BYTES_MAX} bytes", DATA_BYTES_MAX)
        if scan_packet(begin, <uint32_t>PyBytes_GET_SIZE(body), &header):
            fail(header.fault, header.fault_at)
        packet = Packet.__new__(Packet)
        packet.op_code_number = header.op_code
        packet.sender_id = header.sender
        packet.reliable_flag = header.reliable
        packet.has_sequence = header.has_sequence
        packet.sequence_number = header.sequence
        packet.has_request_id = header.has_request_id
        packet.request_number = header.request_id
        packet.source = body
        packet.targets_wait = header.target_count > 0
        if header.data_count == 1:
            where = begin
            fault = check_data(begin + header.data_at, begin + header.data_at + header.data_length, 1, &where)
            if fault:
                fail(fault, where - begin)
            packet.data_at = header.data_at
            packet.data_length = header.data_length
            packet.data_waits = True
        elif header.data_count:
            packet.data_object = Data.decode(joined_data(body))
        if header.payload_count:
            packet.payload_at = header.payload_at
            packet.payload_length = header.payload_length
            packet.payload_waits = True
        return packet

    def __eq__(self, other):
        if type(other) is not Packet:
            return NotImplemented
        cdef Packet that = <Packet>other
        return (self.op_code_number == that.op_code_number and self.sender_id == that.sender_id and self.sequence == that.sequence
                and self.request_id == that.request_id and self.reliable is that.reliable
                and self.targets == that.targets and self.data == that.data and self.payload == that.payload)

    __hash__ = None

    def __reduce__(self):
        return restored_packet, (self.encode(),)

    def __repr__(self):
        parts = [str(self.op_code)]
        for name in ("sender", "targets", "sequence", "reliable", "request_id", "data", "payload"):
            value = getattr(self, name)
            if value is not None and value != () and not (name == "sender" and value == 0):
                parts.append(f"{name}={value!r}")
        return f"Packet({', '.join(parts)})"


def restored_data(encoded):
    """What a pickled Data comes back as."""
    return Data.decode(encoded)


def restored_packet(encoded):
    """What a pickled Packet comes back as."""
    return Packet.decode(encoded)


cdef tuple targets_of(bytes body):
    """The targets of a packet that scan_packet has found sound, in the order written."""
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(body)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(body)
    cdef uint64_t key, value
    cdef list ids = []
    while at < end:
        at = read_varint(at, end, &key)
        at = read_varint(at, end, &value)
        if (key & 7) == 2:
            at += value
        elif key == KEY_TARGET:
            ids.append(<int32_t><uint32_t>value)
    return tuple(ids)


cdef bytes joined_data(bytes body):
    """The contents of all data fields, each sound, one behind the other: what merging by slot means on the wire."""
    cdef const uint8_t* begin = <const uint8_t*>PyBytes_AS_STRING(body)
    cdef const uint8_t* at = begin
    cdef const uint8_t* end = begin + PyBytes_GET_SIZE(body)
    cdef const uint8_t* where
    cdef uint64_t key, value
    cdef int fault
    parts = []
    while at < end:
        at = read_varint(at, end, &key)
        at = read_varint(at, end, &value)
        if (key & 7) == 2:
            if key == KEY_DATA:
                where = at
                fault = check_data(at, at + value, 1, &where)
                if fault:
                    fail(fault, where - begin)
                parts.append(PyBytes_FromStringAndSize(<const char*>at, value))
            at += value
    return b"".join(parts)


@cython.final
cdef class FrameReader:
    """Takes a byte stream apart into frames: a length varint, then that many bytes of packet.

    `max_frame` (bytes) bounds a frame and so what is ever kept. feed() raises ProtocolError for a length of over 5
    bytes or over max_frame; what was whole before it has been returned or is lost with the stream, which is to be closed.
    """

    cdef bytearray kept
    cdef readonly Py_ssize_t max_frame

    def __init__(self, Py_ssize_t max_frame):
        if max_frame < 1:
            raise ValueError("max_frame is at least 1 byte")
        self.max_frame = max_frame
        self.kept = bytearray()

    @property
    def pending(self):
        """Bytes kept of a frame that is not whole yet."""
        return len(self.kept)

    def feed(self, data):
        """The frames (bytes, without length prefix) that `data` makes whole."""
        cdef bytes chunk
        cdef const uint8_t* begin
        cdef const uint8_t* at
        cdef const uint8_t* body
        cdef const uint8_t* end
        cdef uint64_t length
        cdef list frames = []
        self.kept += data
        chunk = bytes(self.kept)
        begin = at = <const uint8_t*>PyBytes_AS_STRING(chunk)
        end = begin + PyBytes_GET_SIZE(chunk)
        while at < end:
            body = read_length(at, end, &length)
            if body == NULL:
                if end - at >= PREFIX_MAX:
                    raise ProtocolError("frame length over 5 bytes", at - begin)
                break
            if length > <uint64_t>self.max_frame:
                raise ProtocolError(f"frame of {length} bytes, at most {self.max_frame} are taken", at - begin)
            if length > <uint64_t>(end - body):
                break
            frames.append(PyBytes_FromStringAndSize(<const char*>body, length))
            at = body + length
        if at != begin:
            del self.kept[:at - begin]
        return frames


def split_datagram(data):
    """The frames (bytes, without length prefix) of one datagram; ProtocolError where the last is cut."""
    cdef bytes chunk = data if type(data) is bytes else bytes(memoryview(data))
    cdef const uint8_t* begin = <const uint8_t*>PyBytes_AS_STRING(chunk)
    cdef const uint8_t* at = begin
    cdef const uint8_t* body
    cdef const uint8_t* end = begin + PyBytes_GET_SIZE(chunk)
    cdef uint64_t length
    cdef list frames = []
    while at < end:
        body = read_length(at, end, &length)
        if body == NULL and end - at >= PREFIX_MAX:
            raise ProtocolError("frame length over 5 bytes", at - begin)
        if body == NULL or length > <uint64_t>(end - body):
            raise ProtocolError("a packet is cut by the datagram's end", at - begin)
        frames.append(PyBytes_FromStringAndSize(<const char*>body, length))
        at = body + length
    return frames


# ---- acknowledgements

cdef enum:
    SENT_FIRST = 8              # records of datagrams that a tracker begins with; a power of two
    ACK_EVERY = 8
    LAZY_ACK_EVERY = 64
    LOSS_MEMORY = 64
    REORDER_PACKETS = 3

cdef uint64_t NEVER = 0xffffffffffffffff
cdef double ACK_DELAY = 0.01
cdef double LAZY_ACK_DELAY = 0.1
cdef double ACK_DELAY_MAX = 0.2
cdef double ACK_DELAY_UNIT = 0.0001
cdef double SAMPLE_LEAST = 0.0001
cdef double BANDWIDTH_SECONDS = 10.0
cdef double REORDER_MAX = 0.5
cdef double GRANULARITY = 0.001
cdef double PTO_FIRST = 0.2
cdef double PTO_MAX = 1.0

ACK_LIMITS = {
    "ACK_WINDOW": ACK_WINDOW, "ACK_EVERY": ACK_EVERY, "LAZY_ACK_EVERY": LAZY_ACK_EVERY, "LOSS_MEMORY": LOSS_MEMORY,
    "REORDER_PACKETS": REORDER_PACKETS, "ACK_DELAY": ACK_DELAY, "LAZY_ACK_DELAY": LAZY_ACK_DELAY,
    "ACK_DELAY_MAX": ACK_DELAY_MAX, "BANDWIDTH_SECONDS": BANDWIDTH_SECONDS, "REORDER_MAX": REORDER_MAX,
    "GRANULARITY": GRANULARITY, "PTO_FIRST": PTO_FIRST, "PTO_MAX": PTO_MAX,
}


cdef class AckTracker:
    """Which of the datagrams that one side of a link has sent have arrived, which are lost, which of the other side's have
    come; and what that tells of the path. A base: what a datagram carried is its subclass's (`concluded`)."""

    def __cinit__(self, *arguments, **options):
        self.sent = <Sent*>PyMem_Malloc(SENT_FIRST * sizeof(Sent))
        if self.sent == NULL:
            raise MemoryError
        memset(self.sent, 0, SENT_FIRST * sizeof(Sent))
        self.sent_mask = SENT_FIRST - 1
        self.ack_due = self.lost_due = INFINITY
        self.late_floor = self.late_until = self.later_floor = NEVER

    def __dealloc__(self):
        PyMem_Free(self.sent)

    cdef int concluded(self, Sent* sent, bint arrived, double now) except -1:
        """A datagram has arrived, or is taken for lost. One that was taken for lost may arrive after all."""
        return 0

    # What was sent

    cdef bint may_send(self) noexcept:
        """Whether there is a record for one more datagram."""
        return self.next_number - self.oldest < SENT_MAX

    cdef Sent* note_sent(self, uint32_t size, int elicits, double now) except NULL:
        """The next number goes out, in a datagram of `size` bytes: its record, to be filled with what it carries. It tells
        what write_ack has written last. Without may_send() only for one that elicits nothing."""
        cdef uint32_t capacity, i
        cdef Sent* grown
        cdef Sent* record
        if not elicits and not self.may_send():
            self.unrecorded.number = self.next_number       # what becomes of it changes nothing; its place is another's
            self.next_number += 1
            return &self.unrecorded
        if self.next_number - self.oldest > self.sent_mask:
            capacity = (self.sent_mask + 1) * 2
            grown = <Sent*>PyMem_Malloc(capacity * sizeof(Sent))
            if grown == NULL:
                raise MemoryError
            memset(grown, 0, capacity * sizeof(Sent))
            for i in range(self.sent_mask + 1):
                if self.sent[i].fate != FATE_NONE:
                    grown[self.sent[i].number & (capacity - 1)] = self.sent[i]
            PyMem_Free(self.sent)
            self.sent = grown
            self.sent_mask = capacity - 1
        if self.flying_soon + self.flying_later == 0:
            self.oldest = self.next_number
        record = &self.sent[self.next_number & self.sent_mask]
        record.number = self.next_number
        record.at = now
        record.delivered = self.delivered
        record.told = self.highest + 1 if self.has_highest else 0
        record.size = size if elicits else 0
        record.refs = 0
        record.fate = FATE_FLYING
        record.elicits = <uint8_t>elicits
        record.is_probe = False
        if elicits == ELICITS_SOON:
            if self.flying_soon == 0:
                self.soon_at = now
            self.flying_soon += 1
        elif elicits == ELICITS_LATER:
            if self.flying_later == 0:
                self.later_at = now
            self.flying_later += 1
        self.in_flight += record.size
        self.next_number += 1
        return record

    cdef int take_ack(self, const uint8_t* block, uint32_t size, double now) except? -2:
        """What the other side acknowledges, at the beginning of a datagram's body: the block's length; -1 if it is cut, or
        tells of what was never sent."""
        cdef uint32_t bit_bytes, j, byte
        cdef uint64_t largest, number
        cdef double delay
        cdef Sent* record
        if size == 0:
            return -1
        if block[0] == 0:
            return 1
        bit_bytes = block[0] - 1
        if bit_bytes * 8 > ACK_WINDOW or size < 7 + bit_bytes:
            return -1
        # The number with these low bits that was sent last.
        largest = self.next_number - 1 - <uint32_t>(<uint32_t>(self.next_number - 1) - load32(block + 1))
        if self.next_number == 0 or largest >= self.next_number:
            return -1
        delay = load16(block + 5) * ACK_DELAY_UNIT
        record = &self.sent[largest & self.sent_mask]
        self.flight_before = self.in_flight
        if largest >= self.path_first and record.number == largest and record.fate == FATE_FLYING and record.elicits:
            self.sample(now - record.at, delay)
            self.held -= self.held / LOSS_MEMORY
            if now > record.at:
                self.see_bandwidth((self.delivered + record.size - record.delivered) / (now - record.at), now)
        if not self.has_acked or largest > self.largest_acked:
            self.has_acked = True
            self.largest_acked = largest
        self.acknowledge(largest, now)
        for j in range(bit_bytes):
            byte = block[7 + j]
            number = largest - 1 - 8 * j
            while byte:
                if byte & 1:
                    if number >= self.next_number:      # below 0
                        return -1
                    self.acknowledge(number, now)
                byte >>= 1
                number -= 1
        self.detect_lost(now)
        return <int>(7 + bit_bytes)

    cdef int acknowledge(self, uint64_t number, double now) except -1:
        cdef Sent* record = &self.sent[number & self.sent_mask]
        if record.number != number or record.fate == FATE_NONE or record.fate == FATE_ARRIVED:
            return 0
        if record.fate == FATE_LOST:
            self.spurious_count += 1
            self.lost_count -= 1
            if number >= self.path_first:
                if not record.is_probe:
                    self.loss = max(0.0, self.loss - 1.0 / LOSS_MEMORY)
                self.reorder = min(REORDER_MAX, max(self.reorder, now - record.at - self.lost_after()))
                self.reorder_at = now
        elif record.elicits:
            self.land(record)
            self.loss -= self.loss / LOSS_MEMORY
            if record.elicits == ELICITS_SOON:
                self.soon_at = now
                if self.loss < 1.0 / LOSS_MEMORY and number >= self.path_first and self.has_sample:
                    self.held = min(ACK_DELAY_MAX, max(self.held, now - record.at - self.latest))
            else:
                self.later_at = now
        self.delivered += record.size
        self.raise_floor(record)
        if record.elicits:
            self.arrived_count += 1
            self.concluded(record, True, now)
        record.fate = FATE_ARRIVED
        return 0

    cdef void raise_floor(self, const Sent* record) noexcept:
        """The other side has what this datagram acknowledged. What came late, after a higher number, it has only from one
        that was sent after that."""
        cdef uint64_t floor
        if record.number >= self.late_until:
            self.late_floor = self.later_floor
            self.late_until = NEVER if self.late_floor == NEVER else self.next_number
            self.later_floor = NEVER
        floor = min(record.told, min(self.late_floor, self.later_floor))
        if floor > self.told_floor:
            self.told_floor = floor

    cdef void land(self, Sent* record) noexcept:
        """It is not under way any more."""
        self.in_flight -= record.size
        if record.elicits == ELICITS_SOON:
            self.flying_soon -= 1
        else:
            self.flying_later -= 1

    cdef double lost_after(self) noexcept:
        """How long after it was sent a datagram is lost, if a later one has arrived; without reordering."""
        return max(max(self.srtt, self.latest) * 9 / 8, GRANULARITY)

    cdef int detect_lost(self, double now) except -1:
        """Finds what is lost by now, and when to look again."""
        cdef uint64_t number = self.oldest
        cdef double after = self.lost_after() + self.reorder
        cdef bint unbroken = True               # all below are settled
        cdef Sent* record
        self.lost_due = INFINITY
        if not self.has_acked:
            return 0
        while number < self.largest_acked:
            record = &self.sent[number & self.sent_mask]
            if record.number == number and record.fate == FATE_FLYING and record.elicits:
                if (self.reorder == 0 and self.largest_acked - number >= REORDER_PACKETS) or now >= record.at + after:
                    self.land(record)
                    record.fate = FATE_LOST
                    self.lost_count += 1
                    if not record.is_probe and number >= self.path_first:
                        self.loss += (1 - self.loss) / LOSS_MEMORY
                    self.concluded(record, False, now)
                else:
                    self.lost_due = min(self.lost_due, record.at + after)
                    unbroken = False
            number += 1
            if unbroken:
                self.oldest = number
        return 0

    cdef int give_up(self, uint64_t number, double now) except -1:
        """Whatever is under way below `number` is taken for lost: it is so much that nothing more could be sent."""
        cdef Sent* record
        while self.oldest < number:
            record = &self.sent[self.oldest & self.sent_mask]
            if record.number == self.oldest and record.fate == FATE_FLYING and record.elicits:
                self.land(record)
                record.fate = FATE_LOST
                self.lost_count += 1
                self.concluded(record, False, now)
            self.oldest += 1
        return 0

    cdef void skip_settled(self) noexcept:
        """Makes `oldest` the first that is under way, or the next."""
        cdef Sent* record
        while self.oldest < self.next_number:
            record = &self.sent[self.oldest & self.sent_mask]
            if record.number == self.oldest and record.fate == FATE_FLYING and record.elicits:
                return
            self.oldest += 1

    cdef int shrink(self) except -1:
        """Nothing is under way: as many records as in the beginning."""
        cdef Sent* sent
        if self.sent_mask > SENT_FIRST - 1:
            sent = <Sent*>PyMem_Malloc(SENT_FIRST * sizeof(Sent))
            if sent == NULL:
                raise MemoryError
            memset(sent, 0, SENT_FIRST * sizeof(Sent))
            PyMem_Free(self.sent)
            self.sent = sent
            self.sent_mask = SENT_FIRST - 1
        self.oldest = self.next_number
        return 0

    cdef double pto(self) noexcept:
        """Seconds in which an acknowledgement is due, but for the delay the other side may take."""
        if not self.has_sample:
            return PTO_FIRST
        return self.srtt + max(4 * self.rttvar, GRANULARITY)

    cdef double pto_due(self, int count) noexcept:
        """When to ask again, after having asked `count` times in a row; infinity: nothing is under way. It counts from when
        the first of what is under way was sent, some of it arrived, or it was asked last (RFC 6298, 5). From the last
        that was sent (RFC 9002), who sends all the time would never ask."""
        cdef double seconds
        if self.flying_soon:
            seconds = (self.pto() + max(ACK_DELAY, self.held)) * (1 << min(count, 16))
            return self.soon_at + min(seconds, PTO_MAX)
        if self.flying_later:
            seconds = (self.pto() + LAZY_ACK_DELAY + self.held) * (1 << min(count, 16))
            return self.later_at + min(seconds, PTO_MAX)
        return INFINITY

    # Estimates

    cdef void sample(self, double seconds, double delay) noexcept:
        """One round trip; `delay`: how much of it the other side has waited."""
        cdef double previous = self.latest
        seconds = max(seconds - min(delay, ACK_DELAY_MAX), min(seconds, SAMPLE_LEAST))
        if not self.has_sample:
            self.has_sample = True
            self.min_rtt = self.srtt = self.latest = seconds
            self.rttvar = self.srtt / 2
            return
        self.min_rtt = min(self.min_rtt, seconds)
        self.latest = seconds
        self.jitter += (fabs(seconds - previous) - self.jitter) / 16
        self.rttvar += (fabs(self.srtt - seconds) - self.rttvar) / 4
        self.srtt += (seconds - self.srtt) / 8

    cdef void see_bandwidth(self, double bytes_per_second, double now) noexcept:
        if bytes_per_second >= self.bandwidth or now - self.bandwidth_at > BANDWIDTH_SECONDS:
            self.bandwidth = bytes_per_second
            self.bandwidth_at = now
        if self.reorder and now - self.reorder_at > self.srtt:
            self.reorder = self.reorder * 7 / 8 if self.reorder > GRANULARITY else 0
            self.reorder_at = now

    cdef void reset_path(self) noexcept:
        """Another path: what was measured of the one before says nothing of it."""
        self.path_first = self.next_number
        self.has_sample = False
        self.srtt = self.rttvar = self.min_rtt = self.latest = self.jitter = self.loss = self.bandwidth = self.reorder = 0

    # What was received

    cdef uint64_t widen(self, uint32_t low) noexcept:
        """The number with these low 32 bits that is nearest to the next."""
        cdef uint64_t expected = self.highest + 1 if self.has_highest else 0
        cdef int64_t off = <int64_t><int32_t>(low - <uint32_t>expected)
        if off < 0 and <uint64_t>(-off) > expected:
            off += <int64_t>1 << 32
        return expected + <uint64_t>off

    cdef bint is_fresh(self, uint64_t number) noexcept:
        """Whether this number has not come before, as far as is remembered."""
        cdef uint64_t below
        if not self.has_highest or number > self.highest:
            return True
        if number == self.highest or self.highest - number > ACK_WINDOW:
            return False
        below = self.highest - 1 - number
        return not (self.seen[below >> 6] >> (below & 63)) & 1

    cdef void shift_seen(self, uint64_t distance) noexcept:
        """The highest number is to be `distance` higher; the one so far has come."""
        cdef int words = <int>min(distance >> 6, <uint64_t>4)
        cdef int bits = <int>(distance & 63)
        cdef int i
        for i in range(3, -1, -1):
            self.seen[i] = self.seen[i - words] << bits if i >= words else 0
            if bits and i > words:
                self.seen[i] |= self.seen[i - words - 1] >> (64 - bits)
        if distance <= ACK_WINDOW:
            self.seen[(distance - 1) >> 6] |= <uint64_t>1 << ((distance - 1) & 63)

    cdef void note_received(self, uint64_t number, int elicits, double now) noexcept:
        """A fresh number has come."""
        cdef uint64_t below
        cdef bint in_turn = True
        if not self.has_highest:
            self.has_highest = True
            self.highest = number
            self.highest_at = now
            self.told_floor = number
        elif number > self.highest:
            in_turn = number == self.highest + 1
            self.shift_seen(number - self.highest)
            self.highest = number
            self.highest_at = now
        else:
            in_turn = False
            below = self.highest - 1 - number
            self.seen[below >> 6] |= <uint64_t>1 << (below & 63)
            self.told_floor = min(self.told_floor, number)
            if self.late_floor == NEVER:
                self.late_floor = number
                self.late_until = self.next_number
            elif self.next_number == self.late_until:
                self.late_floor = min(self.late_floor, number)
            else:
                self.later_floor = min(self.later_floor, number)
        if elicits == ELICITS_SOON:
            self.unacked_soon += 1
            self.ack_due = min(self.ack_due, now if not in_turn or self.unacked_soon >= ACK_EVERY else now + ACK_DELAY)
        elif elicits == ELICITS_LATER:
            self.unacked_later += 1
            self.ack_due = min(self.ack_due, now if self.unacked_later >= LAZY_ACK_EVERY else now + LAZY_ACK_DELAY)

    cdef void note_refused(self, double now) noexcept:
        """A number has come that is not to be acknowledged: the other side is to hear that it is heard."""
        self.ack_due = min(self.ack_due, now + ACK_DELAY)

    cdef uint32_t write_ack(self, uint8_t* at, double now) noexcept:
        """Writes the block for the next datagram (up to ACK_BYTES_MAX bytes): its length."""
        cdef uint32_t bit_bytes = 0, word
        cdef uint64_t span
        cdef double delay
        self.ack_due = INFINITY
        self.unacked_soon = self.unacked_later = 0
        if not self.has_highest or self.told_floor > self.highest:
            at[0] = 0
            return 1
        span = min(self.highest - self.told_floor, <uint64_t>ACK_WINDOW)
        bit_bytes = <uint32_t>((span + 7) // 8)
        at[0] = <uint8_t>(bit_bytes + 1)
        store32(at + 1, <uint32_t>self.highest)
        delay = (now - self.highest_at) / ACK_DELAY_UNIT
        store16(at + 5, <uint16_t>(65535 if delay > 65535 else 0 if delay < 0 else delay))
        for word in range(bit_bytes):
            at[7 + word] = <uint8_t>(self.seen[word >> 3] >> ((word & 7) * 8))
        return 7 + bit_bytes
