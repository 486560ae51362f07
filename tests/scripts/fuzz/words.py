"""What random scripts are made of: expressions by the kind of their value, with gaps for other expressions.

A gap `<kind>` takes an expression of that kind, most of the time; `<kind:p q>` one in which p and q are names as well.
The order and number of entries decide what a seed stands for, and how often each is drawn.
"""

from __future__ import annotations

import re

from gsrt._guard import builtins
from gsrt._guest import Data, Packet
from gsrt._meter import Meter
from gsrt.scripts.api import PacketBuilder, Player, Session
from gsrt.scripts.log_api import Logger
from gsrt.scripts.names import ARGUMENT_GUARDED, BUILTINS, EXCEPTIONS, GUARDED_METHODS, HARMLESS
from gsrt.scripts.random_api import Random
from gsrt.scripts.request_api import Request, Requests, Response

METHODS = sorted(HARMLESS | GUARDED_METHODS | ARGUMENT_GUARDED)
FUNCTIONS = sorted(BUILTINS - EXCEPTIONS - {"math", "session"})
ERRORS = sorted(EXCEPTIONS)
MATH = sorted(name for name in dir(builtins(Meter())["math"]) if not name.startswith("_"))
KEYWORDS = ("key", "reverse", "default", "start", "sep", "maxsplit", "strict", "encoding", "errors", "k", "b", "end")


def _methods_of(kind: type) -> list[str]:
    return [name for name in METHODS if hasattr(kind, name)]


def _public(kind: type) -> list[str]:
    return sorted(name for name in dir(kind) if not name.startswith("_"))


BUILT_IN: dict[str, list[str]] = {
    "int": _methods_of(int),
    "float": _methods_of(float),
    "str": _methods_of(str),
    "bytes": _methods_of(bytes),
    "list": _methods_of(list),
    "tuple": _methods_of(tuple),
    "dict": _methods_of(dict),
    "set": _methods_of(set),
    "range": _methods_of(range),
}
"""Kind -> methods of its values that a script may name."""

OF_THE_HOST: dict[str, list[str]] = {
    "session": _public(Session),
    "player": _public(Player),
    "builder": _public(PacketBuilder),
    "logger": _public(Logger),
    "random": _public(Random),
    "requests": _public(Requests),
    "request": [*_public(Request), "set_display_name", "set_SCORE", "set_segments", "set_x"],
    "response": _public(Response),
    "data": _public(Data),
    "packet": _public(Packet),
}
"""Kind -> public attributes of what the server gives to scripts."""


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """Kind -> expressions, of lines `kind:` and lines of expressions with three blanks between them."""
    found: dict[str, tuple[str, ...]] = {}
    kind = ""
    for line in text.strip().splitlines():
        if line.startswith("        "):
            found[kind] += tuple(re.split(" {3,}", line.strip()))
        else:
            kind = line.strip().removesuffix(":")
            found[kind] = ()
    return found


