"""The RSA certificate that TLS needs: one made on first start, or a check of the one that was given.

The key is made by the `openssl` program in a process of its own: on a small board it takes seconds, and the loop
must not wait. Names of files: `certificate.pem` and `key.pem` in the directory of the maker.
"""

from __future__ import annotations

import os
import signal

from gsrt.children import inheritable_descriptors

VALID_DAYS = 3660  # ten years and a little: nobody renews a self-signed certificate on a game box
KEY_BITS = 2048
MAX_OUTPUT = 65536  # bytes read of what openssl prints; a pipe holds no more

_CERT_NAME = "certificate.pem"
_KEY_NAME = "key.pem"
_MAX_COMMON_NAME = 64  # X.520 ub-common-name
_MAX_PEM = 262144  # bytes; a certificate chain is well under it
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")

# DER of the object identifier 1.2.840.113549.1.1.1: in a certificate it names the type of the public key (RFC 3279
# section 2.3.1); signature algorithms have other identifiers.
_RSA_KEY_IDENTIFIER = bytes.fromhex("06092a864886f70d010101")

_OWN_PAIR = "or give your own RSA pair with --cert and --key"

_CONFIGURATION = """\
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = {common_name}
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = {alternative_names}
"""


class CertificateError(Exception):
    """No usable certificate; the message says what to do."""


