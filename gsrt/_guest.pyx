"""The hot half of a session's script: its handlers, the packet that one is called with, and that packet's data.

`Handlers` stands in the relay's way (see _relay.Interceptor) for the opCodes that a script has asked for. What a handler
sends waits in an outbox until it has returned, so that nothing of the server runs within a script's budget. The rest of
what a script sees is gsrt.scripts.api.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from gsrt._core import Data as CoreData, Float32, Packet as CorePacket, ProtocolError
from gsrt._meter cimport Account, Meter
from gsrt._relay cimport CANCELLED, Interceptor, PASSES, REPLACED
from gsrt._wire cimport Header, check_data, scan_packet

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject*)

cdef extern from "time.h" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* time)

cdef enum:
    VALUES_MAX = 2000           # of one data object, nested ones included
    NESTING_MAX = 31            # levels of data; the codec allows 32
    VECTOR_MAX = 4              # floats in one array, which is x to w on the wire
    TEXT_BYTES_MAX = 16384      # of one string; no packet carries more
    PAYLOAD_BYTES_MAX = 16384   # of one payload; likewise
    FUNCTIONS_MAX = 256         # that one script can have called for packets
    SEND_GAS = 16               # what sending costs a script, besides its own code
    TRIAL_BYTES = 504           # larger packets are not kept for trying a changed script on


cpdef int64_t milliseconds(double seconds):
    """Whole milliseconds of a time that was computed in seconds, as scripts and their recordings have it: 1.001 s are
    1001, though the nearest double is less."""
    return <int64_t>(seconds * 1000 + 0.001)


class QuotaError(RuntimeError):
    """The script has used up what it may have of something; the message says of what."""


cdef struct Kept:
    uint32_t size
    uint8_t sender
    uint8_t reliable
    uint8_t bytes[TRIAL_BYTES]


cdef str named(object value):
    """What a wrong argument is called in an error: scalars as they are, anything else by its type."""
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is float:
        text = repr(value) if kind is not int or -(1 << 64) < value < (1 << 64) else "a huge number"
        return text
    if kind is str:
        return repr(value if len(value) <= 40 else value[:40] + "...")
    return f"a {kind.__name__[:40]}"


cdef int index_of(object index) except -1:
    cdef Py_ssize_t number
    if type(index) is not int:
        raise TypeError(f"index: a whole number from 1 to 127, not {named(index)}")
    if not 1 <= index <= 127:
        raise ValueError(f"index: from 1 to 127, not {named(index)}")
    return index


cdef object number_of(object value):
    if type(value) is not int:
        raise TypeError(f"a number here is a whole number, not {named(value)}; set_double takes others")
    if not -(1 << 63) <= value < (1 << 63):
        raise ValueError("a number has at most 64 bits")
    return value


cdef double finite(object value) except? -1:
    cdef double number
    if type(value) is not float and type(value) is not int and type(value) is not Float32:
        raise TypeError(f"expected a number, not {named(value)}")
    try:
        number = value
    except OverflowError:
        raise ValueError(f"expected a finite number, not {named(value)}") from None
    if not isfinite(number):
        raise ValueError(f"expected a finite number, not {named(value)}")
    return number


cdef str text_of(object value):
    if type(value) is not str:
        raise TypeError(f"expected a string, not {named(value)}")
    if len(<str>value) > TEXT_BYTES_MAX:
        raise ValueError(f"a string has at most {TEXT_BYTES_MAX} characters here, not {len(<str>value)}")
    try:
        (<str>value).encode()
    except UnicodeEncodeError:
        raise ValueError("a string with half a character in it (a lone surrogate) cannot be sent") from None
    return value


cdef tuple vector_of(object value):
    if type(value) is not list and type(value) is not tuple:
        raise TypeError(f"expected a list of numbers, not {named(value)}")
    if not 1 <= len(value) <= VECTOR_MAX:
        raise ValueError(f"a float array has 1 to {VECTOR_MAX} numbers, not {len(value)}")
    return tuple([finite(each) for each in value])


cdef object core_of(object value, int* values_left, int depth):
    """A codec Data of a script's Data or dict."""
    if type(value) is Data:
        inner = (<Data>value).inner
        return inner if inner is not None else CoreData()
    if type(value) is not dict:
        raise TypeError(f"expected data or a dict, not {named(value)}")
    if depth > NESTING_MAX:
        raise ValueError(f"data nested deeper than {NESTING_MAX} levels")
    made = CoreData()
    for index, each in (<dict>value).items():
        values_left[0] -= 1
        if values_left[0] < 0:
            raise ValueError(f"data with more than {VALUES_MAX} values")
        put(made, index_of(index), each, values_left, depth)
    return made