ATOMS = _table(
    r"""
    int:
        0   1   2   3   -1   -2   5   7   9   16   100   255   256   1000   n0   n1   n2   n0   n1   n2   True
        65536   2147483647   -2147483648   9223372036854775807   1152921504606846975   1152921504606846976
        -9223372036854775808   10 ** 40   (1 << 4095)   -(1 << 4000)   20000   100000   len(l0)   len(s0)
        session.now_ms
    float:
        0.5   1.5   -2.25   0.0   -0.0   1e308   -1e308   5e-324   1e300   float('nan')   float('inf')
        float('-inf')   x0   x1   session.random.random()   math.pi   1e16   0.1
    str:
        ''   'a'   'ab'   'a,b,c'   ' x '   '%s %r %d'   '%5.2f'   '%(a)s'   '{0}'   '\u0436'   s0   '\U0001f600'
        '\x00'   '\ud800'   'e\u0301'   '\u0130'   '123'   'nan'   '0x1f'   s0   s1   s2   s1   'ab' * 50
        '\u0436' * 300   'x' * 5000   '%s' * 60   '\ufdfa' * 99   str(n0)   '9' * 4000   '-' * 1000000
        'ab' * 200000   'utf-8'   'ascii'   'strict'   'replace'   '%*d'
    bytes:
        b''   b'a'   b'ab,c'   b0   b1   bytes([0, 0])   bytes([1, 2, 255])   b'\xff\xfe'   b'%s %d'   b'x' * 9000
        '\u0436'.encode()   b'a' * 100000
    list:
        []   [1, 2, 3]   l0   l1   l2   l0   l1   ['b', 'a']   [[], [1], [[2]]]   [0] * 9   [None] * 500
        list(range(30))   cycle   [float('nan'), 1]   [l0, l0]   deep_list   [0] * 30000   list(s0)
        session.get_players()   [True, 2, 'c', None]   list(range(20000))   [l0] * 40
    tuple:
        ()   (1,)   (1, 2)   ('a', 'b')   t0   t1   t2   t0   ((1, 2), (3, 4))   deep_tuple   (l0,)   (s0, n0)
        (0,) * 5000   (0,) * 19000   wide_tuple   (float('nan'),)   (0, (1, (2, (3,))))
    dict:
        {}   {1: 2}   {'a': 1, 'b': [2]}   d0   d1   d0   d1   cyclic_dict   {(1, 2): 3}   {1: 'x', 2: 1.5}
        {i: i for i in range(40)}   {1: {1: {1: 1}}}   {None: d0}   {i: None for i in range(3000)}
    set:
        set()   {1, 2}   {'a', 'b'}   e0   e1   e0   {(1, 2), (3,)}   set(range(50))   {n0}   {o0}
        set(range(20000))
    range:
        range(3)   range(5, -5, -2)   range(100000)   range(0)   range(n0)   range(2 ** 70)   r0
    bool:
        True   False
    func:
        f0   f1   f2   f3   f0   f1   (lambda: 0)   (lambda p: p)   len   o0.act   str   print   session.send
        l0.append   d0.get   math.sqrt   repr   sorted   max   C0   (lambda p, q=1: (p, q))   (lambda p: p.a)
        (lambda p: -p)   bool   list   dict   o1   C1   set
    obj:
        o0   o1   o2   o0   C0()   C1()   C2()   C0(1)   C1(l0)   o3
    cls:
        C0   C1   C2   ValueError   Exception   E0   KeyError
    exc:
        ValueError('v')   x_error   KeyError(l0)   E0(1, 2)   E0()   StopIteration(l0)   QuotaError('q')
    data:
        data0   session.new_data()   session.new_data().set_number(1, 2)   data0   data1
    packet:
        packet0   packet0   packet1
    player:
        player0   session.get_player(1)   player0
    session:
        session
    logger:
        session.get_logger()
    random:
        session.random
    requests:
        session.new_request()
    request:
        request0   session.new_request().create_end_session_request()
    response:
        response0
    builder:
        builder0   session.new_packet()   session.new_packet().set_op_code(3)
    none:
        None   None   print   session   math   ...   not_defined
    bound:
        0   1   -1   n0   -n1   100   None   2 ** 70
    """
)
"""Kind -> expressions without gaps. The names are those that the beginning of every script defines."""

