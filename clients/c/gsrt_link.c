#include "gsrt_link.h"

#include <string.h>

#ifdef GSRT_LINK_SODIUM
#include <sodium.h>
#endif

/* ---- Constants of docs/LINK.md ----------------------------------------------------------------------------------- */

#define VERSION 1
#define DATAGRAM_MIN 1200u
#define DATAGRAM_MAX 1472u
#define HEADER_BYTES 14u
#define TAG_BYTES 16u
#define FRAGMENT_BYTES 1100u
#define MESSAGE_BYTES_MAX 262144u
#define RECEIVE_BYTES 393216u
#define PING_BYTES 64u
#define CHANNELS 16u
#define STREAM_MAX 4095u
#define SEQUENCE_WINDOW 512u
#define ACK_WINDOW 256u
#define ACK_DELAY 0.01
#define ACK_DELAY_MAX 0.2
#define ACK_EVERY 8u
#define LAZY_ACK_DELAY 0.1
#define LAZY_ACK_EVERY 64u
#define LOSS_MEMORY 64.0
#define BANDWIDTH_SECONDS 10
#define REORDER_PACKETS 3u
#define REORDER_MAX 0.5
#define GRANULARITY 0.001
#define PTO_FIRST 0.2
#define PTO_MAX 1.0
#define REPEAT_LOSS 0.01
#define REPEAT_BYTES 300u
#define REPEAT_MIN 0.005
#define REPEAT_MAX 0.02
#define PACE_GAIN 1.25
#define PACE_BURST 10.0
#define INITIAL_WINDOW 10.0
#define MIN_WINDOW 4.0
#define PERSISTENT_PTOS 3u
#define UNRELIABLE_EXCESS 2.0
#define KEEPALIVE_SECONDS 4.0
#define IDLE_SECONDS 15.0
#define HANDSHAKE_REPEAT 0.2
#define HANDSHAKE_SECONDS 5.0
#define PROBE_AFTER 1.0
#define PROBE_ATTEMPTS 3u
#define REPROBE_SECONDS 600.0
#define BLACK_HOLE 4u
#define REBIND_PTOS 4u
#define REBIND_SECONDS 0.5

enum { HELLO = 1, COOKIE = 2, LOGIN = 3, WELCOME = 4, REFUSED = 5, DATA = 6, SEEK = 7, HERE = 8, BEACON = 9 };

enum {
    HELLO_BYTES = 64,
    COOKIE_BYTES = 44,
    LOGIN_BYTES = 108,
    WELCOME_BYTES = 84,
    REFUSED_BYTES = 24,
    NONCE_BYTES = 16,
    CONNECTION_BYTES = 8,
    PROLOGUE_BYTES = 52, /* of LOGIN: what both sides have to have seen alike */
    KEY_BYTES = 32,
    TERMS_BYTES = 8,
    TOKEN_BYTES_MAX = 1024
};

enum {
    PADDING = 0x00,
    PING = 0x01,
    CHALLENGE = 0x02,
    RESPONSE = 0x03,
    CLOSE = 0x04,
    MESSAGE = 0x80, /* set in the first byte of every message's frame; its low two bits are the kind */
    BEGIN = 0x04,
    MORE = 0x08
};

/* System messages (docs/PROTOCOL.md, 6). */
enum { OP_LOGIN_RESULT = -1, OP_PLAYER_CONNECT = -101, OP_PLAYER_DISCONNECT = -103 };

/* ---- Measures of our own ------------------------------------------------------------------------------------------ */

#define NONE 0xffffu /* an index of nothing */

#define SAMPLE_LEAST 0.0001 /* seconds: what a delay leaves of a round trip */

enum {
    BLOCK_BYTES = 112,    /* of a message in a block */
    FRAGMENT_BLOCKS = 10, /* that a whole piece takes */
    SLACK_BLOCKS = 32,    /* beyond receive_bytes: for what is handed on as it comes */
    UNORDERED_STREAM = CHANNELS, /* ours to the server: one ordered stream for each channel, and the unordered one */
    OUT_STREAMS = CHANNELS + 1,
    NUMBERS_KEPT = 512, /* a ring of bits over ACK_WINDOW */
    CLOSE_COPIES = 3,
    CHALLENGE_BYTES = 8,
    TEXT_BYTES = 256,
    PEERS = 256,
    GREETINGS_MAX = 3, /* cookies that may be refused: who is so often told that is lied to, or has no address that stays */
    CARRIES_EACH = 4, /* a frame is in so many datagrams, on average, before the memory of some gives way */
    LINKS_MAX = 0xfff0 /* elements of a table whose indices have 16 bits */
};

static const uint16_t SIZES[] = {1200, 1300, 1400, 1452, 1472};
#define SIZE_COUNT ((uint32_t)(sizeof SIZES / sizeof SIZES[0]))

/* Messages lie in chains of blocks. The first block of each frame says what it is. */
typedef struct block {
    uint16_t next;  /* block of the same message */
    uint16_t chain; /* first block of another: in its bucket of the kept ones, or in the queue of events */
    uint16_t stream;
    uint16_t sequence;
    uint16_t size; /* of this frame */
    uint8_t type;
    uint8_t early; /* kept before its turn */
    uint32_t total; /* of the message; of a MORE 0 */
    uint8_t bytes[BLOCK_BYTES];
} block;

typedef struct pool {
    block *blocks;
    uint32_t available;
    uint16_t free;
} pool;

/* What is to be sent: a message or a piece of one. */
typedef enum frame_state { FRAME_QUEUED, FRAME_FLIGHT, FRAME_LOST, FRAME_ACKED } frame_state;

typedef struct frame {
    uint32_t total;      /* of the message */
    uint16_t generation; /* counts the uses of this place, so that a record cannot take one frame for another */
    uint16_t next;       /* in its stream, its queue or the free list */
    uint16_t lost_before, lost_after; /* neighbours among the lost ones */
    uint16_t block;
    uint16_t size;
    uint16_t stream;
    uint16_t sequence;
    uint8_t type;
    uint8_t state;
    uint8_t copies; /* datagrams under way that it is in */
    uint8_t last;   /* of its message */
} frame;

/* That a datagram carries a frame. */
typedef struct carry {
    uint16_t next;
    uint16_t frame;
    uint16_t generation;
} carry;

typedef enum record_state { RECORD_FREE, RECORD_QUIET, RECORD_FLIGHT, RECORD_LOST } record_state;

typedef struct record {
    uint64_t number;
    uint64_t delivered; /* bytes acknowledged when it was sent */
    uint64_t ack_largest;
    double time;
    double lost_time;
    uint16_t bytes;
    uint16_t carries;
    uint8_t state;
    bool soon;
    bool probe;
    bool has_ack;
} record;

typedef struct repetition {
    double due;
    uint16_t frame;
    uint16_t generation;
} repetition;

typedef struct out_stream {
    uint16_t first, last; /* frames not yet done with, by sequence */
    uint16_t unsent;      /* the first of them that was never sent */
    uint16_t sequence;    /* of the next */
} out_stream;

typedef struct in_stream {
    uint16_t next;    /* sequence of the first frame that was not handed on */
    uint16_t reached; /* of the first that has not come */
    uint16_t newest;  /* SEQUENCED: what was handed on last */
} in_stream;

typedef struct noise {
    uint8_t chaining[KEY_BYTES];
    uint8_t hash[KEY_BYTES];
    uint8_t key[KEY_BYTES];
} noise;

struct gsrt_link {
    const gsrt_link_crypto *crypto;
    void (*random)(void *context, uint8_t *out, size_t size);
    void *random_context;
    uint32_t receive_bytes, message_bytes, peer_receive_bytes, peer_message_bytes;
    uint32_t frames_max, out_blocks, datagrams_max, streams;
    int state;
    uint8_t suite;
    bool probing;

    /* handshake */
    uint8_t token_id[8];
    uint8_t psk[KEY_BYTES];
    uint8_t nonce[NONCE_BYTES];
    uint8_t private_key[KEY_BYTES];
    noise noise;
    uint8_t greeting[LOGIN_BYTES];
    size_t greeting_size;
    uint32_t greetings; /* HELLOs with a nonce of their own */
    bool greeting_due;
    double greeting_at, greeting_interval, greeting_deadline;

    /* the connection */
    uint8_t connection[CONNECTION_BYTES];
    uint8_t send_key[KEY_BYTES], receive_key[KEY_BYTES];
    uint32_t tag_bytes;

    /* what came */
    uint64_t largest;
    bool any_received;
    uint32_t received[NUMBERS_KEPT / 32];
    double largest_time;
    uint64_t ack_floor;  /* below it, the other side knows */
    uint64_t late;       /* lowest number that came late, */
    uint64_t late_since; /* told from this number of ours on */
    bool late_pending;
    uint32_t unacked_soon, unacked_lazy;
    double ack_at;
    double heard;
    pool in;
    uint32_t early_blocks, early_used;
    uint32_t begun_bytes; /* of ordered messages of which the beginning has come in turn, and not all */
    uint16_t *buckets;
    uint32_t bucket_mask;
    in_stream *in_streams;
    uint8_t *sequenced_seen;
    uint16_t unordered_base;
    uint32_t unordered_bits[SEQUENCE_WINDOW / 32];
    uint16_t events_first, events_last;
    uint8_t *assembly;

    /* what goes out */
    uint64_t number;
    uint64_t tracked; /* below it, no datagram is under way */
    uint64_t path_first; /* of the path in use: what became of those before says nothing of it */
    uint64_t largest_acked;
    bool any_acked;
    record *records;
    carry *carries;
    uint16_t carries_free;
    pool out;
    frame *frames;
    uint16_t frames_free;
    uint32_t frames_available;
    out_stream out_streams[OUT_STREAMS];
    uint32_t turn;
    uint16_t sequenced[CHANNELS];
    uint16_t unreliable_first, unreliable_last;
    uint16_t lost_first, lost_last;
    repetition *repetitions;
    uint32_t repetitions_first, repetitions_count;
    uint32_t outstanding; /* bytes of messages that the other side may have to keep */
    uint32_t waiting;     /* bytes of frames not acknowledged */
    bool ping_pending, response_pending;
    uint32_t pto_probes; /* datagrams that the pto timer still wants to be sent */
    uint64_t asked;      /* below it, datagrams under way were asked after */
    bool reliable_turn; /* where both kinds wait, the next datagram begins with reliable frames */
    uint8_t response[CHALLENGE_BYTES];
    double last_eliciting;
    double soon_since, lazy_since; /* from when on the pto timer runs, by what is under way */
    uint32_t in_flight_soon, in_flight_lazy; /* datagrams */

    /* estimates and congestion */
    bool sampled;
    double srtt, rttvar, min_rtt, jitter, sample, loss;
    double held; /* how long acknowledgements take beyond a round trip, at their longest */
    double reorder, reorder_time;
    double rates[BANDWIDTH_SECONDS];
    double rate_second;
    uint64_t delivered;
    double cwnd, ssthresh;
    uint32_t in_flight; /* bytes */
    uint64_t recovery_until; /* number from which on an acknowledgement ends recovery */
    bool recovering;
    uint32_t ptos; /* in a row without an acknowledgement */
    uint32_t unheard_ptos; /* and since the server was last heard, or the caller told of that */
    double unheard_since; /* the first of them */
    bool silent;
    double lost_at;
    double pace_bytes, pace_time, pace_at;

    /* datagram size */
    uint32_t size_index, probe_losses, black_hole;
    double probe_at;

    /* the end */
    uint32_t closes;
    bool end_told;
    int reason;
    char text[TEXT_BYTES];
    size_t text_size;

    uint8_t plain[DATAGRAM_MAX];
    uint8_t peers[PEERS];
    uint32_t peer_count;
    int peer;
    gsrt_link_quality counts;
};

/* ---- Bytes -------------------------------------------------------------------------------------------------------- */

static void put16(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *out, uint32_t value)
{
    put16(out, value);
    put16(out + 2, value >> 16);
}

static void put64(uint8_t *out, uint64_t value)
{
    put32(out, (uint32_t)value);
    put32(out + 4, (uint32_t)(value >> 32));
}

static uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | (uint32_t)bytes[1] << 8);
}

static uint32_t get32(const uint8_t *bytes)
{
    return get16(bytes) | (uint32_t)get16(bytes + 2) << 16;
}

static uint64_t get64(const uint8_t *bytes)
{
    return get32(bytes) | (uint64_t)get32(bytes + 4) << 32;
}