cdef int put(object inner, int index, object value, int* values_left, int depth) except -1:
    """A value into codec data; its type says which kind it becomes."""
    kind = type(value)
    if kind is int:
        inner.set_long(index, number_of(value))
    elif kind is float:
        finite(value)
        inner.set_double(index, value)
    elif kind is str:
        inner.set_string(index, text_of(value))
    elif kind is Float32:
        finite(value)
        inner.set_float(index, value)
    elif kind is list or kind is tuple:
        inner.set_vector(index, vector_of(value))
    elif kind is dict or kind is Data:
        inner.set_data(index, core_of(value, values_left, depth + 1))
    else:
        raise TypeError(f"data holds whole numbers, floats, strings, lists of numbers and data, not {named(value)}")
    return 0


@cython.final
@cython.freelist(32)
cdef class Data:
    """Values of a packet, each at an index from 1 to 127.

    `get_...` answer None where the index is empty or holds another kind. `data[5]` reads whatever is there (KeyError:
    nothing), `data[5] = value` writes a whole number, a float (as a double), a string, a list of numbers (a float array)
    or data. TypeError and ValueError for what does not fit.
    """

    cdef object inner           # the codec's; None while there is nothing in it
    cdef bint changed
    cdef bint read_only         # inside other data

    cdef object writable(self):
        if self.read_only:
            raise TypeError("this data was read out of other data: put changes into new data, and that in its place")
        if self.inner is None:
            self.inner = CoreData()
        self.changed = True
        return self.inner

    # what is there

    def get_number(self, index):
        """The whole number at `index` (1 to 127), or None."""
        cdef int slot = index_of(index)
        return None if self.inner is None else self.inner.get_long(slot)

    def get_float(self, index):
        """The 32-bit float at `index`, or None."""
        cdef int slot = index_of(index)
        value = None if self.inner is None else self.inner.get_float(slot)
        return None if value is None else float(value)

    def get_double(self, index):
        """The 64-bit float at `index`, or None."""
        cdef int slot = index_of(index)
        return None if self.inner is None else self.inner.get_double(slot)

    def get_string(self, index):
        """The string at `index`, or None."""
        cdef int slot = index_of(index)
        return None if self.inner is None else self.inner.get_string(slot)

    def get_float_array(self, index):
        """The floats of the array at `index`, as a list, or None."""
        cdef int slot = index_of(index)
        value = None if self.inner is None else self.inner.get_vector(slot)
        return None if value is None else [float(each) for each in value]

    def get_data(self, index):
        """The data at `index`, or None. It can be read, not changed."""
        cdef int slot = index_of(index)
        value = None if self.inner is None else self.inner.get_data(slot)
        return None if value is None else inside(value)

    def has_number(self, index):
        """Whether there is a whole number at `index`."""
        cdef int slot = index_of(index)
        return self.inner is not None and self.inner.has_long(slot)

    def has_float(self, index):
        """Whether there is a 32-bit float at `index`."""
        cdef int slot = index_of(index)
        return self.inner is not None and self.inner.has_float(slot)

    def has_double(self, index):
        """Whether there is a 64-bit float at `index`."""
        cdef int slot = index_of(index)
        return self.inner is not None and self.inner.has_double(slot)

    def has_string(self, index):
        """Whether there is a string at `index`."""
        cdef int slot = index_of(index)
        return self.inner is not None and self.inner.has_string(slot)

    def has_float_array(self, index):
        """Whether there is a float array at `index`."""
        cdef int slot = index_of(index)
        return self.inner is not None and self.inner.has_vector(slot)

    def has_data(self, index):
        """Whether there is data at `index`."""
        cdef int slot = index_of(index)
        return self.inner is not None and self.inner.has_data(slot)

    def get(self, index, default=None):
        """Whatever is at `index`, or `default`."""
        cdef int slot = index_of(index)
        if self.inner is None or slot not in self.inner:
            return default
        return plain(self.inner[slot])

    def keys(self):
        """The indices that hold something, ascending, as a list."""
        return [] if self.inner is None else list(self.inner)

    # what is put there

    def set_number(self, index, value):
        """Puts a whole number of at most 64 bits at `index`; gives the data itself, as all of these do."""
        self.writable().set_long(index_of(index), number_of(value))
        return self

    def set_float(self, index, value):
        """Puts a finite number at `index`, as a 32-bit float."""
        self.writable().set_float(index_of(index), finite(value))
        return self

    def set_double(self, index, value):
        """Puts a finite number at `index`, as a 64-bit float."""
        self.writable().set_double(index_of(index), finite(value))
        return self

    def set_string(self, index, value):
        """Puts a string at `index`."""
        self.writable().set_string(index_of(index), text_of(value))
        return self

    def set_float_array(self, index, value):
        """Puts a list of 1 to 4 finite numbers at `index`, as 32-bit floats."""
        self.writable().set_vector(index_of(index), vector_of(value))
        return self

    def set_data(self, index, value):
        """Puts a copy of data, or of a dict from indices to values, at `index`."""
        cdef int values_left = VALUES_MAX
        self.writable().set_data(index_of(index), core_of(value, &values_left, 2))
        return self

    def __getitem__(self, index):
        cdef int slot = index_of(index)
        if self.inner is None or slot not in self.inner:
            raise KeyError(slot)
        return plain(self.inner[slot])

    def __setitem__(self, index, value):
        cdef int values_left = VALUES_MAX
        put(self.writable(), index_of(index), value, &values_left, 1)

    def __delitem__(self, index):
        cdef int slot = index_of(index)
        if self.inner is None or slot not in self.inner:
            raise KeyError(slot)
        del self.writable()[slot]

    def __contains__(self, index):
        return self.inner is not None and type(index) is int and 1 <= index <= 127 and index in self.inner

    def __len__(self):
        return 0 if self.inner is None else len(self.inner)

    def __iter__(self):
        return iter(self.keys())

    def __repr__(self):
        return "Data({" + ", ".join([f"{index}: {self.get(index)!r}" for index in self.keys()]) + "})"