PARTS = _table(
    r"""
    int:
        (<int> + <int>)   (<int> - <int>)   (<int> * <int>)   (<int> // <int>)   (<int> % <int>)   (-<int>)
        (<int> ** <small>)   (<int> << <small>)   (<int> >> <int>)   (<int> & <int>)   (<int> | <int>)
        (<int> ^ <int>)   (~<int>)   len(<seq>)   int(<any>)   int(<str>, <small>)   sum(<list>)   ord(<str>)
        abs(<int>)   round(<float>)   pow(<int>, <int>)   pow(<int>, <int>, <int>)   <str>.find(<str>)
        <seq>.count(<any>)   <seq>.index(<any>)   math.gcd(<int>, <int>)   <int>.bit_length()   (<int> ** <int>)
        session.random.randint(<int>, <int>)   <data>.get_number(<small>)   len(<any>)   max(<int>, <int>)
        (<int> if <bool> else <int>)   session.set_timeout(<func>, <small>)   session.set_interval(<func>, <num>)
    float:
        (<num> + <float>)   (<num> / <num>)   (<float> * <float>)   (<float> ** <float>)   (<float> % <num>)
        float(<any>)   math.sqrt(<num>)   math.sin(<num>)   round(<float>, <small>)   (<float> // <num>)
        <data>.get_double(<small>)   session.random.uniform(<num>, <num>)   sum(<list>, <float>)   abs(<float>)
        math.fsum(<list>)   session.random.gauss(<num>, <num>)   math.hypot(<num>, <num>)   math.pow(<num>, <num>)
    num:
        <int>   <float>   <int>   <bool>
    small:
        0   1   2   3   5   8   10   36   -1   <int>
    str:
        (<str> + <str>)   (<str> * <small>)   str(<any>)   repr(<any>)   (<str> % <any>)   (<str> % (<any>, <any>))
        <str>[<bound>:<bound>]   <str>[<int>]   <str>.join(<list>)   <str>.replace(<str>, <str>)   <str>.upper()
        <str>.strip(<str>)   <str>.ljust(<int>, <str>)   <str>.center(<int>)   <str>.zfill(<int>)   chr(<int>)
        hex(<int>)   <bytes>.decode(<str>)   <str>.expandtabs(<int>)   <str>.title()   <str>.casefold()   f'{<any>}'
        f'{<any>!r}|{<any>!s}'   f'{<num>:.3f}'   f'{<int>:>{<small>}}'   f'{<any>:10}{<int>:x}'
        f'{<str>:^{<int>}.{<small>}}'   f'{<num>:,}'   f'{f"{<any>}"}{<any>=}'   f'{<num>:{<str>}}'   f'{<obj>:5}'
        session.get_session_id()   <player>.get_player_id()   <data>.get_string(<small>)   '%s' % <any>
        ('%r %s' % (<any>, <any>))   ('%(a)s' % <dict>)   ('%*d' % (<int>, <int>))   <str>.lower()
        <str>.partition(<str>)[<small>]   <str>.swapcase()   session.random.choice(<str>)   ('%d' % <num>)
        str(<bytes>, <str>)   <str>.removeprefix(<str>)   <str>.rjust(<small>)   ('%.*f' % (<small>, <num>))
    bytes:
        (<bytes> + <bytes>)   (<bytes> * <small>)   <str>.encode(<str>)   bytes(<list>)   bytes(<int>)
        (<bytes> % <any>)   <bytes>[<bound>:<bound>]   <bytes>.replace(<bytes>, <bytes>)   <bytes>.join(<list>)
        <packet>.get_payload()   <bytes>.upper()   bytes(<str>, <str>)   <bytes>.hex(<str>, <small>)
    list:
        [<any>, <any>]   [<any>]   (<list> + <list>)   (<list> * <small>)   list(<iter>)   <list>[<bound>:<bound>]
        [*<iter>, <any>]   [<any:i> for i in <iter>]   [i for i in <iter> if <any:i>]   sorted(<iter>)
        [(i, j) for i in <iter> for j in <iter:i> if <bool:i j>]   [[<any:i j> for j in <iter:i>] for i in <iter>]
        sorted(<iter>, key=<func>)   list(map(<func>, <iter>))   list(filter(<func>, <iter>))   <list>.copy()
        list(zip(<iter>, <iter>))   <dict>.items()   <dict>.keys()   <dict>.values()   <str>.split(<str>)
        <str>.splitlines()   <str>.rsplit(<str>, <small>)   list(enumerate(<iter>, <int>))   reversed(<seq>)
        sorted(<iter>, key=<func>, reverse=<bool>)   map(<func>, <iter>, <iter>)   zip(<iter>)   <bytes>.split()
        session.random.sample(<list>, <small>)   <packet>.get_target_players()   filter(None, <iter>)
        [i for i, *j in <iter>]   <list>[<bound>:<bound>:<bound>]   <data>.keys()   <data>.get_float_array(<small>)
    tuple:
        (<any>, <any>)   (<any>,)   (<tuple> + <tuple>)   (<tuple> * <small>)   tuple(<iter>)   (<tuple>, <tuple>)
        (*<iter>, <any>)   <tuple>[<bound>:<bound>]   divmod(<num>, <num>)   <str>.partition(<str>)   (<key>, <key>)
        <float>.as_integer_ratio()   <str>.rpartition(<str>)   <range>.indices(<int>)   (<int> * <tuple>)
    dict:
        {<key>: <any>}   {<key>: <any>, <key>: <any>}   {**<dict>, <key>: <any>}   dict(<iter>)   (<dict> | <dict>)
        {<key:i>: <any:i> for i in <iter>}   {i: j for i, j in <iter>}   dict(a=<any>, b=<any>)   <dict>.copy()
        {1: <any>, 2: <any>}   {i: {<key:i j>: j for j in <iter:i>} for i in <iter>}   {**<dict>, **<dict>}
        dict(<dict>, c=<any>)   dict(zip(<iter>, <iter>))   <response>.get_errors()   {<small>: <scalar>}
    set:
        {<key>, <key>}   set(<iter>)   (<set> | <set>)   (<set> & <set>)   (<set> - <set>)   (<set> ^ <set>)
        {<key:i> for i in <iter>}   <set>.union(<iter>)   <set>.intersection(<iter>)   {*<iter>, <key>}
        <set>.difference(<iter>, <iter>)   <set>.symmetric_difference(<iter>)   <set>.copy()   {*<iter>}
    range:
        range(<int>)   range(<int>, <int>)   range(<int>, <int>, <int>)   <range>[<bound>:<bound>:<bound>]
    bool:
        (<any> == <any>)   (<any> != <any>)   (<num> < <num>)   (<any> < <any>)   (<any> >= <any>)   (not <any>)
        (<any> in <seq>)   (<any> not in <any>)   (<any> is <any>)   (<any> is not None)   (<any> and <any>)
        (<any> or <any>)   isinstance(<any>, <cls>)   isinstance(<any>, (int, str, <cls>))   bool(<any>)
        callable(<any>)   any(<iter>)   all(<any:i> for i in <iter>)   <str>.startswith(<str>)   (<seq> == <seq>)
        <str>.endswith((<str>, <str>))   <set>.issubset(<iter>)   <str>.isidentifier()   <data>.has_number(<small>)
        (<key> in <dict>)   (<key> in <set>)   (<list> < <list>)   (<tuple> == <tuple>)   (<dict> == <dict>)
        (<set> == <set>)   (<obj> == <obj>)   <set>.isdisjoint(<iter>)   <float>.is_integer()   (<set> <= <set>)
        (<num> < n0 < <num>)   (<any> == s0 != <any> in <seq>)   (<str> in <str>)   <packet>.is_reliable()
    func:
        (lambda: <any>)   (lambda p: <any:p>)   (lambda p, q=<any>: <any:p q>)   f3(<any>)   <obj>.act
        (lambda p, *, k=0: <any:p k>)   session.on_packet(<int>, <func>)   session.on_player_connect(<func>)
        session.on_packet(<int>)   session.every(<num>)   session.on_player_disconnect(<func>)   <cls>.act
    obj:
        C0(<any>)   C1(<any>)   C2(<any>)   <cls>(<any>)   (<obj> + <any>)   <obj>.a   (-<obj>)   <obj>(<any>)
    exc:
        ValueError(<any>)   E0(<any>)   KeyError(<any>, <any>)   Exception(<exc>)   RuntimeError(<str>)
    data:
        <data>.set_number(<small>, <int>)   <data>.set_string(<small>, <str>)   <data>.set_float(<small>, <num>)
        <data>.set_double(<small>, <num>)   <data>.set_float_array(<small>, <list>)   <packet>.get_data()
        <data>.set_data(<small>, <data>)   <data>.set_data(<small>, <dict>)   <packet>.data
        <data>.get_data(<small>)
    packet:
        <packet>.set_data(<data>)   <packet>.set_data(<dict>)   <packet>.set_payload(<bytes>)
    player:
        <packet>.get_sender()   session.get_player(<small>)
    request:
        <request>.set_display_name(<any>)   <request>.set_SCORE(<any>)   <request>.set_player_id(<str>)
    builder:
        <builder>.set_op_code(<int>)   <builder>.set_data(<data>)   <builder>.set_data(<dict>)   <builder>.send()
        <builder>.set_payload(<bytes>)   <builder>.set_target_peers(<list>)   <builder>.set_sender(<small>)
        <builder>.set_reliable(<bool>)
    none:
        print(<any>)   print(<any>, <any>, sep=<str>)   <list>.append(<any>)   <list>.extend(<iter>)   leak(<any>)
        <list>.insert(<int>, <any>)   <list>.sort()   <list>.sort(key=<func>)   <list>.reverse()   <list>.clear()
        <set>.add(<key>)   <set>.update(<iter>)   <dict>.update(<dict>)   <dict>.update(<iter>)   <dict>.clear()
        <list>.remove(<any>)   <set>.discard(<key>)   <set>.difference_update(<iter>)   <set>.clear()   leak(<any>)
        session.send(<int>, <data>)   session.send(<int>, <dict>, <list>, <bool>)   session.get_logger().info(<any>)
        session.send(<small>, {1: <any>, 2: <any>})   session.clear_timeout(<int>)   <player>.kick(<str>)
        session.random.shuffle(<list>)   <request>.send(<func>)   <request>.send()
        session.get_logger().warn(<any>)   <set>.intersection_update(<iter>)
        <set>.symmetric_difference_update(<iter>)   leak((<any>, <any>))
    iter:
        <list>   <list>   <tuple>   <set>   <dict>   <str>   <range>   <obj>   <bytes>   <any>   <data>
    seq:
        <list>   <list>   <tuple>   <str>   <bytes>   <range>   <dict>   <set>   <obj>
    key:
        <int>   <str>   <tuple>   <obj>   <bytes>   <float>   <small>   <any>   <small>   None   <exc>
    scalar:
        <int>   <str>   <float>   <bool>   <bytes>   None
    bound:
        <int>   <small>   -<int>
    any:
        <int>   <int>   <float>   <str>   <str>   <bytes>   <list>   <list>   <list>   <tuple>   <tuple>   <dict>
        <dict>   <set>   <set>   <range>   <bool>   <func>   <obj>   <obj>   <cls>   <exc>   <data>   <packet>
        <player>   <none>   <none>   <request>   <builder>   <name>   <name>   <name>   <item>   <item>   <call>
        <call>   <method>   <method>   <method>   <host>   <host>   <builtin>   <math>   <operation>   <operation>
        <attribute>   <choice>   <response>   <attribute>   <session>
    item:
        <list>[<int>]   <dict>[<key>]   <tuple>[<small>]   <obj>[<any>]   <data>[<small>]   <dict>.get(<key>)
        <list>.pop()   <dict>.pop(<key>, <any>)   <dict>.setdefault(<key>, <any>)   <any>[<any>]   <set>.pop()
        min(<iter>)   max(<iter>, key=<func>)   max(<iter>, default=<any>)   session.random.choice(<list>)
        <data>.get(<small>, <any>)   <response>[<str>]   <response>.get(<str>, <any>)   <list>.pop(<int>)
    call:
        f0(<any>)   f1(<any>, <any>)   f2(<any>, k=<any>)   f3(*<tuple>)   f2(*<iter>)   <func>(<any>)   f0()
        <func>()   <func>(<any>, <any>)   <obj>.act(<any>)   <obj>(<any>)   f1(b=<any>, a=<any>)   <cls>(<any>)
    operation:
        (<any> + <any>)   (<any> - <any>)   (<any> * <any>)   (<any> / <any>)   (<any> // <any>)   (<any> % <any>)
        (<any> ** <any>)   (<any> << <any>)   (<any> >> <any>)   (<any> & <any>)   (<any> | <any>)   (-<any>)
        (<any> ^ <any>)   (<obj> * <any>)   (<any> + <obj>)   (<any> - <obj>)   (<obj> / <any>)   abs(<any>)
    choice:
        (<any> if <any> else <any>)   (<any> and <any>)   (<any> or <any>)
    """
)
"""Kind -> expressions with gaps."""