static size_t varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    while (value >= 0x80) {
        value >>= 7;
        bytes++;
    }
    return bytes;
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t at = 0;
    while (value >= 0x80) {
        out[at++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[at++] = (uint8_t)value;
    return at;
}

/* A varint of at most `longest` bytes at *at, which moves on; false if there is none before `size`. */
static bool get_varint(const uint8_t *bytes, size_t size, size_t *at, size_t longest, uint64_t *value)
{
    uint64_t result = 0;
    for (size_t i = 0; i < longest && *at < size; i++) {
        const uint8_t byte = bytes[(*at)++];
        if (i == 9 && byte > 1) {
            return false;
        }
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = result;
            return true;
        }
    }
    return false;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static double larger(double one, double other)
{
    return one > other ? one : other;
}

static double smaller(double one, double other)
{
    return one < other ? one : other;
}

/* Overwrite a secret; through a volatile pointer, or compilers leave it out. */
static void wipe(void *secret, size_t size)
{
    volatile uint8_t *bytes = secret;
    while (size-- > 0) {
        *bytes++ = 0;
    }
}

/* ---- Noise_NNpsk0_25519_ChaChaPoly_SHA256 ------------------------------------------------------------------------- */

static void hmac(const gsrt_link_crypto *crypto, uint8_t *out, const uint8_t *key, const uint8_t *data, size_t size)
{
    uint8_t inner[64 + KEY_BYTES + 1];
    uint8_t outer[64 + KEY_BYTES];
    memset(inner, 0x36, 64);
    memset(outer, 0x5c, 64);
    for (size_t i = 0; i < KEY_BYTES; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    if (size > 0) {
        memcpy(inner + 64, data, size);
    }
    crypto->sha256(outer + 64, inner, 64 + size);
    crypto->sha256(out, outer, sizeof outer);
}

/* Two or three keys from `chaining` and up to 32 bytes; `third` may be NULL. */
static void derive(const gsrt_link_crypto *crypto, const uint8_t *chaining, const uint8_t *data, size_t size, uint8_t *first,
                   uint8_t *second, uint8_t *third)
{
    uint8_t key[KEY_BYTES];
    uint8_t chain[KEY_BYTES + 1];
    hmac(crypto, key, chaining, data, size);
    chain[0] = 1;
    hmac(crypto, first, key, chain, 1);
    memcpy(chain, first, KEY_BYTES);
    chain[KEY_BYTES] = 2;
    hmac(crypto, second, key, chain, sizeof chain);
    if (third != NULL) {
        memcpy(chain, second, KEY_BYTES);
        chain[KEY_BYTES] = 3;
        hmac(crypto, third, key, chain, sizeof chain);
    }
    wipe(key, sizeof key);
    wipe(chain, sizeof chain);
}

static void mix_hash(const gsrt_link_crypto *crypto, noise *state, const uint8_t *data, size_t size)
{
    uint8_t both[KEY_BYTES + PROLOGUE_BYTES];
    memcpy(both, state->hash, KEY_BYTES);
    memcpy(both + KEY_BYTES, data, size);
    crypto->sha256(state->hash, both, KEY_BYTES + size);
}

static void mix_key(const gsrt_link_crypto *crypto, noise *state, const uint8_t *data)
{
    uint8_t chaining[KEY_BYTES];
    derive(crypto, state->chaining, data, KEY_BYTES, chaining, state->key, NULL);
    memcpy(state->chaining, chaining, KEY_BYTES);
    wipe(chaining, sizeof chaining);
}

/* Every key of this pattern encrypts once, so each nonce is 0. */
static const uint8_t FIRST_NONCE[12] = {0};

static bool noise_seal(const gsrt_link_crypto *crypto, noise *state, uint8_t *sealed, const uint8_t *plain, size_t size)
{
    if (crypto->seal(sealed, state->key, FIRST_NONCE, state->hash, KEY_BYTES, plain, size) != 0) {
        return false;
    }
    mix_hash(crypto, state, sealed, size + TAG_BYTES);
    return true;
}

/* The first message, psk and e, of a LOGIN whose first PROLOGUE_BYTES are written. */
static bool noise_login(gsrt_link *link, uint8_t *login)
{
    static const char name[] = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
    const gsrt_link_crypto *crypto = link->crypto;
    noise *state = &link->noise;
    uint8_t chaining[KEY_BYTES], mixed[KEY_BYTES], terms[TERMS_BYTES];
    uint8_t *public_key = login + PROLOGUE_BYTES;

    crypto->sha256(state->hash, (const uint8_t *)name, sizeof name - 1);
    memcpy(state->chaining, state->hash, KEY_BYTES);
    mix_hash(crypto, state, login, PROLOGUE_BYTES);
    derive(crypto, state->chaining, link->psk, KEY_BYTES, chaining, mixed, state->key);
    memcpy(state->chaining, chaining, KEY_BYTES);
    mix_hash(crypto, state, mixed, KEY_BYTES);
    if (crypto->x25519_public(public_key, link->private_key) != 0) {
        return false;
    }
    mix_hash(crypto, state, public_key, KEY_BYTES);
    mix_key(crypto, state, public_key);
    put32(terms, link->receive_bytes);
    put32(terms + 4, link->message_bytes);
    return noise_seal(crypto, state, public_key + KEY_BYTES, terms, TERMS_BYTES);
}

/* The second, e and ee: the keys, and 16 bytes of what was sealed. False: forged. */
static bool noise_welcome(gsrt_link *link, const uint8_t *welcome, uint8_t *opened)
{
    const gsrt_link_crypto *crypto = link->crypto;
    const uint8_t *public_key = welcome + 20;
    noise state = link->noise;
    uint8_t shared[KEY_BYTES];

    mix_hash(crypto, &state, public_key, KEY_BYTES);
    mix_key(crypto, &state, public_key);
    if (crypto->x25519(shared, link->private_key, public_key) != 0) {
        return false;
    }
    mix_key(crypto, &state, shared);
    wipe(shared, sizeof shared);
    const bool opens = crypto->open(opened, state.key, FIRST_NONCE, state.hash, KEY_BYTES, public_key + KEY_BYTES, 32) == 0;
    if (opens) {
        derive(crypto, state.chaining, NULL, 0, link->send_key, link->receive_key, NULL);
    }
    wipe(&state, sizeof state);
    return opens;
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------- */

static void pool_begin(pool *stock, block *blocks, uint32_t count)
{
    stock->blocks = blocks;
    stock->available = count;
    stock->free = 0;
    for (uint32_t i = 0; i < count; i++) {
        blocks[i].next = (uint16_t)(i + 1 < count ? i + 1 : NONE);
    }
}

static uint32_t blocks_for(uint32_t size)
{
    return (size + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

/* A chain that holds `bytes`; the caller has seen that there are enough. */
static uint16_t pool_store(pool *stock, const uint8_t *bytes, uint32_t size)
{
    const uint16_t first = stock->free;
    uint16_t last = first;
    for (uint32_t at = 0; at < size; at += BLOCK_BYTES) {
        const uint32_t part = size - at < BLOCK_BYTES ? size - at : BLOCK_BYTES;
        last = stock->free;
        memcpy(stock->blocks[last].bytes, bytes + at, part);
        stock->free = stock->blocks[last].next;
        stock->available--;
    }
    stock->blocks[last].next = NONE;
    return first;
}

static void pool_release(pool *stock, uint16_t first)
{
    while (first != NONE) {
        const uint16_t next = stock->blocks[first].next;
        stock->blocks[first].next = stock->free;
        stock->free = first;
        stock->available++;
        first = next;
    }
}

/* Copies `size` bytes of a chain; gives the block behind them. */
static uint16_t pool_load(const pool *stock, uint16_t first, uint8_t *out, uint32_t size)
{
    for (uint32_t at = 0; at < size; at += BLOCK_BYTES) {
        const uint32_t part = size - at < BLOCK_BYTES ? size - at : BLOCK_BYTES;
        memcpy(out + at, stock->blocks[first].bytes, part);
        first = stock->blocks[first].next;
    }
    return first;
}

/* ---- Configuration ------------------------------------------------------------------------------------------------ */

void gsrt_link_config_default(gsrt_link_config *config)
{
    memset(config, 0, sizeof *config);
    config->suite = GSRT_LINK_CHACHA20_POLY1305;
    config->receive_bytes = RECEIVE_BYTES;
    config->early_bytes = RECEIVE_BYTES;
    config->message_bytes = MESSAGE_BYTES_MAX;
    config->send_bytes = RECEIVE_BYTES;
    config->frames_max = 2048;
    config->datagrams_max = 512;
    config->peers_max = 255;
    config->probe = true;
}

void gsrt_link_config_small(gsrt_link_config *config)
{
    gsrt_link_config_default(config);
    config->receive_bytes = 65536;
    config->early_bytes = 13200;
    config->message_bytes = 16384;
    config->send_bytes = 16384;
    config->frames_max = 128;
    config->datagrams_max = 64;
    config->peers_max = 16;
    config->probe = false;
}

static bool within(uint32_t value, uint32_t least, uint32_t most)
{
    return least <= value && value <= most;
}

static bool config_is_sound(const gsrt_link_config *config)
{
    const gsrt_link_crypto *crypto = config->crypto;
    if (config->token == NULL || config->token_size < 1 || config->token_size > TOKEN_BYTES_MAX || crypto == NULL ||
        config->random == NULL) {
        return false;
    }
    if (crypto->x25519_public == NULL || crypto->x25519 == NULL || crypto->sha256 == NULL || crypto->seal == NULL ||
        crypto->open == NULL) {
        return false;
    }
    return (config->suite == GSRT_LINK_INSECURE || config->suite == GSRT_LINK_CHACHA20_POLY1305) &&
           within(config->receive_bytes, 65536, 2097152) && within(config->early_bytes, 1100, 2097152) &&
           within(config->message_bytes, 1100, MESSAGE_BYTES_MAX) && config->receive_bytes >= config->message_bytes &&
           within(config->send_bytes, 2200, 4194304) && within(config->frames_max, 8, LINKS_MAX / CARRIES_EACH) &&
           within(config->datagrams_max, 16, 4096) && (config->datagrams_max & (config->datagrams_max - 1)) == 0 &&
           within(config->peers_max, 1, 255);
}

static uint32_t fragments_of(uint32_t total)
{
    return (total + FRAGMENT_BYTES - 1) / FRAGMENT_BYTES;
}

/* The next `count` elements of `each` bytes behind *used; NULL where only the sum is wanted. */
static void *carve(uint8_t *memory, size_t *used, size_t count, size_t each)
{
    const size_t at = (*used + 7) & ~(size_t)7;
    *used = at + count * each;
    return memory == NULL ? NULL : memory + at;
}

/* Where everything lies; `link` NULL: only the sum of bytes. */
static size_t lay_out(gsrt_link *link, const gsrt_link_config *config)
{
    uint8_t *memory = (uint8_t *)link;
    size_t used = sizeof *link;
    const uint32_t early_blocks = fragments_of(config->early_bytes) * FRAGMENT_BLOCKS;
    const uint32_t in_blocks = fragments_of(config->receive_bytes) * FRAGMENT_BLOCKS + early_blocks + SLACK_BLOCKS;
    const uint32_t out_blocks = fragments_of(config->send_bytes) * FRAGMENT_BLOCKS;
    const uint32_t streams = CHANNELS * (config->peers_max + 1);
    const uint32_t assembly = config->message_bytes > DATAGRAM_MAX ? config->message_bytes : DATAGRAM_MAX;
    uint32_t buckets = 64;
    while (buckets < in_blocks / 4) {
        buckets *= 2;
    }
    block *in = carve(memory, &used, in_blocks, sizeof *in);
    block *out = carve(memory, &used, out_blocks, sizeof *out);
    record *records = carve(memory, &used, config->datagrams_max, sizeof *records);
    carry *carries = carve(memory, &used, (size_t)config->frames_max * CARRIES_EACH, sizeof *carries);
    frame *frames = carve(memory, &used, config->frames_max, sizeof *frames);
    repetition *repetitions = carve(memory, &used, config->frames_max, sizeof *repetitions);
    in_stream *in_streams = carve(memory, &used, streams, sizeof *in_streams);
    uint8_t *sequenced_seen = carve(memory, &used, (streams + 7) / 8, 1);
    uint16_t *heads = carve(memory, &used, buckets, sizeof *heads);
    uint8_t *assembled = carve(memory, &used, assembly, 1);
    if (link != NULL) {
        memset(memory + sizeof *link, 0, used - sizeof *link);
        pool_begin(&link->in, in, in_blocks);
        pool_begin(&link->out, out, out_blocks);
        link->records = records;
        link->carries = carries;
        link->frames = frames;
        link->repetitions = repetitions;
        link->in_streams = in_streams;
        link->sequenced_seen = sequenced_seen;
        link->buckets = heads;
        link->assembly = assembled;
        link->early_blocks = early_blocks;
        link->out_blocks = out_blocks;
        link->streams = streams;
        link->bucket_mask = buckets - 1;
        for (uint32_t i = 0; i < buckets; i++) {
            link->buckets[i] = NONE;
        }
    }
    return used;
}

size_t gsrt_link_memory(const gsrt_link_config *config)
{
    return config_is_sound(config) ? lay_out(NULL, config) + 7 : 0; /* up to 7 are lost where `memory` is not aligned */
}

static void derive_token(gsrt_link *link, const char *token, size_t size)
{
    static const char id_label[] = "gsrt link id", psk_label[] = "gsrt link psk";
    uint8_t digest[KEY_BYTES];
    uint8_t *scratch = link->plain;

    memcpy(scratch, id_label, sizeof id_label - 1);
    memcpy(scratch + sizeof id_label - 1, token, size);
    link->crypto->sha256(digest, scratch, sizeof id_label - 1 + size);
    memcpy(link->token_id, digest, sizeof link->token_id);
    memcpy(scratch, psk_label, sizeof psk_label - 1);
    memcpy(scratch + sizeof psk_label - 1, token, size);
    link->crypto->sha256(link->psk, scratch, sizeof psk_label - 1 + size);
    wipe(scratch, sizeof link->plain);
}

static void forget_path(gsrt_link *link)
{
    link->sampled = false;
    link->path_first = link->number;
    link->srtt = link->rttvar = link->min_rtt = link->sample = link->jitter = link->loss = link->reorder = 0;
    memset(link->rates, 0, sizeof link->rates);
    link->cwnd = INITIAL_WINDOW * DATAGRAM_MIN;
    link->ssthresh = GSRT_LINK_NEVER;
    link->recovering = true; /* until one that was sent from now on arrives: what was before changes no window */
    link->recovery_until = link->number;
    link->ptos = link->pto_probes = link->unheard_ptos = 0;
    link->size_index = link->probe_losses = link->black_hole = 0;
    link->pace_bytes = PACE_BURST * DATAGRAM_MIN;
    link->pace_at = GSRT_LINK_NEVER;
    link->probe_at = GSRT_LINK_NEVER;
}

gsrt_link *gsrt_link_init(void *memory, size_t size, const gsrt_link_config *config)
{
    const size_t needed = gsrt_link_memory(config);
    if (memory == NULL || needed == 0 || size < needed) {
        return NULL;
    }
    gsrt_link *link = (gsrt_link *)(void *)((uint8_t *)memory + (8 - (uintptr_t)memory % 8) % 8);
    memset(link, 0, sizeof *link);
    lay_out(link, config);
    link->crypto = config->crypto;
    link->random = config->random;
    link->random_context = config->random_context;
    link->suite = (uint8_t)config->suite;
    link->probing = config->probe;
    link->receive_bytes = config->receive_bytes;
    link->message_bytes = config->message_bytes;
    link->frames_max = config->frames_max;
    link->datagrams_max = config->datagrams_max;
    link->tag_bytes = config->suite == GSRT_LINK_INSECURE ? 0 : TAG_BYTES;
    derive_token(link, config->token, config->token_size);
    for (uint32_t i = 0; i < config->frames_max; i++) {
        link->frames[i].next = (uint16_t)(i + 1 < config->frames_max ? i + 1 : NONE);
    }
    link->frames_available = config->frames_max;
    const uint32_t carries = config->frames_max * CARRIES_EACH;
    for (uint32_t i = 0; i < carries; i++) {
        link->carries[i].next = (uint16_t)(i + 1 < carries ? i + 1 : NONE);
    }
    for (uint32_t i = 0; i < config->datagrams_max; i++) {
        link->records[i].carries = NONE;
    }
    for (uint32_t i = 0; i < OUT_STREAMS; i++) {
        link->out_streams[i].first = link->out_streams[i].last = link->out_streams[i].unsent = NONE;
    }
    link->unreliable_first = link->unreliable_last = link->lost_first = link->lost_last = NONE;
    link->events_first = link->events_last = NONE;
    link->greeting_at = link->greeting_deadline = link->ack_at = link->lost_at = GSRT_LINK_NEVER;
    forget_path(link);
    return link;
}

/* ---- The end ------------------------------------------------------------------------------------------------------ */

static void forget_keys(gsrt_link *link)
{
    wipe(link->psk, sizeof link->psk);
    wipe(link->private_key, sizeof link->private_key);
    wipe(&link->noise, sizeof link->noise);
    wipe(link->send_key, sizeof link->send_key);
    wipe(link->receive_key, sizeof link->receive_key);
}

/* Where `closes` is not 0, the keys are still needed. */
static void end(gsrt_link *link, int state, int reason, const char *text, size_t size)
{
    if (size >= TEXT_BYTES) {
        size = TEXT_BYTES - 1;
        while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80) {
            size--; /* not within a character */
        }
    }
    if (size > 0) {
        memcpy(link->text, text, size);
    }
    link->text[size] = 0;
    link->text_size = size;
    link->reason = reason;
    link->state = state;
    link->greeting_due = false;
    if (link->closes == 0) {
        forget_keys(link);
    }
}

void gsrt_link_close(gsrt_link *link, int reason, const char *text, double now)
{
    (void)now;
    const size_t size = text == NULL ? 0 : strlen(text);
    if (link->state == GSRT_LINK_OPEN) {
        link->closes = CLOSE_COPIES;
        end(link, GSRT_LINK_CLOSED, reason, text, size);
    } else if (link->state != GSRT_LINK_FAILED && link->state != GSRT_LINK_CLOSED) {
        end(link, GSRT_LINK_CLOSED, reason, text, size);
    }
}

static void broken(gsrt_link *link, const char *text)
{
    gsrt_link_close(link, GSRT_LINK_CLOSE_PROTOCOL, text, 0);
}

/* ---- Frames to send ----------------------------------------------------------------------------------------------- */

static uint16_t frame_new(gsrt_link *link, const uint8_t *bytes, uint32_t size, int type, uint16_t stream, uint16_t sequence)
{
    const uint16_t index = link->frames_free;
    frame *made = &link->frames[index];
    link->frames_free = made->next;
    link->frames_available--;
    made->next = made->lost_before = made->lost_after = NONE;
    made->block = pool_store(&link->out, bytes, size);
    made->size = (uint16_t)size;
    made->total = size;
    made->stream = stream;
    made->sequence = sequence;
    made->type = (uint8_t)type;
    made->state = FRAME_QUEUED;
    made->copies = 0;
    made->last = true;
    return index;
}

static void frame_free(gsrt_link *link, uint16_t index)
{
    frame *freed = &link->frames[index];
    pool_release(&link->out, freed->block);
    freed->block = NONE;
    freed->generation++;
    freed->next = link->frames_free;
    link->frames_free = index;
    link->frames_available++;
}

static uint32_t frame_kind(const frame *of)
{
    return of->type & 3u;
}

static uint32_t out_stream_of(const frame *of)
{
    return frame_kind(of) == GSRT_LINK_UNORDERED ? UNORDERED_STREAM : of->stream;
}

static bool begins_message(const frame *of)
{
    return (of->type & MORE) == 0;
}

static void lost_remove(gsrt_link *link, frame *removed)
{
    if (removed->lost_before != NONE) {
        link->frames[removed->lost_before].lost_after = removed->lost_after;
    } else {
        link->lost_first = removed->lost_after;
    }
    if (removed->lost_after != NONE) {
        link->frames[removed->lost_after].lost_before = removed->lost_before;
    } else {
        link->lost_last = removed->lost_before;
    }
    removed->lost_before = removed->lost_after = NONE;
}

static void lost_append(gsrt_link *link, uint16_t index)
{
    frame *added = &link->frames[index];
    added->state = FRAME_LOST;
    added->lost_before = link->lost_last;
    added->lost_after = NONE;
    if (link->lost_last != NONE) {
        link->frames[link->lost_last].lost_after = index;
    } else {
        link->lost_first = index;
    }
    link->lost_last = index;
}

static void frame_acked(gsrt_link *link, uint16_t index)
{
    frame *acked = &link->frames[index];
    out_stream *stream = &link->out_streams[out_stream_of(acked)];
    if (acked->state == FRAME_ACKED) {
        return;
    }
    if (acked->state == FRAME_LOST) {
        lost_remove(link, acked);
    }
    acked->state = FRAME_ACKED;
    link->waiting -= acked->size;
    pool_release(&link->out, acked->block);
    acked->block = NONE;
    /* The other side has to keep what it cannot hand on: only what has no gap before it is off our account. */
    while (stream->first != NONE && link->frames[stream->first].state == FRAME_ACKED) {
        const uint16_t done = stream->first;
        stream->first = link->frames[done].next;
        if (link->frames[done].last) {
            link->outstanding -= link->frames[done].total;
        }
        frame_free(link, done);
    }
    if (stream->first == NONE) {
        stream->last = NONE;
    }
}

static void append(gsrt_link *link, uint16_t *first, uint16_t *last, uint16_t index)
{
    if (*last == NONE) {
        *first = index;
    } else {
        link->frames[*last].next = index;
    }
    *last = index;
}

static void unreliable_drop(gsrt_link *link)
{
    while (link->unreliable_first != NONE) {
        const uint16_t index = link->unreliable_first;
        link->unreliable_first = link->frames[index].next;
        frame_free(link, index);
        link->counts.unreliable_dropped++;
    }
    link->unreliable_last = NONE;
}

static int send_unreliable(gsrt_link *link, const uint8_t *packet, uint32_t size, int kind, uint16_t channel)
{
    if (link->frames_available < 1 || link->out.available < blocks_for(size)) {
        return GSRT_LINK_FULL;
    }
    const uint16_t sequence = kind == GSRT_LINK_SEQUENCED ? link->sequenced[channel]++ : 0;
    append(link, &link->unreliable_first, &link->unreliable_last,
           frame_new(link, packet, size, MESSAGE | kind, channel, sequence));
    return GSRT_LINK_SENT;
}

static int send_reliable(gsrt_link *link, const uint8_t *packet, uint32_t size, int kind, uint16_t channel)
{
    const uint32_t pieces = fragments_of(size);
    const uint32_t last_size = size - (pieces - 1) * FRAGMENT_BYTES;
    out_stream *stream = &link->out_streams[kind == GSRT_LINK_UNORDERED ? UNORDERED_STREAM : channel];
    if (link->frames_available < pieces ||
        link->out.available < (pieces - 1) * FRAGMENT_BLOCKS + blocks_for(last_size)) {
        return GSRT_LINK_FULL;
    }
    for (uint32_t i = 0; i < pieces; i++) {
        const int part = pieces == 1 ? 0 : i == 0 ? BEGIN : MORE;
        const uint32_t piece = i + 1 == pieces ? last_size : FRAGMENT_BYTES;
        const uint16_t index =
            frame_new(link, packet + i * FRAGMENT_BYTES, piece, MESSAGE | kind | part, channel, stream->sequence++);
        link->frames[index].total = size;
        link->frames[index].last = i + 1 == pieces;
        append(link, &stream->first, &stream->last, index);
        if (stream->unsent == NONE) {
            stream->unsent = index;
        }
    }
    link->waiting += size;
    return GSRT_LINK_SENT;
}

int gsrt_link_send(gsrt_link *link, const uint8_t *packet, size_t size, int kind, int channel, double now)
{
    (void)now;
    if (link->state != GSRT_LINK_OPEN) {
        return GSRT_LINK_NOT_OPEN;
    }
    if (packet == NULL || size == 0 || kind < GSRT_LINK_UNRELIABLE || kind > GSRT_LINK_UNORDERED || channel < 0 ||
        channel >= (int)CHANNELS) {
        return GSRT_LINK_BAD_ARGUMENT;
    }
    if (size > link->peer_message_bytes || size > link->peer_receive_bytes ||
        fragments_of((uint32_t)size) > link->frames_max ||
        fragments_of((uint32_t)size) * FRAGMENT_BLOCKS > link->out_blocks) {
        return GSRT_LINK_TOO_LONG;
    }
    if (kind <= GSRT_LINK_SEQUENCED && size <= FRAGMENT_BYTES) {
        return send_unreliable(link, packet, (uint32_t)size, kind, (uint16_t)(kind == GSRT_LINK_SEQUENCED ? channel : 0));
    }
    if (kind == GSRT_LINK_ORDERED) {
        return send_reliable(link, packet, (uint32_t)size, kind, (uint16_t)channel);
    }
    return send_reliable(link, packet, (uint32_t)size, GSRT_LINK_UNORDERED, 0);
}

/* ---- Datagrams under way: acknowledged, lost ---------------------------------------------------------------------- */

static record *record_of(gsrt_link *link, uint64_t number)
{
    return &link->records[number & (link->datagrams_max - 1)];
}

static void carries_free(gsrt_link *link, record *of)
{
    while (of->carries != NONE) {
        const uint16_t index = of->carries;
        of->carries = link->carries[index].next;
        link->carries[index].next = link->carries_free;
        link->carries_free = index;
    }
}

/* The frame a carry stands for, NULL if it was done with. */
static frame *carried(gsrt_link *link, const carry *of)
{
    frame *found = &link->frames[of->frame];
    return found->generation == of->generation ? found : NULL;
}

static void land(gsrt_link *link, record *of)
{
    link->in_flight -= of->bytes;
    if (of->soon) {
        link->in_flight_soon--;
    } else {
        link->in_flight_lazy--;
    }
}

static double loss_delay(const gsrt_link *link)
{
    return larger(9.0 / 8.0 * larger(link->srtt, link->sample), GRANULARITY);
}

static void shrink(gsrt_link *link, uint64_t number)
{
    if (link->recovering && number < link->recovery_until) {
        return;
    }
    link->cwnd = larger(link->cwnd / 2, MIN_WINDOW * DATAGRAM_MIN);
    link->ssthresh = link->cwnd;
    link->recovering = true;
    link->recovery_until = link->number;
}

static void probe_lost(gsrt_link *link, double now)
{
    if (++link->probe_losses >= PROBE_ATTEMPTS) {
        link->probe_losses = 0;
        link->probe_at = now + REPROBE_SECONDS;
    } else {
        link->probe_at = now;
    }
}

static void lose(gsrt_link *link, record *of, double now)
{
    land(link, of);
    of->state = RECORD_LOST;
    of->lost_time = now;
    link->counts.datagrams_lost++;
    if (of->number >= link->path_first) {
        if (of->probe) {
            probe_lost(link, now);
            return;
        }
        link->loss += (1.0 - link->loss) / LOSS_MEMORY;
        shrink(link, of->number);
        if (of->bytes > DATAGRAM_MIN && link->size_index > 0 && ++link->black_hole >= BLACK_HOLE) {
            link->size_index = link->black_hole = link->probe_losses = 0;
            link->probe_at = now + REPROBE_SECONDS;
        }
    }
    for (uint16_t index = of->carries; index != NONE; index = link->carries[index].next) {
        frame *lost = carried(link, &link->carries[index]);
        if (lost != NULL && lost->state == FRAME_FLIGHT && --lost->copies == 0) {
            lost_append(link, link->carries[index].frame);
        }
    }
}

/* What a newer datagram has the place of is not under way. */
static void forget_overwritten(gsrt_link *link)
{
    if (link->number - link->tracked > link->datagrams_max) {
        link->tracked = link->number - link->datagrams_max;
    }
}

static void detect_losses(gsrt_link *link, double now)
{
    const double delay = loss_delay(link) + link->reorder;
    link->lost_at = GSRT_LINK_NEVER;
    if (!link->any_acked) {
        return;
    }
    bool gap = false;
    forget_overwritten(link);
    for (uint64_t number = link->tracked; number < link->largest_acked; number++) {
        record *at = record_of(link, number);
        if (at->number == number && at->state == RECORD_FLIGHT) {
            if ((link->reorder <= 0 && link->largest_acked - number >= REORDER_PACKETS) || at->time + delay <= now) {
                lose(link, at, now);
            } else {
                link->lost_at = smaller(link->lost_at, at->time + delay);
                gap = true;
            }
        }
        if (!gap) {
            link->tracked = number + 1;
        }
    }
}

static void take_sample(gsrt_link *link, double raw, double delay, double now)
{
    const double before = link->sample;
    link->held -= link->held / LOSS_MEMORY;
    link->sample = larger(raw - smaller(delay, ACK_DELAY_MAX), SAMPLE_LEAST);
    if (!link->sampled || link->sample < link->min_rtt) {
        link->min_rtt = link->sample;
    }
    if (!link->sampled) {
        link->sampled = true;
        link->srtt = link->sample;
        link->rttvar = link->sample / 2;
        link->pace_time = now;
        link->reorder_time = now;
        return;
    }
    const double off = link->srtt > link->sample ? link->srtt - link->sample : link->sample - link->srtt;
    const double change = before > link->sample ? before - link->sample : link->sample - before;
    link->rttvar += (off - link->rttvar) / 4;
    link->srtt += (link->sample - link->srtt) / 8;
    link->jitter += (change - link->jitter) / 16;
}

/* The whole seconds of a time; a clock that begins below 0 waits for it. */
static double second_of(double now)
{
    return now > 0 ? (double)(uint64_t)now : 0;
}

static void take_rate(gsrt_link *link, double rate, double now)
{
    const double second = second_of(now);
    for (uint32_t i = 0; i < BANDWIDTH_SECONDS && link->rate_second < second; i++) {
        link->rate_second = second - link->rate_second > BANDWIDTH_SECONDS ? second - BANDWIDTH_SECONDS + 1
                                                                           : link->rate_second + 1;
        link->rates[(uint64_t)link->rate_second % BANDWIDTH_SECONDS] = 0;
    }
    double *kept = &link->rates[(uint64_t)second % BANDWIDTH_SECONDS];
    *kept = larger(*kept, rate);
}

static void acked(gsrt_link *link, record *of, bool window_used, double now)
{
    const bool under_way = of->state == RECORD_FLIGHT;
    const bool on_path = of->number >= link->path_first;
    if (of->has_ack && of->ack_largest + 1 > link->ack_floor) {
        link->ack_floor = of->ack_largest + 1;
    }
    if (of->has_ack && link->late_pending && of->number >= link->late_since) {
        link->late_pending = false;
    }
    if (of->state == RECORD_LOST && !of->probe && on_path) {
        link->loss = larger(link->loss - 1.0 / LOSS_MEMORY, 0);
        const double late = larger(now - of->lost_time, now - of->time - loss_delay(link));
        link->reorder = smaller(larger(link->reorder, larger(late, GRANULARITY)), REORDER_MAX);
        link->reorder_time = now;
    }
    if (under_way) {
        land(link, of);
        if (link->recovering && of->number >= link->recovery_until) {
            link->recovering = false;
        }
        if (of->probe && on_path) {
            link->probe_losses = 0;
            while (link->size_index + 1 < SIZE_COUNT && SIZES[link->size_index] < of->bytes) {
                link->size_index++;
            }
            link->probe_at = link->size_index + 1 < SIZE_COUNT ? now : GSRT_LINK_NEVER;
        } else if (on_path) {
            link->loss -= link->loss / LOSS_MEMORY;
        }
        if (!of->soon) {
            link->lazy_since = now;
        } else {
            link->soon_since = now;
            if (on_path && link->sampled && link->loss < 1.0 / LOSS_MEMORY) {
                link->held = smaller(larger(link->held, now - of->time - link->sample), ACK_DELAY_MAX);
            }
        }
        if (!link->recovering && window_used) {
            link->cwnd += link->cwnd < link->ssthresh ? of->bytes : DATAGRAM_MIN * (double)of->bytes / link->cwnd;
        }
    }
    if (of->bytes > DATAGRAM_MIN && on_path) {
        link->black_hole = 0;
    }
    if (of->state != RECORD_QUIET) {
        link->ptos = link->pto_probes = 0;
        link->delivered += of->bytes;
    }
    if (of->state != RECORD_QUIET && on_path) {
        take_rate(link, (double)(link->delivered - of->delivered) / larger(now - of->time, GRANULARITY), now);
    }
    for (uint16_t index = of->carries; index != NONE; index = link->carries[index].next) {
        if (carried(link, &link->carries[index]) != NULL) {
            frame_acked(link, link->carries[index].frame);
        }
    }
    carries_free(link, of);
    of->state = RECORD_FREE;
}

static void decay_reorder(gsrt_link *link, double now)
{
    while (link->reorder > 0 && link->sampled && now - link->reorder_time >= link->srtt) {
        link->reorder *= 7.0 / 8.0;
        link->reorder_time += link->srtt;
        if (link->reorder < GRANULARITY) {
            link->reorder = 0;
        }
    }
}

/* An acknowledgement: `low` the low bits of the largest number, then a bit for each before it. False: it is of what was never
 * sent. */
static bool take_acks(gsrt_link *link, uint32_t low, double delay, const uint8_t *bits, uint32_t bytes, double now)
{
    if (link->number == 0) {
        return false;
    }
    const uint64_t highest = link->number - 1;
    const uint32_t below = (uint32_t)highest - low;
    if (below > highest) {
        return false;
    }
    const uint64_t largest = highest - below;
    const bool window_used = link->in_flight * 2.0 >= link->cwnd;
    bool any = false;
    for (uint32_t i = 0; i <= bytes * 8; i++) {
        if (i > 0 && (bits[(i - 1) / 8] >> ((i - 1) % 8) & 1) == 0) {
            continue;
        }
        if (i > largest) {
            return false;
        }
        const uint64_t number = largest - i;
        record *at = record_of(link, number);
        if (at->number != number || at->state == RECORD_FREE) {
            continue;
        }
        if (i == 0 && at->state == RECORD_FLIGHT && number >= link->path_first) {
            take_sample(link, now - at->time, delay, now);
        }
        any = true;
        if (!link->any_acked || number > link->largest_acked) {
            link->any_acked = true;
            link->largest_acked = number;
        }
        acked(link, at, window_used, now);
    }
    if (any) {
        decay_reorder(link, now);
        detect_losses(link, now);
    }
    return true;
}

/* ---- Messages that come ------------------------------------------------------------------------------------------- */

/* One frame of a body, as far as it was read. */
typedef struct arrived {
    int type;
    int kind;
    uint16_t stream;
    uint16_t sequence;
    uint32_t total;
    uint32_t size;
    const uint8_t *bytes;
} arrived;

typedef enum reading { READ_FRAME, READ_END, READ_BROKEN } reading;

static reading read_message(const gsrt_link *link, const uint8_t *body, size_t size, size_t *at, arrived *got)
{
    const int part = got->type & (BEGIN | MORE);
    uint64_t value = 0;
    got->kind = got->type & 3;
    if ((got->type & 0x70) != 0 || part == (BEGIN | MORE) || (part != 0 && got->kind < GSRT_LINK_ORDERED)) {
        return READ_BROKEN;
    }
    if (got->kind != GSRT_LINK_UNRELIABLE) {
        if (!get_varint(body, size, at, 4, &value) || value > STREAM_MAX || size - *at < 2) {
            return READ_BROKEN;
        }
        got->stream = (uint16_t)value;
        got->sequence = get16(body + *at);
        *at += 2;
    }
    if (part == BEGIN) {
        if (!get_varint(body, size, at, 4, &value) || value <= FRAGMENT_BYTES || value > link->message_bytes) {
            return READ_BROKEN;
        }
        got->total = (uint32_t)value;
    }
    if (!get_varint(body, size, at, 4, &value) || value == 0 || value > size - *at) {
        return READ_BROKEN;
    }
    if (got->kind >= GSRT_LINK_ORDERED && (value > FRAGMENT_BYTES || (part == BEGIN && value != FRAGMENT_BYTES))) {
        return READ_BROKEN;
    }
    got->size = (uint32_t)value;
    got->bytes = body + *at;
    *at += got->size;
    if (part == 0) {
        got->total = got->size;
    }
    return READ_FRAME;
}

static reading read_frame(const gsrt_link *link, const uint8_t *body, size_t size, size_t *at, arrived *got)
{
    if (*at >= size) {
        return READ_END;
    }
    memset(got, 0, sizeof *got);
    got->type = body[(*at)++];
    if (got->type & MESSAGE) {
        return read_message(link, body, size, at, got);
    }
    got->kind = -1;
    got->bytes = body + *at;
    switch (got->type) {
    case PADDING:
        if (!all_zero(body + *at, size - *at)) {
            return READ_BROKEN;
        }
        *at = size;
        return READ_FRAME;
    case PING:
        return READ_FRAME;
    case CHALLENGE:
    case RESPONSE:
        got->size = CHALLENGE_BYTES;
        break;
    case CLOSE:
        if (size - *at < 2) {
            return READ_BROKEN;
        }
        got->size = 2u + got->bytes[1];
        break;
    default:
        return READ_BROKEN;
    }
    if (size - *at < got->size) {
        return READ_BROKEN;
    }
    *at += got->size;
    return READ_FRAME;
}

static uint32_t bucket_of(const gsrt_link *link, int kind, uint32_t stream, uint32_t sequence)
{
    const uint32_t mixed = ((stream << 1 | (kind == GSRT_LINK_UNORDERED)) * 40503u + sequence) * 2654435761u;
    return mixed >> 16 & link->bucket_mask;
}

/* Where the index of a kept frame stands, or NONE if it is not kept. */
static uint16_t *kept(gsrt_link *link, int kind, uint32_t stream, uint16_t sequence)
{
    uint16_t *place = &link->buckets[bucket_of(link, kind, stream, sequence)];
    while (*place != NONE) {
        const block *at = &link->in.blocks[*place];
        if (at->sequence == sequence && at->stream == stream && (at->type & 3) == kind) {
            break;
        }
        place = &link->in.blocks[*place].chain;
    }
    return place;
}

static uint16_t store(gsrt_link *link, const arrived *got)
{
    const uint16_t index = pool_store(&link->in, got->bytes, got->size);
    block *first = &link->in.blocks[index];
    first->chain = NONE;
    first->stream = got->stream;
    first->sequence = got->sequence;
    first->size = (uint16_t)got->size;
    first->type = (uint8_t)got->type;
    first->total = got->total;
    return index;
}

static void keep(gsrt_link *link, const arrived *got, bool early)
{
    const uint16_t index = store(link, got);
    uint16_t *bucket = &link->buckets[bucket_of(link, got->kind, got->stream, got->sequence)];
    link->in.blocks[index].chain = *bucket;
    *bucket = index;
    link->in.blocks[index].early = early;
    link->early_used += early ? blocks_for(got->size) : 0;
}

static void unkeep(gsrt_link *link, uint16_t *place)
{
    block *at = &link->in.blocks[*place];
    *place = at->chain;
    at->chain = NONE;
    link->early_used -= at->early ? blocks_for(at->size) : 0;
}

static void hand_on(gsrt_link *link, uint16_t index)
{
    link->in.blocks[index].chain = NONE;
    if (link->events_last == NONE) {
        link->events_first = index;
    } else {
        link->in.blocks[link->events_last].chain = index;
    }
    link->events_last = index;
}

/* Whether a piece is of a message that was begun and has no other to wait for: such ones can always be finished, for the
 * other side begins no more of them than receive_bytes. */
static bool is_in_turn(gsrt_link *link, const arrived *got)
{
    if (got->type & BEGIN) {
        return got->kind == GSRT_LINK_UNORDERED || got->sequence == link->in_streams[got->stream].next;
    }
    if (got->kind == GSRT_LINK_ORDERED) {
        const uint16_t next = link->in_streams[got->stream].next;
        const uint16_t index = *kept(link, GSRT_LINK_ORDERED, got->stream, next);
        return index != NONE && (uint16_t)(got->sequence - next) < fragments_of(link->in.blocks[index].total);
    }
    for (uint32_t back = 1; back < fragments_of(link->message_bytes); back++) {
        const uint16_t index = *kept(link, GSRT_LINK_UNORDERED, 0, (uint16_t)(got->sequence - back));
        if (index != NONE && (link->in.blocks[index].type & BEGIN) != 0) {
            return back < fragments_of(link->in.blocks[index].total);
        }
    }
    return false;
}

/* Keep a frame until others have come. False: there is no room. */
static bool keep_if_room(gsrt_link *link, const arrived *got)
{
    const uint32_t needed = blocks_for(got->size);
    const bool early = link->early_used + needed <= link->early_blocks;
    if (link->in.available < needed + SLACK_BLOCKS || (!early && !is_in_turn(link, got))) {
        return false;
    }
    keep(link, got, early);
    return true;
}

/* Whether a kept frame is what stands `offset` frames after the beginning of a message of `total` bytes. */
static bool continues(const gsrt_link *link, uint16_t index, uint32_t offset, uint32_t total)
{
    const block *at = &link->in.blocks[index];
    const uint32_t left = total - offset * FRAGMENT_BYTES;
    return (at->type & MORE) != 0 && at->size == (left > FRAGMENT_BYTES ? FRAGMENT_BYTES : left);
}

/* Hand on the message of `pieces` frames from `sequence` on, which have all come. */
static void assemble(gsrt_link *link, int kind, uint16_t stream, uint16_t sequence, uint32_t pieces)
{
    uint16_t first = NONE, last = NONE;
    for (uint32_t i = 0; i < pieces; i++) {
        uint16_t *place = kept(link, kind, stream, (uint16_t)(sequence + i));
        const uint16_t index = *place;
        unkeep(link, place);
        if (last == NONE) {
            first = index;
        } else {
            link->in.blocks[last].next = index;
        }
        for (last = index; link->in.blocks[last].next != NONE;) {
            last = link->in.blocks[last].next;
        }
    }
    hand_on(link, first);
}

/* Take what is in turn now of the kept frames. */
static void advance_ordered(gsrt_link *link, uint16_t number)
{
    in_stream *stream = &link->in_streams[number];
    uint16_t index;
    while ((index = *kept(link, GSRT_LINK_ORDERED, number, stream->reached)) != NONE) {
        const block *head = &link->in.blocks[*kept(link, GSRT_LINK_ORDERED, number, stream->next)];
        const uint32_t offset = (uint16_t)(stream->reached - stream->next);
        const uint32_t pieces = fragments_of(head->total);
        if (offset == 0 ? (head->type & MORE) != 0 : !continues(link, index, offset, head->total)) {
            broken(link, "pieces that make no message");
            return;
        }
        stream->reached++;
        if (offset == 0 && pieces > 1) {
            link->begun_bytes += head->total;
            if (link->begun_bytes > link->receive_bytes) {
                broken(link, "more messages of several pieces at a time than are taken");
                return;
            }
        }
        if (offset + 1 == pieces) {
            link->begun_bytes -= pieces > 1 ? head->total : 0;
            assemble(link, GSRT_LINK_ORDERED, number, stream->next, pieces);
            stream->next = stream->reached;
        }
    }
}

/* False: there is no room for it. */
static bool take_ordered(gsrt_link *link, const arrived *got)
{
    in_stream *stream = &link->in_streams[got->stream];
    const uint16_t ahead = (uint16_t)(got->sequence - stream->reached);
    if (ahead >= 0x8000 || *kept(link, GSRT_LINK_ORDERED, got->stream, got->sequence) != NONE) {
        return true; /* has come before */
    }
    if (ahead >= SEQUENCE_WINDOW) {
        broken(link, "a sequence beyond the window");
        return true;
    }
    if (ahead == 0 && stream->next == stream->reached && got->total == got->size) {
        if (link->in.available < blocks_for(got->size)) {
            return false;
        }
        hand_on(link, store(link, got));
        stream->next++;
        stream->reached++;
    } else if (!keep_if_room(link, got)) {
        return false;
    }
    if (ahead == 0) {
        advance_ordered(link, got->stream);
    }
    return true;
}

static uint32_t unordered_bit(uint16_t sequence)
{
    return UINT32_C(1) << sequence % 32;
}

static uint32_t *unordered_word(gsrt_link *link, uint16_t sequence)
{
    return &link->unordered_bits[sequence % SEQUENCE_WINDOW / 32];
}

static bool unordered_came(gsrt_link *link, uint16_t sequence)
{
    const uint16_t ahead = (uint16_t)(sequence - link->unordered_base);
    return ahead >= 0x8000 ||
           (ahead < SEQUENCE_WINDOW && (*unordered_word(link, sequence) & unordered_bit(sequence)) != 0);
}

static uint16_t kept_unordered(gsrt_link *link, uint32_t sequence)
{
    return *kept(link, GSRT_LINK_UNORDERED, 0, (uint16_t)sequence);
}

/* How many frames before `sequence` the message began that the frame before it is of; 0: that is not known. */
static uint32_t begun_before(gsrt_link *link, uint16_t sequence)
{
    const uint32_t most = fragments_of(link->message_bytes);
    for (uint32_t back = 1; back < most; back++) {
        const uint16_t index = kept_unordered(link, (uint32_t)sequence - back);
        if (index == NONE) {
            return 0;
        }
        if (link->in.blocks[index].type & BEGIN) {
            return back;
        }
    }
    return 0;
}

/* Hand on the unordered message that begins with `begin`, if all of it has come. False: what has come makes none. */
static bool join_pieces(gsrt_link *link, uint16_t begin)
{
    const uint32_t total = link->in.blocks[kept_unordered(link, begin)].total;
    const uint32_t pieces = fragments_of(total);
    const uint16_t after = kept_unordered(link, begin + pieces);
    bool whole = true;
    if (after != NONE && (link->in.blocks[after].type & MORE) != 0) {
        return false;
    }
    for (uint32_t offset = 1; offset < pieces; offset++) {
        const uint16_t index = kept_unordered(link, begin + offset);
        if (index == NONE ? unordered_came(link, (uint16_t)(begin + offset)) : !continues(link, index, offset, total)) {
            return false;
        }
        whole = whole && index != NONE;
    }
    if (whole) {
        assemble(link, GSRT_LINK_UNORDERED, 0, begin, pieces);
    }
    return true;
}

/* A frame has come, and is kept if it is a piece. False: it does not go with those beside it. */
static bool join_unordered(gsrt_link *link, uint16_t sequence, int part)
{
    const uint32_t back = begun_before(link, sequence);
    const uint16_t begin = (uint16_t)(sequence - back);
    if (part == MORE) {
        if (back == 0) {
            return kept_unordered(link, (uint32_t)sequence - 1) != NONE || !unordered_came(link, (uint16_t)(sequence - 1));
        }
        return back < fragments_of(link->in.blocks[kept_unordered(link, begin)].total) && join_pieces(link, begin);
    }
    if (back > 0 && back < fragments_of(link->in.blocks[kept_unordered(link, begin)].total)) {
        return false;
    }
    if (part == BEGIN) {
        return join_pieces(link, sequence);
    }
    const uint16_t after = kept_unordered(link, (uint32_t)sequence + 1);
    return after == NONE || (link->in.blocks[after].type & MORE) == 0;
}

static bool take_unordered(gsrt_link *link, const arrived *got)
{
    const int part = got->type & (BEGIN | MORE);
    if (unordered_came(link, got->sequence)) {
        return true;
    }
    if ((uint16_t)(got->sequence - link->unordered_base) >= SEQUENCE_WINDOW) {
        broken(link, "a sequence beyond the window");
        return true;
    }
    if (part == 0 ? link->in.available < blocks_for(got->size) : !keep_if_room(link, got)) {
        return false;
    }
    *unordered_word(link, got->sequence) |= unordered_bit(got->sequence);
    if (!join_unordered(link, got->sequence, part)) {
        broken(link, "pieces that make no message");
        return true;
    }
    if (part == 0) {
        hand_on(link, store(link, got));
    }
    while (*unordered_word(link, link->unordered_base) & unordered_bit(link->unordered_base)) {
        *unordered_word(link, link->unordered_base) &= ~unordered_bit(link->unordered_base);
        link->unordered_base++;
    }
    return true;
}

static bool take_reliable(gsrt_link *link, const arrived *got)
{
    if (got->kind == GSRT_LINK_UNORDERED) {
        return take_unordered(link, got);
    }
    return take_ordered(link, got);
}

static void take_unreliable(gsrt_link *link, const arrived *got)
{
    if (link->in.available < blocks_for(got->size) + SLACK_BLOCKS) {
        return;
    }
    if (got->kind == GSRT_LINK_SEQUENCED) {
        in_stream *stream = &link->in_streams[got->stream];
        uint8_t *seen = &link->sequenced_seen[got->stream / 8];
        const uint8_t bit = (uint8_t)(1u << got->stream % 8);
        const uint16_t newer = (uint16_t)(got->sequence - stream->newest);
        if ((*seen & bit) != 0 && (newer == 0 || newer >= 0x8000)) {
            return;
        }
        *seen |= bit;
        stream->newest = got->sequence;
    }
    hand_on(link, store(link, got));
}

/* ---- DATA that comes ---------------------------------------------------------------------------------------------- */

static bool was_received(const gsrt_link *link, uint64_t number)
{
    const uint32_t at = (uint32_t)(number % NUMBERS_KEPT);
    return (link->received[at / 32] >> at % 32 & 1) != 0;
}

static bool is_replay(const gsrt_link *link, uint64_t number)
{
    return link->any_received && number <= link->largest &&
           (link->largest - number > ACK_WINDOW || was_received(link, number));
}

static void mark_received(gsrt_link *link, uint64_t number, bool soon, bool later, double now)
{
    const bool in_turn = number == (link->any_received ? link->largest + 1 : 0);
    if (!link->any_received || number > link->largest) {
        uint64_t cleared = link->any_received ? link->largest + 1 : 0;
        if (number - cleared >= NUMBERS_KEPT) {
            cleared = number - NUMBERS_KEPT + 1;
        }
        for (; cleared < number; cleared++) {
            link->received[cleared % NUMBERS_KEPT / 32] &= ~(UINT32_C(1) << cleared % 32);
        }
        link->largest = number;
        link->largest_time = now;
        link->any_received = true;
    } else {
        link->late = link->late_pending && link->late < number ? link->late : number;
        link->late_since = link->number;
        link->late_pending = true;
    }
    link->received[number % NUMBERS_KEPT / 32] |= UINT32_C(1) << number % 32;
    if (soon) {
        link->unacked_soon++;
        link->ack_at = smaller(link->ack_at, in_turn && link->unacked_soon < ACK_EVERY ? now + ACK_DELAY : now);
    } else if (later) {
        link->unacked_lazy++;
        link->ack_at = smaller(link->ack_at, link->unacked_lazy < LAZY_ACK_EVERY ? now + LAZY_ACK_DELAY : now);
    }
}

/* Look through the frames of a body before any of them has an effect. False: one is broken, and the link closed. */
static bool check_frames(gsrt_link *link, const uint8_t *frames, size_t size, bool *soon, bool *later)
{
    arrived got;
    size_t at = 0;
    for (;;) {
        const reading result = read_frame(link, frames, size, &at, &got);
        if (result == READ_END) {
            return true;
        }
        if (result == READ_BROKEN) {
            broken(link, "a frame that cannot be read");
            return false;
        }
        if (got.kind == GSRT_LINK_UNORDERED && got.stream != 0) {
            broken(link, "an unordered stream other than 0");
            return false;
        }
        if (got.kind >= 0 && got.stream >= link->streams) {
            gsrt_link_close(link, GSRT_LINK_CLOSE_SLOW, "more peers than there is room for", 0);
            return false;
        }
        *soon = *soon || got.kind >= GSRT_LINK_ORDERED || got.type == PING || got.type == CHALLENGE;
        *later = *later || got.kind >= 0;
    }
}

/* Those frames that do not come again: once the others of the datagram are taken. */
static void take_unreliables(gsrt_link *link, const uint8_t *frames, size_t size)
{
    arrived got;
    size_t at = 0;
    while (read_frame(link, frames, size, &at, &got) == READ_FRAME) {
        if (got.kind == GSRT_LINK_UNRELIABLE || got.kind == GSRT_LINK_SEQUENCED) {
            take_unreliable(link, &got);
        }
    }
}

static void take_frames(gsrt_link *link, const uint8_t *frames, size_t size, uint64_t number, double now)
{
    bool soon = false, later = false, room = true;
    arrived got;
    size_t at = 0;
    if (!check_frames(link, frames, size, &soon, &later)) {
        return;
    }
    while (read_frame(link, frames, size, &at, &got) == READ_FRAME) {
        if (got.kind >= GSRT_LINK_ORDERED) {
            room = take_reliable(link, &got) && room;
        } else if (got.type == CHALLENGE) {
            memcpy(link->response, got.bytes, CHALLENGE_BYTES);
            link->response_pending = true;
        } else if (got.type == CLOSE) {
            end(link, GSRT_LINK_CLOSED, got.bytes[0], (const char *)got.bytes + 2, got.bytes[1]);
        }
        if (link->state != GSRT_LINK_OPEN) {
            return;
        }
    }
    if (!room) {
        /* It is as if it had not come; what was taken of it is known by its sequence when it comes again. */
        link->counts.datagrams_without_room++;
        link->ack_at = smaller(link->ack_at, now + ACK_DELAY); /* so that the server hears that it is heard */
        return;
    }
    take_unreliables(link, frames, size);
    mark_received(link, number, soon, later, now);
}

static void take_body(gsrt_link *link, const uint8_t *body, size_t size, uint64_t number, double now)
{
    const uint32_t ack_bytes = body[0];
    size_t at = 1;
    link->heard = now;
    link->unheard_ptos = 0;
    link->silent = false;
    if (ack_bytes > 0) {
        if (ack_bytes > 1 + ACK_WINDOW / 8 || size < 6 + (size_t)ack_bytes) {
            broken(link, "an acknowledgement that cannot be read");
            return;
        }
        at = 6 + (size_t)ack_bytes;
        if (!take_acks(link, get32(body + 1), get16(body + 5) / 1e4, body + 7, ack_bytes - 1, now)) {
            broken(link, "an acknowledgement of what was never sent");
            return;
        }
    }
    take_frames(link, body + at, size - at, number, now);
}

static void data_nonce(uint8_t nonce[12], uint64_t number)
{
    memset(nonce, 0, 4);
    put64(nonce + 4, number);
}

static bool take_data(gsrt_link *link, const uint8_t *datagram, size_t size, double now)
{
    if (link->state != GSRT_LINK_OPEN || size < HEADER_BYTES + 1 + link->tag_bytes || size > DATAGRAM_MAX ||
        memcmp(datagram + 2, link->connection, CONNECTION_BYTES) != 0) {
        return false;
    }
    const uint64_t expected = link->any_received ? link->largest + 1 : 0;
    const uint32_t ahead = get32(datagram + 10) - (uint32_t)expected;
    const uint64_t behind = (uint64_t)(UINT32_C(0) - ahead);
    const uint64_t number = ahead > 0x7fffffff && behind <= expected ? expected - behind : expected + ahead;
    const size_t body = size - HEADER_BYTES - link->tag_bytes;
    if (is_replay(link, number)) {
        return false;
    }
    if (link->tag_bytes == 0) {
        memcpy(link->plain, datagram + HEADER_BYTES, body);
    } else {
        uint8_t nonce[12];
        data_nonce(nonce, number);
        if (link->crypto->open(link->plain, link->receive_key, nonce, datagram, HEADER_BYTES, datagram + HEADER_BYTES,
                               size - HEADER_BYTES) != 0) {
            return false;
        }
    }
    take_body(link, link->plain, body, number, now);
    return true;
}

/* ---- Handshake ---------------------------------------------------------------------------------------------------- */

static void greet(gsrt_link *link, size_t size, double now)
{
    link->greeting_size = size;
    link->greeting_due = true;
    link->greeting_interval = HANDSHAKE_REPEAT;
    link->greeting_at = now + HANDSHAKE_REPEAT;
}

static void write_opening(gsrt_link *link, int type)
{
    memset(link->greeting, 0, sizeof link->greeting);
    link->greeting[1] = (uint8_t)type;
    link->greeting[2] = VERSION;
    link->greeting[3] = link->suite;
    memcpy(link->greeting + 4, link->nonce, NONCE_BYTES);
}

static void say_hello(gsrt_link *link, double now)
{
    link->greetings++;
    link->random(link->random_context, link->nonce, NONCE_BYTES);
    write_opening(link, HELLO);
    greet(link, HELLO_BYTES, now);
    link->state = GSRT_LINK_GREETING;
}

bool gsrt_link_connect(gsrt_link *link, double now)
{
    if (link->state != GSRT_LINK_IDLE) {
        return false;
    }
    link->greeting_deadline = now + HANDSHAKE_SECONDS;
    say_hello(link, now);
    return true;
}

/* Whether bytes 2 to 19 are those of our greeting: version, suite, nonce. */
static bool answers_greeting(const gsrt_link *link, const uint8_t *datagram)
{
    return memcmp(datagram + 2, link->greeting + 2, 2 + NONCE_BYTES) == 0;
}

static bool take_cookie(gsrt_link *link, const uint8_t *datagram, size_t size, double now)
{
    if (link->state != GSRT_LINK_GREETING || size != COOKIE_BYTES || !answers_greeting(link, datagram)) {
        return false;
    }
    link->random(link->random_context, link->private_key, KEY_BYTES);
    write_opening(link, LOGIN);
    memcpy(link->greeting + 20, datagram + 20, 24);
    memcpy(link->greeting + 44, link->token_id, sizeof link->token_id);
    if (!noise_login(link, link->greeting)) {
        static const char text[] = "the cryptography failed";
        end(link, GSRT_LINK_FAILED, GSRT_LINK_CLOSE_NO_ANSWER, text, sizeof text - 1);
        return true;
    }
    greet(link, LOGIN_BYTES, now);
    link->state = GSRT_LINK_ENTERING;
    return true;
}

static bool take_welcome(gsrt_link *link, const uint8_t *datagram, size_t size, double now)
{
    static const uint8_t player_ready[] = {0x08, 0x0d}; /* an RT packet with opCode -7 */
    uint8_t opened[CONNECTION_BYTES + TERMS_BYTES];
    if (link->state != GSRT_LINK_ENTERING || size != WELCOME_BYTES || !answers_greeting(link, datagram) ||
        !noise_welcome(link, datagram, opened)) {
        return false;
    }
    const uint32_t receive_bytes = get32(opened + 8), message_bytes = get32(opened + 12);
    if (receive_bytes < 65536 || !within(message_bytes, 1100, MESSAGE_BYTES_MAX)) {
        static const char text[] = "the server's terms break the contract of the link";
        end(link, GSRT_LINK_FAILED, GSRT_LINK_CLOSE_NO_ANSWER, text, sizeof text - 1);
        return true;
    }
    memcpy(link->connection, opened, CONNECTION_BYTES);
    link->peer_receive_bytes = receive_bytes;
    link->peer_message_bytes = message_bytes;
    wipe(link->private_key, sizeof link->private_key);
    wipe(&link->noise, sizeof link->noise);
    link->greeting_at = link->greeting_deadline = GSRT_LINK_NEVER;
    link->greeting_due = false;
    link->state = GSRT_LINK_OPEN;
    link->heard = link->last_eliciting = link->pace_time = now;
    link->rate_second = second_of(now);
    link->probe_at = link->probing ? now + PROBE_AFTER : GSRT_LINK_NEVER;
    send_reliable(link, player_ready, sizeof player_ready, GSRT_LINK_ORDERED, 0);
    return true;
}

static bool take_refusal(gsrt_link *link, const uint8_t *datagram, size_t size, double now)
{
    static const char *const texts[] = {
        "the server does not speak this version of the link",
        "the server does not take this suite",
        "the server does not take its own cookie",
        "the token is none of a session that runs",
        "the server is full",
    };
    if ((link->state != GSRT_LINK_GREETING && link->state != GSRT_LINK_ENTERING) || size != REFUSED_BYTES ||
        datagram[6] != 0 || datagram[7] != 0 || memcmp(datagram + 8, link->nonce, NONCE_BYTES) != 0) {
        return false;
    }
    const int reason = datagram[2];
    if (reason == GSRT_LINK_REFUSED_COOKIE && link->state == GSRT_LINK_ENTERING && link->greetings < GREETINGS_MAX) {
        say_hello(link, now);
        return true;
    }
    const bool known = reason >= GSRT_LINK_REFUSED_VERSION && reason <= GSRT_LINK_REFUSED_FULL;
    const char *text = known ? texts[reason - 1] : "the server refused for a reason that this client does not know";
    end(link, GSRT_LINK_FAILED, reason, text, strlen(text));
    return true;
}

static bool take_datagram(gsrt_link *link, const uint8_t *datagram, size_t size, double now)
{
    if (size < 2 || datagram[0] != 0) {
        return false;
    }
    switch (datagram[1]) {
    case COOKIE:
        return take_cookie(link, datagram, size, now);
    case WELCOME:
        return take_welcome(link, datagram, size, now);
    case REFUSED:
        return take_refusal(link, datagram, size, now);
    case DATA:
        return take_data(link, datagram, size, now);
    default:
        return false;
    }
}

bool gsrt_link_receive(gsrt_link *link, const uint8_t *datagram, size_t size, double now)
{
    const bool taken = take_datagram(link, datagram, size, now);
    if (taken) {
        link->counts.datagrams_in++;
    } else {
        link->counts.datagrams_dropped++;
    }
    return taken;
}

/* ---- DATA that goes out ------------------------------------------------------------------------------------------- */

/* A datagram in the making. */
typedef struct draft {
    uint8_t *bytes;
    uint32_t size;  /* so far, header and all but the tag */
    uint32_t limit; /* of size */
    double now;
    double window; /* bytes that the congestion window has left */
    uint16_t carries;
    bool has_ack;
    bool soon, later;
    bool ping, probe;
    bool filled; /* has frames */
} draft;

/* Acknowledge all that the other side may not know. */
static void write_acks(gsrt_link *link, draft *to)
{
    uint8_t *out = to->bytes + HEADER_BYTES;
    const uint64_t low = link->late_pending && link->late < link->ack_floor ? link->late : link->ack_floor;
    if (!link->any_received || (low > link->largest)) {
        out[0] = 0;
        to->size++;
        return;
    }
    const double ago = (to->now - link->largest_time) * 1e4;
    uint32_t bytes = 0;
    memset(out + 7, 0, ACK_WINDOW / 8);
    for (uint32_t i = 0; i < ACK_WINDOW && link->largest - low > i; i++) {
        if (was_received(link, link->largest - 1 - i)) {
            out[7 + i / 8] |= (uint8_t)(1u << i % 8);
            bytes = i / 8 + 1;
        }
    }
    out[0] = (uint8_t)(bytes + 1);
    put32(out + 1, (uint32_t)link->largest);
    put16(out + 5, ago > 65535 ? 65535 : ago > 0 ? (uint32_t)ago : 0);
    to->size += 7 + bytes;
    to->has_ack = true;
}

static draft draft_begin(gsrt_link *link, uint8_t *buffer, uint32_t limit, double now)
{
    draft made;
    memset(&made, 0, sizeof made);
    made.bytes = buffer;
    made.size = HEADER_BYTES;
    made.limit = limit - link->tag_bytes;
    made.now = now;
    made.window = link->cwnd - link->in_flight;
    made.carries = NONE;
    write_acks(link, &made);
    return made;
}

static void put_control(draft *to, int type, const uint8_t *bytes, uint32_t size)
{
    to->bytes[to->size++] = (uint8_t)type;
    if (size > 0) {
        memcpy(to->bytes + to->size, bytes, size);
        to->size += size;
    }
    to->filled = true;
}

static void put_ping(draft *to)
{
    put_control(to, PING, NULL, 0);
    to->soon = to->ping = true;
}

static uint32_t frame_bytes(const frame *of)
{
    size_t bytes = 1 + varint_bytes(of->size) + of->size;
    if (frame_kind(of) != GSRT_LINK_UNRELIABLE) {
        bytes += varint_bytes(of->stream) + 2;
    }
    if (of->type & BEGIN) {
        bytes += varint_bytes(of->total);
    }
    return (uint32_t)bytes;
}

static void put_frame(const gsrt_link *link, draft *to, const frame *put)
{
    uint8_t *out = to->bytes + to->size;
    *out++ = put->type;
    if (frame_kind(put) != GSRT_LINK_UNRELIABLE) {
        out += put_varint(out, put->stream);
        put16(out, put->sequence);
        out += 2;
    }
    if (put->type & BEGIN) {
        out += put_varint(out, put->total);
    }
    out += put_varint(out, put->size);
    pool_load(&link->out, put->block, out, put->size);
    to->size = (uint32_t)(out - to->bytes) + put->size;
    to->filled = true;
    to->later = true;
}

/* The memory of datagrams that were lost long ago is wanted for a new one. */
static void reclaim_carries(gsrt_link *link)
{
    for (uint32_t i = 0; i < link->datagrams_max; i++) {
        if (link->records[i].state == RECORD_LOST) {
            carries_free(link, &link->records[i]);
        }
    }
}

/* Put a reliable frame into the datagram. False: it does not fit, or the window (where it counts) has no room. */
static bool put_reliable(gsrt_link *link, draft *to, uint16_t index, bool beyond_window)
{
    frame *put = &link->frames[index];
    const uint32_t size = to->size + frame_bytes(put);
    if (size > to->limit || (!beyond_window && size + link->tag_bytes > to->window) || put->copies == 255) {
        return false;
    }
    if (link->carries_free == NONE) {
        reclaim_carries(link);
        if (link->carries_free == NONE) {
            return false;
        }
    }
    const uint16_t place = link->carries_free;
    carry *made = &link->carries[place];
    link->carries_free = made->next;
    made->next = to->carries;
    made->frame = index;
    made->generation = put->generation;
    to->carries = place;
    put_frame(link, to, put);
    to->soon = true;
    put->copies++;
    put->state = FRAME_FLIGHT;
    return true;
}

/* A reliable frame under way once more, whatever the window says. */
static bool put_again(gsrt_link *link, draft *to, uint16_t index)
{
    const bool put = link->frames[index].state == FRAME_FLIGHT && put_reliable(link, to, index, true);
    link->counts.frames_sent_again += put;
    return put;
}

/* Those that are next in their streams: the server always has room for them. */
static void put_awaited(gsrt_link *link, draft *to)
{
    for (uint32_t i = 0; i < OUT_STREAMS; i++) {
        if (link->out_streams[i].first != NONE) {
            put_again(link, to, link->out_streams[i].first);
        }
    }
}

/* Those of one datagram, of another one each time. */
static void put_under_way(gsrt_link *link, draft *to)
{
    bool any = false;
    forget_overwritten(link);
    const uint64_t count = link->number - link->tracked;
    uint64_t number = link->asked > link->tracked ? link->asked : link->tracked;
    for (uint64_t looked = 0; looked < count && !any; looked++) {
        number = number < link->number ? number : link->tracked;
        const record *at = record_of(link, number);
        if (at->number == number && at->state == RECORD_FLIGHT) {
            for (uint16_t index = at->carries; index != NONE; index = link->carries[index].next) {
                if (carried(link, &link->carries[index]) != NULL) {
                    any = put_again(link, to, link->carries[index].frame) || any;
                }
            }
        }
        number++;
    }
    link->asked = number;
}

static void put_unreliable(gsrt_link *link, draft *to)
{
    const double window = to->window + UNRELIABLE_EXCESS * SIZES[link->size_index];
    while (link->unreliable_first != NONE) {
        const uint16_t index = link->unreliable_first;
        const frame *put = &link->frames[index];
        const uint32_t size = to->size + frame_bytes(put);
        if (size > to->limit || size + link->tag_bytes > window) {
            return;
        }
        put_frame(link, to, put);
        link->unreliable_first = put->next;
        if (link->unreliable_first == NONE) {
            link->unreliable_last = NONE;
        }
        frame_free(link, index);
    }
}

static void put_lost(gsrt_link *link, draft *to)
{
    while (link->lost_first != NONE) {
        const uint16_t index = link->lost_first;
        if (!put_reliable(link, to, index, false)) {
            return;
        }
        lost_remove(link, &link->frames[index]);
        link->counts.frames_sent_again++;
    }
}

static void repetition_pop(gsrt_link *link)
{
    link->repetitions_first = (link->repetitions_first + 1) % link->frames_max;
    link->repetitions_count--;
}

/* Second copies that are due. Those for which the window has no room are not made. */
static void put_repetitions(gsrt_link *link, draft *to, bool may)
{
    while (link->repetitions_count > 0) {
        const repetition *due = &link->repetitions[link->repetitions_first];
        const frame *put = &link->frames[due->frame];
        if (due->due > to->now) {
            return;
        }
        if (put->generation == due->generation && put->state == FRAME_FLIGHT && may) {
            if (put_reliable(link, to, due->frame, false)) {
                link->counts.frames_repeated++;
            } else if (to->size + frame_bytes(put) > to->limit) {
                return; /* in the next datagram */
            }
        }
        repetition_pop(link);
    }
}

static void repeat_later(gsrt_link *link, uint16_t index, double now)
{
    const frame *sent = &link->frames[index];
    if (link->loss < REPEAT_LOSS || sent->size > REPEAT_BYTES || link->repetitions_count == link->frames_max) {
        return;
    }
    repetition *made = &link->repetitions[(link->repetitions_first + link->repetitions_count) % link->frames_max];
    made->due = now + larger(REPEAT_MIN, smaller(link->srtt / 4, REPEAT_MAX));
    made->frame = index;
    made->generation = sent->generation;
    link->repetitions_count++;
}

/* The next frame of a stream that was never sent, NONE if there is none or it may not be sent yet. */
static uint16_t next_new(const gsrt_link *link, const out_stream *stream)
{
    if (stream->unsent == NONE) {
        return NONE;
    }
    const frame *next = &link->frames[stream->unsent];
    if ((uint16_t)(next->sequence - link->frames[stream->first].sequence) >= SEQUENCE_WINDOW) {
        return NONE;
    }
    /* A message counts as a whole from its beginning on: one that was begun can always be finished. */
    if (begins_message(next) && link->outstanding + next->total > link->peer_receive_bytes) {
        return NONE;
    }
    return stream->unsent;
}

static void put_new(gsrt_link *link, draft *to)
{
    bool any = false;
    const uint32_t turn = link->turn;
    for (uint32_t i = 0; i < OUT_STREAMS; i++) {
        out_stream *stream = &link->out_streams[(turn + i) % OUT_STREAMS];
        for (uint16_t index = next_new(link, stream); index != NONE; index = next_new(link, stream)) {
            const frame *next = &link->frames[index];
            if (!put_reliable(link, to, index, false)) {
                break;
            }
            if (begins_message(next)) {
                link->outstanding += next->total;
            }
            stream->unsent = next->next;
            repeat_later(link, index, to->now);
            if (!any) {
                any = true;
                link->turn = (turn + i + 1) % OUT_STREAMS; /* the next datagram begins with another */
            }
        }
    }
}

/* Header, encryption, record. Gives the datagram's size. */
static size_t draft_finish(gsrt_link *link, draft *from)
{
    const uint64_t number = link->number++;
    if (from->ping && from->size + link->tag_bytes < PING_BYTES) { /* so that a CHALLENGE may answer it */
        memset(from->bytes + from->size, PADDING, PING_BYTES - link->tag_bytes - from->size);
        from->size = PING_BYTES - link->tag_bytes;
    }
    const uint32_t body = from->size - HEADER_BYTES;
    record *made = record_of(link, number);
    const bool eliciting = from->soon || from->later;

    from->bytes[0] = 0;
    from->bytes[1] = DATA;
    memcpy(from->bytes + 2, link->connection, CONNECTION_BYTES);
    put32(from->bytes + 10, (uint32_t)number);
    if (link->tag_bytes != 0) {
        uint8_t nonce[12];
        data_nonce(nonce, number);
        if (link->crypto->seal(from->bytes + HEADER_BYTES, link->send_key, nonce, from->bytes, HEADER_BYTES,
                               from->bytes + HEADER_BYTES, body) != 0) {
            memset(from->bytes + HEADER_BYTES, 0, body + link->tag_bytes); /* never in clear: it counts as lost */
        }
    }
    const uint32_t size = from->size + link->tag_bytes;
    link->counts.datagrams_out++;
    link->ack_at = GSRT_LINK_NEVER;
    link->unacked_soon = link->unacked_lazy = 0;
    if (made->state == RECORD_FLIGHT) {
        return size; /* only what elicits nothing gets here; its own fate is not followed */
    }
    carries_free(link, made);
    made->number = number;
    made->time = from->now;
    made->bytes = (uint16_t)size;
    made->delivered = link->delivered;
    made->ack_largest = link->largest;
    made->has_ack = from->has_ack;
    made->soon = from->soon;
    made->probe = from->probe;
    made->carries = from->carries;
    made->state = eliciting ? RECORD_FLIGHT : RECORD_QUIET;
    if (eliciting) {
        link->in_flight += size;
        link->last_eliciting = from->now;
        link->pace_bytes = larger(link->pace_bytes - size, -UNRELIABLE_EXCESS * DATAGRAM_MAX);
        uint32_t *count = from->soon ? &link->in_flight_soon : &link->in_flight_lazy;
        if ((*count)++ == 0) {
            *(from->soon ? &link->soon_since : &link->lazy_since) = from->now;
        }
    }
    return size;
}

static double pace_rate(const gsrt_link *link)
{
    const double gain = link->cwnd < link->ssthresh ? 2 * PACE_GAIN : PACE_GAIN;
    return gain * link->cwnd / larger(link->srtt, GRANULARITY);
}

static bool pace_allows(gsrt_link *link, double now)
{
    if (!link->sampled) {
        return true;
    }
    const double datagram = SIZES[link->size_index];
    link->pace_bytes = smaller(link->pace_bytes + larger(now - link->pace_time, 0) * pace_rate(link), PACE_BURST * datagram);
    link->pace_time = now;
    return link->pace_bytes >= datagram - 1;
}

static bool has_reliable(const gsrt_link *link)
{
    bool any = link->lost_first != NONE;
    for (uint32_t i = 0; i < OUT_STREAMS && !any; i++) {
        any = next_new(link, &link->out_streams[i]) != NONE;
    }
    return any;
}

/* A datagram of the next size, to see whether it arrives; 0 if it is not the time. */
static size_t write_probe(gsrt_link *link, uint8_t *buffer, size_t capacity, double now)
{
    if (now < link->probe_at) {
        return 0;
    }
    link->probe_at = GSRT_LINK_NEVER;
    if (link->size_index + 1 >= SIZE_COUNT || capacity < SIZES[link->size_index + 1]) {
        return 0;
    }
    const uint32_t size = SIZES[link->size_index + 1];
    draft made = draft_begin(link, buffer, size, now);
    if (made.window < size) {
        link->probe_at = now + LAZY_ACK_DELAY;
        return 0;
    }
    put_ping(&made);
    memset(buffer + made.size, PADDING, made.limit - made.size);
    made.size = made.limit;
    made.probe = true;
    return draft_finish(link, &made);
}

/* Those that wait, though the window has no room but `excess`. */
static void put_reliables(gsrt_link *link, draft *to, double excess)
{
    to->window += excess;
    put_lost(link, to);
    put_new(link, to);
    to->window -= excess;
}

/* Something that is acknowledged soon, whatever the window says. */
static void put_for_pto(gsrt_link *link, draft *to)
{
    if (link->pto_probes > 1) {
        put_awaited(link, to);
    }
    put_reliables(link, to, DATAGRAM_MAX + larger(0, -to->window));
    if (!to->soon) {
        put_under_way(link, to);
    }
    if (!to->soon) {
        put_ping(to);
    }
}

static size_t write_data(gsrt_link *link, uint8_t *buffer, size_t capacity, double now)
{
    /* Where nothing arrives it may be for the size. */
    const uint32_t longest = link->pto_probes > 0 ? DATAGRAM_MIN : SIZES[link->size_index];
    const uint32_t limit = capacity < longest ? (uint32_t)capacity : longest;
    record *place = record_of(link, link->number);
    if (place->state == RECORD_FLIGHT && link->pto_probes > 0) {
        lose(link, place, now); /* as many are under way as there are records, and none gets through */
    }
    const bool may_elicit = place->state != RECORD_FLIGHT;
    draft made = draft_begin(link, buffer, limit, now);
    link->pace_at = GSRT_LINK_NEVER;
    if (link->response_pending) {
        put_control(&made, RESPONSE, link->response, CHALLENGE_BYTES);
        link->response_pending = false;
    }
    bool may_send = false;
    if (may_elicit) {
        may_send = pace_allows(link, now);
        if (link->pto_probes > 0) {
            put_for_pto(link, &made);
            link->pto_probes--;
        }
        if (link->ping_pending) {
            put_ping(&made);
            link->ping_pending = false;
        }
        if (link->unreliable_first != NONE && has_reliable(link)) {
            if (link->reliable_turn) {
                put_reliables(link, &made, UNRELIABLE_EXCESS * SIZES[link->size_index]);
            }
            link->reliable_turn = !link->reliable_turn;
        }
        put_unreliable(link, &made);
        if (may_send) {
            put_lost(link, &made);
        } else if (made.window >= DATAGRAM_MIN && has_reliable(link)) {
            link->pace_at = now + larger((SIZES[link->size_index] - link->pace_bytes) / pace_rate(link), 1e-6);
        }
    }
    put_repetitions(link, &made, may_send);
    if (may_send) {
        put_new(link, &made);
    }
    if (made.filled || link->ack_at <= now) {
        return draft_finish(link, &made);
    }
    unreliable_drop(link);
    return may_elicit ? write_probe(link, buffer, capacity, now) : 0;
}

static size_t write_close(gsrt_link *link, uint8_t *buffer, double now)
{
    uint8_t body[2 + TEXT_BYTES];
    draft made = draft_begin(link, buffer, DATAGRAM_MIN, now);
    body[0] = (uint8_t)link->reason;
    body[1] = (uint8_t)link->text_size;
    memcpy(body + 2, link->text, link->text_size);
    put_control(&made, CLOSE, body, 2 + (uint32_t)link->text_size);
    return draft_finish(link, &made);
}

size_t gsrt_link_poll_datagram(gsrt_link *link, uint8_t *buffer, size_t capacity, double now)
{
    if (capacity < DATAGRAM_MIN) {
        return 0;
    }
    if (link->greeting_due) {
        link->greeting_due = false;
        memcpy(buffer, link->greeting, link->greeting_size);
        return link->greeting_size;
    }
    if (link->closes > 0) {
        const size_t size = write_close(link, buffer, now);
        if (--link->closes == 0) {
            forget_keys(link);
        }
        return size;
    }
    return link->state == GSRT_LINK_OPEN ? write_data(link, buffer, capacity, now) : 0;
}

/* ---- Timers ------------------------------------------------------------------------------------------------------- */

static double pto_at(const gsrt_link *link)
{
    double wait = link->sampled ? link->srtt + larger(4 * link->rttvar, GRANULARITY) : PTO_FIRST;
    double since = link->lazy_since;
    if (link->pto_probes > 0 || (link->in_flight_soon == 0 && link->in_flight_lazy == 0)) {
        return GSRT_LINK_NEVER;
    }
    if (link->in_flight_soon > 0) {
        since = link->soon_since;
        wait += larger(ACK_DELAY, link->held);
    } else {
        wait += LAZY_ACK_DELAY + link->held;
    }
    for (uint32_t i = 0; i < link->ptos && wait < PTO_MAX; i++) {
        wait *= 2;
    }
    return since + smaller(wait, PTO_MAX);
}

static double keepalive_at(const gsrt_link *link)
{
    return link->ping_pending ? GSRT_LINK_NEVER : link->last_eliciting + KEEPALIVE_SECONDS;
}

double gsrt_link_next_timer(const gsrt_link *link)
{
    if (link->state == GSRT_LINK_GREETING || link->state == GSRT_LINK_ENTERING) {
        return smaller(link->greeting_at, link->greeting_deadline);
    }
    if (link->state != GSRT_LINK_OPEN) {
        return GSRT_LINK_NEVER;
    }
    double next = link->heard + IDLE_SECONDS;
    next = smaller(next, keepalive_at(link));
    next = smaller(next, pto_at(link));
    next = smaller(next, link->lost_at);
    next = smaller(next, link->ack_at);
    next = smaller(next, link->pace_at);
    next = smaller(next, link->probe_at);
    if (link->repetitions_count > 0) {
        next = smaller(next, link->repetitions[link->repetitions_first].due);
    }
    return next;
}

static void handle_greeting(gsrt_link *link, double now)
{
    static const char text[] = "the server does not answer";
    if (now >= link->greeting_deadline) {
        end(link, GSRT_LINK_FAILED, GSRT_LINK_CLOSE_NO_ANSWER, text, sizeof text - 1);
    } else if (now >= link->greeting_at) {
        link->greeting_due = true;
        link->greeting_interval *= 2;
        link->greeting_at = now + link->greeting_interval;
    }
}

static void handle_pto(gsrt_link *link, double now)
{
    link->pto_probes = link->ptos++ == 0 ? 1 : 2;
    link->soon_since = link->lazy_since = now;
    if (link->ptos == PERSISTENT_PTOS) {
        link->cwnd = MIN_WINDOW * DATAGRAM_MIN;
    }
    if (link->unheard_ptos++ == 0) {
        link->unheard_since = now;
    }
    if (link->unheard_ptos >= REBIND_PTOS && now - link->unheard_since >= REBIND_SECONDS) {
        link->unheard_ptos = 0;
        link->silent = true;
    }
}

void gsrt_link_handle_timer(gsrt_link *link, double now)
{
    static const char text[] = "the server fell silent";
    if (link->state == GSRT_LINK_GREETING || link->state == GSRT_LINK_ENTERING) {
        handle_greeting(link, now);
    }
    if (link->state != GSRT_LINK_OPEN) {
        return;
    }
    if (now >= link->heard + IDLE_SECONDS) {
        end(link, GSRT_LINK_CLOSED, GSRT_LINK_CLOSE_SILENCE, text, sizeof text - 1);
        return;
    }
    if (now >= link->lost_at) {
        decay_reorder(link, now);
        detect_losses(link, now);
    }
    if (now >= pto_at(link)) {
        handle_pto(link, now);
    }
    if (now >= keepalive_at(link)) {
        link->ping_pending = true;
    }
}

void gsrt_link_path_changed(gsrt_link *link, double now)
{
    if (link->state != GSRT_LINK_OPEN) {
        return;
    }
    forget_path(link);
    link->probe_at = link->probing ? now + PROBE_AFTER : GSRT_LINK_NEVER;
    link->soon_since = link->lazy_since = now;
    link->ping_pending = true;
    link->silent = false;
}

int gsrt_link_state(const gsrt_link *link)
{
    return link->state;
}

void gsrt_link_quality_of(const gsrt_link *link, gsrt_link_quality *quality)
{
    *quality = link->counts;
    quality->rtt = link->srtt;
    quality->rtt_variation = link->rttvar;
    quality->min_rtt = link->min_rtt;
    quality->jitter = link->jitter;
    quality->loss = link->loss;
    quality->bandwidth = 0;
    for (uint32_t i = 0; i < BANDWIDTH_SECONDS; i++) {
        quality->bandwidth = larger(quality->bandwidth, link->rates[i]);
    }
    quality->congestion_window = link->cwnd;
    quality->datagram_bytes = SIZES[link->size_index];
    quality->waiting_bytes = link->waiting;
}

/* ---- RT packets --------------------------------------------------------------------------------------------------- */

enum { WIRE_VARINT = 0, WIRE_8_BYTES = 1, WIRE_BODY = 2, WIRE_4_BYTES = 5 };

/* One field of a packet, of RTData or of a system message. */
typedef struct field {
    uint32_t number;
    uint32_t wire;
    uint64_t value; /* WIRE_VARINT */
    const uint8_t *bytes;
    size_t size;
} field;

static reading read_field(const uint8_t *bytes, size_t size, size_t *at, field *got)
{
    uint64_t value = 0;
    if (*at >= size) {
        return READ_END;
    }
    if (!get_varint(bytes, size, at, 5, &value) || value >> 3 == 0 || value >> 32 != 0) {
        return READ_BROKEN;
    }
    memset(got, 0, sizeof *got);
    got->number = (uint32_t)value >> 3;
    got->wire = (uint32_t)value & 7;
    switch (got->wire) {
    case WIRE_VARINT:
        return get_varint(bytes, size, at, 10, &got->value) ? READ_FRAME : READ_BROKEN;
    case WIRE_8_BYTES:
        got->size = 8;
        break;
    case WIRE_4_BYTES:
        got->size = 4;
        break;
    case WIRE_BODY:
        if (!get_varint(bytes, size, at, 5, &value) || value > size) {
            return READ_BROKEN;
        }
        got->size = (size_t)value;
        break;
    default:
        return READ_BROKEN;
    }
    if (size - *at < got->size) {
        return READ_BROKEN;
    }
    got->bytes = bytes + *at;
    *at += got->size;
    return READ_FRAME;
}

static uint64_t folded(int64_t value)
{
    return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

static int64_t unfolded(uint64_t value)
{
    const uint64_t half = value >> 1;
    return value & 1 ? -(int64_t)half - 1 : (int64_t)half;
}

size_t gsrt_packet_write(uint8_t *out, size_t capacity, const gsrt_packet *packet)
{
    const uint64_t op_code = folded(packet->op_code);
    const uint64_t sequence = (uint64_t)(int64_t)packet->sequence;
    size_t needed = 1 + varint_bytes(op_code);
    if (packet->has_sequence) {
        needed += 1 + varint_bytes(sequence);
    }
    for (size_t i = 0; i < packet->target_count; i++) {
        needed += 1 + varint_bytes(packet->targets[i]);
    }
    if (packet->data != NULL) {
        needed += 1 + varint_bytes(packet->data_size) + packet->data_size;
    }
    if (packet->payload != NULL) {
        needed += 1 + varint_bytes(packet->payload_size) + packet->payload_size;
    }
    if (needed > capacity) {
        return 0;
    }
    *out++ = 1 << 3 | WIRE_VARINT;
    out += put_varint(out, op_code);
    if (packet->has_sequence) {
        *out++ = 2 << 3 | WIRE_VARINT;
        out += put_varint(out, sequence);
    }
    for (size_t i = 0; i < packet->target_count; i++) {
        *out++ = 4 << 3 | WIRE_VARINT;
        out += put_varint(out, packet->targets[i]);
    }
    if (packet->data != NULL) {
        *out++ = 14 << 3 | WIRE_BODY;
        out += put_varint(out, packet->data_size);
        if (packet->data_size > 0) {
            memcpy(out, packet->data, packet->data_size);
        }
        out += packet->data_size;
    }
    if (packet->payload != NULL) {
        *out++ = 15 << 3 | WIRE_BODY;
        out += put_varint(out, packet->payload_size);
        if (packet->payload_size > 0) {
            memcpy(out, packet->payload, packet->payload_size);
        }
    }
    return needed;
}

bool gsrt_packet_read(gsrt_packet *packet, const uint8_t *bytes, size_t size)
{
    field got;
    size_t at = 0;
    reading result;
    memset(packet, 0, sizeof *packet);
    if (size < 2 || bytes[0] != (1 << 3 | WIRE_VARINT)) {
        return false;
    }
    while ((result = read_field(bytes, size, &at, &got)) == READ_FRAME) {
        const bool body = got.wire == WIRE_BODY;
        if (got.number == 1 && got.wire == WIRE_VARINT) {
            if (got.value >> 32 != 0) {
                return false;
            }
            packet->op_code = (int32_t)unfolded(got.value);
        } else if (got.number == 2 && got.wire == WIRE_VARINT) {
            packet->has_sequence = true;
            const uint32_t low = (uint32_t)got.value;
            memcpy(&packet->sequence, &low, sizeof low);
        } else if (got.number == 5 && got.wire == WIRE_VARINT) {
            if (got.value >= PEERS) {
                return false;
            }
            packet->sender = (int)got.value;
        } else if (got.number == 14 && body) {
            packet->data = got.bytes;
            packet->data_size = got.size;
        } else if (got.number == 15 && body) {
            packet->payload = got.bytes;
            packet->payload_size = got.size;
        } else if (got.wire != WIRE_VARINT) {
            return false;
        }
    }
    return result == READ_END;
}

/* ---- RTData ------------------------------------------------------------------------------------------------------- */

static uint8_t *data_room(gsrt_data_writer *writer, int slot, uint32_t wire, size_t size)
{
    const uint64_t key = (uint64_t)(uint32_t)slot << 3 | wire;
    writer->failed = writer->failed || slot < 1 || slot > 127;
    if (writer->failed || varint_bytes(key) > writer->capacity - writer->size ||
        size > writer->capacity - writer->size - varint_bytes(key)) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *out = writer->bytes + writer->size;
    const size_t key_bytes = put_varint(out, key);
    writer->size += key_bytes + size;
    return out + key_bytes;
}

/* A value message with one field of `size` bytes, which the caller copies. */
static uint8_t *data_value(gsrt_data_writer *writer, int slot, int number, size_t size)
{
    if (size > UINT32_MAX / 2) {
        writer->failed = true;
        return NULL;
    }
    const size_t inner = 1 + varint_bytes(size) + size;
    uint8_t *out = data_room(writer, slot, WIRE_BODY, varint_bytes(inner) + inner);
    if (out != NULL) {
        out += put_varint(out, inner);
        *out++ = (uint8_t)(number << 3 | WIRE_BODY);
        out += put_varint(out, size);
    }
    return out;
}

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void gsrt_data_put_long(gsrt_data_writer *writer, int slot, int64_t value)
{
    uint8_t *out = data_room(writer, slot, WIRE_VARINT, varint_bytes(folded(value)));
    if (out != NULL) {
        put_varint(out, folded(value));
    }
}

void gsrt_data_put_float(gsrt_data_writer *writer, int slot, float value)
{
    uint8_t *out = data_room(writer, slot, WIRE_4_BYTES, 4);
    if (out != NULL) {
        put32(out, float_bits(value));
    }
}

void gsrt_data_put_double(gsrt_data_writer *writer, int slot, double value)
{
    uint8_t *out = data_room(writer, slot, WIRE_8_BYTES, 8);
    if (out != NULL) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        put64(out, bits);
    }
}

void gsrt_data_put_string(gsrt_data_writer *writer, int slot, const char *text, size_t size)
{
    uint8_t *out = data_value(writer, slot, 1, size);
    if (out != NULL && size > 0) {
        memcpy(out, text, size);
    }
}

void gsrt_data_put_vector(gsrt_data_writer *writer, int slot, const float *values, size_t count)
{
    if (count < 1 || count > 4) {
        writer->failed = true;
        return;
    }
    uint8_t *out = data_value(writer, slot, 2, count * 4);
    for (size_t i = 0; out != NULL && i < count; i++) {
        put32(out + i * 4, float_bits(values[i]));
    }
}

void gsrt_data_put_data(gsrt_data_writer *writer, int slot, const uint8_t *data, size_t size)
{
    uint8_t *out = data_value(writer, slot, 14, size);
    if (out != NULL && size > 0) {
        memcpy(out, data, size);
    }
}

/* The last field of a slot; false if there is none of that wire type. */
static bool data_find(const uint8_t *data, size_t size, int slot, uint32_t wire, field *found)
{
    field got;
    size_t at = 0;
    bool any = false;
    while (read_field(data, size, &at, &got) == READ_FRAME) {
        if ((int64_t)got.number == slot) {
            *found = got;
            any = true;
        }
    }
    return any && found->wire == wire;
}

static bool data_find_value(const uint8_t *data, size_t size, int slot, uint32_t number, field *inner)
{
    field value;
    size_t at = 0;
    return data_find(data, size, slot, WIRE_BODY, &value) &&
           read_field(value.bytes, value.size, &at, inner) == READ_FRAME && inner->number == number &&
           inner->wire == WIRE_BODY && at == value.size;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool gsrt_data_get_long(const uint8_t *data, size_t size, int slot, int64_t *value)
{
    field found;
    if (!data_find(data, size, slot, WIRE_VARINT, &found)) {
        return false;
    }
    *value = unfolded(found.value);
    return true;
}

bool gsrt_data_get_float(const uint8_t *data, size_t size, int slot, float *value)
{
    field found;
    if (!data_find(data, size, slot, WIRE_4_BYTES, &found)) {
        return false;
    }
    *value = float_of(get32(found.bytes));
    return true;
}

bool gsrt_data_get_double(const uint8_t *data, size_t size, int slot, double *value)
{
    field found;
    if (!data_find(data, size, slot, WIRE_8_BYTES, &found)) {
        return false;
    }
    const uint64_t bits = get64(found.bytes);
    memcpy(value, &bits, sizeof *value);
    return true;
}

bool gsrt_data_get_string(const uint8_t *data, size_t size, int slot, const char **text, size_t *text_size)
{
    field inner;
    if (!data_find_value(data, size, slot, 1, &inner)) {
        return false;
    }
    *text = (const char *)inner.bytes;
    *text_size = inner.size;
    return true;
}

bool gsrt_data_get_vector(const uint8_t *data, size_t size, int slot, float values[4], size_t *count)
{
    field inner;
    if (!data_find_value(data, size, slot, 2, &inner) || inner.size % 4 != 0) {
        return false;
    }
    *count = inner.size / 4 < 4 ? inner.size / 4 : 4;
    for (size_t i = 0; i < *count; i++) {
        values[i] = float_of(get32(inner.bytes + i * 4));
    }
    return true;
}

bool gsrt_data_get_data(const uint8_t *data, size_t size, int slot, const uint8_t **inner_data, size_t *inner_size)
{
    field inner;
    if (!data_find_value(data, size, slot, 14, &inner)) {
        return false;
    }
    *inner_data = inner.bytes;
    *inner_size = inner.size;
    return true;
}

/* ---- Events ------------------------------------------------------------------------------------------------------- */

static void peer_add(gsrt_link *link, int peer)
{
    for (uint32_t i = 0; i < link->peer_count; i++) {
        if (link->peers[i] == peer) {
            return;
        }
    }
    if (peer > 0 && link->peer_count < PEERS - 1) {
        link->peers[link->peer_count++] = (uint8_t)peer;
    }
}

/* LoginResult, PlayerConnect, PlayerDisconnect: peerId and the list of peers, which replaces the one there was. */
static void take_system(gsrt_link *link, const gsrt_packet *packet, gsrt_link_event *event)
{
    const bool login = packet->op_code == OP_LOGIN_RESULT;
    field got;
    size_t at = 0;
    link->peer_count = 0;
    while (packet->payload != NULL && read_field(packet->payload, packet->payload_size, &at, &got) == READ_FRAME) {
        if (got.wire == WIRE_BODY && got.number == 2 && login) {
            event->token = (const char *)got.bytes;
            event->token_size = got.size;
        } else if (got.wire == WIRE_VARINT && got.value < PEERS) {
            if (got.number == (login ? 3u : 1u)) {
                event->peer = (int)got.value;
            } else if (got.number == 4) {
                peer_add(link, (int)got.value);
            }
        }
    }
    if (login) {
        link->peer = event->peer;
        event->type = GSRT_LINK_EVENT_READY;
    } else {
        event->type =
            packet->op_code == OP_PLAYER_CONNECT ? GSRT_LINK_EVENT_PEER_CONNECTED : GSRT_LINK_EVENT_PEER_DISCONNECTED;
    }
    peer_add(link, link->peer);
    event->peers = link->peers;
    event->peer_count = link->peer_count;
}

/* Copy the first message of the queue together. */
static void take_message(gsrt_link *link, gsrt_link_event *event)
{
    const uint16_t first = link->events_first;
    const block *head = &link->in.blocks[first];
    const uint32_t total = head->total;
    uint16_t index = first;
    for (uint32_t at = 0; at < total;) {
        const uint32_t size = link->in.blocks[index].size;
        index = pool_load(&link->in, index, link->assembly + at, size);
        at += size;
    }
    event->kind = head->type & 3;
    event->channel = event->kind == GSRT_LINK_ORDERED || event->kind == GSRT_LINK_SEQUENCED ? head->stream % (int)CHANNELS : 0;
    event->packet = link->assembly;
    event->packet_size = total;
    link->events_first = head->chain;
    if (link->events_first == NONE) {
        link->events_last = NONE;
    }
    pool_release(&link->in, first);
}

bool gsrt_link_next_event(gsrt_link *link, gsrt_link_event *event)
{
    while (link->events_first != NONE) {
        gsrt_packet packet;
        memset(event, 0, sizeof *event);
        take_message(link, event);
        if (!gsrt_packet_read(&packet, event->packet, event->packet_size)) {
            link->counts.packets_malformed++;
            continue;
        }
        event->op_code = packet.op_code;
        event->sender = packet.sender;
        event->data = packet.data;
        event->data_size = packet.data_size;
        event->payload = packet.payload;
        event->payload_size = packet.payload_size;
        if (packet.op_code > 0) {
            event->type = GSRT_LINK_EVENT_MESSAGE;
            return true;
        }
        if (packet.op_code == OP_LOGIN_RESULT || packet.op_code == OP_PLAYER_CONNECT ||
            packet.op_code == OP_PLAYER_DISCONNECT) {
            take_system(link, &packet, event);
            return true;
        }
    }
    memset(event, 0, sizeof *event);
    if (link->silent) {
        link->silent = false;
        event->type = GSRT_LINK_EVENT_SILENT;
        return true;
    }
    if ((link->state == GSRT_LINK_CLOSED || link->state == GSRT_LINK_FAILED) && !link->end_told) {
        const bool refused = link->state == GSRT_LINK_FAILED && link->reason >= 0;
        link->end_told = true;
        event->type = refused ? GSRT_LINK_EVENT_REFUSED : GSRT_LINK_EVENT_CLOSED;
        event->reason = link->reason;
        event->text = link->text;
        return true;
    }
    return false;
}

/* ---- Who serves here ---------------------------------------------------------------------------------------------- */

enum {
    NOTICE_HEAD_BYTES = 4,
    NOTICE_SERVER = NOTICE_HEAD_BYTES + GSRT_NONCE_BYTES,
    NOTICE_PORT = NOTICE_SERVER + 8,
    NOTICE_SESSIONS = NOTICE_PORT + 2,
    NOTICE_PLAYERS = NOTICE_SESSIONS + 4,
    NOTICE_TEXTS = NOTICE_PLAYERS + 4
};

/* Characters that a text must not have: controls, separators but the space, and what shows nothing or turns the direction of
 * writing, or two names could look alike. */
static const uint32_t NOT_SHOWN[][2] = {
    {0x0000, 0x001f}, {0x007f, 0x00a0}, {0x00ad, 0x00ad}, {0x061c, 0x061c}, {0x1680, 0x1680}, {0x180e, 0x180e},
    {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
    {0xe0000, 0xe007f},
};

static bool is_shown(uint32_t character)
{
    for (size_t i = 0; i < sizeof NOT_SHOWN / sizeof NOT_SHOWN[0]; i++) {
        if (character >= NOT_SHOWN[i][0] && character <= NOT_SHOWN[i][1]) {
            return false;
        }
    }
    return true;
}

/* Bytes of the character of UTF-8 (RFC 3629) that is first of `size` bytes; 0 if there is none. */
static size_t get_character(const uint8_t *bytes, size_t size, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* of so many bytes: less is written with fewer */
    const uint8_t first = bytes[0];
    const size_t count = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    if (count == 0 || count > size) {
        return 0;
    }
    uint32_t value = count == 1 ? first : first & (0x7fu >> count);
    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (bytes[i] & 0x3fu);
    }
    if (value < least[count] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *character = value;
    return count;
}

/* The text at *at, which moves on, terminated; false if there is none that fits in `room` bytes and may be shown. */
static bool get_text(const uint8_t *bytes, size_t size, size_t *at, char *text, size_t room)
{
    if (*at >= size) {
        return false;
    }
    const size_t length = bytes[(*at)++];
    if (length >= room || length > size - *at) {
        return false;
    }
    for (size_t seen = 0; seen < length;) {
        uint32_t character;
        const size_t count = get_character(bytes + *at + seen, length - seen, &character);
        if (count == 0 || !is_shown(character)) {
            return false;
        }
        seen += count;
    }
    memcpy(text, bytes + *at, length);
    text[length] = '\0';
    *at += length;
    return true;
}

static void put_notice_head(uint8_t *out, uint8_t type)
{
    out[0] = 0;
    out[1] = type;
    out[2] = VERSION;
    out[3] = 0;
}

static bool notice_read(gsrt_notice *notice, const uint8_t *datagram, size_t size, uint8_t type)
{
    uint8_t head[NOTICE_HEAD_BYTES];
    gsrt_notice read;
    size_t at = NOTICE_TEXTS;
    put_notice_head(head, type);
    if (size <= NOTICE_TEXTS || memcmp(datagram, head, sizeof head) != 0) {
        return false;
    }
    memset(&read, 0, sizeof read);
    memcpy(read.server, datagram + NOTICE_SERVER, sizeof read.server);
    read.port = get16(datagram + NOTICE_PORT);
    read.sessions = get32(datagram + NOTICE_SESSIONS);
    read.players = get32(datagram + NOTICE_PLAYERS);
    if (!get_text(datagram, size, &at, read.version, sizeof read.version) ||
        !get_text(datagram, size, &at, read.name, sizeof read.name) ||
        !get_text(datagram, size, &at, read.game, sizeof read.game)) {
        return false;
    }
    if (at != size || read.port == 0 || read.version[0] == '\0' || read.name[0] == '\0') {
        return false;
    }
    *notice = read;
    return true;
}

void gsrt_seek_write(uint8_t *out, const uint8_t *nonce)
{
    memset(out, 0, GSRT_SEEK_BYTES);
    put_notice_head(out, SEEK);
    memcpy(out + NOTICE_HEAD_BYTES, nonce, GSRT_NONCE_BYTES);
}

bool gsrt_here_read(gsrt_notice *notice, const uint8_t *datagram, size_t size, const uint8_t *nonce)
{
    return size > NOTICE_TEXTS && memcmp(datagram + NOTICE_HEAD_BYTES, nonce, GSRT_NONCE_BYTES) == 0 &&
           notice_read(notice, datagram, size, HERE);
}

bool gsrt_beacon_read(gsrt_notice *notice, const uint8_t *datagram, size_t size)
{
    return notice_read(notice, datagram, size, BEACON);
}

/* ---- libsodium ---------------------------------------------------------------------------------------------------- */

#ifdef GSRT_LINK_SODIUM
static int sodium_x25519_public(uint8_t *public_key, const uint8_t *private_key)
{
    return crypto_scalarmult_base(public_key, private_key);
}

static int sodium_x25519(uint8_t *shared, const uint8_t *private_key, const uint8_t *public_key)
{
    return crypto_scalarmult(shared, private_key, public_key);
}

static void sodium_sha256(uint8_t *digest, const uint8_t *data, size_t size)
{
    crypto_hash_sha256(digest, data, size);
}

static int sodium_seal(uint8_t *sealed, const uint8_t *key, const uint8_t *nonce, const uint8_t *associated,
                       size_t associated_size, const uint8_t *plain, size_t size)
{
    return crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain, size, associated, associated_size, NULL, nonce, key);
}

static int sodium_open(uint8_t *plain, const uint8_t *key, const uint8_t *nonce, const uint8_t *associated,
                       size_t associated_size, const uint8_t *sealed, size_t size)
{
    return crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed, size, associated, associated_size, nonce, key);
}

const gsrt_link_crypto gsrt_link_sodium = {
    sodium_x25519_public, sodium_x25519, sodium_sha256, sodium_seal, sodium_open,
};

void gsrt_link_sodium_random(void *context, uint8_t *out, size_t size)
{
    (void)context;
    randombytes_buf(out, size);
}
#endif