cdef Data inside(object inner):
    cdef Data data = Data.__new__(Data)
    data.inner = inner
    data.read_only = True
    return data


cdef object plain(object value):
    """A codec value as scripts have it."""
    kind = type(value)
    if kind is CoreData:
        return inside(value)
    if kind is Float32:
        return float(value)
    if kind is tuple:
        return [float(each) for each in value]
    return value


def data_of(value):
    """A script's Data or dict as the codec's Data; None stays None. TypeError, ValueError."""
    cdef int values_left = VALUES_MAX
    return None if value is None else core_of(value, &values_left, 1)


def copy_of(Data data):
    """A copy of data that can be changed."""
    cdef Data made = Data.__new__(Data)
    made.inner = None if data.inner is None else CoreData(data.inner)
    return made


@cython.final
@cython.freelist(8)
cdef class Packet:
    """A packet that a player has sent, before anyone else gets it. Changes hold when the handlers let it through."""

    cdef Handlers home
    cdef const uint8_t* at      # the relay's bytes, during the call; NULL once there is a copy
    cdef bytes body
    cdef uint32_t size
    cdef uint32_t data_at, data_length, payload_at, payload_length
    cdef bint has_data, has_payload, reliable, to_server, changed
    cdef int code
    cdef int sender
    cdef int target_count
    cdef uint64_t target_bits[4]
    cdef Data values
    cdef tuple targets          # set by a handler
    cdef object load            # the same
    cdef bint load_set

    cdef int own(self) except -1:
        if self.at != NULL:
            self.body = PyBytes_FromStringAndSize(<const char*>self.at, self.size)
            self.at = NULL
        return 0

    cdef Data look(self):
        if self.values is None:
            self.own()
            self.values = Data.__new__(Data)
            if self.has_data:
                self.values.inner = CoreData.decode(self.body[self.data_at : self.data_at + self.data_length])
        return self.values

    @property
    def op_code(self):
        """What kind of packet it is: 1 to 2147483647."""
        return self.code

    @property
    def data(self):
        """The packet's data; empty where it came without."""
        return self.look()

    def get_op_code(self):
        """What kind of packet it is: 1 to 2147483647."""
        return self.code

    def get_data(self):
        """The packet's data; empty where it came without."""
        return self.look()

    def get_sender(self):
        """The player who has sent it."""
        return self.home.players.get(self.sender)

    def get_payload(self):
        """The packet's bytes besides its data, or None."""
        if self.load_set:
            return self.load
        if not self.has_payload:
            return None
        self.own()
        return self.body[self.payload_at : self.payload_at + self.payload_length]

    def get_target_players(self):
        """The peer ids it is meant for, as a list (0: the server). Empty: everyone but the sender."""
        cdef int i
        if self.targets is not None:
            return list(self.targets)
        if self.target_count == 0:
            return []
        found = [0] if self.to_server else []
        for i in range(1, 256):
            if (self.target_bits[i >> 6] >> (i & 63)) & 1:
                found.append(i)
        return found

    def is_reliable(self):
        """Whether it must arrive."""
        return self.reliable

    def set_data(self, data):
        """Other data (Data, a dict from indices to values, or None) in place of what came; gives the packet."""
        cdef Data made = Data.__new__(Data)
        made.inner = data_of(data)
        if type(data) is Data:
            made.inner = CoreData(made.inner)       # what the script does to its own afterwards is another matter
        self.has_data = made.inner is not None
        self.values = made
        self.changed = True
        return self

    def set_payload(self, payload):
        """Other bytes, or None, in place of those that came; gives the packet."""
        if payload is not None and type(payload) is not bytes:
            raise TypeError(f"payload: bytes or None, not {named(payload)}")
        if payload is not None and len(<bytes>payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"payload: at most {PAYLOAD_BYTES_MAX} bytes, not {len(<bytes>payload)}")
        self.load = payload
        self.load_set = True
        self.changed = True
        return self

    def set_target_peers(self, peers):
        """Other receivers: a list of peer ids or players. Empty: everyone but the sender; gives the packet."""
        self.targets = self.home.peers_of(peers)
        self.changed = True
        return self

    def __repr__(self):
        return f"Packet(op_code={self.code}, sender={self.sender})"

    cdef bytes rewritten(self):
        """The packet as the handlers have left it."""
        data = self.look()
        return CorePacket(
            self.code, data=data.inner if self.has_data or len(data) else None, payload=self.get_payload() or None,
            targets=self.get_target_players(), sender=self.sender,
        ).encode()