STEPWISE = (
    "(w := <any>)",
    "(<any> < f0(<any>) <= <any>)",
    "[(w := <any:i>) for i in <iter>]",
    "(<int> < len(<seq>) < <int>)",
)
"""What is not available in the iterables of comprehensions, nor in a class."""

ATOMS["bound"] += ("", "")

BEGINNING: tuple[tuple[str, str], ...] = (
    *(("n0", "int"), ("n1", "int"), ("n2", "int"), ("x0", "float"), ("x1", "float"), ("s0", "str"), ("s1", "str")),
    *(("s2", "str"), ("b0", "bytes"), ("b1", "bytes"), ("l0", "list"), ("l1", "list"), ("l2", "list"), ("t0", "tuple")),
    *(("t1", "tuple"), ("t2", "tuple"), ("d0", "dict"), ("d1", "dict"), ("e0", "set"), ("e1", "set"), ("r0", "range")),
    *(("o0", "obj"), ("o1", "obj"), ("o2", "obj"), ("o3", "obj"), ("x_error", "exc"), ("data0", "data"), ("v0", "any")),
    *(("data1", "data"), ("request0", "request"), ("builder0", "builder"), ("v1", "any"), ("v2", "any"), ("v3", "any")),
)
"""(name, kind) of the variables of every script."""

