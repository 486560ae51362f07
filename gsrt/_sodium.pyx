"""libsodium: the primitives of the link's handshake, and the cipher of its suite 1. Contract: docs/LINK.md, section 3.

The only module that is linked with libsodium; what has no use for the link does not import it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from gsrt._link cimport Cipher

cdef extern from "sodium.h" nogil:
    int sodium_init()
    void sodium_memzero(void* where, size_t size)
    int crypto_scalarmult_curve25519(unsigned char* shared, const unsigned char* private, const unsigned char* public)
    int crypto_scalarmult_curve25519_base(unsigned char* public, const unsigned char* private)
    int crypto_aead_chacha20poly1305_ietf_encrypt(
        unsigned char* sealed, unsigned long long* sealed_size, const unsigned char* plain, unsigned long long plain_size,
        const unsigned char* associated, unsigned long long associated_size, const unsigned char* unused,
        const unsigned char* nonce, const unsigned char* key)
    int crypto_aead_chacha20poly1305_ietf_decrypt(
        unsigned char* plain, unsigned long long* plain_size, unsigned char* unused, const unsigned char* sealed,
        unsigned long long sealed_size, const unsigned char* associated, unsigned long long associated_size,
        const unsigned char* nonce, const unsigned char* key)
    ctypedef struct HmacState "crypto_auth_hmacsha256_state":
        pass
    int crypto_auth_hmacsha256_init(HmacState* state, const unsigned char* key, size_t key_size)
    int crypto_auth_hmacsha256_update(HmacState* state, const unsigned char* data, unsigned long long size)
    int crypto_auth_hmacsha256_final(HmacState* state, unsigned char* digest)
    int crypto_generichash_blake2b(
        unsigned char* digest, size_t digest_size, const unsigned char* data, unsigned long long data_size,
        const unsigned char* key, size_t key_size)

cdef enum:
    KEY_BYTES = 32                  # of X25519, ChaCha20-Poly1305 and SHA-256 alike
    NONCE_BYTES = 12
    TAG_BYTES = 16
    HEADER_BYTES = 14               # of a DATA datagram: what its tag covers besides the body
    COOKIE_DIGEST_BYTES = 16
    BLAKE2B_KEY_MAX = 64

if sodium_init() < 0:
    raise ImportError("libsodium could not be made ready: it found no source of random numbers")


cdef inline const unsigned char* content(bytes value) noexcept:
    return <const unsigned char*>PyBytes_AS_STRING(value)


cdef const unsigned char* key_content(bytes key) except NULL:
    if PyBytes_GET_SIZE(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return content(key)


cdef inline void write_nonce(unsigned char* nonce, uint64_t number) noexcept nogil:
    """4 zero bytes and the number in 8, little-endian: as in Noise (12.3), and in DATA."""
    cdef int place
    memset(nonce, 0, 4)
    for place in range(8):
        nonce[4 + place] = <unsigned char>(number >> (8 * place))


def x25519_public(bytes private not None):
    """The public key of `private` (32 random bytes; RFC 7748): 32 bytes."""
    cdef const unsigned char* scalar = key_content(private)
    cdef bytes public = PyBytes_FromStringAndSize(NULL, KEY_BYTES)
    crypto_scalarmult_curve25519_base(<unsigned char*>PyBytes_AS_STRING(public), scalar)
    return public


def x25519(bytes private not None, bytes public not None):
    """What the holders of the two key pairs share: 32 bytes. ValueError for a public key of low order, with which
    anybody could tell what that is."""
    cdef const unsigned char* scalar = key_content(private)
    cdef const unsigned char* point = key_content(public)
    cdef bytes shared = PyBytes_FromStringAndSize(NULL, KEY_BYTES)
    if crypto_scalarmult_curve25519(<unsigned char*>PyBytes_AS_STRING(shared), scalar, point) != 0:
        raise ValueError("an X25519 public key of low order")
    return shared


def seal(bytes key not None, uint64_t number, bytes associated not None, bytes plain not None):
    """ChaCha20-Poly1305 (RFC 8439): `plain`, encrypted, and a tag of 16 bytes over that and `associated`. A key must
    never be used with the same number for anything else."""
    cdef const unsigned char* secret = key_content(key)
    cdef unsigned char nonce[NONCE_BYTES]
    cdef bytes sealed = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(plain) + TAG_BYTES)
    write_nonce(nonce, number)
    crypto_aead_chacha20poly1305_ietf_encrypt(
        <unsigned char*>PyBytes_AS_STRING(sealed), NULL, content(plain), PyBytes_GET_SIZE(plain),
        content(associated), PyBytes_GET_SIZE(associated), NULL, nonce, secret)
    return sealed


def open_sealed(bytes key not None, uint64_t number, bytes associated not None, bytes sealed not None):
    """What was sealed with the same key, number and `associated`; None when anything of it is not so."""
    cdef const unsigned char* secret = key_content(key)
    cdef unsigned char nonce[NONCE_BYTES]
    if PyBytes_GET_SIZE(sealed) < TAG_BYTES:
        return None
    cdef bytes plain = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(sealed) - TAG_BYTES)
    write_nonce(nonce, number)
    if crypto_aead_chacha20poly1305_ietf_decrypt(
            <unsigned char*>PyBytes_AS_STRING(plain), NULL, NULL, content(sealed), PyBytes_GET_SIZE(sealed),
            content(associated), PyBytes_GET_SIZE(associated), nonce, secret) != 0:
        return None
    return plain


def hmac_sha256(bytes key not None, bytes data not None):
    """HMAC with SHA-256 (RFC 2104) under a key of any length: 32 bytes."""
    cdef HmacState state
    cdef bytes digest = PyBytes_FromStringAndSize(NULL, KEY_BYTES)
    crypto_auth_hmacsha256_init(&state, content(key), PyBytes_GET_SIZE(key))
    crypto_auth_hmacsha256_update(&state, content(data), PyBytes_GET_SIZE(data))
    crypto_auth_hmacsha256_final(&state, <unsigned char*>PyBytes_AS_STRING(digest))
    sodium_memzero(&state, sizeof(state))
    return digest


def blake2b_16(bytes key not None, bytes data not None):
    """BLAKE2b (RFC 7693) of 16 bytes under a key of 16 to 64 bytes; ValueError for another length of key."""
    if not COOKIE_DIGEST_BYTES <= PyBytes_GET_SIZE(key) <= BLAKE2B_KEY_MAX:
        raise ValueError(f"a key of BLAKE2b has 16 to {BLAKE2B_KEY_MAX} bytes, not {len(key)}")
    cdef bytes digest = PyBytes_FromStringAndSize(NULL, COOKIE_DIGEST_BYTES)
    crypto_generichash_blake2b(
        <unsigned char*>PyBytes_AS_STRING(digest), COOKIE_DIGEST_BYTES, content(data), PyBytes_GET_SIZE(data),
        content(key), PyBytes_GET_SIZE(key))
    return digest


cdef class ChaCha20Poly1305(Cipher):
    """Suite 1: the body of a DATA datagram is encrypted in place under the key of its direction, and the tag covers
    its header too. ValueError for keys that have not 32 bytes."""

    cdef unsigned char send_key[KEY_BYTES]
    cdef unsigned char receive_key[KEY_BYTES]

    def __cinit__(self, bytes send_key not None, bytes receive_key not None):
        self.tag_bytes = TAG_BYTES
        memcpy(self.send_key, key_content(send_key), KEY_BYTES)
        memcpy(self.receive_key, key_content(receive_key), KEY_BYTES)

    def __dealloc__(self):
        sodium_memzero(self.send_key, KEY_BYTES)
        sodium_memzero(self.receive_key, KEY_BYTES)

    cdef int seal(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept:
        cdef unsigned char nonce[NONCE_BYTES]
        write_nonce(nonce, number)
        return crypto_aead_chacha20poly1305_ietf_encrypt(
            body, NULL, body, size, header, HEADER_BYTES, NULL, nonce, self.send_key)

    cdef bint open(self, uint8_t* body, uint32_t size, const uint8_t* header, uint64_t number) noexcept:
        cdef unsigned char nonce[NONCE_BYTES]
        write_nonce(nonce, number)
        return crypto_aead_chacha20poly1305_ietf_decrypt(
            body, NULL, NULL, body, size + TAG_BYTES, header, HEADER_BYTES, nonce, self.receive_key) == 0

    cdef bytes secrets(self):
        return b"\1" + self.send_key[:KEY_BYTES] + self.receive_key[:KEY_BYTES]
