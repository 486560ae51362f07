# cython: c_api_binop_methods=True, auto_pickle=False
"""What a compiled script's operators and built-in names are bound to: the guards.

The script compiler writes `_k_ @ key` where a plain operation could run long, grow without bound or show an address;
the object named on the left checks the one on the right, in a few nanoseconds, and gives it back (or something that
stands for it in the one operation that follows). Everything else is plain opcodes, for the guards keep these
invariants:

    ints       have at most ~8,192 bits: operands of `+ - *` at most 4,096
    tuples     have at most 20,000 nodes, parts that are shared counted each time, in at most 100 levels: hashing one is
               bounded
    keys       of dicts and sets: ints below 2**60, tuples of at most 100 values without hash collisions; so bulk work
               on sets and dicts is linear
    iterators  are never lazy, but for those of script classes, which tick

Work that grows with the size of what a script hands over is charged to the Meter, about one gas per 16 elements, and
one per element where code of the script runs. A Meter's guards keep what they know (a secret, the collisions seen)
themselves.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.float cimport PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport (
    Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject, PyObject_Hash, PyObject_RichCompare, PyObject_RichCompareBool,
    PyTypeObject,
)
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_GET_LENGTH
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

import builtins as native
import math as native_math
import os
from types import BuiltinFunctionType, FunctionType

from gsrt._meter cimport Meter

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030C0000
    #define guard_digits(o) ((Py_ssize_t)(((PyLongObject *)(o))->long_value.lv_tag >> 3))
    #define guard_digit(o, i) (((PyLongObject *)(o))->long_value.ob_digit[i])
    #else
    #define guard_digits(o) (Py_ABS(Py_SIZE(o)))
    #define guard_digit(o, i) (((PyLongObject *)(o))->ob_digit[i])
    #endif
    typedef PyObject *const *guard_arguments;
    #define guard_set_slots(kind, offset) do { (kind)->tp_vectorcall_offset = (offset); \\
        (kind)->tp_call = PyVectorcall_Call; (kind)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL; } while (0)
    #define guard_set_method(kind) ((kind)->tp_flags |= Py_TPFLAGS_METHOD_DESCRIPTOR)
    #define guard_exception_arguments(e) (((PyBaseExceptionObject *)(e))->args)
    #define guard_is_exception(o) PyExceptionInstance_Check(o)
    static long long guard_bits(PyObject *o) {
        Py_ssize_t n = guard_digits(o);
        if (n == 0) return 0;
        unsigned long top = guard_digit(o, n - 1);
        int used = 0;
        while (top) { used++; top >>= 1; }
        return (long long)(n - 1) * PyLong_SHIFT + used;
    }
    """
    ctypedef void* arguments_t "guard_arguments"
    ctypedef PyObject* (*call_t "vectorcallfunc")(PyObject*, arguments_t, size_t, PyObject*) noexcept
    const Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t guard_digits(object) noexcept
    long long guard_bits(object) noexcept
    void guard_set_slots(PyTypeObject*, Py_ssize_t) noexcept
    void guard_set_method(PyTypeObject*) noexcept
    PyObject* guard_exception_arguments(object) noexcept
    bint guard_is_exception(object) noexcept
    int PyLong_SHIFT
    PyObject* raw_call "PyObject_Vectorcall"(PyObject*, arguments_t, size_t, PyObject*) noexcept
    PyObject* raw_call_method "PyObject_VectorcallMethod"(PyObject*, arguments_t, size_t, PyObject*) noexcept
    Py_ssize_t PyVectorcall_NARGS(size_t) noexcept
    object PyObject_CallOneArg(object, object)
    PyObject* PyErr_GetHandledException() noexcept
    bint PySet_CheckExact(object) noexcept
    bint PyBool_Check(object) noexcept
    bint PyRange_Check(object) noexcept
    bint PySlice_Check(object) noexcept
    bint PyFunction_Check(object) noexcept
    bint PyMethod_Check(object) noexcept
    bint PyType_Check(object) noexcept
    object PyMethod_New(object, object)
    int PySet_Contains(object, object) except -1
    Py_ssize_t PySet_GET_SIZE(object) noexcept
    object PySequence_List(object)
    int Py_EnterRecursiveCall(const char*) except -1
    void Py_LeaveRecursiveCall() noexcept

cdef extern from "Python.h":
    ctypedef PyObject* (*text_t "reprfunc")(PyObject*) noexcept
    ctypedef Py_hash_t (*hash_t "hashfunc")(PyObject*) noexcept
    ctypedef struct Kind "PyTypeObject":
        const char* tp_name
        text_t tp_repr
        text_t tp_str
        hash_t tp_hash
    Kind* kind_of "Py_TYPE"(object) noexcept
    bint is_subtype "PyType_IsSubtype"(Kind*, Kind*) noexcept

cdef enum:
    OPERAND_BITS = 4096         # of an int in `+ - *`
    RESULT_BITS = 8192          # of an int out of `*`, `**` and `<<`
    KEY_BITS = 60               # of an int as a key: below the modulus of Python's hash, so different ints hash apart
    KEY_NODES = 100             # values in a tuple that is a key
    KEY_CHARACTERS = 64         # of a text in such a tuple that count as another value
    TUPLE_NODES = 20000
    TUPLE_DEPTH = 100
    COMPARE_NODES = 300000
    COMPARE_DEPTH = 100
    TEXT_NODES = 10000
    TEXT_DEPTH = 100
    TEXT_BITS = 14000           # of an int that is shown: Python writes at most 4,300 digits
    TEXT_CHARACTERS = 100000    # of str(), repr() and an f-string's value
    ERROR_CHARACTERS = 1000     # of the text of an exception
    ELEMENTS = 100000           # of an iterable that a built-in takes, of a range
    SORTED = 20000
    PIECES = 20000              # of a text that is split
    NUMBER_CHARACTERS = 1300    # of a text that becomes a number
    SUM_LISTS = 1000            # elements in all lists that sum() joins
    BYTES = 65536
    ROUND_DIGITS = 400
    CHUNK = 4096                # elements made at once: between two chunks the budgets are looked at
    INTEGER_DIGITS = 8          # of an int in a tuple that count as another value
    CAUGHT = 16                 # exception classes in a tuple that `except` names
    FLAT = 8                    # elements of a tuple that native comparisons may have as a sort key
    BASES = 8
    ANCESTORS = 32
    SLOTS = 1024                # tuple keys remembered
    COLLISIONS = 32             # different tuple keys with one hash; (-1, -2, ...) make a few honest ones
    SAMPLE = 63                 # one of so many + 1 tuple keys displaces the one remembered in its slot
    PINNED = 4095               # likewise, where a collision was seen

cdef object CLOSED = "made by the server only"
cdef object MISSING = object()

# Dunder methods that a class body may define, and names that Python itself puts there.
METHODS_ALLOWED = frozenset((
    "__init__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__repr__", "__str__", "__len__",
    "__contains__", "__getitem__", "__setitem__", "__delitem__", "__iter__", "__next__", "__call__", "__bool__",
    "__hash__", "__add__", "__sub__", "__mul__", "__truediv__", "__neg__", "__abs__", "__radd__", "__rsub__",
    "__rmul__",
))
cdef frozenset OPERATORS = frozenset(("__add__", "__sub__", "__mul__", "__truediv__"))
cdef frozenset FROM_PYTHON = frozenset((
    "__module__", "__qualname__", "__doc__", "__annotations__", "__classcell__", "__static_attributes__",
    "__firstlineno__", "__classdictcell__", "__annotate__", "__annotate_func__", "__conditional_annotations__",
))

EXCEPTIONS = (
    Exception, ValueError, TypeError, KeyError, IndexError, LookupError, ArithmeticError, ZeroDivisionError,
    OverflowError, AttributeError, NameError, RuntimeError, RecursionError, NotImplementedError, AssertionError,
    StopIteration, MemoryError,
)

# Methods called as `_m_NAME(receiver, ...)`.
GUARDED_METHODS = (
    "index", "count", "remove", "sort", "split", "rsplit", "splitlines", "rfind", "rindex", "rpartition", "strip",
    "lstrip", "rstrip", "startswith", "endswith", "encode", "decode", "items", "keys", "values", "update", "union",
    "intersection", "difference", "symmetric_difference", "intersection_update", "difference_update",
    "symmetric_difference_update", "isdisjoint", "issubset", "issuperset", "extend", "join",
)


cdef inline bint is_scalar(object value) noexcept:
    """A value without parts, whose operations are Python's own."""
    return (PyFloat_CheckExact(value) or PyLong_CheckExact(value) or PyUnicode_CheckExact(value) or value is None
            or PyBool_Check(value) or PyBytes_CheckExact(value))


cdef inline bint is_large(object number) noexcept:
    """An exact int of more bits than an operand may have."""
    return guard_digits(number) > OPERAND_BITS // PyLong_SHIFT and guard_bits(number) > OPERAND_BITS


cdef inline bint is_whole(object value) noexcept:
    return PyLong_CheckExact(value) or PyBool_Check(value)


cdef inline bint is_script_object(object value) noexcept:
    return type(type(value)) is ScriptType


cdef inline bint makes_elements(object value) noexcept:
    """Of a type whose elements are made when they are asked for."""
    return PyUnicode_CheckExact(value) or PyRange_Check(value)


cdef bint is_container(object value) noexcept:
    """Of a built-in type with methods that could run long."""
    return (PyList_CheckExact(value) or PyDict_CheckExact(value) or PyUnicode_CheckExact(value)
            or PyTuple_CheckExact(value) or PySet_CheckExact(value) or PyBytes_CheckExact(value)
            or PyRange_Check(value) or type(value) is frozenset)


cdef long weigh(object value, long most, int depth) noexcept:
    """Nodes of a tuple's tree: itself and all its parts, shared ones each time; more than `most` once that is sure."""
    cdef long total = 1
    cdef Py_ssize_t i
    cdef PyObject* part
    if PyTuple_GET_SIZE(value) >= most or depth >= TUPLE_DEPTH:
        return most + 1
    for i in range(PyTuple_GET_SIZE(value)):
        part = <PyObject*>PyTuple_GET_ITEM(value, i)
        if PyTuple_CheckExact(<object>part):
            total += weigh(<object>part, most - total, depth + 1)
            if total > most:
                return total
        elif PyLong_CheckExact(<object>part):
            total += 1 + guard_digits(<object>part) // INTEGER_DIGITS
        else:
            total += 1
    return total


cdef object too_heavy():
    return ValueError("a tuple holds at most 20,000 values, those of tuples in it counted, in 100 levels: use lists")


cdef inline int operand(object number) except -1:
    if is_large(number):
        raise OverflowError("an int of more than 4,096 bits (1,233 digits) cannot be calculated with")
    return 0


# ----------------------------------------------------------------------------------------------------------------- text


cdef bint repr_is_own(object value) noexcept:
    """Of a class of the script that says how its instances are shown."""
    return kind_of(value).tp_repr == method_repr


cdef bint str_is_own(object value) noexcept:
    return kind_of(value).tp_str == method_str


cdef inline bint is_function(object value) noexcept:
    return (type(value) is Builtin or PyFunction_Check(value) or PyMethod_Check(value)
            or type(value) is BuiltinFunctionType or type(value) is Method)