class CertificateMaker:
    """Makes a self-signed certificate in `directory`, which is created if absent (mode 0700).

    `start` gives a file descriptor that becomes readable when `finish` may be called. `cancel` ends it early.
    """

    def __init__(self, directory: str, address: str = "127.0.0.1") -> None:
        """`address` is the IP address that clients are told, which is named in the certificate."""
        self._directory = directory
        self._address = address
        self._pid = 0
        self._pid_descriptor = -1
        self._output = -1

    def existing(self) -> tuple[str, str] | None:
        """Paths of the certificate and key made earlier; None if either is missing or was cut off."""
        paths = self._path(_CERT_NAME), self._path(_KEY_NAME)
        return paths if all(_is_whole_pem(path) for path in paths) else None

    def start(self) -> int:
        """Start `openssl` and return its pidfd, which `finish` or `cancel` closes. Raises CertificateError."""
        if self._pid:
            raise CertificateError("a certificate is being made already")
        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            self._remove_temporary()
            configuration = self._temporary("configuration")
            _write_private(configuration, _configuration(os.uname().nodename, self._address).encode("ascii"))
            _write_private(self._temporary(_KEY_NAME), b"")
        except OSError as error:
            raise CertificateError(
                f"cannot write the TLS certificate to {self._directory}: {error.strerror}; "
                f"make the directory writable {_OWN_PAIR}"
            ) from None
        try:
            self._spawn(configuration)
        except FileNotFoundError:
            self._clean_up()
            raise CertificateError(
                f"TLS needs the openssl program to make a certificate: apt-get install openssl, {_OWN_PAIR}"
            ) from None
        except OSError as error:
            self._clean_up()
            raise CertificateError(f"cannot run openssl: {error.strerror}; free resources {_OWN_PAIR}") from None
        return self._pid_descriptor

    def finish(self) -> tuple[str, str]:
        """Put the new files in place and return the paths of certificate and key. Raises CertificateError."""
        if not self._pid:
            raise CertificateError("no certificate is being made")
        ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG)
        if ended is None:
            raise CertificateError("openssl is still at work: wait until its descriptor is readable")
        self._pid = 0
        cert_path, key_path = self._path(_CERT_NAME), self._path(_KEY_NAME)
        try:
            made = all(_is_whole_pem(self._temporary(name)) for name in (_CERT_NAME, _KEY_NAME))
            if ended.si_code != os.CLD_EXITED or ended.si_status != 0 or not made:
                raise CertificateError(
                    f"openssl could not make a certificate: {self._complaint()}; repair that {_OWN_PAIR}"
                )
            # The key first: a certificate in place then always has its key.
            os.replace(self._temporary(_KEY_NAME), key_path)
            os.replace(self._temporary(_CERT_NAME), cert_path)
        except OSError as error:
            raise CertificateError(
                f"cannot write {error.filename2 or error.filename}: {error.strerror}; "
                f"make the directory writable {_OWN_PAIR}"
            ) from None
        finally:
            self._clean_up()
        return cert_path, key_path

    def cancel(self) -> None:
        """Stop what `start` began, if it is still going on, and remove what it left."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        self._clean_up()

    def _spawn(self, configuration: str) -> None:
        """Run openssl on a configuration file; raises OSError."""
        command = ["openssl", "req", "-x509", "-new", "-nodes", "-sha256", "-newkey", f"rsa:{KEY_BITS}"]
        command += ["-days", str(VALID_DAYS), "-config", configuration]
        command += ["-keyout", self._temporary(_KEY_NAME), "-out", self._temporary(_CERT_NAME)]
        self._output, writer = os.pipe()
        try:
            os.set_blocking(self._output, False)
            self._pid = os.posix_spawnp(
                "openssl",
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writer, 1),
                    (os.POSIX_SPAWN_DUP2, writer, 2),
                    *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in inheritable_descriptors()),
                ],
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
            )
        finally:
            os.close(writer)
        try:
            self._pid_descriptor = os.pidfd_open(self._pid)
        except OSError:
            self.cancel()
            raise

    def _complaint(self) -> str:
        """The first line openssl printed that tells of an error, or its last line."""
        try:
            lines = os.read(self._output, MAX_OUTPUT).decode("utf-8", "replace").splitlines()
        except BlockingIOError:
            lines = []
        lines = [line.strip() for line in lines if line.strip(" .+*-")]
        complaints = [line for line in lines if "error" in line.lower()]
        return (complaints or lines[-1:] or ["it said nothing"])[0]

    def _clean_up(self) -> None:
        """Close the descriptors and remove the temporary files."""
        for descriptor in (self._pid_descriptor, self._output):
            if descriptor >= 0:
                os.close(descriptor)
        self._pid_descriptor = self._output = -1
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        for name in ("configuration", _KEY_NAME, _CERT_NAME):
            try:
                os.unlink(self._temporary(name))
            except FileNotFoundError:
                pass

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _temporary(self, name: str) -> str:
        return os.path.join(self._directory, f".{name}.new")


def check_pair(cert_path: str, key_path: str) -> None:
    """Check that a certificate and key, both PEM files, can serve every official client.

    Raises CertificateError where a file cannot be read, holds something else, the two do not belong together, or the
    key is not RSA of 2048 bits or more (C# clients take no other kind).
    """
    import ssl

    from gsrt.transports import tls

    cert = _read_pem(cert_path, "certificate")
    key = _read_pem(key_path, "key")
    if "CERTIFICATE-----" not in cert:
        raise CertificateError(f"{cert_path} holds no PEM certificate; are --cert and --key the wrong way round?")
    if "PRIVATE KEY-----" not in key:
        raise CertificateError(
            f"{key_path} holds no PEM private key; give --key the file that begins with BEGIN PRIVATE KEY"
        )
    if "ENCRYPTED" in key:
        raise CertificateError(f"{key_path} is locked with a password; unlock it with: openssl rsa -in KEY -out NEWKEY")
    if not _is_rsa(cert):
        raise CertificateError(
            f"{cert_path} is not an RSA certificate, which official C# clients need; ask for one of type RSA"
        )
    try:
        tls.make_context(cert_path, key_path)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise CertificateError(
                f"{key_path} is not the key of {cert_path}; give the key that was made with it"
            ) from None
        if reason == "EE_KEY_TOO_SMALL":
            raise CertificateError(f"the RSA key of {cert_path} is under {KEY_BITS} bits; make a longer one") from None
        raise CertificateError(
            f"{cert_path} with {key_path} cannot be used for TLS: {reason}; make a new pair"
        ) from None
    except OSError as error:
        raise CertificateError(f"cannot read {cert_path} or {key_path}: {error.strerror}") from None


def _is_rsa(cert: str) -> bool:
    """Whether the first certificate of a PEM text holds an RSA key; an unreadable one counts as such."""
    from binascii import Error, a2b_base64

    body = cert.partition("CERTIFICATE-----")[2].partition("-----END")[0]
    try:
        return _RSA_KEY_IDENTIFIER in a2b_base64(body)
    except (Error, ValueError):
        return True


def _read_pem(path: str, kind: str) -> str:
    """The text of a PEM file; raises CertificateError."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_PEM).decode("latin-1")
    except OSError as error:
        raise CertificateError(
            f"cannot read the {kind} {path}: {error.strerror}; check the path and that this user may read it"
        ) from None


def _is_whole_pem(path: str) -> bool:
    """Whether a file has the last line of a PEM text: a write that was cut off leaves it empty or without."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_PEM)
    except OSError:
        return False
    return text.startswith(b"-----BEGIN ") and text.rstrip().endswith(b"-----") and b"-----END " in text


def _write_private(path: str, content: bytes) -> None:
    """Create a file that only this user may read; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _configuration(host: str, address: str) -> str:
    """What openssl is to make for a host of this name and IP address, in its configuration format."""
    names = ["localhost"]
    if host and len(host) <= 253 and _HOST_CHARACTERS.issuperset(host):
        names.insert(0, host)
        if "." not in host:
            names.insert(1, f"{host}.local")  # the name under which mDNS finds it
    addresses = dict.fromkeys(("127.0.0.1", address))
    alternative_names = ", ".join([*(f"DNS:{name}" for name in names), *(f"IP:{each}" for each in addresses)])
    return _CONFIGURATION.format(common_name=names[0][:_MAX_COMMON_NAME], alternative_names=alternative_names)
