# What bounds a running script: the part that other compiled modules see.

cimport cython
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #ifndef GSRT_METER_STATE
    #define GSRT_METER_STATE
    /* One for the process. Ticks read it, the timer's signal handler and the allocator hook write to it. */
    typedef struct {
        long gas;                       /* left; below 0: used up, and it stays so until the call ends */
        volatile int attention;         /* something of what follows is to be looked at by the next tick */
        volatile int running;           /* a call is under way */
        volatile int time_up;           /* the CPU time is used up; stays set until the call ends */
        int memory_up;                  /* the memory is used up; likewise */
        int look_due;                   /* so much was allocated that the resident size is to be looked at */
        volatile long slices;           /* of CPU time passed in this call */
        long slices_most;               /* so many use the time up */
        long gas_given;
        long small_net;                 /* blocks up to 1 KB allocated less freed in this call */
        unsigned long long small_gross; /* bytes in such blocks, freed ones too */
        unsigned long long large_gross; /* bytes in larger blocks, likewise */
        unsigned long long look_next;   /* small_gross at which the next look is due */
        size_t refused;                 /* bytes of a single block that was refused for its size */
        const char *tag;                /* of the account, for the watchdog */
        size_t tag_bytes;
        void *ledger;                   /* of the account: who pays for large blocks */
    } gsrt_meter_state;
    #endif
    """
    ctypedef struct State "gsrt_meter_state":
        long gas
        int attention
        int running
        int time_up
        int memory_up
        int look_due
        long slices
        long slices_most
        long gas_given
        long small_net
        unsigned long long small_gross
        unsigned long long large_gross
        unsigned long long look_next
        size_t refused
        const char* tag
        size_t tag_bytes
        void* ledger

cdef struct Ledger:                             # outlives its account while a large block of it lives
    long long large_bytes
    long blocks
    bint orphan                                 # the account is gone

@cython.final
cdef class Account:
    cdef Ledger* ledger
    cdef Meter meter                            # that ran it last
    cdef readonly long long held_bytes          # of the last recount
    cdef readonly long gas_most, calls
    cdef readonly bytes tag                     # names the script for the watchdog
    cdef uint64_t number                # no other account has had it: an address may be a later one's
    cdef readonly bint recount_due              # so much has happened since the last recount that it is time for one
    cdef long long small_net                    # blocks up to 1 KB, allocated less freed in all calls since the last recount
    cdef long long gross                        # bytes allocated in all calls since the last recount
    cdef long long large_then                   # large_bytes at the last recount

    cdef void add(self, long gas, long long memory_bytes) noexcept
    cdef long long holds(self) noexcept         # bytes that the script holds now, about

@cython.final
cdef class Tick:                                # what `_t_` is bound to
    cdef State* state
    cdef Meter meter

@cython.final
cdef class Meter:
    cdef State* state
    cdef Account account                        # whose callback runs; None: nobody's
    cdef Account nobody                         # who pays when call() is given None
    cdef readonly Tick tick_object
    cdef readonly long gas                      # the budgets of a call
    cdef readonly int cpu_ms
    cdef readonly long long memory_bytes
    cdef public object script_type              # metaclass of script classes, which recount() enters; None: enters none
    cdef public frozenset host_types            # of objects that the host makes for scripts, which it enters as well
    cdef long long memory_block                 # the largest single block
    cdef object where                           # where the running script was first stopped
    cdef str budget                             # that was passed first
    cdef long long used
    cdef long long resident_then                # bytes at the first look in this call; -1: not looked yet
    cdef int resident_fd
    cdef bint timer_on

    cdef int tick(self) except -1                       # one gas; raises Stop
    cpdef int charge(self, long ticks) except -1        # many; raises Stop when used up, ValueError when ticks < 0
    cdef int over(self) except -1                       # slow half of a tick: call it when state.gas < 0 or state.attention
    cdef object call0(self, Account account, object function)
    cdef object call1(self, Account account, object function, object argument)   # call() with one argument, at C level
    cdef bint memory_off(self) noexcept                 # host work that is not the script's: True if counting was on
    cdef void memory_on(self, bint was_on) noexcept     # what memory_off() gave

    cdef Account arm(self, Account account, long gas)
    cdef void disarm(self, Account account) noexcept
    cdef object finish(self, Account account, void* result)
    cdef object finish_exceeded(self, Account account, void* result)
    cdef object finish_foreign(self)
    cdef void note(self) noexcept
    cdef object place(self)
    cdef object raised_at(self, object traceback)
    cdef bint is_script(self, object frame) except -1
    cdef void end_timer(self) noexcept
    cdef int look(self) except -1
    cdef long long resident(self) noexcept