cdef str without_addresses(str text):
    """The text without what Python adds to name an object: ` at 0x7f...`."""
    cdef Py_ssize_t at, end
    while (at := text.find(" at 0x")) >= 0:
        end = at + 6
        while end < len(text) and text[end] in "0123456789abcdefABCDEF":
            end += 1
        text = text[:at] + text[end:]
    return text


@cython.final
cdef class Writer:
    """Writes a value as text, bounded in nodes and characters; a part that no longer fits is `...`. Without a meter no
    code of a script runs."""
    cdef Meter meter
    cdef list parts
    cdef set path               # ids of the containers around the value being written
    cdef Py_ssize_t room        # characters left
    cdef Py_ssize_t written
    cdef long nodes             # written so far

    cdef int put(self, str text) except -1:
        if self.is_full():
            return 0
        if len(text) > self.room:
            text = text[:self.room] + "..."
            self.room = 0
            self.parts.append(text)
            self.nodes = TEXT_NODES + 1         # that is the end
            return 0
        self.room -= len(text)
        self.written += len(text)
        self.parts.append(text)
        return 0

    cdef str text(self):
        if self.meter is not None:
            self.meter.charge(((self.nodes & 63) >> 2) + (self.written >> 8))
        return "".join(self.parts)

    cdef bint is_full(self) noexcept:
        return self.nodes > TEXT_NODES

    cdef int write(self, object value, bint plain, int depth) except -1:
        """`plain`: as str() gives it, else as repr() does."""
        if self.is_full():
            return 0
        self.nodes += 1
        if self.nodes & 63 == 0 and self.meter is not None:
            self.meter.charge(16)
        if self.nodes > TEXT_NODES:
            self.parts.append("...")
            return 0
        if PyUnicode_CheckExact(value):
            if PyUnicode_GET_LENGTH(value) > self.room:
                self.put((<str>value)[:self.room + 1] if plain else repr((<str>value)[:self.room + 1]))
            else:
                self.put(<str>value if plain else repr(value))
        elif PyLong_CheckExact(value):
            if guard_bits(value) > TEXT_BITS:
                self.put("<int>")
            else:
                self.put(str(value))
        elif PyFloat_CheckExact(value) or PyBool_Check(value) or value is None or PyRange_Check(value):
            self.put(repr(value))
        elif PyBytes_CheckExact(value):
            self.put(repr((<bytes>value)[:self.room + 1]))
        elif is_container(value):       # the others are dealt with already
            self.write_container(value, depth)
        else:
            self.write_object(value, plain, depth)
        return 0

    cdef int write_container(self, object value, int depth) except -1:
        cdef object key = <size_t><PyObject*>value
        if depth >= TEXT_DEPTH or key in self.path:
            self.put("[...]" if PyList_CheckExact(value) else "(...)" if PyTuple_CheckExact(value) else "{...}")
            return 0
        Py_EnterRecursiveCall(" while a value is written as text")
        self.path.add(key)
        try:
            if PyDict_CheckExact(value):
                self.write_dict(value, depth)
            elif PyList_CheckExact(value):
                self.put("[")
                self.write_list(value, depth)
                self.put("]")
            elif PyTuple_CheckExact(value):
                self.put("(")
                self.write_list(value, depth)
                self.put(",)" if len(<tuple>value) == 1 else ")")
            else:
                self.write_set(value, depth)
        finally:
            self.path.discard(key)
            Py_LeaveRecursiveCall()
        return 0

    cdef int write_list(self, object value, int depth) except -1:
        cdef Py_ssize_t i = 0
        while i < len(value) and not self.is_full():        # asked each time: a script may change it meanwhile
            if i:
                self.put(", ")
            self.write(value[i], False, depth + 1)
            i += 1
        return 0

    cdef int write_dict(self, object value, int depth) except -1:
        cdef Py_ssize_t at = 0
        cdef PyObject* raw_key
        cdef PyObject* raw_value
        cdef bint first = True
        self.put("{")
        while not self.is_full() and PyDict_Next(value, &at, &raw_key, &raw_value):
            key = <object>raw_key
            item = <object>raw_value
            if not first:
                self.put(", ")
            first = False
            self.write(key, False, depth + 1)
            if not self.is_full():
                self.put(": ")
            self.write(item, False, depth + 1)
        return self.put("}")

    cdef int write_set(self, object value, int depth) except -1:
        cdef bint first = True
        cdef bint frozen = not PySet_CheckExact(value)
        if not value:
            return self.put("frozenset()" if frozen else "set()")
        self.put("frozenset({" if frozen else "{")
        for item in value:
            if self.is_full():
                break
            if not first:
                self.put(", ")
            first = False
            self.write(item, False, depth + 1)
        return self.put("})" if frozen else "}")

    cdef int write_object(self, object value, bint plain, int depth) except -1:
        """Anything that is not a plain value: named by its class, never by its address."""
        cdef object kind = type(value)
        if is_function(value):
            return self.put(f"<function {value.__name__}>")
        if PyType_Check(value):
            return self.put(f"<class {value.__name__}>")
        if type(value) is Shown or type(value) is ShownItems:
            return self.write((<Shown>value).value if type(value) is Shown else (<ShownItems>value).value, plain, depth)
        if type(kind) is ScriptType and self.meter is not None:
            if plain and str_is_own(value) or repr_is_own(value):
                return self.write_own(value, plain)
        if guard_is_exception(value):
            return self.write_exception(value, plain, depth)
        if type(kind) is not ScriptType:
            # The server's own types may show something of themselves: `__safe_text__(self) -> str` runs no script.
            own = getattr(kind, "__safe_text__", None)
            if own is not None:
                text = own(value)
                return self.put(text if type(text) is str else f"<{kind.__name__}>")
        return self.put(f"<{kind.__name__}>")

    cdef int write_own(self, object value, bint plain) except -1:
        self.meter.tick()
        Py_EnterRecursiveCall(" while a value is written as text")
        try:
            text = str(value) if plain else repr(value)
        finally:
            Py_LeaveRecursiveCall()
        return self.put(text)

    cdef int write_exception(self, object error, bint plain, int depth) except -1:
        cdef object arguments = <object>guard_exception_arguments(error)
        if depth >= TEXT_DEPTH:
            return self.put("...")
        if plain:
            if len(arguments) == 0:
                return 0
            if len(arguments) == 1:
                return self.write(arguments[0], not isinstance(error, KeyError), depth + 1)
            if isinstance(error, UnicodeError) and type(type(error)) is not ScriptType:
                return self.put(str(error))
            return self.write(arguments, False, depth)
        self.put(f"{type(error).__name__}(")
        self.write_list(arguments, depth)
        return self.put(")")


cdef Writer writer(Meter meter, Py_ssize_t room):
    cdef Writer made = Writer.__new__(Writer)
    made.meter = meter if meter is not None and meter.state.running else None
    made.parts = []
    made.path = set()
    made.room = room
    return made


def safe_text(object value, Meter meter=None, Py_ssize_t limit=ERROR_CHARACTERS):
    """The value as str() would give it, without addresses, bounded: at most `limit` characters (and `...` when it was
    longer), 10,000 nodes, 100 levels. Code of a script (`__str__`, `__repr__`) runs only with a meter whose call is
    under way. A type of the server may define `__safe_text__(self) -> str`; otherwise only its name is shown."""
    cdef Writer made = writer(meter, max(limit, 0))
    made.write(value, True, 0)
    return made.text()


cdef PyObject* show_repr(PyObject* value) noexcept:
    """repr() of instances of script classes that define none, wherever Python itself asks for one."""
    return show(<object>value, False)


cdef PyObject* show_str(PyObject* value) noexcept:
    if repr_is_own(<object>value):
        return kind_of(<object>value).tp_repr(value)
    return show(<object>value, True)


cdef PyObject* show(object value, bint plain) noexcept:
    try:
        text = f"<{type(value).__name__}>"
        if guard_is_exception(value):
            made = writer(None, ERROR_CHARACTERS)
            made.write_exception(value, plain, 0)
            text = made.text()
    except BaseException:
        text = "<...>"
    Py_INCREF(text)
    return <PyObject*>text


class _Probe:
    """Has the slots of a class that defines both."""

    def __repr__(self):
        return ""

    def __str__(self):
        return ""


cdef hash_t object_hash = (<Kind*><PyObject*>object).tp_hash
cdef text_t method_repr = (<Kind*><PyObject*>_Probe).tp_repr
cdef text_t method_str = (<Kind*><PyObject*>_Probe).tp_str


# -------------------------------------------------------------------------------------------------------------- classes


@cython.final
cdef class Operator:
    """An operator method of a script class: the right operand as it was before a guard stood for it."""
    cdef call_t vectorcall
    cdef object function

    def __init__(self):
        raise TypeError(CLOSED)

    def __get__(self, instance, owner):
        return self if instance is None else PyMethod_New(self, instance)


cdef PyObject* call_operator(PyObject* self, arguments_t arguments, size_t count, PyObject* names) noexcept:
    cdef PyObject* pair[2]
    cdef PyObject** given = <PyObject**>arguments
    cdef PyObject* function = <PyObject*>(<Operator>self).function
    if PyVectorcall_NARGS(count) == 2 and names == NULL and type(<object>given[1]) is Joined:
        pair[0] = given[0]
        pair[1] = <PyObject*>(<Joined><object>given[1]).value
        return raw_call(function, <arguments_t>pair, 2, NULL)
    return raw_call(function, arguments, count, names)


cdef Operator operator(object function):
    cdef Operator made = Operator.__new__(Operator)
    made.function = function
    made.vectorcall = call_operator
    return made


cdef dict class_body(dict body):
    """The names of a class body, checked once more: the script compiler has refused all others already."""
    cdef dict checked = {}
    for name, value in body.items():
        if type(name) is not str:
            raise TypeError("a class has names only")
        if name.startswith("_") and name != "_" and name not in FROM_PYTHON:
            if name not in METHODS_ALLOWED:
                raise TypeError(f"a class cannot define {name[:60]}")
            if type(value) is not FunctionType:
                raise TypeError(f"{name} has to be a function")
            if name in OPERATORS:
                value = operator(value)
        checked[name] = value
    if "__hash__" in checked and "__eq__" not in checked:
        raise TypeError("a class that defines __hash__ has to define __eq__ too")
    return checked


cdef int check_base(object base) except -1:
    if type(base) is ScriptType:
        if len((<object>base).__mro__) > ANCESTORS:
            raise TypeError("a class has at most 32 classes above it")
    elif not PyType_Check(base) or base not in EXCEPTIONS:
        raise TypeError("a class can have as base a class of the script, or an exception")
    return 0


class ScriptType(type):
    """The metaclass of script classes: a script may set their attributes and those of their instances."""

    def __new__(kind, name, bases, body):
        if len(bases) > BASES:
            raise TypeError("a class has at most 8 bases")
        for base in bases:
            check_base(base)
        made = type.__new__(kind, name, bases, class_body(body))
        if (<Kind*><PyObject*>made).tp_repr != method_repr:
            (<Kind*><PyObject*>made).tp_repr = show_repr
        if (<Kind*><PyObject*>made).tp_str != method_str:
            (<Kind*><PyObject*>made).tp_str = show_str
        return made

    def __or__(self, other):
        raise TypeError("unsupported operand type(s) for |: a class. Write: (A, B)")

    def __ror__(self, other):
        raise TypeError("unsupported operand type(s) for |: a class. Write: (A, B)")

    def __repr__(self):
        return f"<class {self.__name__}>"