FIRST = """\
n0, n1, n2, x0, x1, b0, b1 = 3, 7, 2 ** 64, 0.5, 1e308, b"ab", b"\\x00\\xff" * 20
s0, s1, s2 = "abc", "x" * 300, "\\u0436\\U0001f600"
l0, l1, l2, t0, t1, t2, r0 = [1, 2, 3], ["b", "a", "c"], [[1], [2, [3]]], (1, 2), ("a", (2, 3)), (0,) * 40, range(4)
d0, d1, e0, e1, x_error = {1: 2, "a": [3]}, {(1, 2): {}}, {1, 2, 3}, {"a", "b"}, ValueError("e")
v0 = v1 = v2 = v3 = w = packet0 = packet1 = player0 = response0 = o0 = o1 = o2 = o3 = None
data0, data1 = session.new_data().set_number(1, 5).set_string(2, "text"), session.new_data()
request0, builder0 = session.new_request().create_log_event_request(), session.new_packet().set_op_code(9)
cycle = [1, 2]
cycle.append(cycle)
cyclic_dict = {"a": cycle}
cyclic_dict["b"] = cyclic_dict
deep_list, deep_tuple, wide_tuple = [], (), (1, 2)
for i in range(60):
    deep_list, deep_tuple = [deep_list], (deep_tuple, i)
for i in range(8):
    wide_tuple = (wide_tuple, wide_tuple)
"""
"""How every script begins."""

