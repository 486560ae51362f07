"""TLS for the server's side of a connection, without I/O: bytes in, plaintext and bytes to send out.

The official clients set the terms: C# offers only ECDHE-RSA and RSA key exchange with AES128-CBC (or 3DES), C++ speaks
TLS 1.2 and nothing else, both want an RSA certificate and send IP addresses as server name. Browsers take anything.
`ssl` costs 4.7 MB, so it is imported when the first context is made.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext, SSLObject

MAX_RECORD = 16384  # bytes of plaintext in one TLS record (RFC 5246 section 6.2.1)

# Without a ticket a TLS 1.2 session is remembered inside the context: 2 KB each, 20,000 by OpenSSL's default, which
# Python has no call to change. A context that holds this many is put aside for a new one.
MAX_REMEMBERED_SESSIONS = 256

# OpenSSL's names for TLS 1.2; forward secrecy first, then what C# offers. TLS 1.3 suites are always enabled.
CIPHERS = (
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES128-SHA:AES128-GCM-SHA256:AES128-SHA256:AES128-SHA:@SECLEVEL=2"
)


class TlsError(ValueError):
    """The peer broke the TLS protocol, or a record was handed over that cannot be sent."""


class ServerContext:
    """Certificate, key and settings that the TLS connections of a server share.

    Raises OSError (ssl.SSLError is one) where the pair cannot be used; `certificate.check_pair` says why plainly.
    """

    __slots__ = ("_cert_path", "_context", "_key_path")

    def __init__(self, cert_path: str, key_path: str) -> None:
        self._cert_path = cert_path
        self._key_path = key_path
        self._context = _make_ssl_context(cert_path, key_path)

    def current(self) -> SSLContext:
        """The ssl context for a new connection, which remembers at most `MAX_REMEMBERED_SESSIONS` sessions."""
        if self._context.session_stats()["number"] >= MAX_REMEMBERED_SESSIONS:
            try:
                self._context = _make_ssl_context(self._cert_path, self._key_path)
            except OSError:
                pass  # the files have gone or are being replaced: the old pair still serves, in more memory
        return self._context


def make_context(cert_path: str, key_path: str) -> ServerContext:
    """Load a certificate (chain) and its key, both PEM files, for `TlsLayer`; raises OSError as `ServerContext`."""
    return ServerContext(cert_path, key_path)


class TlsLayer:
    """One connection. Feed what the socket gave to `received`; send what `to_send` returns after every call.

    `established`: the handshake is done and `encrypt` may be called. `peer_closed`: the peer's close_notify has come.
    """

    __slots__ = ("_closed", "_connection", "_ended", "_incoming", "_outgoing", "established", "peer_closed")

    def __init__(self, context: ServerContext) -> None:
        from ssl import MemoryBIO

        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._connection: SSLObject = context.current().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._closed = False
        self._ended = False
        self.established = False
        self.peer_closed = False

    def received(self, data: bytes) -> bytes:
        """Take bytes from the socket, return the plaintext they complete (often none).

        Bytes after the peer's close_notify are ignored. Raises TlsError when the peer breaks the protocol; `to_send`
        then holds the alert for it, and the connection is of no more use.
        """
        from ssl import SSLError, SSLWantReadError, SSLZeroReturnError

        if self._ended:
            raise TlsError("the TLS connection has ended already")
        if self.peer_closed:
            return b""
        plaintext: list[bytes] = []
        try:
            self._incoming.write(data)
            if not self.established:
                self._connection.do_handshake()
                self.established = True
            while True:
                piece = self._connection.read(MAX_RECORD)
                if not piece:
                    self.peer_closed = True
                    break
                plaintext.append(piece)
        except SSLWantReadError:
            pass
        except SSLZeroReturnError:
            self.peer_closed = True
        except SSLError as error:
            self._ended = True
            raise TlsError(f"TLS: {error.reason or error}") from None
        return b"".join(plaintext)

    def received_eof(self) -> None:
        """The socket's stream has ended. Whether it was closed in order is what `peer_closed` says."""
        self._incoming.write_eof()
        self._ended = True

    def encrypt(self, record: bytes) -> None:
        """Queue 1..`MAX_RECORD` bytes of plaintext as exactly one TLS record.

        Raises ValueError for any other size, TlsError before the handshake is done and after `close`.
        """
        from ssl import SSLError

        if not 1 <= len(record) <= MAX_RECORD:
            raise ValueError(f"a TLS record carries 1 to {MAX_RECORD} bytes, not {len(record)}")
        if not self.established:
            raise TlsError("the TLS handshake is not done yet")
        if self._closed:
            raise TlsError("the TLS connection is closed")
        try:
            self._connection.write(record)
        except SSLError as error:
            self._ended = True
            raise TlsError(f"TLS: {error.reason or error}") from None

    def to_send(self) -> bytes:
        """Take the bytes that are to go to the socket."""
        return self._outgoing.read()

    def close(self) -> None:
        """Queue a close_notify, once; nothing can be encrypted after it. The peer's own is not waited for."""
        from ssl import SSLError

        if self._closed:
            return
        self._closed = True
        if not self.established:
            return
        try:
            self._connection.unwrap()
        except SSLError:
            pass  # "want read": the peer's close_notify is outstanding; or the connection has failed


def _make_ssl_context(cert_path: str, key_path: str) -> SSLContext:
    """A context for `ServerContext`; raises OSError."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0  # TLS 1.3 tickets cost two records per connection; no client here resumes
    # An empty password instead of OpenSSL's prompt, which would wait on the terminal.
    context.load_cert_chain(cert_path, key_path, password="")
    return context