# ------------------------------------------------------------------------------------------------- the kit of one meter


cdef struct Seen:               # a tuple key
    uint64_t hash               # the one Python uses, mixed with whose script it is
    uint64_t tuple              # another one, that no script can foresee
    int others                  # different keys with the same hash, those in more


cdef inline uint64_t mix(uint64_t value) noexcept:
    value ^= value >> 32
    value *= <uint64_t>0xD6E8FEB86659FD93
    value ^= value >> 29
    value *= <uint64_t>0xA0761D6478BD642F
    return value ^ (value >> 32)


cdef struct Work:
    long nodes                  # compared so far in one operation


@cython.final
cdef class Kit:
    """What the guards of one meter share: charging, comparing, checking keys, writing text, gathering elements."""
    cdef Meter meter
    cdef uint64_t secret
    cdef uint64_t turn          # of a generator that says which keys are remembered
    cdef Seen* seen
    cdef dict more              # slot -> set of `tuple` hashes, where different keys had one hash

    def __dealloc__(self):
        free(self.seen)

    cdef int charge(self, long long gas) except -1:
        if gas <= 0:
            return 0
        return self.meter.charge(<long>(gas if gas < 1000000000 else 1000000000))

    # -- text

    cdef str text(self, object value, bint plain):
        cdef Writer made = writer(self.meter, TEXT_CHARACTERS)
        made.write(value, plain, 0)
        return made.text()

    # -- keys

    cdef int charge_keys(self, object source) except -1:
        """For work on all keys of a set or dict, each of which may be compared with an equal one."""
        cdef long long nodes = len(source)
        if nodes >= 64:
            for key in source:
                if PyTuple_CheckExact(key):
                    nodes += weigh(key, TUPLE_NODES, 0)
        return self.charge(nodes >> 4)

    cdef int key_nodes(self, object key, int left, int depth) except? -1:
        """Values that a tuple key may still have; below 0: it has too many."""
        cdef Py_ssize_t i
        cdef object part
        for i in range(PyTuple_GET_SIZE(key)):
            left -= 1
            if left < 0:
                return -2
            part = <object>PyTuple_GET_ITEM(key, i)
            if PyFloat_CheckExact(part):
                continue
            elif PyLong_CheckExact(part):
                if guard_digits(part) > KEY_BITS // PyLong_SHIFT:
                    raise ValueError("an int in a key has to be below 2**60: use str(number)")
            elif PyUnicode_CheckExact(part):
                left -= <int>(min(PyUnicode_GET_LENGTH(part), 1000000) // KEY_CHARACTERS)
            elif PyBytes_CheckExact(part):
                left -= <int>(min(PyBytes_GET_SIZE(part), 1000000) // KEY_CHARACTERS)
            elif PyTuple_CheckExact(part):
                if depth >= TUPLE_DEPTH:
                    return -2
                left = self.key_nodes(part, left, depth + 1)
                if left < 0:
                    return -2
            else:
                self.other_key(part)
                if is_script_object(part) and kind_of(part).tp_hash != object_hash:
                    # What it says may change between this check and the insertion.
                    raise TypeError(f"{kind_text(part)} has its own __hash__: use it alone as a key, or its values")
        return left if left >= 0 else -2

    cdef int other_key(self, object key) except -1:
        if PyRange_Check(key) or PySlice_Check(key) or type(key) is frozenset:
            raise TypeError(f"a {kind_name(key)} cannot be a key: use a tuple")
        return 0

    cdef uint64_t other_hash(self, object key) except? 0:
        """A hash of a tuple that no script can foresee; equal tuples of equal types have the same."""
        cdef uint64_t state = self.secret
        cdef Py_ssize_t i
        cdef object part
        for i in range(PyTuple_GET_SIZE(key)):
            part = <object>PyTuple_GET_ITEM(key, i)
            if PyTuple_CheckExact(part):
                state = mix(state ^ self.other_hash(part) ^ 0x9E3779B97F4A7C15)
            elif is_whole(part):
                state = mix(state + <uint64_t><long long>part)          # unlike hash(), which gives -1 and -2 the same
            else:
                state = mix(state + <uint64_t>PyObject_Hash(part))
        return mix(state + <uint64_t>PyTuple_GET_SIZE(key))

    cdef int tuple_key(self, object key) except -1:
        if self.key_nodes(key, KEY_NODES, 0) < 0:
            raise ValueError("a tuple as a key holds at most 100 values, 64 characters of a text counting as one more")
        cdef uint64_t whose = 0 if self.meter.account is None else self.meter.account.number
        cdef uint64_t hashed = (<uint64_t>PyObject_Hash(key)) ^ (whose * <uint64_t>0x9E3779B97F4A7C15)
        cdef int slot
        cdef Seen* seen
        if self.seen == NULL:
            self.seen = <Seen*>calloc(SLOTS, sizeof(Seen))
            if self.seen == NULL:
                raise MemoryError("no memory for keys")
        slot = mix(hashed ^ self.secret) & (SLOTS - 1)
        seen = &self.seen[slot]
        if seen.hash == hashed and seen.tuple:
            return self.same_hash(key, slot)
        if seen.tuple:
            self.turn = mix(self.turn + self.secret + 1)
            if self.turn & (PINNED if seen.others else SAMPLE):
                return 0
        cdef uint64_t other = self.other_hash(key) | 1
        if self.more is not None:
            self.more.pop(slot, None)
        seen.hash = hashed
        seen.tuple = other
        seen.others = 0
        return 0

    cdef int same_hash(self, object key, int slot) except -1:
        """A tuple key has the hash of the one remembered: it is the same as a rule."""
        cdef Seen* seen = &self.seen[slot]
        cdef uint64_t other = self.other_hash(key) | 1
        if other == seen.tuple:
            return 0
        if self.more is None:
            self.more = {}
        known = self.more.setdefault(slot, set())
        if other not in known:
            if len(known) >= COLLISIONS - 1:
                raise ValueError("too many tuple keys with the same hash: use str(key)")
            known.add(other)
            seen.others = len(known)
        return 0

    cdef inline int key(self, object key) except -1:
        """Checks what is about to become a key of a dict or an element of a set."""
        if PyUnicode_CheckExact(key) or PyFloat_CheckExact(key):
            return 0
        if PyLong_CheckExact(key):
            if guard_digits(key) > KEY_BITS // PyLong_SHIFT:
                raise ValueError("an int as a key has to be below 2**60: use str(number)")
            return 0
        if PyTuple_CheckExact(key):
            return self.tuple_key(key)
        return self.other_key(key)

    cdef list keys(self, object source):
        """The elements of an iterable as keys: checked where they are not keys already."""
        cdef list elements = self.gather(source, ELEMENTS)
        if not PySet_CheckExact(source) and not PyDict_CheckExact(source):
            for element in elements:
                self.key(element)
        return elements

    cdef object as_set(self, object source):
        """A set or dict as it is, anything else as a new set."""
        if PySet_CheckExact(source) or PyDict_CheckExact(source):
            self.charge_keys(source)
            return source
        return set(self.keys(source))

    # -- elements

    cdef list gather(self, object source, Py_ssize_t most):
        """A new list of the elements of an iterable. Errors: TypeError; ValueError when there are more than `most`."""
        cdef Py_ssize_t size
        cdef list result
        if is_container(source):
            size = len(source)
            if size > most:
                raise ValueError(f"more than {most:,} elements")
            if size > CHUNK and makes_elements(source):
                return self.made(source)
            self.charge((size + 8) >> 4)
            return PySequence_List(source)
        iterator = iter(source)
        result = []
        while True:
            self.meter.tick()
            item = next(iterator, MISSING)
            if item is MISSING:
                return result
            if len(result) >= most:
                raise ValueError(f"more than {most:,} elements")
            result.append(item)

    cdef list made(self, object source):
        """The elements of a text or range, of which there are none before."""
        cdef list result = []
        cdef Py_ssize_t at
        for at in range(0, len(source), CHUNK):
            self.charge(CHUNK >> 4)
            result.extend(source[at:at + CHUNK])
        return result

    cdef object elements(self, object source):
        """Something with the same elements, for C code that takes them all at once."""
        cdef Py_ssize_t size
        if PyList_CheckExact(source) or PyTuple_CheckExact(source):
            size = len(source)
            if size > 64:
                self.charge(size >> 4)
        elif makes_elements(source):
            if len(source) > CHUNK:
                return self.gather(source, ELEMENTS)
        elif PyDict_CheckExact(source) or PySet_CheckExact(source):
            self.charge(len(source) >> 4)
        elif is_script_object(source) and (hasattr(type(source), "__iter__") or hasattr(type(source), "__getitem__")):
            return self.gather(source, ELEMENTS)        # beforehand: it may change what takes the elements in
        return source

    # -- comparing

    cdef int node(self, Work* work) except -1:
        work.nodes += 1
        if work.nodes & 63 == 0:
            self.meter.charge(16)
            if work.nodes > COMPARE_NODES:
                raise ValueError("these values are too large to be compared: more than 300,000 parts")
        return 0

    cdef int finish(self, Work* work) except -1:
        return self.charge((work.nodes & 63) >> 2)

    cdef object natively(self, object left, object right, int operation):
        """Compares where one side is neither a container nor both are plain: code of the script may run."""
        if is_script_object(left) or is_script_object(right):
            self.meter.tick()
            Py_EnterRecursiveCall(" while values are compared")
            try:
                return PyObject_RichCompare(left, right, operation)
            finally:
                Py_LeaveRecursiveCall()
        return PyObject_RichCompare(left, right, operation)

    cdef int equal(self, object left, object right, Work* work, int depth) except -1:
        """Like Python's `==` of elements: the same object is equal to itself."""
        cdef int result
        if left is right:
            return 1
        self.node(work)
        if is_scalar(left):
            if is_scalar(right):
                if PyUnicode_CheckExact(left) and PyUnicode_CheckExact(right):
                    if PyUnicode_GET_LENGTH(left) != PyUnicode_GET_LENGTH(right):
                        return 0
                    if PyUnicode_GET_LENGTH(left) > 1024:
                        self.charge(PyUnicode_GET_LENGTH(left) >> 10)
                elif PyBytes_CheckExact(left) and PyBytes_CheckExact(right) and PyBytes_GET_SIZE(left) > 1024:
                    self.charge(PyBytes_GET_SIZE(left) >> 10)
                return PyObject_RichCompareBool(left, right, Py_EQ)
        elif type(left) is type(right):
            if PyList_CheckExact(left) or PyTuple_CheckExact(left):
                return 1 if self.sequences(left, right, Py_EQ, work, depth) is True else 0
            if PyDict_CheckExact(left):
                return self.dicts(left, right, work, depth)
            if PySet_CheckExact(left):
                return 1 if self.sets(left, right, Py_EQ, work) is True else 0
        return 1 if self.natively(left, right, Py_EQ) else 0

    cdef int enter(self, int depth) except -1:
        if depth >= COMPARE_DEPTH:
            raise RecursionError("these values are nested too deep to be compared: more than 100 levels")
        return Py_EnterRecursiveCall(" while values are compared")

    cdef object sequences(self, object left, object right, int operation, Work* work, int depth):
        """Two lists or two tuples. Either may change its size meanwhile."""
        cdef Py_ssize_t i = 0
        cdef Py_ssize_t mine, theirs
        cdef int same
        if operation <= Py_NE and operation >= Py_EQ and len(left) != len(right):
            return operation == Py_NE
        self.enter(depth)
        try:
            while True:
                mine = len(left)
                theirs = len(right)
                if i >= mine or i >= theirs:
                    break
                a = left[i]
                b = right[i]
                if not self.equal(a, b, work, depth + 1):
                    if operation == Py_EQ:
                        return False
                    if operation == Py_NE:
                        return True
                    return self.compare(a, b, operation, work, depth + 1)
                i += 1
        finally:
            Py_LeaveRecursiveCall()
        if operation == Py_EQ:
            return mine == theirs
        if operation == Py_NE:
            return mine != theirs
        if operation == Py_LT:
            return mine < theirs
        if operation == Py_LE:
            return mine <= theirs
        if operation == Py_GT:
            return mine > theirs
        return mine >= theirs

    cdef int dicts(self, object left, object right, Work* work, int depth) except -1:
        cdef Py_ssize_t at = 0
        cdef PyObject* raw_key
        cdef PyObject* raw_value
        if len(<dict>left) != len(<dict>right):
            return 0
        self.enter(depth)
        try:
            while PyDict_Next(left, &at, &raw_key, &raw_value):
                key = <object>raw_key
                mine = <object>raw_value
                self.node(work)
                theirs = (<dict>right).get(key, MISSING)
                if theirs is MISSING or not self.equal(mine, theirs, work, depth + 1):
                    return 0
        finally:
            Py_LeaveRecursiveCall()
        return 1

    cdef bint contained(self, object left, object right, Work* work) except -1:
        """Every element of one set is in the other."""
        for item in PySequence_List(left):
            self.node(work)
            if not PySet_Contains(right, item):
                return False
        return True

    cdef object sets(self, object left, object right, int operation, Work* work):
        cdef Py_ssize_t mine = PySet_GET_SIZE(left)
        cdef Py_ssize_t theirs = PySet_GET_SIZE(right)
        if operation == Py_EQ:
            return mine == theirs and self.contained(left, right, work)
        if operation == Py_NE:
            return not (mine == theirs and self.contained(left, right, work))
        if operation == Py_LE:
            return mine <= theirs and self.contained(left, right, work)
        if operation == Py_LT:
            return mine < theirs and self.contained(left, right, work)
        if operation == Py_GE:
            return mine >= theirs and self.contained(right, left, work)
        return mine > theirs and self.contained(right, left, work)

    cdef object compare(self, object left, object right, int operation, Work* work, int depth):
        if type(left) is type(right):
            if PyList_CheckExact(left) or PyTuple_CheckExact(left):
                return self.sequences(left, right, operation, work, depth)
            if PySet_CheckExact(left):
                return self.sets(left, right, operation, work)
            if PyDict_CheckExact(left) and operation == Py_EQ:
                return True if self.dicts(left, right, work, depth) else False
            if PyDict_CheckExact(left) and operation == Py_NE:
                return False if self.dicts(left, right, work, depth) else True
            if PyUnicode_CheckExact(left):
                self.charge(min(PyUnicode_GET_LENGTH(left), PyUnicode_GET_LENGTH(right)) >> 10)
            elif PyBytes_CheckExact(left):
                self.charge(min(PyBytes_GET_SIZE(left), PyBytes_GET_SIZE(right)) >> 10)
        return self.natively(left, right, operation)

    cdef object compared(self, object left, object right, int operation):
        """One whole comparison, charged."""
        cdef Work work
        work.nodes = 0
        result = self.compare(left, right, operation, &work, 0)
        self.finish(&work)
        return result

    cdef bint ordered(self, object left, object right, int operation) except -1:
        """The truth of a comparison that sorting or min() makes."""
        cdef Work work
        if ((PyFloat_CheckExact(left) or PyLong_CheckExact(left))
                and (PyFloat_CheckExact(right) or PyLong_CheckExact(right))):
            return PyObject_RichCompareBool(left, right, operation)
        work.nodes = 0
        result = self.compare(left, right, operation, &work, 0)
        self.finish(&work)
        return True if result else False

    # -- finding

    cdef Py_ssize_t find(self, object sequence, object value, Py_ssize_t start, Py_ssize_t stop) except -2:
        """Of the first equal element of a list or tuple; -1: none."""
        cdef Work work
        cdef Py_ssize_t i = max(start, 0)
        work.nodes = 0
        while i < stop and i < len(sequence):
            item = sequence[i]
            if item is value or self.equal(item, value, &work, 0):
                self.finish(&work)
                return i
            i += 1
        self.finish(&work)
        return -1

    cdef Py_ssize_t occurrences(self, object sequence, object value) except -1:
        cdef Work work
        cdef Py_ssize_t i = 0
        cdef Py_ssize_t count = 0
        work.nodes = 0
        while i < len(sequence):
            item = sequence[i]
            if item is value:
                self.node(&work)
                count += 1
            elif self.equal(item, value, &work, 0):
                count += 1
            i += 1
        self.finish(&work)
        return count

    cdef bint contains(self, object container, object value) except -1:
        if PyList_CheckExact(container) or PyTuple_CheckExact(container):
            return self.find(container, value, 0, PY_SSIZE_T_MAX) >= 0
        if PyRange_Check(container):
            if not is_whole(value):
                self.charge(len(container) >> 4)
            return value in container
        iterator = iter(container)
        while (item := next(iterator, MISSING)) is not MISSING:
            self.meter.tick()
            if item is value or self.ordered(item, value, Py_EQ):
                return True
        return False

    cdef bint any(self, object iterable, bint wanted) except -1:
        """Whether the truth of one element is as wanted."""
        if is_container(iterable):
            for item in self.gather(iterable, ELEMENTS):
                if (True if item else False) == wanted:
                    return True
            return False
        iterator = iter(iterable)
        while (item := next(iterator, MISSING)) is not MISSING:
            self.meter.tick()
            if (True if item else False) == wanted:
                return True
        return False

    # -- sorting

    cdef bint sorts_natively(self, list keys) except -1:
        """Whether native comparisons of these are safe; charges for them."""
        cdef long long characters = 0
        cdef long long parts = 0
        cdef int rounds = 1
        cdef Py_ssize_t i
        cdef bint result = True
        for key in keys:
            if PyFloat_CheckExact(key):
                parts += 1
            elif PyLong_CheckExact(key):
                parts += 1 + guard_digits(key) // 8
            elif PyUnicode_CheckExact(key):
                parts += 1
                characters += PyUnicode_GET_LENGTH(key)
            elif PyTuple_CheckExact(key):
                if PyTuple_GET_SIZE(key) > FLAT:
                    result = False
                    break
                for i in range(PyTuple_GET_SIZE(key)):
                    part = <object>PyTuple_GET_ITEM(key, i)
                    if not is_scalar(part):
                        result = False
                        break
                    parts += 1
                    if PyLong_CheckExact(part):
                        parts += guard_digits(part) // 8
                    elif PyUnicode_CheckExact(part):
                        characters += PyUnicode_GET_LENGTH(part)
                    elif PyBytes_CheckExact(part):
                        characters += PyBytes_GET_SIZE(part)
                if not result:
                    break
            elif PyBytes_CheckExact(key):
                parts += 1
                characters += PyBytes_GET_SIZE(key)
            elif key is None or PyBool_Check(key):
                parts += 1
            else:
                result = False
                break
        i = len(keys)
        while i > 1:
            rounds += 1
            i >>= 1
        self.charge(parts * rounds // 64 + characters * rounds // 1024)
        return result

    cdef list sorted(self, list items, object function, bint reverse):
        """The elements of a list that no script has, in order; stable."""
        cdef list keys
        cdef Sortable sortable
        cdef Py_ssize_t i
        if len(items) > SORTED:
            raise ValueError("at most 20,000 elements can be sorted")
        if function is None:
            if self.sorts_natively(items):
                items.sort(reverse=reverse)
                return items
            keys = items
        else:
            keys = self.mapped(function, items)
        if function is None or not self.sorts_natively(keys):
            wrapped = []
            for key in keys:
                sortable = Sortable.__new__(Sortable)
                sortable.kit = self
                sortable.value = key
                wrapped.append(sortable)
            keys = wrapped
        places = list(range(len(items)))
        places.sort(key=keys.__getitem__, reverse=reverse)
        return [items[i] for i in places]

    cdef list mapped(self, object function, list items):
        cdef list result = []
        for item in items:
            self.meter.tick()
            result.append(PyObject_CallOneArg(function, item))
        return result

    cdef object extreme(self, str name, tuple arguments, object function, object default, int operation):
        """min() and max()."""
        cdef list items, keys
        cdef Py_ssize_t i
        cdef Py_ssize_t best = 0
        if len(arguments) == 2 and function is None and default is MISSING:
            left = <object>PyTuple_GET_ITEM(arguments, 0)
            right = <object>PyTuple_GET_ITEM(arguments, 1)
            return right if self.ordered(right, left, operation) else left
        if len(arguments) == 0:
            raise TypeError(f"{name} expected at least 1 argument, got 0")
        if len(arguments) > 1:
            if default is not MISSING:
                raise TypeError(f"Cannot specify a default for {name}() with multiple positional arguments")
            items = list(arguments)
        else:
            items = self.gather(arguments[0], ELEMENTS)
        if not items:
            if default is MISSING:
                raise ValueError(f"{name}() iterable argument is empty")
            return default
        self.charge(len(items) >> 4)
        keys = items if function is None else self.mapped(function, items)
        for i in range(1, len(keys)):
            if self.ordered(keys[i], keys[best], operation):
                best = i
        return items[best]

    # -- arithmetic

    cdef object power(self, object left, object right):
        """`left ** right`, refused beforehand where it has more than 8,192 bits."""
        cdef long long bits
        if is_whole(left) and is_whole(right):
            if right > 1 and (left > 1 or left < -1):
                bits = guard_bits(left)
                if guard_bits(right) > 14 or native_log2(abs(left)) * <long long>right >= RESULT_BITS:
                    raise OverflowError("the result of ** has more than 8,192 bits")
                self.charge(bits * <long long>right >> 9)
        elif is_number(left) and is_number(right) and left < 0 and left - left == 0:
            if PyFloat_CheckExact(right) and not right.is_integer() and right - right == 0:     # complex in Python
                raise ValueError("a negative number cannot have a fractional power")
        return left ** right

    # -- tuples

    cdef tuple tuple_checked(self, object value):
        """The tuple, if it may exist."""
        cdef long nodes = weigh(value, TUPLE_NODES, 0)
        if nodes > 32:
            self.charge(nodes >> 5)
        if nodes > TUPLE_NODES:
            raise too_heavy()
        return value

    cdef tuple pair(self, object left, object right):
        made = (left, right)
        if PyTuple_CheckExact(left) or PyTuple_CheckExact(right):
            return self.tuple_checked(made)
        return made


cdef Kit kit_of(Meter meter):
    cdef Kit kit = Kit.__new__(Kit)
    cdef bytes secret = os.urandom(8)
    kit.meter = meter
    kit.secret = int.from_bytes(secret, "little") | 1
    return kit


@cython.final
cdef class Sortable:
    """A sort key that is compared by the guarded comparison."""
    cdef Kit kit
    cdef object value

    def __init__(self):
        raise TypeError(CLOSED)

    def __richcmp__(self, other, int operation):
        return (<Sortable>self).kit.ordered((<Sortable>self).value, (<Sortable>other).value, operation)


# ----------------------------------------------------------------------------- what stands for a value in one operation


@cython.final
@cython.freelist(8)
cdef class Joined:
    """A tuple in `+` or `*`."""
    cdef Kit kit
    cdef object value
    cdef bint extends           # for `+=`: a list on the left takes the elements in

    def __init__(self):
        raise TypeError(CLOSED)

    def __add__(left, right):
        cdef Kit kit = (<Joined>left).kit if type(left) is Joined else (<Joined>right).kit
        cdef bint extends = type(right) is Joined and (<Joined>right).extends
        cdef long nodes
        left = unjoined(left)
        right = unjoined(right)
        if PyTuple_CheckExact(left) and PyTuple_CheckExact(right):
            nodes = weigh(left, TUPLE_NODES, 0) + weigh(right, TUPLE_NODES, 0) - 1
            kit.charge(nodes >> 5)
            if nodes > TUPLE_NODES:
                raise too_heavy()
            return <tuple>left + <tuple>right
        if extends and PyList_CheckExact(left):
            (<list>left).extend(kit.elements(right))
            return left
        return left + right

    def __mul__(left, right):
        cdef Kit kit = (<Joined>left).kit if type(left) is Joined else (<Joined>right).kit
        cdef long long nodes, times
        left = unjoined(left)
        right = unjoined(right)
        if PyTuple_CheckExact(right) and is_whole(left):
            left, right = right, left
        if PyTuple_CheckExact(left) and is_whole(right):
            if right <= 0 or not left:
                return ()
            nodes = weigh(left, TUPLE_NODES, 0)
            if right > TUPLE_NODES:
                raise too_heavy()
            times = right
            if 1 + (nodes - 1) * times > TUPLE_NODES:
                raise too_heavy()
            kit.charge(nodes * times >> 5)
            return left * right
        return left * right

    def __sub__(left, right):
        return unjoined(left) - unjoined(right)

    def __truediv__(left, right):
        return unjoined(left) / unjoined(right)

    def __floordiv__(left, right):
        return unjoined(left) // unjoined(right)

    def __mod__(left, right):
        return unjoined(left) % unjoined(right)


cdef inline object unjoined(object value):
    return (<Joined>value).value if type(value) is Joined else value


cdef Joined joined(Kit kit, object value, bint extends):
    cdef Joined made = Joined.__new__(Joined)
    made.kit = kit
    made.value = value
    made.extends = extends
    return made


@cython.final
@cython.freelist(8)
cdef class Compared:
    """A container on the left of a comparison."""
    cdef Kit kit
    cdef object value

    def __init__(self):
        raise TypeError(CLOSED)

    def __richcmp__(self, other, int operation):
        if type(self) is not Compared:
            raise TypeError(CLOSED)
        return (<Compared>self).kit.compared(
            (<Compared>self).value, (<Compared>other).value if type(other) is Compared else other, operation)


@cython.final
@cython.freelist(8)
cdef class Searched:
    """A sequence on the right of `in`."""
    cdef Kit kit
    cdef object value

    def __init__(self):
        raise TypeError(CLOSED)

    def __contains__(self, item):
        return self.kit.contains(self.value, item)


@cython.final
cdef class Shown:
    """An argument of `%` that shows itself as safe text."""
    cdef Kit kit
    cdef object value

    def __init__(self):
        raise TypeError(CLOSED)

    def __str__(self):
        return self.kit.text(self.value, True)

    def __repr__(self):
        return self.kit.text(self.value, False)


@cython.final
cdef class ShownItems:
    """A dict or list as the whole right operand of `%`: its items are looked up by `%(name)s`."""
    cdef Kit kit
    cdef object value

    def __init__(self):
        raise TypeError(CLOSED)

    def __getitem__(self, key):
        return shown(self.kit, self.value[key], False)

    def __str__(self):
        return self.kit.text(self.value, True)

    def __repr__(self):
        return self.kit.text(self.value, False)


cdef object shown(Kit kit, object value, bint in_bytes):
    """A value as `%` may see it."""
    cdef Shown made
    if (PyUnicode_CheckExact(value) or PyLong_CheckExact(value) or PyFloat_CheckExact(value) or PyBool_Check(value)
            or value is None or in_bytes and PyBytes_CheckExact(value)):
        return value
    made = Shown.__new__(Shown)
    made.kit = kit
    made.value = value
    return made


@cython.final
cdef class Template:
    """A text on the left of `%`."""
    cdef Kit kit
    cdef object value

    def __init__(self):
        raise TypeError(CLOSED)

    def __mod__(left, right):
        if type(left) is not Template:
            raise TypeError(CLOSED)
        cdef Kit kit = (<Template>left).kit
        cdef object text = (<Template>left).value
        cdef bint in_bytes = PyBytes_CheckExact(text)
        cdef ShownItems items
        kit.charge(len(text) >> 8)
        if PyTuple_CheckExact(right):
            kit.charge(len(right) >> 4)
            right = tuple([shown(kit, item, in_bytes) for item in right])
        elif PyDict_CheckExact(right) or PyList_CheckExact(right):
            items = ShownItems.__new__(ShownItems)
            items.kit = kit
            items.value = right
            right = items
        else:
            right = shown(kit, right, in_bytes)
        return text % right


# -------------------------------------------------------------------------------------------------------- the operators


cdef object misplaced():
    return TypeError("a guard stands on the left")


@cython.final
cdef class Number:
    """`_n_ @ operand` of an arithmetic operator."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Number:
            raise misplaced()
        if PyFloat_CheckExact(right):
            return right
        if PyLong_CheckExact(right):
            if guard_digits(right) > 100:
                operand(right)
            return right
        if PyTuple_CheckExact(right):
            return joined((<Number>left).kit, right, False)
        if PySet_CheckExact(right):
            (<Number>left).kit.charge_keys(right)
        return right


@cython.final
cdef class Increment:
    """`_i_ @ operand` of `+=` and `-=`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Increment:
            raise misplaced()
        if PyFloat_CheckExact(right):
            return right
        if PyLong_CheckExact(right):
            if guard_digits(right) > 100:
                operand(right)
            return right
        if PyTuple_CheckExact(right) or makes_elements(right) and len(right) > CHUNK:
            return joined((<Increment>left).kit, right, True)
        return right


@cython.final
cdef class Key:
    """`_k_ @ key` of an insertion."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Key:
            raise misplaced()
        if PyUnicode_CheckExact(right):
            return right
        (<Key>left).kit.key(right)
        return right


@cython.final
cdef class Tuple:
    """`_T_ @ (a, b)`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        cdef Py_ssize_t i
        if type(left) is not Tuple:
            raise misplaced()
        if PyTuple_CheckExact(right):
            if PyTuple_GET_SIZE(right) < 32:
                for i in range(PyTuple_GET_SIZE(right)):
                    if PyTuple_CheckExact(<object>PyTuple_GET_ITEM(right, i)):
                        break
                else:
                    return right
            return (<Tuple>left).kit.tuple_checked(right)
        return right


@cython.final
cdef class Writable:
    """`(_w_ @ o).x = value`."""

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Writable:
            raise misplaced()
        if type(type(right)) is ScriptType or type(right) is ScriptType:
            return right
        raise AttributeError(f"attributes of {kind_text(right)} cannot be changed, only those of the script's classes")


@cython.final
cdef class Attribute:
    """`(_a_ @ o).sort`, not called."""

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Attribute:
            raise misplaced()
        if is_container(right):
            raise AttributeError(f"this method of {kind_text(right)} has to be called directly, as in x.name(...)")
        return right


@cython.final
cdef class Comparison:
    """`_c_ @ left == right`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        cdef Compared made
        if type(left) is not Comparison:
            raise misplaced()
        if PyLong_CheckExact(right) or PyFloat_CheckExact(right) or PyUnicode_CheckExact(right):
            return right
        if PyList_CheckExact(right) or PyTuple_CheckExact(right) or PyDict_CheckExact(right) or PySet_CheckExact(right):
            made = Compared.__new__(Compared)
            made.kit = (<Comparison>left).kit
            made.value = right
            return made
        return right


@cython.final
cdef class Membership:
    """`item in (_m_ @ container)`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        cdef Searched made
        if type(left) is not Membership:
            raise misplaced()
        if PyDict_CheckExact(right) or PySet_CheckExact(right):
            return right
        if PyUnicode_CheckExact(right):
            if PyUnicode_GET_LENGTH(right) >= 256:
                (<Membership>left).kit.charge(PyUnicode_GET_LENGTH(right) >> 8)
            return right
        if PyBytes_CheckExact(right):
            (<Membership>left).kit.charge(PyBytes_GET_SIZE(right) >> 8)
            return right
        if (PyList_CheckExact(right) or PyTuple_CheckExact(right) or PyRange_Check(right)
                or is_script_object(right) and not hasattr(type(right), "__contains__")):
            made = Searched.__new__(Searched)
            made.kit = (<Membership>left).kit
            made.value = right
            return made
        return right


@cython.final
cdef class Formatted:
    """`f"{_f_ @ value:spec}"`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Formatted:
            raise misplaced()
        if (PyUnicode_CheckExact(right) or PyLong_CheckExact(right) or PyFloat_CheckExact(right) or PyBool_Check(right)
                or right is None):
            return right
        return (<Formatted>left).kit.text(right, True)


@cython.final
cdef class Text:
    """`f"{_s_ @ value:spec}"` for `!s`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Text:
            raise misplaced()
        return right if PyUnicode_CheckExact(right) else (<Text>left).kit.text(right, True)


@cython.final
cdef class Representation:
    """`f"{_r_ @ value:spec}"` for `!r`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Representation:
            raise misplaced()
        return (<Representation>left).kit.text(right, False)


@cython.final
cdef class Percent:
    """`_q_ @ left % right`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        cdef Template made
        if type(left) is not Percent:
            raise misplaced()
        if PyLong_CheckExact(right):
            if guard_digits(right) > 100:
                operand(right)
            return right
        if PyUnicode_CheckExact(right) or PyBytes_CheckExact(right):
            made = Template.__new__(Template)
            made.kit = (<Percent>left).kit
            made.value = right
            return made
        return right


@cython.final
cdef class Base:
    """`class A(_b_ @ B)`."""

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Base:
            raise misplaced()
        check_base(right)
        return right


@cython.final
cdef class Bound:
    """`x[_z_ @ start:_z_ @ stop]`."""

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Bound:
            raise misplaced()
        if PyLong_CheckExact(right) or right is None or PyBool_Check(right):
            return right
        raise TypeError("slice indices must be integers or None")


@cython.final
cdef class Elements:
    """`{*(_u_ @ x)}`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Elements:
            raise misplaced()
        return (<Elements>left).kit.keys(right)


@cython.final
cdef class Mapping:
    """`{**(_d_ @ x)}`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Mapping:
            raise misplaced()
        if PyDict_CheckExact(right):
            (<Mapping>left).kit.charge_keys(right)
            return right
        raise TypeError(f"{kind_text(right)} is not a dict")


@cython.final
cdef class Merged:
    """`left |= _o_ @ right`: a dict would take pairs in, whose keys nobody has checked."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Merged:
            raise misplaced()
        if PyLong_CheckExact(right) or PyBool_Check(right):
            return right
        if PyDict_CheckExact(right) or PySet_CheckExact(right):
            (<Merged>left).kit.charge_keys(right)
            return right
        raise TypeError(f"unsupported operand type for |=: {kind_text(right)}")


@cython.final
cdef class SetOperand:
    """`left & (_h_ @ right)`, and `|`, `^`, `&=`, `^=`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not SetOperand:
            raise misplaced()
        if PyLong_CheckExact(right):
            return right
        if PySet_CheckExact(right) or PyDict_CheckExact(right):
            (<SetOperand>left).kit.charge_keys(right)
        elif PyType_Check(right):
            raise TypeError("unsupported operand type: a class. Write: (A, B)")
        return right


@cython.final
cdef class Passed:
    """`_p_ @ operation`: a tick within a long expression, after the operation."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Passed:
            raise misplaced()
        (<Passed>left).kit.meter.tick()
        return right


@cython.final
cdef class Many:
    """`[*(_l_ @ x)]`, `f(*(_l_ @ x))`, `a, *b = _l_ @ x`, `a[1:2] = _l_ @ x`."""
    cdef Kit kit

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Many:
            raise misplaced()
        return (<Many>left).kit.elements(right)


@cython.final
cdef class Sliced:
    """`(_v_ @ x)[a:b] = y`: to a dict the slice would be a key, from Python 3.12 on."""

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Sliced:
            raise misplaced()
        if PyDict_CheckExact(right):
            raise TypeError("a dict has no slices")
        return right


cdef inline bint is_exception_class(object value) noexcept:
    return PyType_Check(value) and is_subtype(<Kind*><PyObject*>value, <Kind*><PyObject*>Exception)


@cython.final
cdef class Caught:
    """`except _x_ @ E`."""

    def __init__(self):
        raise TypeError(CLOSED)

    def __matmul__(left, right):
        if type(left) is not Caught:
            raise misplaced()
        if is_exception_class(right):
            return right
        if PyTuple_CheckExact(right):
            if PyTuple_GET_SIZE(right) > CAUGHT:
                raise TypeError("`except` takes at most 16 exception classes")
            for kind in <tuple>right:
                if not is_exception_class(kind):
                    break
            else:
                return right
        raise TypeError("`except` takes exception classes, or a tuple of them")


cdef str kind_text(object value):
    """'a list', 'a function', 'a Ship', for messages."""
    if PyType_Check(value):
        return f"the class {value.__name__}"
    if is_function(value):
        return "a function"
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"


@cython.final
cdef class Calls:
    """Guards that are called: `_pow_(a, b)`, `_shift_(a, b)`, `_e_()`, class statements."""
    cdef Kit kit

    def power(self, left, right):
        """`left ** right`."""
        return self.kit.power(left, right)

    def shift(self, left, right):
        """`left << right`, refused beforehand where it has more than 8,192 bits."""
        if is_whole(left) and is_whole(right) and left and right > 0:
            if guard_bits(right) > 14 or guard_bits(left) + <long long>right > RESULT_BITS:
                raise OverflowError("the result of << has more than 8,192 bits")
        return left << right

    def handled(self):
        """The text of the exception being handled."""
        cdef PyObject* raw = PyErr_GetHandledException()
        cdef object error, arguments, first
        cdef Writer made
        if raw == NULL:
            return ""
        error = <object>raw
        Py_DECREF(error)                # the reference that came with it
        arguments = <object>guard_exception_arguments(error)
        if len(arguments) == 1:
            first = arguments[0]
            if type(first) is str and not isinstance(error, KeyError) and not is_script_object(error):
                return without_addresses((<str>first)[:ERROR_CHARACTERS])
        if str_is_own(error) or repr_is_own(error):
            try:
                made = writer(self.kit.meter, ERROR_CHARACTERS)
                made.write(error, True, 0)
                return made.text()
            except Exception:
                pass                    # then its arguments, which cannot fail
        made = writer(None, ERROR_CHARACTERS)
        made.write_exception(error, True, 0)
        self.kit.charge(made.nodes >> 2)
        return without_addresses(made.text())

    def build_class(self, function, name, *bases):
        self.kit.meter.tick()
        for base in bases:
            check_base(base)
        return native.__build_class__(function, name, *bases, metaclass=ScriptType)


cdef inline bint is_number(object value) noexcept:
    return is_whole(value) or PyFloat_CheckExact(value)


# ------------------------------------------------------------------------------------------------------------ functions


@cython.final
cdef class Builtin:
    """A function that scripts may call by a public name."""
    cdef call_t vectorcall
    cdef object inner
    cdef object kind            # for isinstance(): the type that the name means in Python; None: none
    cdef readonly str __name__

    def __init__(self):
        raise TypeError(CLOSED)

    def __repr__(self):
        return f"<function {self.__name__}>"


cdef PyObject* call_builtin(PyObject* self, arguments_t arguments, size_t count, PyObject* names) noexcept:
    return raw_call(<PyObject*>(<Builtin>self).inner, arguments, count, names)


cdef Builtin builtin(str name, object inner, object kind=None):
    cdef Builtin made = Builtin.__new__(Builtin)
    made.vectorcall = call_builtin
    made.inner = inner
    made.kind = kind
    made.__name__ = name
    return made


@cython.final
cdef class Method:
    """`_m_NAME(receiver, ...)`: a guarded method of Python's own types, or plainly `receiver.NAME(...)`."""
    cdef call_t vectorcall
    cdef object inner
    cdef readonly str __name__

    def __init__(self):
        raise TypeError(CLOSED)

    def __repr__(self):
        return f"<function {self.__name__}>"


cdef PyObject* call_method(PyObject* self, arguments_t arguments, size_t count, PyObject* names) noexcept:
    if PyVectorcall_NARGS(count) == 0 or is_container(<object>(<PyObject**>arguments)[0]):
        return raw_call(<PyObject*>(<Method>self).inner, arguments, count, names)
    return raw_call_method(<PyObject*>(<Method>self).__name__, arguments, count, names)


cdef Method method(str name, object inner):
    cdef Method made = Method.__new__(Method)
    made.vectorcall = call_method
    made.inner = inner
    made.__name__ = name
    return made


cdef int set_slots() except -1:
    """Makes the callables real vectorcall ones: no tuple of arguments is built for a call."""
    cdef Builtin one = builtin("", None)
    cdef Method two = method("", None)
    cdef Operator three = operator(None)
    guard_set_slots(<PyTypeObject*>Builtin, <char*>&one.vectorcall - <char*><PyObject*>one)
    guard_set_slots(<PyTypeObject*>Method, <char*>&two.vectorcall - <char*><PyObject*>two)
    guard_set_slots(<PyTypeObject*>Operator, <char*>&three.vectorcall - <char*><PyObject*>three)
    guard_set_method(<PyTypeObject*>Operator)
    (<Kind*><PyObject*>Builtin).tp_name = "function"        # as messages of Python name it
    (<Kind*><PyObject*>Method).tp_name = "function"
    (<Kind*><PyObject*>Joined).tp_name = "tuple"
    (<Kind*><PyObject*>Shown).tp_name = "object"
    (<Kind*><PyObject*>ShownItems).tp_name = "object"
    return 0


set_slots()


cdef int check_codec(object encoding, object errors) except -1:
    if type(encoding) is not str or encoding.lower().replace("_", "-") not in (
            "utf-8", "utf8", "ascii", "us-ascii", "latin-1", "latin1", "iso-8859-1"):
        raise ValueError("the encoding has to be utf-8, ascii or latin-1")
    if type(errors) is not str or errors not in ("strict", "ignore", "replace"):
        raise ValueError("errors has to be strict, ignore or replace")
    return 0


@cython.final
cdef class Methods:
    """Guarded methods of Python's own containers, the receiver first."""
    cdef Kit kit

    cdef int product(self, object text, object other) except -1:
        """Charges for a search that takes the product of both sizes at worst."""
        cdef long long size = len(text)
        cdef long long wanted = len(other) if type(other) is str or type(other) is bytes else 1
        if wanted <= size:
            self.kit.charge(((size - wanted + 1) * wanted if wanted else size) >> 9)
        return 0

    cdef int linear(self, object text) except -1:
        return self.kit.charge(len(text) >> 8)

    def index(self, x, value, /, *limits):
        cdef Py_ssize_t start, stop, found
        if PyUnicode_CheckExact(x) or PyBytes_CheckExact(x):
            self.linear(x)
            return x.index(value, *limits)
        if PyRange_Check(x):
            if not is_whole(value):
                self.kit.charge(len(x) >> 4)
            return x.index(value, *limits)
        if not (PyList_CheckExact(x) or PyTuple_CheckExact(x)):
            return x.index
        start, stop = 0, PY_SSIZE_T_MAX
        if limits:
            if len(limits) > 2:
                raise TypeError(f"index expected at most 3 arguments, got {len(limits) + 1}")
            for limit in limits:
                if not is_whole(limit):
                    raise TypeError("slice indices must be integers")
            start, stop, _step = slice(limits[0], limits[1] if len(limits) == 2 else None).indices(len(x))
        found = self.kit.find(x, value, start, stop)
        if found < 0:
            raise ValueError(f"{kind_name(x)}.index(x): x not in {kind_name(x)}")
        return found

    def count(self, x, value, /, *limits):
        if PyUnicode_CheckExact(x) or PyBytes_CheckExact(x):
            self.linear(x)
            return x.count(value, *limits)
        if PyRange_Check(x):
            if not is_whole(value):
                self.kit.charge(len(x) >> 4)
            return x.count(value, *limits)
        if not (PyList_CheckExact(x) or PyTuple_CheckExact(x)):
            return x.count
        if limits:
            raise TypeError(f"{kind_name(x)}.count() takes exactly one argument ({len(limits) + 1} given)")
        return self.kit.occurrences(x, value)

    def remove(self, x, value, /):
        cdef Py_ssize_t found
        if not PyList_CheckExact(x):
            return x.remove(value)
        found = self.kit.find(x, value, 0, PY_SSIZE_T_MAX)
        if found < 0:
            raise ValueError("list.remove(x): x not in list")
        (<list>x)[found:found + 1] = []
        return None

    def sort(self, x, /, *, key=None, reverse=False):
        cdef list items
        if not PyList_CheckExact(x):
            return x.sort(key=key, reverse=reverse)
        backward = bool(reverse)        # first: it may be code of the script, which changes the list
        if len(<list>x) > SORTED:
            raise ValueError("at most 20,000 elements can be sorted")
        if key is None and self.kit.sorts_natively(x):
            (<list>x).sort(reverse=backward)
            return None
        items = (<list>x)[:]
        (<list>x).clear()
        result = items
        try:
            result = self.kit.sorted(items[:], key, backward)
        finally:
            changed = len(<list>x) != 0
            (<list>x)[:] = result
        if changed:
            raise ValueError("list modified during sort")
        return None

    cdef list pieces(self, list found):
        if len(found) > PIECES:
            raise ValueError("the text would be split into more than 20,000 pieces")
        self.kit.charge(len(found) >> 4)
        return found

    cdef Py_ssize_t most(self, object maxsplit) except? -1:
        """Of splits: as asked for, and one more than there may be."""
        if not is_whole(maxsplit):
            raise TypeError(f"maxsplit has to be an int, not {kind_text(maxsplit)}")
        return PIECES if maxsplit < 0 or maxsplit > PIECES else maxsplit

    def split(self, x, /, sep=None, maxsplit=-1):
        self.linear(x)
        return self.pieces(x.split(sep, self.most(maxsplit)))

    def rsplit(self, x, /, sep=None, maxsplit=-1):
        self.linear(x)
        if sep is not None:
            self.product(x, sep)
        return self.pieces(x.rsplit(sep, self.most(maxsplit)))

    def splitlines(self, x, /, keepends=False):
        cdef Py_ssize_t lines = 0
        self.linear(x)
        if len(x) > PIECES:
            if PyUnicode_CheckExact(x):
                for character in <str>x:
                    lines += character in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
            else:
                lines = x.count(b"\n") + x.count(b"\r")
            if lines > PIECES:
                raise ValueError("the text would be split into more than 20,000 pieces")
        return self.pieces(x.splitlines(bool(keepends)))

    def rfind(self, x, sub, *limits):
        self.product(x, sub)
        return x.rfind(sub, *limits)

    def rindex(self, x, sub, *limits):
        self.product(x, sub)
        return x.rindex(sub, *limits)

    def rpartition(self, x, sep):
        self.product(x, sep)
        return x.rpartition(sep)

    def strip(self, x, chars=None):
        self.product(x, chars)
        return x.strip(chars)

    def lstrip(self, x, chars=None):
        self.product(x, chars)
        return x.lstrip(chars)

    def rstrip(self, x, chars=None):
        self.product(x, chars)
        return x.rstrip(chars)

    cdef int affixes(self, object x, object wanted) except -1:
        cdef long long total = 0
        if PyTuple_CheckExact(wanted):
            for one in <tuple>wanted:
                if type(one) is str or type(one) is bytes:
                    total += len(one)
            self.kit.charge((len(<tuple>wanted) >> 4) + (total >> 10))
        return 0

    def startswith(self, x, prefix, *limits):
        self.affixes(x, prefix)
        return x.startswith(prefix, *limits)

    def endswith(self, x, suffix, *limits):
        self.affixes(x, suffix)
        return x.endswith(suffix, *limits)

    def encode(self, x, /, encoding="utf-8", errors="strict"):
        check_codec(encoding, errors)
        self.linear(x)
        return x.encode(encoding, errors)

    def decode(self, x, /, encoding="utf-8", errors="strict"):
        check_codec(encoding, errors)
        self.linear(x)
        return x.decode(encoding, errors)

    def items(self, x):
        cdef list result
        cdef Py_ssize_t i
        if not PyDict_CheckExact(x):
            return x.items()
        self.kit.charge((len(<dict>x) + 8) >> 4)
        result = list((<dict>x).items())
        for i in range(len(result)):
            pair = <object>PyList_GET_ITEM(result, i)
            if (PyTuple_CheckExact(<object>PyTuple_GET_ITEM(pair, 0))
                    or PyTuple_CheckExact(<object>PyTuple_GET_ITEM(pair, 1))):
                self.kit.tuple_checked(pair)
        return result

    def keys(self, x):
        if not PyDict_CheckExact(x):
            return x.keys()
        self.kit.charge((len(<dict>x) + 8) >> 4)
        return list(<dict>x)

    def values(self, x):
        if not PyDict_CheckExact(x):
            return x.values()
        self.kit.charge((len(<dict>x) + 8) >> 4)
        return list((<dict>x).values())

    def update(self, x, /, *others, **named):
        if PyDict_CheckExact(x):
            if len(others) > 1:
                raise TypeError(f"update expected at most 1 argument, got {len(others)}")
            for other in others:
                x.update(pairs(self.kit, other))
            x.update(named)
            return None
        if named:
            raise TypeError("update() takes no keyword arguments")
        return self.bulk(x, "update", others)

    cdef object bulk(self, object x, str name, tuple others):
        """Work on whole sets: what is no set becomes one first, its elements checked."""
        if not PySet_CheckExact(x):
            return getattr(x, name)(*others)
        self.kit.charge_keys(x)
        return getattr(x, name)(*[self.kit.as_set(other) for other in others])

    def extend(self, x, other, /):
        if not PyList_CheckExact(x):
            return x.extend(other)
        (<list>x).extend(self.kit.gather(other, ELEMENTS) if makes_elements(other) else self.kit.elements(other))
        return None

    def join(self, x, texts, /):
        return x.join(self.kit.elements(texts))

    def union(self, x, *others):
        return self.bulk(x, "union", others)

    def intersection(self, x, *others):
        return self.bulk(x, "intersection", others)

    def difference(self, x, *others):
        return self.bulk(x, "difference", others)

    def symmetric_difference(self, x, *others):
        return self.bulk(x, "symmetric_difference", others)

    def intersection_update(self, x, *others):
        return self.bulk(x, "intersection_update", others)

    def difference_update(self, x, *others):
        return self.bulk(x, "difference_update", others)

    def symmetric_difference_update(self, x, *others):
        return self.bulk(x, "symmetric_difference_update", others)

    def isdisjoint(self, x, *others):
        return self.bulk(x, "isdisjoint", others)

    def issubset(self, x, *others):
        return self.bulk(x, "issubset", others)

    def issuperset(self, x, *others):
        return self.bulk(x, "issuperset", others)


cdef str kind_name(object value):
    return type(value).__name__


cdef dict pairs(Kit kit, object source):
    """A dict of what a dict or a list of pairs gives, keys checked."""
    cdef dict result
    if PyDict_CheckExact(source):
        kit.charge_keys(source)
        return source
    result = {}
    for pair in kit.gather(source, ELEMENTS):
        if not (PyTuple_CheckExact(pair) or PyList_CheckExact(pair)) or len(pair) != 2:
            raise ValueError("a dict is made of pairs: tuples or lists of 2 elements")
        key, value = pair
        kit.key(key)
        result[key] = value
    return result


cdef object type_of(object value):
    """What isinstance() means by a name."""
    if type(value) is Builtin and (<Builtin>value).kind is not None:
        return (<Builtin>value).kind
    if type(value) is ScriptType:
        return value
    if PyType_Check(value) and is_subtype(<Kind*><PyObject*>value, <Kind*><PyObject*>Exception):
        return value
    raise TypeError("isinstance() takes a class, a type such as int, or a tuple of these")


@cython.final
cdef class Functions:
    """The guarded built-in functions."""
    cdef Kit kit

    def all(self, iterable):
        return not self.kit.any(iterable, False)

    def any(self, iterable):
        return self.kit.any(iterable, True)

    def bytes(self, source=b"", encoding="utf-8", errors="strict"):
        cdef list items
        if PyBytes_CheckExact(source):
            return source
        if PyUnicode_CheckExact(source):
            check_codec(encoding, errors)
            if len(source) > BYTES:
                raise ValueError("at most 65,536 bytes")
            self.kit.charge(len(source) >> 8)
            return source.encode(encoding, errors)
        if is_whole(source):
            raise TypeError("bytes() takes a list of ints, a text or bytes. Write: bytes([0] * n)")
        items = self.kit.gather(source, BYTES)
        for item in items:
            if not is_whole(item):
                raise TypeError("bytes() takes ints from 0 to 255")
        return bytes(items)

    def dict(self, source=MISSING, /, **named):
        cdef dict result
        if source is MISSING:
            result = named
        else:
            result = dict(pairs(self.kit, source))
            result.update(named)
        return result

    def enumerate(self, iterable, start=0):
        cdef list result = []
        cdef long long i
        if not is_whole(start):
            raise TypeError("start has to be an int")
        if guard_bits(start) > KEY_BITS:
            raise OverflowError("start has to be below 2**60")
        i = start
        for item in self.kit.gather(iterable, ELEMENTS):
            result.append(self.kit.pair(i, item))
            if i & 63 == 0:
                self.kit.charge(4)
            i += 1
        return result

    def filter(self, function, iterable):
        cdef list result = []
        for item in self.kit.gather(iterable, ELEMENTS):
            if function is None:
                kept = item
            else:
                self.kit.meter.tick()
                kept = PyObject_CallOneArg(function, item)
            if kept:
                result.append(item)
        return result

    def float(self, x=0.0):
        if PyUnicode_CheckExact(x) or PyBytes_CheckExact(x):
            if len(x) > NUMBER_CHARACTERS:
                raise ValueError("a number has at most 1,300 characters")
        return float(x)

    def int(self, x=0, /, base=MISSING):
        if PyUnicode_CheckExact(x) or PyBytes_CheckExact(x):
            if len(x) > NUMBER_CHARACTERS:
                raise ValueError("a number has at most 1,300 characters")
        if base is MISSING:
            return int(x)
        if not is_whole(base):
            raise TypeError("int() takes an int as base")
        return int(x, base)

    def isinstance(self, x, kinds):
        if PyTuple_CheckExact(kinds):
            self.kit.charge(len(<tuple>kinds) >> 2)
            for one in <tuple>kinds:
                if self.is_a(x, one):
                    return True
            return False
        return self.is_a(x, kinds)

    cdef bint is_a(self, object x, object wanted) except -1:
        wanted = type_of(wanted)
        return is_subtype(kind_of(x), <Kind*><PyObject*>wanted)

    def list(self, iterable=()):
        return self.kit.gather(iterable, ELEMENTS)

    def map(self, function, iterable, *others):
        cdef list result, columns
        if not others:
            return self.kit.mapped(function, self.kit.gather(iterable, ELEMENTS))
        columns = [self.kit.gather(iterable, ELEMENTS)]
        for other in others:
            columns.append(self.kit.gather(other, ELEMENTS))
        result = []
        for arguments in zip(*columns):
            self.kit.charge(1 + (len(columns) >> 4))
            result.append(function(*arguments))
        return result

    def max(self, *values, key=None, default=MISSING):
        return self.kit.extreme("max", values, key, default, Py_GT)

    def min(self, *values, key=None, default=MISSING):
        return self.kit.extreme("min", values, key, default, Py_LT)

    def pow(self, base, exp, mod=None):
        if mod is None:
            return self.kit.power(base, exp)
        if not (is_whole(base) and is_whole(exp) and is_whole(mod)):
            raise TypeError("pow() with 3 arguments takes ints")
        operand(base)
        operand(exp)
        operand(mod)
        self.kit.charge((guard_bits(exp) + 8) * guard_digits(mod) * guard_digits(mod) >> 6)
        return pow(base, exp, mod)

    def range(self, start, stop=MISSING, step=1):
        if stop is MISSING:
            if PyLong_CheckExact(start) and guard_digits(start) <= 1 and start <= ELEMENTS:
                return range(start)
            start, stop = 0, start
        for bound in (start, stop, step):
            if not is_whole(bound):
                raise TypeError(f"range() takes ints, not {kind_text(bound)}")
            if guard_bits(bound) > KEY_BITS:
                raise ValueError("range() takes ints below 2**60")
        result = range(start, stop, step)
        try:
            count = len(result)
        except OverflowError:                   # where sizes have 32 bits
            count = ELEMENTS + 1
        if count > ELEMENTS:
            raise ValueError("range() gives at most 100,000 numbers")
        return result

    def repr(self, x):
        return self.kit.text(x, False)

    def reversed(self, sequence):
        cdef list result
        cdef Py_ssize_t i
        if is_script_object(sequence) and hasattr(type(sequence), "__getitem__"):
            i = len(sequence)
            if i > ELEMENTS:
                raise ValueError("more than 100,000 elements")
            result = []
            while i > 0:
                i -= 1
                self.kit.meter.tick()
                result.append(sequence[i])
            return result
        if not is_container(sequence) or PySet_CheckExact(sequence):
            raise TypeError(f"{kind_text(sequence)} cannot be reversed")
        result = self.kit.gather(sequence, ELEMENTS)
        result.reverse()
        return result

    def round(self, number, ndigits=None):
        if not is_number(number):
            raise TypeError(f"round() takes a number, not {kind_text(number)}")
        if ndigits is None:
            return round(number)
        if not is_whole(ndigits):
            raise TypeError("round() takes an int as number of digits")
        if ndigits > ROUND_DIGITS or ndigits < -ROUND_DIGITS:
            raise ValueError("round() takes a number of digits from -400 to 400")
        return round(number, ndigits)

    def set(self, iterable=()):
        return set(self.kit.keys(iterable))

    def sorted(self, iterable, /, *, key=None, reverse=False):
        return self.kit.sorted(self.kit.gather(iterable, SORTED), key, bool(reverse))

    def str(self, x="", /, encoding=MISSING, errors="strict"):
        if PyUnicode_CheckExact(x):
            if encoding is not MISSING:
                raise TypeError("decoding str is not supported")
            return x
        if encoding is not MISSING:
            if not PyBytes_CheckExact(x):
                raise TypeError("only bytes can be decoded")
            check_codec(encoding, errors)
            return x.decode(encoding, errors)
        if PyLong_CheckExact(x) and guard_digits(x) < 4:
            return str(x)
        return self.kit.text(x, True)

    def sum(self, iterable, /, start=0):
        cdef list items = self.kit.gather(iterable, ELEMENTS)
        cdef Py_ssize_t elements = len(start) if PyList_CheckExact(start) or PyTuple_CheckExact(start) else 0
        cdef bint plain = is_number(start)
        if PyUnicode_CheckExact(start) or PyBytes_CheckExact(start):
            raise TypeError("sum() adds numbers. Write: ''.join(texts)")
        if is_whole(start):
            operand(start)
        for item in items:
            if PyFloat_CheckExact(item) or PyBool_Check(item):
                continue
            if PyLong_CheckExact(item):
                if guard_digits(item) > 4:
                    operand(item)
                    self.kit.charge(guard_digits(item) >> 4)
                continue
            plain = False
            if PyList_CheckExact(item) or PyTuple_CheckExact(item):
                elements += len(item)
                if elements > SUM_LISTS:
                    raise TypeError("sum() joins lists of 1,000 elements in all. Write: a loop with extend()")
        if plain:
            return sum(items, start)
        result = start
        for item in items:
            self.kit.meter.tick()
            if PyTuple_CheckExact(result) and PyTuple_CheckExact(item):
                result = self.kit.tuple_checked(result + item)
            else:
                if PyLong_CheckExact(result):
                    operand(result)
                result = result + item
        return result

    def tuple(self, iterable=()):
        if PyTuple_CheckExact(iterable):
            return iterable
        if PyList_CheckExact(iterable) and len(<list>iterable) > TUPLE_NODES:
            raise too_heavy()
        return self.kit.tuple_checked(tuple(self.kit.gather(iterable, ELEMENTS)))

    def zip(self, *iterables, strict=False):
        cdef list columns = []
        cdef list result
        cdef Py_ssize_t shortest = -1
        cdef bint heavy = False
        for iterable in iterables:
            if not (PyTuple_CheckExact(iterable) or PyList_CheckExact(iterable)):
                iterable = self.kit.gather(iterable, ELEMENTS)
            columns.append(iterable)
        for column in columns:              # from here on no code of the script runs
            if len(column) > ELEMENTS:
                raise ValueError("more than 100,000 elements")
            if strict and shortest >= 0 and len(column) != shortest:
                raise ValueError("zip() arguments have different lengths")
            if shortest < 0 or len(column) < shortest:
                shortest = len(column)
        for column in columns:
            self.kit.charge(len(column) >> 6)
            for item in column[:shortest] if shortest < len(column) else column:
                if PyTuple_CheckExact(item):
                    heavy = True
                    break
        if shortest * len(columns) > 10 * ELEMENTS:
            raise ValueError("zip() gives at most 1,000,000 values")
        if len(columns) >= TUPLE_NODES:
            raise too_heavy()
        if shortest > CHUNK:
            result = []
            for at in range(0, shortest, CHUNK):
                self.kit.charge(CHUNK * len(columns) >> 4)
                result.extend(zip(*[column[at:at + CHUNK] for column in columns]))
        else:
            self.kit.charge(shortest * len(columns) >> 4)
            result = list(zip(*columns))
        if heavy:
            for item in result:
                self.kit.tuple_checked(item)
        return result


cdef object native_ceil = native_math.ceil
cdef object native_dist = native_math.dist
cdef object native_floor = native_math.floor
cdef object native_fsum = native_math.fsum
cdef object native_gcd = native_math.gcd
cdef object native_hypot = native_math.hypot
cdef object native_isqrt = native_math.isqrt
cdef object native_log2 = native_math.log2
cdef object native_trunc = native_math.trunc


@cython.final
cdef class Sums:
    """Functions of the `math` namespace that take as many values as they are given."""
    cdef Kit kit

    cdef list numbers(self, object values):
        cdef list items = self.kit.gather(values, ELEMENTS)
        for item in items:
            if not is_number(item):
                raise TypeError(f"must be a number, not {kind_text(item)}")
            if is_whole(item):
                operand(item)
        return items

    def dist(self, p, q):
        return native_dist(self.numbers(p), self.numbers(q))

    def fsum(self, values):
        return native_fsum(self.numbers(values))

    def hypot(self, *values):
        for item in values:
            if not PyFloat_CheckExact(item):
                return native_hypot(*self.numbers(values))
        self.kit.charge(len(values) >> 4)
        return native_hypot(*values)

    def gcd(self, *values):
        for item in values:
            if is_whole(item):
                operand(item)
                self.kit.charge(guard_digits(item) >> 2)
        self.kit.charge(len(values) >> 4)
        return native_gcd(*values)

    def floor(self, x):
        return native_floor(plain_number(x))

    def ceil(self, x):
        return native_ceil(plain_number(x))

    def trunc(self, x):
        return native_trunc(plain_number(x))

    def isqrt(self, n):
        if not is_whole(n):
            raise TypeError("isqrt() takes an int")
        self.kit.charge(guard_digits(n) >> 2)
        return native_isqrt(n)


cdef inline object plain_number(object value):
    if not is_number(value):
        raise TypeError(f"must be a number, not {kind_text(value)}")
    return value


cdef object namespace(Kit kit):
    """`math`: functions and constants, none of which can be changed."""
    cdef Sums sums = Sums.__new__(Sums)
    cdef dict names = {"__slots__": ()}
    sums.kit = kit
    for name in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "sqrt", "exp", "log",
                 "log2", "log10", "degrees", "radians", "fabs", "fmod", "copysign", "isnan", "isinf", "isfinite",
                 "isclose", "cbrt", "pow"):
        names[name] = builtin(name, getattr(native_math, name))
    for name in ("dist", "fsum", "hypot", "gcd", "floor", "ceil", "trunc", "isqrt"):
        names[name] = builtin(name, getattr(sums, name))
    for name in ("pi", "e", "tau", "inf", "nan"):
        names[name] = getattr(native_math, name)
    return type("math", (), names)()


# The types that names of built-in functions stand for in isinstance().
cdef dict KINDS = {
    "bool": bool, "bytes": bytes, "dict": dict, "float": float, "int": int, "list": list, "range": range, "set": set,
    "str": str, "tuple": tuple,
}


def guards(Meter meter):
    """What the names that the script compiler writes (`_n_`, `_k_`, `_m_index`, ...) are bound to, for one meter."""
    cdef Kit kit = kit_of(meter)
    cdef Number number = Number.__new__(Number)
    cdef Increment increment = Increment.__new__(Increment)
    cdef Key key = Key.__new__(Key)
    cdef Tuple tuple_guard = Tuple.__new__(Tuple)
    cdef Comparison comparison = Comparison.__new__(Comparison)
    cdef Membership membership = Membership.__new__(Membership)
    cdef Formatted formatted = Formatted.__new__(Formatted)
    cdef Text text = Text.__new__(Text)
    cdef Representation representation = Representation.__new__(Representation)
    cdef Percent percent = Percent.__new__(Percent)
    cdef Elements elements = Elements.__new__(Elements)
    cdef Mapping mapping = Mapping.__new__(Mapping)
    cdef Merged merged = Merged.__new__(Merged)
    cdef SetOperand set_operand = SetOperand.__new__(SetOperand)
    cdef Passed passed = Passed.__new__(Passed)
    cdef Many many = Many.__new__(Many)
    cdef Calls calls = Calls.__new__(Calls)
    cdef Methods methods = Methods.__new__(Methods)
    number.kit = increment.kit = key.kit = tuple_guard.kit = comparison.kit = membership.kit = kit
    formatted.kit = text.kit = representation.kit = percent.kit = elements.kit = mapping.kit = merged.kit = kit
    calls.kit = methods.kit = set_operand.kit = passed.kit = many.kit = kit
    meter.script_type = ScriptType
    names = {
        "_t_": meter.tick_object, "_n_": number, "_i_": increment, "_k_": key, "_T_": tuple_guard,
        "_w_": Writable.__new__(Writable), "_a_": Attribute.__new__(Attribute), "_c_": comparison, "_m_": membership,
        "_f_": formatted, "_s_": text, "_r_": representation, "_q_": percent, "_b_": Base.__new__(Base),
        "_z_": Bound.__new__(Bound), "_u_": elements, "_d_": mapping, "_o_": merged, "_h_": set_operand, "_p_": passed,
        "_l_": many, "_v_": Sliced.__new__(Sliced), "_x_": Caught.__new__(Caught), "_e_": calls.handled,
        "_pow_": calls.power, "_shift_": calls.shift, "__build_class__": calls.build_class,
        "super": super,             # the real one: the compiler allows `super().name(...)` only
    }
    for name in GUARDED_METHODS:
        names[f"_m_{name}"] = method(name, getattr(methods, name))
    return names


def builtins(Meter meter):
    """What scripts find under public names, for one meter: guarded functions, exception types, `math`."""
    cdef Kit kit = kit_of(meter)
    cdef Functions functions = Functions.__new__(Functions)
    functions.kit = kit
    names = {kind.__name__: kind for kind in EXCEPTIONS}
    for name in ("abs", "bool", "callable", "chr", "divmod", "hex", "len", "ord"):      # nothing in these to guard
        names[name] = builtin(name, getattr(native, name), KINDS.get(name))
    for name in ("all", "any", "bytes", "dict", "enumerate", "filter", "float", "int", "isinstance", "list", "map",
                 "max", "min", "pow", "range", "repr", "reversed", "round", "set", "sorted", "str", "sum",
                 "tuple", "zip"):
        names[name] = builtin(name, getattr(functions, name), KINDS.get(name))
    names["math"] = namespace(kit)
    return names
