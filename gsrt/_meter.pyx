"""What bounds a running script: gas, CPU time, memory.

A script runs inside `Meter.call`, never nested, on one thread. Three things can end it, and each marks the one `State` of
the process (see _meter.pxd), so that the next tick of the script raises Stop, and every tick after it too:

    gas         counted down by the ticks that stand in each of its loops and functions, and by what works for it
    CPU time    a POSIX timer on the clock of the calling thread; its C signal handler counts slices of 5 ms
    memory      an allocator hook: blocks over 1 KB are counted to the byte and may be refused; smaller ones never are,
                for an interpreter without them hangs or dies. They only draw attention: each further MB of them makes
                the next tick look at the resident size of the process.

Whatever the script then does, `call` ends in Exceeded. A single C call that never comes back to a tick meets the
watchdog: the signal handler notes whose script it was and executes the server anew, in the same process.

What a script keeps between its calls is known for large blocks at any time, as the hook sees every free; for small ones
`Account.recount` walks what is reachable, when enough has happened to make it worth while.
"""

from cpython.object cimport PyObject
from libc.errno cimport errno
from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, strlen

import os
import sys

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    #endif
    #include <poll.h>
    #include <signal.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>

    #ifndef sigev_notify_thread_id
    #define sigev_notify_thread_id _sigev_un._tid
    #endif

    /* Whether this thread's allocations are a script's. Read at each allocation of the process: initial-exec is one
       instruction instead of a call; only glibc keeps room for it in libraries that are loaded late. */
    #ifdef __GLIBC__
    __attribute__((tls_model("initial-exec")))
    #endif
    static __thread int gsrt_counting;

    /* The system calls themselves: the C library of older systems keeps these in a library of its own. Its timers and
       the kernel's have the same identifiers, and `long` is what the kernel's call counts time in. */
    static int gsrt_timer_create(int signal_number, int *timer) {
        struct sigevent event;
        memset(&event, 0, sizeof event);
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = signal_number;
        event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
        return (int)syscall(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, timer);
    }
    static int gsrt_timer_set(int timer, long milliseconds) {
        long times[4] = {0, milliseconds * 1000000L, 0, milliseconds * 1000000L};
        return (int)syscall(SYS_timer_settime, timer, 0, times, NULL);
    }
    static int gsrt_timer_delete(int timer) {
        return (int)syscall(SYS_timer_delete, timer);
    }

    static void gsrt_slices_passed(long slices);

    static void gsrt_on_signal(int number, siginfo_t *info, void *context) {
        int kept = errno;
        (void)number;
        (void)context;
        gsrt_slices_passed(info->si_code == SI_TIMER ? 1L + info->si_overrun : 1L);
        errno = kept;
    }
    static int gsrt_signal_handle(int number) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = gsrt_on_signal;
        action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        return sigaction(number, &action, NULL);
    }
    /* The signal as a new program expects it: not pending (ignoring it for a moment sees to that), not blocked. */
    static void gsrt_signal_reset(int number) {
        struct sigaction action;
        sigset_t set;
        memset(&action, 0, sizeof action);
        action.sa_handler = SIG_IGN;
        sigaction(number, &action, NULL);
        action.sa_handler = SIG_DFL;
        sigaction(number, &action, NULL);
        sigemptyset(&set);
        sigaddset(&set, number);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
    /* A line to the log, unless nobody reads it: a pipe that poll calls writable takes a short line whole. */
    static void gsrt_say(const char *line, size_t bytes) {
        struct pollfd log = {2, POLLOUT, 0};
        if (poll(&log, 1, 0) == 1 && (log.revents & POLLOUT))
            (void)!write(2, line, bytes);
    }
    /* CPython 3.13 takes calls that fill in a default off its recursion limit without looking whether any is left
       (gh-132744): a tick, which every function begins with, looks for it. */
    static inline int gsrt_too_deep(void) {
    #if PY_VERSION_HEX >= 0x030D0000 && PY_VERSION_HEX < 0x030E0000
        return PyThreadState_GetUnchecked()->py_recursion_remaining <= 0;
    #else
        return 0;
    #endif
    }
    static void gsrt_trim(void) {
    #ifdef __GLIBC__
        malloc_trim(0);
    #endif
    }
    /* The result of a call as it is; NULL passes the exception on that is set. */
    static PyObject *gsrt_as_it_is(void *result) { return (PyObject *)result; }
    """
    int counting "gsrt_counting"
    int SIGNAL "(SIGRTMIN + 3)"
    int timer_create "gsrt_timer_create"(int signal_number, int* timer) nogil
    int timer_set "gsrt_timer_set"(int timer, long milliseconds) nogil
    int timer_delete "gsrt_timer_delete"(int timer) nogil
    int signal_handle "gsrt_signal_handle"(int number) nogil
    void signal_reset "gsrt_signal_reset"(int number) nogil
    bint too_deep "gsrt_too_deep"()
    void trim "gsrt_trim"() nogil
    void say "gsrt_say"(const char* line, size_t size) nogil
    object as_it_is "gsrt_as_it_is"(void* result)
    bint unlikely(bint condition) nogil

cdef extern from "<unistd.h>" nogil:
    ssize_t pread(int fd, void* buffer, size_t size, long offset)
    int close(int fd)
    ssize_t write(int fd, const void* buffer, size_t size)
    int execve(const char* path, char** arguments, char** environment)
    void _exit(int status)

cdef extern from "Python.h":
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ
    ctypedef struct PyMemAllocatorEx:
        void* ctx
        void* (*malloc)(void* ctx, size_t size) noexcept nogil
        void* (*calloc)(void* ctx, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* ctx, void* block, size_t size) noexcept nogil
        void (*free)(void* ctx, void* block) noexcept nogil
    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)

    ctypedef struct PyASCIIObject:
        pass
    ctypedef struct PyListObject:
        Py_ssize_t allocated
    ctypedef struct PyFunctionObject:
        PyObject* func_dict
    ctypedef int (*Visit "visitproc")(PyObject* item, void* walk) noexcept
    ctypedef int (*Traverse "traverseproc")(PyObject* item, Visit visit, void* walk) noexcept
    ctypedef struct Kind "PyTypeObject":
        Py_ssize_t tp_basicsize
        unsigned long tp_flags
        Traverse tp_traverse
    Kind* kind_of "Py_TYPE"(PyObject* item) noexcept
    unsigned long Py_TPFLAGS_HEAPTYPE
    bint PyType_Check(object item) noexcept
    Py_ssize_t Py_SIZE(object item) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) noexcept
    bint PyExceptionInstance_Check(object item) noexcept

    # With results and exceptions as they are: what is to be done before an exception goes on is done here.
    PyObject* PyObject_CallNoArgs(object function)
    PyObject* PyObject_CallOneArg(object function, object argument)
    PyObject* PyObject_Call(object function, object arguments, PyObject* keywords)
    bint PyErr_ExceptionMatches(object kind) noexcept
    void PyErr_Fetch(PyObject** kind, PyObject** value, PyObject** traceback) noexcept
    PyObject* current_frame "(PyObject *)PyEval_GetFrame"() noexcept
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept
    void Py_XDECREF(PyObject* item) noexcept

cdef enum:
    LARGE_BYTES = 1024              # a block over this is counted by itself and may be refused
    LOOK_BYTES = 1 << 20            # of small blocks, between two looks at the resident size
    BYTES_PER_TICK = 256            # filling or copying so much of a large block costs as much time as a tick's work
    SMALL_BYTES = 48                # what a small block is taken for until the next recount
    RECOUNT_BYTES = 16 << 20        # allocated since the last recount: time for another
    RECOUNT_PART = 8                # or when what is held has grown by this part of the memory budget
    BLOCK_PART = 8                  # one block has at most this part of the budget: it bounds what one C call can do to it
    TABLE_SLOTS = 1024              # of large blocks, to begin with; a power of two
    SLICE_MS = 5                    # of CPU time; below the 4 ms of a kernel tick there is nothing to gain
    LINE_BYTES = 256                # of the watchdog's last words

# ---- Large blocks: who pays for which. Only touched with the GIL held, which the allocator's domains ask for.

cdef struct Block:
    Ledger* ledger
    size_t size

cdef struct Table:                  # open addressing; addresses apart from the rest, for a search sees no more than them
    uintptr_t* addresses            # 0: empty
    Block* blocks
    size_t count
    size_t mask                     # slots - 1

cdef struct Limits:                 # of the call under way
    long long block
    long long total

cdef State state
cdef Table table
cdef Limits limits
cdef PyMemAllocatorEx memory_before, objects_before     # what the hook stands in front of
cdef bint hooked = False


cdef inline size_t home(uintptr_t address) noexcept nogil:
    return <size_t>((<uint64_t>(address >> 4) * <uint64_t>0x9E3779B97F4A7C15ULL) >> 32) & table.mask


cdef inline Py_ssize_t find(uintptr_t address) noexcept nogil:
    """Its slot; -1: nobody pays for this block. The table is not empty."""
    cdef size_t slot = home(address)
    while table.addresses[slot]:
        if table.addresses[slot] == address:
            return <Py_ssize_t>slot
        slot = (slot + 1) & table.mask
    return -1


cdef bint make_room() noexcept nogil:
    """Room for one more block, or False. At most half of the slots are used, so that a search is short."""
    cdef Table old = table
    cdef Table new
    cdef size_t slot, i
    if table.addresses != NULL and (table.count + 1) * 2 <= table.mask + 1:
        return True
    new.mask = TABLE_SLOTS - 1 if old.addresses == NULL else old.mask * 2 + 1
    new.count = old.count
    new.addresses = <uintptr_t*>calloc(new.mask + 1, sizeof(uintptr_t))
    new.blocks = <Block*>malloc((new.mask + 1) * sizeof(Block))
    if new.addresses == NULL or new.blocks == NULL:
        free(new.addresses)
        free(new.blocks)
        return False
    table.addresses, table.blocks, table.mask = new.addresses, new.blocks, new.mask
    if old.addresses != NULL:
        for i in range(old.mask + 1):
            if old.addresses[i]:
                slot = home(old.addresses[i])
                while new.addresses[slot]:
                    slot = (slot + 1) & new.mask
                new.addresses[slot] = old.addresses[i]
                new.blocks[slot] = old.blocks[i]
        free(old.addresses)
        free(old.blocks)
    return True


cdef void let_go(Ledger* ledger) noexcept nogil:
    """One block less on it; it goes with the last one when its account is gone."""
    ledger.blocks -= 1
    if ledger.orphan and not ledger.blocks:
        free(ledger)


cdef void pay_back(Py_ssize_t slot) noexcept nogil:
    """The block in this slot is gone, or is about to be entered anew."""
    cdef Ledger* ledger = table.blocks[slot].ledger
    cdef size_t hole = <size_t>slot
    cdef size_t other = hole
    ledger.large_bytes -= <long long>table.blocks[slot].size
    let_go(ledger)
    table.count -= 1
    while True:                     # move up what would not be found over a hole
        other = (other + 1) & table.mask
        if not table.addresses[other]:
            break
        if ((other - home(table.addresses[other])) & table.mask) >= ((other - hole) & table.mask):
            table.addresses[hole] = table.addresses[other]
            table.blocks[hole] = table.blocks[other]
            hole = other
    table.addresses[hole] = 0


cdef void pay(Ledger* ledger, void* block, size_t size) noexcept nogil:
    """Enter a block; make_room() was True, or one was just paid back."""
    cdef uintptr_t address = <uintptr_t>block
    cdef Py_ssize_t known = find(address)
    cdef size_t slot
    if known >= 0:                  # freed behind the hook's back: someone else's hook was taken out of the chain
        pay_back(known)
    slot = home(address)
    while table.addresses[slot]:
        slot = (slot + 1) & table.mask
    table.addresses[slot] = address
    table.blocks[slot].ledger = ledger
    table.blocks[slot].size = size
    table.count += 1
    ledger.blocks += 1
    ledger.large_bytes += <long long>size


# ---- The allocator hook.

cdef inline void small_allocated(size_t size) noexcept nogil:
    state.small_gross += size
    if unlikely(state.small_gross >= state.look_next):
        state.look_next = state.small_gross + LOOK_BYTES
        state.look_due = 1
        state.attention = 1
        if state.small_net * SMALL_BYTES > limits.total:        # in one C call, most likely: no look would come in time
            state.memory_up = 1


cdef bint affordable(size_t size, size_t instead_of) noexcept nogil:
    """Whether the running script may have a large block, in place of one (0: none) it pays for. Charges its gas."""
    cdef Ledger* ledger = <Ledger*>state.ledger
    cdef size_t held = <size_t>ledger.large_bytes - instead_of
    if state.memory_up or size > <size_t>limits.block or size > <size_t>limits.total or held > <size_t>limits.total - size:
        if not state.memory_up:
            state.refused = size if size > <size_t>limits.block else 0
        state.memory_up = 1
        state.attention = 1
        return False
    if not make_room():
        return False
    state.large_gross += size
    state.gas -= <long>(size // BYTES_PER_TICK)
    return True


cdef void* hook_malloc(void* context, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx* before = <PyMemAllocatorEx*>context
    cdef void* block
    if not counting:
        return before.malloc(before.ctx, size)
    if size <= LARGE_BYTES:
        state.small_net += 1
        small_allocated(size)
        return before.malloc(before.ctx, size)
    if not affordable(size, 0):
        return NULL
    block = before.malloc(before.ctx, size)
    if block != NULL:
        pay(<Ledger*>state.ledger, block, size)
    return block


cdef void* hook_calloc(void* context, size_t count, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx* before = <PyMemAllocatorEx*>context
    cdef void* block
    if not counting or (size and count > (<size_t>-1) // size):
        return before.calloc(before.ctx, count, size)
    if count * size <= LARGE_BYTES:
        state.small_net += 1
        small_allocated(count * size)
        return before.calloc(before.ctx, count, size)
    if not affordable(count * size, 0):
        return NULL
    block = before.calloc(before.ctx, count, size)
    if block != NULL:
        pay(<Ledger*>state.ledger, block, count * size)
    return block


cdef void* hook_realloc(void* context, void* block, size_t size) noexcept nogil:
    cdef PyMemAllocatorEx* before = <PyMemAllocatorEx*>context
    cdef Py_ssize_t slot = -1
    cdef Ledger* payer = NULL
    cdef size_t size_before = 0
    cdef void* moved
    if block == NULL:
        return hook_malloc(context, size)
    if table.count:
        slot = find(<uintptr_t>block)
        if slot >= 0:
            payer = table.blocks[slot].ledger
            size_before = table.blocks[slot].size
    if counting:
        if size <= LARGE_BYTES:
            small_allocated(size)
            if slot >= 0:
                state.small_net += 1
        elif size > size_before:        # what shrinks is never refused
            if not affordable(size, size_before if payer == <Ledger*>state.ledger else 0):
                return NULL
            if slot < 0:
                state.small_net -= 1
            else:
                slot = find(<uintptr_t>block)       # again: the table may have grown
            payer = <Ledger*>state.ledger
    moved = before.realloc(before.ctx, block, size)
    if moved == NULL:
        return NULL
    if payer == NULL:
        return moved
    payer.blocks += 1                   # keeps it while there is no block on it
    if slot >= 0:
        pay_back(slot)
    if size > LARGE_BYTES:
        pay(payer, moved, size)
    let_go(payer)
    return moved


cdef void hook_free(void* context, void* block) noexcept nogil:
    cdef PyMemAllocatorEx* before = <PyMemAllocatorEx*>context
    cdef Py_ssize_t slot
    if block == NULL:
        return
    if table.count:
        slot = find(<uintptr_t>block)
        if slot >= 0:
            pay_back(slot)
            before.free(before.ctx, block)
            return
    if counting:
        state.small_net -= 1
    before.free(before.ctx, block)


cdef void hook_domain(PyMemAllocatorDomain domain, PyMemAllocatorEx* before) noexcept:
    cdef PyMemAllocatorEx hook
    PyMem_GetAllocator(domain, before)
    hook.ctx = before
    hook.malloc = hook_malloc
    hook.calloc = hook_calloc
    hook.realloc = hook_realloc
    hook.free = hook_free
    PyMem_SetAllocator(domain, &hook)


# ---- CPU time and the watchdog. What the signal handler does is safe in it: no allocation, no lock, no Python.

cdef struct Watchdog:
    bint armed
    long slices                     # of one call, that wake it
    int note_fd                     # -1: no note
    char* path                      # NULL: nothing is executed
    char** arguments
    char** environment

cdef Watchdog watchdog
cdef int timer = -1                 # the kernel's name for it; -1: there is none


cdef size_t append(char* line, size_t used, const char* text, size_t size) noexcept nogil:
    if size > LINE_BYTES - 1 - used:
        size = LINE_BYTES - 1 - used
    memcpy(line + used, text, size)
    return used + size


cdef void start_anew() noexcept nogil:
    """The running script does not come back: note whose it is, and execute the server anew in this process, or end it
    where it may execute nothing."""
    cdef char[LINE_BYTES] line
    cdef size_t used = 0
    cdef const char* before = b"error script.watchdog a callback did not come back, the server starts anew script="
    cdef const char* ending = b"error script.watchdog a callback did not come back, the server ends script="
    cdef const char* failed = b"error script.watchdog the server cannot be started anew\n"
    if watchdog.note_fd >= 0 and state.tag_bytes:
        write(watchdog.note_fd, state.tag, state.tag_bytes)
    if watchdog.path == NULL:
        before = ending
    used = append(line, used, before, strlen(before))
    used = append(line, used, state.tag, state.tag_bytes)
    line[used] = c"\n"
    say(line, used + 1)
    timer_delete(timer)
    signal_reset(SIGNAL)
    if watchdog.path != NULL:
        execve(watchdog.path, watchdog.arguments, watchdog.environment)
        say(failed, strlen(failed))
    _exit(70)                       # EX_SOFTWARE


cdef void slices_passed "gsrt_slices_passed"(long slices) noexcept nogil:
    if not state.running:
        return
    state.slices += slices
    if state.slices >= state.slices_most:
        state.time_up = 1
        state.attention = 1
        if watchdog.armed and state.slices >= watchdog.slices:
            start_anew()


cdef char** copied(list texts) except NULL:
    cdef char** copy
    cdef Py_ssize_t i
    for text in texts:
        if type(text) is not bytes:
            raise TypeError(f"bytes are wanted, not {type(text).__name__}")
    copy = <char**>calloc(<size_t>len(texts) + 1, sizeof(char*))
    if copy == NULL:
        raise MemoryError
    for i, text in enumerate(texts):
        copy[i] = copied_text(text)
        if copy[i] == NULL:
            discard(copy)
            raise MemoryError
    return copy


cdef char* copied_text(bytes text) noexcept:
    cdef char* copy = <char*>malloc(<size_t>len(text) + 1)
    if copy != NULL:
        memcpy(copy, <const char*>text, <size_t>len(text) + 1)
    return copy


cdef void discard(char** copy) noexcept:
    cdef char** text = copy
    if copy == NULL:
        return
    while text[0] != NULL:
        free(text[0])
        text += 1
    free(copy)


# ---- What is told.

class Stop(BaseException):
    """Raised into a script that is over its budget. Scripts cannot name it, and catching it helps them nothing."""


class Exceeded(Exception):
    """A script went over a budget.

    budget: "gas" (ticks), "time" (ms of CPU), "memory" (bytes, during a call), "object" (bytes of a single one) or "held"
    (bytes, between calls); limit and used in that unit; where: (file name, line, function) at which it was first
    stopped, None when it was not there to see.
    """

    def __init__(self, budget, limit, used, where=None):
        super().__init__(budget, limit, used, where)
        self.budget = budget
        self.limit = limit
        self.used = used
        self.where = where

    def __str__(self):
        if self.budget == "gas":
            text = f"used up its gas ({self.limit:,})"
        elif self.budget == "time":
            text = f"ran longer than {self.limit} ms"
        elif self.budget == "object":
            text = f"made an object of {self.used / (1 << 20):.2g} MB; one may have {self.limit / (1 << 20):g} MB"
        elif self.budget == "memory":
            text = f"needed more memory than {self.limit / (1 << 20):g} MB"
        else:
            text = f"holds more memory than {self.limit / (1 << 20):g} MB"
        if self.where is None:
            return text
        filename, line, function = self.where
        return f"{text} at {filename} line {line} in {function}"


# ---- What one script has used.

cdef uint64_t accounts = 0              # made so far

cdef class Account:
    """What one script has used, over all its calls. `tag` names the script in the watchdog's note."""

    def __cinit__(self, bytes tag not None=b""):
        global accounts
        accounts += 1
        self.number = accounts
        self.tag = tag
        self.ledger = <Ledger*>calloc(1, sizeof(Ledger))
        if self.ledger == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.ledger == NULL:
            return
        if self.ledger.blocks:
            self.ledger.orphan = True
        else:
            free(self.ledger)

    @property
    def large_bytes(self):
        """Net bytes in blocks over 1 KB that this script holds: exact, at any time."""
        return self.ledger.large_bytes

    @property
    def bytes_now(self):
        """What the script holds now, about: what it did at the last recount, and what it has taken since."""
        return self.holds()

    cdef long long holds(self) noexcept:
        return max(0, self.held_bytes + self.small_net * SMALL_BYTES + self.ledger.large_bytes - self.large_then)

    def recount(self, list roots not None):
        """Bytes of everything reachable from the roots; also kept as `held_bytes`.

        Entered are containers, functions (closure, defaults; their globals only as a root), cells, bound methods,
        exceptions, script classes and their instances, frames over the roots' globals, and objects of the meter's
        `host_types`; not modules, code, other classes and host objects, nor what a root dict has as `__builtins__`. Stops early, with a number over the memory
        budget of the meter that ran the script last, when there is more than that.
        """
        cdef Meter meter = self.meter
        self.held_bytes = reachable(
            roots,
            None if meter is None else meter.script_type,
            frozenset() if meter is None else meter.host_types,
            -1 if meter is None else meter.memory_bytes,
        )
        self.small_net = 0
        self.gross = 0
        self.large_then = self.ledger.large_bytes
        self.recount_due = False
        return self.held_bytes

    cdef void add(self, long gas, long long memory_bytes) noexcept:
        """A call has ended that used so much gas."""
        self.calls += 1
        if gas > self.gas_most:
            self.gas_most = gas
        self.small_net += state.small_net
        self.gross += <long long>(state.small_gross + state.large_gross)
        if (
            self.gross >= RECOUNT_BYTES
            or self.small_net * SMALL_BYTES + self.ledger.large_bytes - self.large_then > memory_bytes // RECOUNT_PART
        ):
            self.recount_due = True


cdef class Tick:
    """Its truth value takes one gas; always True, if it returns."""

    def __bool__(self):
        self.state.gas -= 1
        if unlikely(self.state.gas < 0 or self.state.attention):
            self.meter.over()
        if unlikely(too_deep()):
            raise RecursionError("maximum recursion depth exceeded")
        return True


def give_back_memory():
    """What the allocator keeps without use goes back to the system, where the C library can do that."""
    with nogil:
        trim()


# ---- The meter.

cdef class Meter:
    """Runs scripts within budgets, one at a time."""

    def __cinit__(self, long gas=200_000, int cpu_ms=50, long long memory_bytes=8 << 20):
        if gas < 0 or cpu_ms <= 0 or memory_bytes <= 0:
            raise ValueError("the budgets of a script are positive")
        self.state = &state
        self.gas = gas
        self.cpu_ms = cpu_ms
        self.memory_bytes = memory_bytes
        self.memory_block = memory_bytes // BLOCK_PART
        self.nobody = Account()
        self.host_types = frozenset()
        self.tick_object = Tick.__new__(Tick)
        self.tick_object.state = &state
        self.tick_object.meter = self
        self.resident_then = -1
        self.resident_fd = -1
        try:
            self.resident_fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass                    # resident() makes do without
        global hooked
        if not hooked:
            hook_domain(PYMEM_DOMAIN_MEM, &memory_before)
            hook_domain(PYMEM_DOMAIN_OBJ, &objects_before)
            hooked = True

    def __dealloc__(self):
        if self.timer_on:
            self.end_timer()
        if self.resident_fd >= 0:
            close(self.resident_fd)

    # -- Calls.

    def call(self, Account account, object function, *arguments, object gas=None):
        """function(*arguments) within the budgets; `gas` in place of the usual gas.

        Raises Exceeded when a budget was passed, however the call itself ended; otherwise what the function raised
        (KeyboardInterrupt in any case; another exception that is no Exception as RuntimeError). RuntimeError when a
        script is running already. `account` pays for it; None: nobody does.
        """
        cdef long given = self.gas if gas is None else gas
        if given < 0:
            raise ValueError("a call is given no gas below 0")
        if state.running:
            raise RuntimeError(NESTED)
        account = self.arm(account, given)
        return self.finish(account, PyObject_Call(function, arguments, NULL))

    cdef object call0(self, Account account, object function):
        if unlikely(state.running):
            raise RuntimeError(NESTED)
        account = self.arm(account, self.gas)
        return self.finish(account, PyObject_CallNoArgs(function))

    cdef object call1(self, Account account, object function, object argument):
        if unlikely(state.running):
            raise RuntimeError(NESTED)
        account = self.arm(account, self.gas)
        return self.finish(account, PyObject_CallOneArg(function, argument))

    cdef Account arm(self, Account account, long gas):
        if account is None:
            account = self.nobody
        if account.meter is not self:
            account.meter = self
        self.account = account
        self.resident_then = -1
        limits.block = self.memory_block
        limits.total = self.memory_bytes
        state.gas = state.gas_given = gas
        self.used = 0
        state.attention = state.time_up = state.memory_up = state.look_due = 0
        state.slices = 0
        # The slice that was under way when the call began is not all its own: so one more than the time asks for.
        state.slices_most = (self.cpu_ms + SLICE_MS - 1) // SLICE_MS + 1
        state.small_net = 0
        state.small_gross = state.large_gross = 0
        state.look_next = LOOK_BYTES
        state.refused = 0
        state.tag = account.tag
        state.tag_bytes = <size_t>len(account.tag)
        state.ledger = account.ledger
        state.running = 1
        global counting
        counting = 1
        return account

    cdef void disarm(self, Account account) noexcept:
        global counting
        counting = 0
        state.running = 0
        account.add(state.gas_given - state.gas, self.memory_bytes)
        state.gas = 0
        self.account = None

    cdef object finish(self, Account account, void* result):
        """The end of a call, with its result or NULL and an exception set."""
        if unlikely(state.look_due):
            self.look()
        if unlikely(state.gas < 0 or state.time_up or state.memory_up):
            return self.finish_exceeded(account, result)
        self.disarm(account)
        if unlikely(result == NULL) and not PyErr_ExceptionMatches(Exception):
            return self.finish_foreign()
        return as_it_is(result)

    cdef object finish_foreign(self):
        cdef PyObject* kind
        cdef PyObject* value
        cdef PyObject* traceback
        if PyErr_ExceptionMatches(KeyboardInterrupt):
            return as_it_is(NULL)
        PyErr_Fetch(&kind, &value, &traceback)
        name = (<object>kind).__name__
        Py_XDECREF(kind)
        Py_XDECREF(value)
        Py_XDECREF(traceback)
        raise RuntimeError(f"a script raised {name}") from None

    cdef object finish_exceeded(self, Account account, void* result):
        cdef PyObject* kind = NULL
        cdef PyObject* value = NULL
        cdef PyObject* traceback = NULL
        if result == NULL:
            if PyErr_ExceptionMatches(KeyboardInterrupt):
                self.disarm(account)
                self.budget = self.where = None
                return as_it_is(NULL)
            PyErr_Fetch(&kind, &value, &traceback)
        self.note()
        if self.where is None and traceback != NULL:
            self.where = self.raised_at(<object>traceback)
        # Still within the call, so that what is freed here is counted as freed.
        Py_XDECREF(kind)
        Py_XDECREF(value)
        Py_XDECREF(traceback)
        Py_XDECREF(<PyObject*>result)
        self.disarm(account)
        limit = {
            "gas": state.gas_given,
            "time": self.cpu_ms,
            "memory": self.memory_bytes,
            "object": self.memory_block,
        }[self.budget]
        exceeded = Exceeded(self.budget, limit, self.used, self.where)
        self.budget = self.where = None
        raise exceeded from None

    @property
    def running(self):
        """Whether a call is under way."""
        return state.running != 0

    @property
    def gas_left(self):
        """Of the call under way, 0 when it is used up; 0 without one."""
        return max(state.gas, 0) if state.running else 0

    @property
    def attention(self):
        """Whether the next tick has something to look at."""
        return state.running != 0 and state.attention != 0

    # -- Gas.

    cdef int tick(self) except -1:
        state.gas -= 1
        if unlikely(state.gas < 0 or state.attention):
            return self.over()
        return 0

    cpdef int charge(self, long ticks) except -1:
        """Work done for the script costs gas: raises Stop when it is used up, ValueError when ticks < 0."""
        if unlikely(ticks < 0):
            raise ValueError("gas is never given back")
        if unlikely(ticks > state.gas):
            state.gas = -1
        else:
            state.gas -= ticks
        if unlikely(state.gas < 0 or state.attention):
            return self.over()
        return 0

    cdef int over(self) except -1:
        """The slow half of a tick: the gas is used up, or something asks for attention."""
        if not state.running:
            state.gas = 0
            raise RuntimeError("no script is running: scripts run through Meter.call")
        state.attention = 0         # first, as what the signal handler finds from here on it will say again
        if state.look_due:
            state.look_due = 0
            self.look()
        if state.gas < 0 or state.time_up or state.memory_up:
            state.attention = 1
            self.note()
            if self.where is None:
                self.where = self.place()
            if state.gas < 0:
                state.gas = -1
            raise Stop
        return 0

    cdef void note(self) noexcept:
        """Which budget was passed first, and by how much."""
        if self.budget is not None:
            return
        if state.memory_up and state.refused:
            self.budget = "object"
            self.used = <long long>state.refused
        elif state.memory_up:
            self.budget = "memory"
            self.used = max(self.used, (<Ledger*>state.ledger).large_bytes + state.small_net * SMALL_BYTES)
        elif state.time_up:
            self.budget = "time"
            self.used = state.slices * SLICE_MS
        else:
            self.budget = "gas"
            self.used = state.gas_given - state.gas

    cdef object place(self):
        """(file name, line, function) of the innermost frame of a script, or of any frame if none is one; None."""
        cdef PyObject* current = current_frame()
        if current == NULL:
            return None
        frame = first = <object>current
        while frame is not None and not self.is_script(frame):
            frame = frame.f_back
        if frame is None:
            frame = first
        return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name

    cdef object raised_at(self, object traceback):
        """(file name, line, function) of the innermost frame of a script in a traceback, or of any if none is one."""
        found = traceback
        while traceback is not None:
            if self.is_script(traceback.tb_frame) or not self.is_script(found.tb_frame):
                found = traceback
            traceback = traceback.tb_next
        code = found.tb_frame.f_code
        return code.co_filename, found.tb_lineno, code.co_name

    cdef bint is_script(self, object frame) except -1:
        return frame.f_builtins.get("_t_") is self.tick_object or frame.f_globals.get("_t_") is self.tick_object

    # -- CPU time.

    def slice(self):
        """A slice (5 ms) of CPU time has passed: what the timer's signal does, for tests without one.

        The time is up with one slice more than cpu_ms asks for: at the eleventh for 50 ms.
        """
        slices_passed(1)

    def start_timer(self):
        """Count slices of the calling thread's CPU time from now on. OSError; RuntimeError when there is a timer."""
        global timer
        cdef int made = -1
        if timer >= 0:
            raise RuntimeError("the timer is running already")
        if signal_handle(SIGNAL) < 0 or timer_create(SIGNAL, &made) < 0:
            raise OSError(errno, os.strerror(errno))
        if timer_set(made, SLICE_MS) < 0:
            timer_delete(made)
            raise OSError(errno, os.strerror(errno))
        timer = made
        self.timer_on = True

    def stop_timer(self):
        """The handler stays, as a last signal may be under way."""
        self.end_timer()

    cdef void end_timer(self) noexcept:
        global timer
        if self.timer_on:
            timer_delete(timer)
            timer = -1
            self.timer_on = False

    def arm_watchdog(
        self,
        double seconds,
        bytes path,
        list arguments not None,
        list environment not None,
        int note_fd=-1,
    ):
        """When one call has used `seconds` of CPU time, past its budget: execute `path` in this process. None: the
        process exits with status 70, and whoever has started it starts the next.

        The account's tag is written to note_fd first (-1: nowhere), and a line to the log on descriptor 2. Descriptors
        that are to stay open have to be inheritable. If it cannot be executed, the process exits with status 70.
        """
        cdef Watchdog made
        if seconds <= 0:
            raise ValueError("the watchdog waits for more than no time")
        made.slices = max(1, <long>(seconds * 1000 / SLICE_MS))
        made.note_fd = note_fd
        made.path = NULL
        made.arguments = made.environment = NULL
        if path is not None:
            made.path = copied_text(path)
            if made.path == NULL:
                raise MemoryError
        try:
            made.arguments = copied(arguments)
            made.environment = copied(environment)
        except BaseException:
            discard(made.arguments)
            free(made.path)
            raise
        self.disarm_watchdog()
        made.armed = False
        global watchdog
        watchdog = made
        watchdog.armed = True

    def disarm_watchdog(self):
        """From now on a script that does not come back is waited for."""
        watchdog.armed = False
        free(watchdog.path)
        discard(watchdog.arguments)
        discard(watchdog.environment)
        watchdog.path = NULL
        watchdog.arguments = watchdog.environment = NULL

    # -- Memory.

    cdef bint memory_off(self) noexcept:
        global counting
        cdef bint was_on = counting != 0
        counting = 0
        return was_on

    cdef void memory_on(self, bint was_on) noexcept:
        global counting
        counting = was_on

    def uncounted(self, function, *arguments):
        """function(*arguments), of the host: what it allocates is neither counted as the running script's nor refused."""
        cdef bint was_on = self.memory_off()
        try:
            return function(*arguments)
        finally:
            self.memory_on(was_on)

    cdef int look(self) except -1:
        """So much was allocated in small blocks: has the process grown by more than the budget since the first look?"""
        cdef long long resident = self.resident()
        if self.resident_then < 0:
            self.resident_then = resident
        elif (
            resident - self.resident_then > self.memory_bytes
            # Not by another thread's doing.
            and state.small_gross + state.large_gross > <unsigned long long>self.memory_bytes
        ):
            if not state.memory_up:
                self.used = resident - self.resident_then
            state.memory_up = 1
        return 0

    cdef long long resident(self) noexcept:
        """Resident size of the process in bytes; where the system does not tell, an estimate that grows likewise."""
        cdef char[128] text
        cdef long long pages = 0
        cdef ssize_t size = -1
        cdef ssize_t i = 0
        if self.resident_fd >= 0:
            size = pread(self.resident_fd, text, sizeof(text), 0)
        while i < size and text[i] != c" ":     # the second number
            i += 1
        i += 1
        while i < size and c"0" <= text[i] <= c"9":
            pages = pages * 10 + (text[i] - c"0")
            i += 1
        if pages:
            return pages * PAGE_BYTES
        return max(0, state.small_net * SMALL_BYTES + (<Ledger*>state.ledger).large_bytes)


cdef str NESTED = "a script is running already: calls are never nested"
cdef long PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


# ---- What is held.

cdef enum:
    WORD = sizeof(void*)
    MANAGED_WEAKREF = 1 << 3        # in tp_flags: the two pointers before an instance (CPython 3.11 to 3.13)
    MANAGED_DICT = 1 << 4           # and its attributes' values in a block of their own

cdef struct Walk:
    PyObject** waiting              # borrowed: nothing is freed while the walk is under way
    size_t depth
    size_t room
    uintptr_t* seen                 # open addressing; 0: empty
    size_t count
    size_t mask
    size_t children                 # visited of the object being traversed
    bint failed                     # out of memory


cdef size_t seen_slot(Walk* walk, uintptr_t address) noexcept:
    cdef size_t slot = <size_t>((<uint64_t>(address >> 4) * <uint64_t>0x9E3779B97F4A7C15ULL) >> 32) & walk.mask
    while walk.seen[slot] and walk.seen[slot] != address:
        slot = (slot + 1) & walk.mask
    return slot


cdef bint see(Walk* walk, PyObject* item) noexcept:
    """Whether it is met for the first time."""
    cdef uintptr_t address = <uintptr_t>item
    cdef uintptr_t* old = walk.seen
    cdef size_t old_mask = walk.mask
    cdef size_t i, slot
    if walk.failed:
        return False
    slot = seen_slot(walk, address)
    if walk.seen[slot]:
        return False
    if (walk.count + 1) * 2 > walk.mask + 1:
        walk.mask = old_mask * 2 + 1
        walk.seen = <uintptr_t*>calloc(walk.mask + 1, sizeof(uintptr_t))
        if walk.seen == NULL:
            walk.seen, walk.mask = old, old_mask
            walk.failed = True
            return False
        for i in range(old_mask + 1):
            if old[i]:
                walk.seen[seen_slot(walk, old[i])] = old[i]
        free(old)
        slot = seen_slot(walk, address)
    walk.seen[slot] = address
    walk.count += 1
    return True


cdef int visit(PyObject* item, void* context) noexcept:
    cdef Walk* walk = <Walk*>context
    cdef PyObject** waiting
    walk.children += 1
    if item == NULL or not see(walk, item):
        return 0
    if walk.depth == walk.room:
        waiting = <PyObject**>realloc(walk.waiting, walk.room * 2 * sizeof(PyObject*))
        if waiting == NULL:
            walk.failed = True
            return 0
        walk.waiting = waiting
        walk.room *= 2
    walk.waiting[walk.depth] = item
    walk.depth += 1
    return 0


cdef void enter(Walk* walk, PyObject* item) noexcept:
    walk.children = 0
    if kind_of(item).tp_traverse != NULL:
        kind_of(item).tp_traverse(item, visit, walk)


cdef long long reachable(list roots, object script_type, frozenset host_types, long long most) except -1:
    """See Account.recount. `most`: bytes that are enough to know; -1: all."""
    cdef Walk walk
    cdef long long total = 0
    cdef bint collected
    walk.depth = walk.count = walk.children = 0
    walk.room = 256
    walk.mask = 1023
    walk.failed = False
    walk.waiting = <PyObject**>malloc(walk.room * sizeof(PyObject*))
    walk.seen = <uintptr_t*>calloc(walk.mask + 1, sizeof(uintptr_t))
    # A collection in the midst of it could free what is waiting.
    collected = PyGC_Disable()
    try:
        if walk.waiting == NULL or walk.seen == NULL:
            raise MemoryError
        spaces = {id(root) for root in roots if type(root) is dict}
        for root in roots:
            if type(root) is dict and "__builtins__" in root:
                see(&walk, <PyObject*>root["__builtins__"])
        for root in roots:
            visit(<PyObject*>root, &walk)
        while walk.depth and not walk.failed and (most < 0 or total <= most):
            walk.depth -= 1
            total += (weigh(&walk, <object>walk.waiting[walk.depth], script_type, host_types, spaces) + WORD - 1) & -WORD
        if walk.failed:
            raise MemoryError
    finally:
        if collected:
            PyGC_Enable()
        free(walk.waiting)
        free(walk.seen)
    return total


cdef long long weigh(Walk* walk, object item, object script_type, frozenset host_types, set spaces) except -1:
    """Bytes of one object; what it refers to is put in line."""
    cdef PyObject* pointer = <PyObject*>item
    cdef Kind* kind = kind_of(pointer)
    cdef object klass = type(item)
    cdef long long size
    cdef int overflow = 0
    if item is None or item is True or item is False:
        return 0
    # The commonest by hand, as asking each for its size takes five times as long.
    if klass is float:
        return kind.tp_basicsize
    if klass is int:
        PyLong_AsLongLongAndOverflow(item, &overflow)
        return getsizeof(item) if overflow else kind.tp_basicsize + WORD
    if klass is str:
        if PyUnicode_IS_COMPACT_ASCII(item):
            return <long long>sizeof(PyASCIIObject) + PyUnicode_GET_LENGTH(item) + 1
        return getsizeof(item)
    if klass is bytes:
        return kind.tp_basicsize + Py_SIZE(item)
    if klass is list:
        enter(walk, pointer)
        return kind.tp_basicsize + 2 * WORD + (<PyListObject*>pointer).allocated * WORD
    if klass is tuple:
        enter(walk, pointer)
        return kind.tp_basicsize + 2 * WORD + Py_SIZE(item) * WORD
    if klass is dict:
        enter(walk, pointer)
        return getsizeof(item)
    if klass in host_types:
        enter(walk, pointer)
        return getsizeof(item)
    if PyType_Check(item):
        if klass is not script_type:
            return 0
        enter(walk, pointer)
        return getsizeof(item)
    if kind.tp_flags & Py_TPFLAGS_HEAPTYPE:
        if script_type is None or type(klass) is not script_type:
            return 0                # the host's
        enter(walk, pointer)
        # By hand, for getsizeof knows nothing of the attributes' values as long as there is no dict for them.
        size = kind.tp_basicsize + 2 * WORD                 # with the head for garbage collection
        if kind.tp_flags & (MANAGED_WEAKREF | MANAGED_DICT):
            size += 2 * WORD                                # pointers before that
        if kind.tp_flags & MANAGED_DICT:
            size += (<long long>walk.children + 1) * WORD   # the values and their head; the class is a child and no value
        return size
    if klass is FUNCTION:
        for part in (item.__closure__, item.__defaults__, item.__kwdefaults__):
            visit(<PyObject*>part, walk)
        visit((<PyFunctionObject*>pointer).func_dict, walk)
        return getsizeof(item)
    if klass is FRAME:
        if id(item.f_globals) not in spaces:
            return 0
        enter(walk, pointer)
        return getsizeof(item)
    if klass in CONTAINERS or PyExceptionInstance_Check(item):
        enter(walk, pointer)
        return getsizeof(item)
    if klass in LEAVES:
        return getsizeof(item)
    return 0


cdef object getsizeof = sys.getsizeof
cdef object FUNCTION = type(os.path.join)
cdef object FRAME = type(sys._getframe())


cdef set container_types():
    """Types of the interpreter, beyond the commonest, whose objects a script can hold and which hold others in turn."""
    cdef list of_values = [set(), frozenset(), slice(1), [].append, {}.keys(), {}.values(), {}.items()]
    of_values += [iter(value) for value in ([], (), {}, set(), {}.keys(), {}.values(), {}.items(), "", "\xe9", b"", range(1))]
    of_values += [reversed([]), reversed({}), enumerate([]), zip(), map(len, []), filter(None, [])]
    cdef set types = {type(value) for value in of_values}
    types |= {staticmethod, classmethod, property}
    namespace = {}
    exec("def cell_and_method():\n x = 1\n return (lambda: x).__closure__[0], type('K', (), {'f': lambda self: 1})().f", namespace)
    types |= {type(value) for value in namespace["cell_and_method"]()}
    try:
        raise ValueError
    except ValueError as error:
        types.add(type(error.__traceback__))
    return types


cdef set CONTAINERS = container_types()
cdef set LEAVES = {complex, bytearray, range}