@cython.final
cdef class Turn:
    """The time that scripts have had in this turn of the loop: each session's, and all of them together.

    `each_ms` and `all_ms` are the limits; `clock` gives seconds (None: the monotonic clock)."""

    cdef readonly uint64_t number
    cdef readonly double used           # seconds, by all scripts
    cdef double each, all
    cdef object clock
    cdef list waiting                   # Handlers that are behind
    cdef list late                      # those that were so in the turn before, and are let on in this one

    def __init__(self, double each_ms, double all_ms, clock=None):
        self.limit(each_ms, all_ms)
        self.clock = clock
        self.waiting = []
        self.late = []

    def limit(self, double each_ms, double all_ms):
        """Other limits, from now on."""
        self.each = each_ms / 1000
        self.all = all_ms / 1000

    @property
    def is_behind(self):
        """Whether something had to be put off to the next turn."""
        return len(self.waiting) > 0 or len(self.late) > 0

    def begin(self, bint others_first=False):
        """A new turn: everyone has time again. With `others_first`, those that were behind only after let_on(); True:
        there are such."""
        cdef Handlers handlers
        self.number += 1
        self.used = 0
        self.let_on()
        if not self.waiting:
            return False
        self.late, self.waiting = self.waiting, self.late
        if not others_first:
            self.let_on()
            return False
        for handlers in self.late:
            handlers.is_late = True
        return True

    def let_on(self):
        """All others have been served in this turn."""
        cdef Handlers handlers
        if self.late:
            for handlers in self.late:
                handlers.is_behind = handlers.is_late = False
            self.late.clear()

    cdef double time(self) except? -1:
        cdef timespec now
        if self.clock is not None:
            return self.clock()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec + now.tv_nsec * 1e-9