LAST = """\
def on_player_connect(player):
    global player0
    player0 = player
    attempt()
def on_packet(packet):
    global packet0, packet1
    packet0, packet1 = packet, packet0
    return attempt()
def answered(response):
    global response0
    response0 = response
    attempt()
request0.send(answered)
session.set_timeout(attempt, 10)
session.set_interval(attempt, 15)
"""
"""How every script ends; what it attempts stands before."""

DUNDER = (
    *("__eq__", "__lt__", "__hash__", "__repr__", "__str__", "__len__", "__contains__", "__getitem__", "__setitem__"),
    *("__delitem__", "__iter__", "__next__", "__call__", "__bool__", "__add__", "__sub__", "__mul__", "__truediv__"),
    *("__neg__", "__abs__", "__radd__", "__rsub__", "__rmul__", "__ne__", "__le__", "__gt__", "__ge__"),
)
GIVES = {
    "__hash__": "int",
    "__repr__": "str",
    "__str__": "str",
    "__len__": "small",
    "__bool__": "bool",
    "__eq__": "bool",
    "__lt__": "bool",
    "__contains__": "bool",
}
"""Method -> kind of what it gives."""

PARAMETERS = {
    **dict.fromkeys(
        ("__hash__", "__repr__", "__str__", "__len__", "__iter__", "__next__", "__bool__", "__neg__", "__abs__"), ""
    ),
    "__setitem__": "a, b",
    "__call__": "*a",
}
"""Method -> its parameters after self; without an entry, one."""