@cython.final
cdef class Handlers(Interceptor):
    """What one script has asked to be called for, and the calls.

    `owner.failed(error, what)` is told what a callback raised, `owner.look_after_memory()` when it is time to count what
    the script holds, `owner.too_long(op_code, sender, bytes, most)` that a packet was dropped which is longer than handlers
    are called for; `deliver(frame, peers, reliable)` takes what is sent;
    `players` maps peer ids to what scripts see as players, all of the type `player_type`. `now` is the loop's clock in
    seconds, `began` its reading when the session began."""

    cdef readonly Account account
    cdef readonly dict players
    cdef readonly int64_t now_ms        # since the session began, of the callback that runs
    cdef readonly uint64_t calls        # callbacks
    cdef readonly uint64_t sent         # packets
    cdef readonly double seconds        # spent in callbacks and in delivering what they sent
    cdef readonly double longest        # the longest of these
    cdef public object recorder         # None, or what notes each packet: recorder(at_ms, sender, body, reliable)
    cdef public int present             # peers that "everyone" is
    cdef Meter meter
    cdef Turn turn
    cdef int64_t held_then              # bytes that the script held after its last callback
    cdef uint64_t turn_number
    cdef double turn_used
    cdef object owner, deliver, player_type
    cdef double began
    cdef dict by_op_code                # opCode -> list of functions, in the order in which they came
    cdef int function_count
    cdef object last                    # the function for every packet, after these; None
    cdef list outbox                    # (frame, peers, reliable) of the callback that runs
    cdef int sends_max, sends_left
    cdef int64_t send_bytes_max, send_bytes_left
    cdef int packet_bytes_max
    cdef uint32_t seen_bytes_max        # longer packets do not come here
    cdef Kept* kept
    cdef int kept_max
    cdef uint64_t kept_count

    def __init__(self, Meter meter, Account account, Turn turn, profile, owner, deliver, player_type, double began):
        self.meter = meter
        self.account = account
        self.turn = turn
        self.owner = owner
        self.deliver = deliver
        self.player_type = player_type
        self.began = began
        self.players = {}
        self.by_op_code = {}
        self.outbox = []
        self.sends_max = profile.script_sends_max
        self.send_bytes_max = profile.script_send_bytes_max
        self.packet_bytes_max = profile.packet_bytes_max
        self.seen_bytes_max = max(profile.packet_bytes_max, profile.script_packet_bytes_max)
        self.kept_max = profile.script_trial_packets

    def __dealloc__(self):
        PyMem_Free(self.kept)

    def on_packet(self, int32_t op_code, function):
        """`function(packet)` is called for packets of that opCode, after those that came before it. Raises
        QuotaError."""
        if self.function_count >= FUNCTIONS_MAX:
            raise QuotaError(f"a script may have {FUNCTIONS_MAX} functions called for packets")
        self.function_count += 1
        # Another list each time: one that packets are going through stays as it is.
        self.by_op_code[op_code] = [*self.by_op_code.get(op_code, ()), function]
        self.want(op_code)

    def on_every_packet(self, function):
        """`function(packet)` is called for every packet, after those for its opCode."""
        self.last = function
        self.want_every()

    @property
    def handles_packets(self):
        """Whether any packet is of interest."""
        return self.last is not None or len(self.by_op_code) > 0

    @property
    def functions(self):
        """All that is called for packets."""
        found = [function for functions in self.by_op_code.values() for function in functions]
        return found if self.last is None else [*found, self.last]

    # what a callback sends

    def send(self, int32_t op_code, data, payload, peers, bint reliable, int sender):
        """A packet into the outbox of the callback that runs. `data` is Data, a dict or None; `peers` a tuple of ids or
        None for all. Raises QuotaError, TypeError, ValueError."""
        cdef bytes frame
        cdef int64_t cost
        if self.sends_left <= 0:
            raise QuotaError(f"one callback may send {self.sends_max} packets")
        self.meter.charge(SEND_GAS)
        try:
            frame = CorePacket(op_code, data=data_of(data), payload=payload or None, sender=sender).frame()
        except ProtocolError as error:
            raise ValueError(str(error)) from None
        if PyBytes_GET_SIZE(frame) > self.packet_bytes_max:
            raise ValueError(f"a packet has at most {self.packet_bytes_max} bytes, not {PyBytes_GET_SIZE(frame)}")
        cost = PyBytes_GET_SIZE(frame) * max(self.present if peers is None else len(peers), 1)
        if cost > self.send_bytes_left:
            raise QuotaError(f"one callback may send {self.send_bytes_max} bytes, counted for each receiver")
        self.sends_left -= 1
        self.send_bytes_left -= cost
        self.outbox.append((frame, peers, reliable))

    def peers_of(self, peers):
        """The ids of a list of peer ids and players, as a tuple. TypeError, ValueError."""
        if type(peers) is not list and type(peers) is not tuple:
            raise TypeError(f"peers: a list of peer ids or players, not {named(peers)}")
        if len(peers) > 255:
            raise ValueError(f"peers: at most 255, not {len(peers)}")
        ids = []
        for each in peers:
            if type(each) is self.player_type:
                each = each.peer_id
            if type(each) is not int:
                raise TypeError(f"peers: a list of peer ids or players; {named(each)} is in it")
            if not 0 <= each <= 255:
                raise ValueError(f"peers: ids from 0 to 255, not {named(each)}")
            ids.append(each)
        return tuple(ids)

    # callbacks

    cdef double begin(self, double now) except? -1:
        self.now_ms = milliseconds(now - self.began)
        self.sends_left = self.sends_max
        self.send_bytes_left = self.send_bytes_max
        self.calls += 1
        return self.turn.time()

    cdef int end(self, double started) except -1:
        """Delivers what was sent, and accounts for the time and the memory that all of it took."""
        cdef double used
        cdef int64_t holds
        if self.outbox:
            outbox = self.outbox
            self.outbox = []
            self.sent += <uint64_t>len(outbox)
            for frame, peers, reliable in outbox:
                self.deliver(frame, peers, reliable)
        used = self.turn.time() - started
        self.seconds += used
        if used > self.longest:
            self.longest = used
        if self.turn_number != self.turn.number:
            self.turn_number = self.turn.number
            self.turn_used = 0
        self.turn_used += used
        self.turn.used += used
        holds = self.account.holds()
        if holds > self.held_then:
            self.took += <uint64_t>(holds - self.held_then)
        self.held_then = holds
        if self.account.recount_due:
            self.owner.look_after_memory()
        if not self.is_behind and (self.turn_used > self.turn.each or self.turn.used > self.turn.all):
            self.is_behind = True
            self.turn.waiting.append(self)
        return 0

    def run(self, double now, function, *arguments, gas=None):
        """Calls `function(*arguments)` of the script within its budgets and delivers what it sends: what it gives.
        Raises what it raised, or Exceeded."""
        cdef double started = self.begin(now)
        try:
            return self.meter.call(self.account, function, *arguments, gas=gas)
        finally:
            self.end(started)

    cdef int packet(self, int sender, const Header* header, const uint8_t* packet, uint32_t size, bint reliable,
                    double now) except -1:
        cdef Packet made = Packet.__new__(Packet)
        cdef double started
        cdef int verdict = PASSES
        if size > self.seen_bytes_max:
            self.owner.too_long(header.op_code, sender, size, self.seen_bytes_max)
            return CANCELLED
        made.home = self
        made.at = packet
        made.size = size
        made.code = header.op_code
        made.sender = sender
        made.reliable = reliable
        made.has_data = header.data_count > 0
        made.data_at = header.data_at
        made.data_length = header.data_length
        made.has_payload = header.payload_count > 0
        made.payload_at = header.payload_at
        made.payload_length = header.payload_length
        made.to_server = header.to_server
        made.target_count = header.target_count
        memcpy(made.target_bits, header.target_bits, sizeof(made.target_bits))
        if self.kept_max:
            self.keep(sender, packet, size, reliable)
        if self.recorder is not None:
            made.own()
            self.recorder(milliseconds(now - self.began), sender, made.body, reliable)
        started = self.begin(now)
        functions = self.by_op_code.get(header.op_code)
        if functions is None:
            function = self.last
        elif self.last is None and len(<list>functions) == 1:
            function = (<list>functions)[0]
        else:
            function = self.call_each       # all of them within one budget
        try:
            if self.meter.call1(self.account, function, made) is False:
                verdict = CANCELLED
            if verdict == PASSES and (made.changed or made.values is not None and made.values.changed):
                self.replacement = made.rewritten()
                verdict = REPLACED
        except Exception as error:
            verdict = PASSES
            self.owner.failed(error, header.op_code)
        if Py_REFCNT(<PyObject*>made) > 1:
            made.own()          # the script has kept it; the relay's bytes are about to go
        self.end(started)
        return verdict

    def call_each(self, Packet packet):
        """Calls the functions for a packet in their order, up to the first that gives False: False then."""
        for function in self.by_op_code.get(packet.code, ()):
            if function(packet) is False:
                return False
        return self.last is None or self.last(packet) is not False

    def feed(self, double now, int sender, bytes body, bint reliable):
        """One packet (no length prefix), as if it had just come from that peer: None where no handler wants it, False
        where it was cancelled, True where it goes on as it is, or the bytes that go on in its place.

        Raises ProtocolError for bytes that the relay would have dropped."""
        cdef Header header
        cdef const uint8_t* where
        cdef const uint8_t* begin
        cdef int verdict
        if type(body) is not bytes:
            raise TypeError("bytes are expected")
        body = CorePacket.decode(body).encode()
        begin = <const uint8_t*>PyBytes_AS_STRING(body)
        scan_packet(begin, <uint32_t>PyBytes_GET_SIZE(body), &header)
        if not self.wants(header.op_code):
            return None
        verdict = self.packet(sender, &header, begin, <uint32_t>PyBytes_GET_SIZE(body), reliable, now)
        if verdict == CANCELLED:
            return False
        return self.replacement if verdict == REPLACED else True

    # the last packets, to try a changed script on

    cdef int keep(self, int sender, const uint8_t* packet, uint32_t size, bint reliable) except -1:
        cdef Kept* place
        if size > TRIAL_BYTES:
            return 0
        if self.kept == NULL:
            self.kept = <Kept*>PyMem_Malloc(self.kept_max * sizeof(Kept))
            if self.kept == NULL:
                raise MemoryError
        place = &self.kept[self.kept_count % <uint64_t>self.kept_max]
        self.kept_count += 1
        place.size = size
        place.sender = <uint8_t>sender
        place.reliable = reliable
        memcpy(place.bytes, packet, size)
        return 0

    def last_packets(self):
        """The last packets that came here, oldest first: (sender, body, reliable) each."""
        cdef uint64_t at = self.kept_count - min(self.kept_count, <uint64_t>self.kept_max)
        cdef Kept* place
        found = []
        while at < self.kept_count:
            place = &self.kept[at % <uint64_t>self.kept_max]
            found.append((place.sender, PyBytes_FromStringAndSize(<const char*>place.bytes, place.size),
                          bool(place.reliable)))
            at += 1
        return found
