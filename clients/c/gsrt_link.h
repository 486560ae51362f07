/* The client's side of the gsrt link, version 1 (docs/LINK.md), for engines and microcontrollers.
 *
 * C99, without I/O: nothing here calls the operating system, reads a clock or allocates. The caller hands over a block of
 * memory once, every datagram that came, and the time (seconds, monotonic, from any beginning) with each call; it sends what
 * gsrt_link_poll_datagram() makes and calls again when gsrt_link_next_timer() is due. One link is for one thread at a time.
 */
#ifndef GSRT_LINK_H
#define GSRT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GSRT_LINK_NEVER 1e300 /* of gsrt_link_next_timer(): no timer runs */

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GSRT_LINK_DATAGRAM_MAX = 1472 /* bytes: what a buffer for datagrams has to have room for */
};

enum gsrt_link_suite {
    GSRT_LINK_INSECURE = 0,          /* encrypts only the handshake; for trusted networks */
    GSRT_LINK_CHACHA20_POLY1305 = 1
};

enum gsrt_link_kind {
    GSRT_LINK_UNRELIABLE = 0, /* at most once */
    GSRT_LINK_SEQUENCED = 1,  /* at most once; what is older than the newest of its channel is dropped */
    GSRT_LINK_ORDERED = 2,    /* exactly once, in the order of its channel */
    GSRT_LINK_UNORDERED = 3   /* exactly once, in any order; has no channel */
};

enum gsrt_link_state {
    GSRT_LINK_IDLE = 0,     /* gsrt_link_connect() was not called yet */
    GSRT_LINK_GREETING = 1, /* waits for the server's cookie */
    GSRT_LINK_ENTERING = 2, /* waits for its welcome */
    GSRT_LINK_OPEN = 3,     /* messages may be sent */
    GSRT_LINK_FAILED = 4,   /* refused, or no answer */
    GSRT_LINK_CLOSED = 5    /* was open and is no more */
};

enum gsrt_link_result {
    GSRT_LINK_SENT = 0,         /* queued */
    GSRT_LINK_NOT_OPEN = 1,     /* the state is not GSRT_LINK_OPEN */
    GSRT_LINK_FULL = 2,         /* send_bytes or frames_max are in use: try again when something was acknowledged */
    GSRT_LINK_TOO_LONG = 3,     /* longer than the server takes, or than send_bytes */
    GSRT_LINK_BAD_ARGUMENT = 4  /* an empty packet, a channel over 15, an unknown kind */
};

enum gsrt_link_refusal {
    GSRT_LINK_REFUSED_VERSION = 1,
    GSRT_LINK_REFUSED_SUITE = 2,
    GSRT_LINK_REFUSED_COOKIE = 3, /* the client begins anew by itself; told when that did not help */
    GSRT_LINK_REFUSED_TOKEN = 4,
    GSRT_LINK_REFUSED_FULL = 5
};

enum gsrt_link_close_reason {
    GSRT_LINK_CLOSE_NO_ANSWER = -2, /* our own: nothing came of the handshake */
    GSRT_LINK_CLOSE_SILENCE = -1,   /* our own: the server fell silent */
    GSRT_LINK_CLOSE_LEFT = 0,
    GSRT_LINK_CLOSE_PROTOCOL = 1,
    GSRT_LINK_CLOSE_REPLACED = 2,
    GSRT_LINK_CLOSE_KICKED = 3,
    GSRT_LINK_CLOSE_ENDED = 4,
    GSRT_LINK_CLOSE_SLOW = 5
};

/* Where the cryptography comes from. All keys have 32 bytes. The functions that answer give 0, or -1 for what is not right. */
typedef struct gsrt_link_crypto {
    /* The public key of a private one. */
    int (*x25519_public)(uint8_t *public_key, const uint8_t *private_key);
    /* The secret that is shared with the owner of `public_key`; -1 where it is all zeros. */
    int (*x25519)(uint8_t *shared, const uint8_t *private_key, const uint8_t *public_key);
    /* `digest` has 32 bytes. */
    void (*sha256)(uint8_t *digest, const uint8_t *data, size_t size);
    /* ChaCha20-Poly1305 of RFC 8439, a nonce of 12 bytes. Writes size + 16 bytes; `sealed` may be `plain`. */
    int (*seal)(uint8_t *sealed, const uint8_t *key, const uint8_t *nonce, const uint8_t *associated, size_t associated_size,
                const uint8_t *plain, size_t size);
    /* Its reverse: `size` counts the tag, size - 16 bytes are written; -1 if forged. */
    int (*open)(uint8_t *plain, const uint8_t *key, const uint8_t *nonce, const uint8_t *associated, size_t associated_size,
                const uint8_t *sealed, size_t size);
} gsrt_link_crypto;

typedef struct gsrt_link_config {
    const char *token;    /* access or reconnect token; needed only during gsrt_link_init() */
    size_t token_size;    /* its bytes: 1 to 1024 */
    int suite;            /* enum gsrt_link_suite */
    uint32_t receive_bytes; /* of reliable messages that are begun and not whole: 65,536 to 2,097,152, at least message_bytes */
    uint32_t early_bytes; /* of what comes before its turn: 1,100 to 2,097,152. With less than receive_bytes a loss costs more */
    uint32_t message_bytes; /* the longest message taken: 1,100 to 262,144 */
    uint32_t send_bytes;  /* of messages that wait to be sent or acknowledged: 2,200 to 4,194,304 */
    uint32_t frames_max;  /* messages and pieces of 1,100 bytes that wait to be sent or acknowledged: 8 to 16,000 */
    uint32_t datagrams_max; /* datagrams under way; a power of two, 16 to 4,096 */
    uint32_t peers_max;   /* highest peer id that may speak: 1 to 255 */
    bool probe;           /* look for datagrams over 1200 bytes; the socket has to set IP's don't-fragment bit */
    const gsrt_link_crypto *crypto; /* has to stay */
    void (*random)(void *context, uint8_t *out, size_t size); /* unpredictable bytes: keys are made of them */
    void *random_context;
} gsrt_link_config;

enum gsrt_link_event_type {
    GSRT_LINK_EVENT_NONE = 0,
    GSRT_LINK_EVENT_READY = 1,             /* peer: the own id; peers; token: the reconnect token */
    GSRT_LINK_EVENT_MESSAGE = 2,           /* sender, op_code, kind, channel, packet, data, payload */
    GSRT_LINK_EVENT_PEER_CONNECTED = 3,    /* peer: who; peers */
    GSRT_LINK_EVENT_PEER_DISCONNECTED = 4, /* peer: who; peers */
    GSRT_LINK_EVENT_SILENT = 5,            /* nothing comes: open another socket, then call gsrt_link_path_changed(). Again and
                                            * again while that lasts */
    GSRT_LINK_EVENT_REFUSED = 6,           /* reason: enum gsrt_link_refusal, or another that is newer; text */
    GSRT_LINK_EVENT_CLOSED = 7             /* reason: enum gsrt_link_close_reason; text. The last event, as is REFUSED */
};

/* Pointers are into the link's memory, and good until the next call of gsrt_link_next_event(). */
typedef struct gsrt_link_event {
    int type;
    int32_t op_code;
    int sender;  /* peer id, 0: the server */
    int kind;    /* enum gsrt_link_kind */
    int channel; /* 0 to 15 */
    const uint8_t *packet; /* the RT packet as it came */
    size_t packet_size;
    const uint8_t *data; /* RTData of it, see gsrt_data_get_...() */
    size_t data_size;
    const uint8_t *payload;
    size_t payload_size;
    int peer;
    const uint8_t *peers; /* ids of all that are in the session, the own one among them */
    size_t peer_count;
    const char *token; /* not terminated */
    size_t token_size;
    int reason;
    const char *text; /* terminated UTF-8 */
} gsrt_link_event;

typedef struct gsrt_link_quality {
    double rtt;           /* smoothed round trip, seconds; 0 before there is one */
    double rtt_variation; /* seconds */
    double min_rtt;       /* seconds */
    double jitter;        /* seconds */
    double loss;          /* 0 to 1, of the datagrams sent */
    double bandwidth;     /* bytes per second that got through, the most of the last 10 s */
    double congestion_window; /* bytes */
    uint32_t datagram_bytes;  /* the longest datagram that is sent */
    uint32_t waiting_bytes;   /* of reliable messages not yet acknowledged */
    uint64_t datagrams_in;    /* taken */
    uint64_t datagrams_out;
    uint64_t datagrams_dropped; /* not ours, forged, replayed */
    uint64_t datagrams_without_room; /* came, were not acknowledged */
    uint64_t datagrams_lost;
    uint64_t frames_sent_again;
    uint64_t frames_repeated;
    uint64_t unreliable_dropped; /* by us, as the window was full */
    uint64_t packets_malformed; /* messages that were no RT packets */
} gsrt_link_quality;

typedef struct gsrt_link gsrt_link;

/* A desktop's or phone's measures, everything that LINK.md allows (about 2 MB), and a microcontroller's (about 150 KB:
 * messages to 16 KB, 16 peers). Token, crypto and random are left to be set. */
void gsrt_link_config_default(gsrt_link_config *config);
void gsrt_link_config_small(gsrt_link_config *config);

/* Bytes of memory that a link with this configuration needs; 0 if a field is out of its bounds. */
size_t gsrt_link_memory(const gsrt_link_config *config);

/* A link in `memory`, which is to be left alone from then on; NULL if it is too small or a field is out of its bounds.
 * Nothing needs to be undone: forget the link and use the memory again. */
gsrt_link *gsrt_link_init(void *memory, size_t size, const gsrt_link_config *config);

/* Begin, once. False if it has begun already. */
bool gsrt_link_connect(gsrt_link *link, double now);

/* A datagram came from the server's address. False: it was dropped. Take all events after it: they occupy its memory. */
bool gsrt_link_receive(gsrt_link *link, const uint8_t *datagram, size_t size, double now);

/* The next datagram to send now, into a buffer of GSRT_LINK_DATAGRAM_MAX bytes; its size, 0: no more for now. To be called
 * until 0 after whatever else was called: that is a flush, and unreliable messages which did not go out with it are dropped. */
size_t gsrt_link_poll_datagram(gsrt_link *link, uint8_t *buffer, size_t capacity, double now);

/* When gsrt_link_handle_timer() wants to be called, or GSRT_LINK_NEVER. Changes with every other call. */
double gsrt_link_next_timer(const gsrt_link *link);
void gsrt_link_handle_timer(gsrt_link *link, double now);

/* Queue an RT packet (gsrt_packet_write() makes one). An enum gsrt_link_result. */
int gsrt_link_send(gsrt_link *link, const uint8_t *packet, size_t size, int kind, int channel, double now);

/* The next thing that happened; false: nothing. */
bool gsrt_link_next_event(gsrt_link *link, gsrt_link_event *event);

/* Leave: what still waits is forgotten, the server is told. `text` may be NULL. */
void gsrt_link_close(gsrt_link *link, int reason, const char *text, double now);

/* The caller has another socket or address: what was learnt of the path is forgotten, and the server hears from there at once. */
void gsrt_link_path_changed(gsrt_link *link, double now);

int gsrt_link_state(const gsrt_link *link);
void gsrt_link_quality_of(const gsrt_link *link, gsrt_link_quality *quality);

/* RT packets (docs/PROTOCOL.md, 4). */
typedef struct gsrt_packet {
    int32_t op_code; /* over 0 for a game's own */
    bool has_sequence;
    int32_t sequence; /* the link needs none of it */
    const uint8_t *targets; /* peer ids; none: everyone but the sender; 0: the server */
    size_t target_count;
    int sender; /* only read */
    const uint8_t *data; /* NULL: none */
    size_t data_size;
    const uint8_t *payload; /* NULL: none */
    size_t payload_size;
} gsrt_packet;

/* Bytes written, 0 if `capacity` is too small. */
size_t gsrt_packet_write(uint8_t *out, size_t capacity, const gsrt_packet *packet);
/* False if it is no RT packet. Pointers are into `bytes`; targets are passed over. */
bool gsrt_packet_read(gsrt_packet *packet, const uint8_t *bytes, size_t size);

/* RTData (docs/PROTOCOL.md, 5): values in slots 1 to 127. Set `bytes` and `capacity`, zero the rest, put in ascending order;
 * after a put that has no room, or a slot that there is not, `failed` is true and stays so. */
typedef struct gsrt_data_writer {
    uint8_t *bytes;
    size_t capacity;
    size_t size;
    bool failed;
} gsrt_data_writer;

void gsrt_data_put_long(gsrt_data_writer *writer, int slot, int64_t value);
void gsrt_data_put_float(gsrt_data_writer *writer, int slot, float value);
void gsrt_data_put_double(gsrt_data_writer *writer, int slot, double value);
void gsrt_data_put_string(gsrt_data_writer *writer, int slot, const char *text, size_t size);
void gsrt_data_put_vector(gsrt_data_writer *writer, int slot, const float *values, size_t count); /* 1 to 4 */
void gsrt_data_put_data(gsrt_data_writer *writer, int slot, const uint8_t *data, size_t size);

/* The value of a slot; false if there is none of that type. */
bool gsrt_data_get_long(const uint8_t *data, size_t size, int slot, int64_t *value);
bool gsrt_data_get_float(const uint8_t *data, size_t size, int slot, float *value);
bool gsrt_data_get_double(const uint8_t *data, size_t size, int slot, double *value);
bool gsrt_data_get_string(const uint8_t *data, size_t size, int slot, const char **text, size_t *text_size);
bool gsrt_data_get_vector(const uint8_t *data, size_t size, int slot, float values[4], size_t *count);
bool gsrt_data_get_data(const uint8_t *data, size_t size, int slot, const uint8_t **inner, size_t *inner_size);

/* Who serves on this network (docs/LINK.md, 10). No link is needed for it, and nothing in it is proved. */
enum {
    GSRT_SEEK_BYTES = 192,
    GSRT_NONCE_BYTES = 8,
    GSRT_SERVER_PORT = 8784, /* where servers are, if nobody has said otherwise */
    GSRT_BEACON_PORT = 8785  /* where their beacons come */
};

/* What a server says of itself. Texts are terminated UTF-8 that may be shown as it is. */
typedef struct gsrt_notice {
    uint8_t server[8]; /* the same for all addresses of a server, until it starts anew */
    uint16_t port;     /* that it listens at; as seen from here it may be another: where its answer came from */
    uint32_t sessions; /* that are open */
    uint32_t players;  /* who are connected */
    char version[25];
    char name[65];
    char game[65]; /* empty where none is served */
} gsrt_notice;

/* A question for all servers, GSRT_SEEK_BYTES bytes. `nonce` has GSRT_NONCE_BYTES bytes, random, one for each search. */
void gsrt_seek_write(uint8_t *out, const uint8_t *nonce);
/* The answer: a server is there, at the address that this came from. False: it answers no search with that nonce, and
 * `notice` is as it was. */
bool gsrt_here_read(gsrt_notice *notice, const uint8_t *datagram, size_t size, const uint8_t *nonce);
/* What came to GSRT_BEACON_PORT: somebody says that a server is at `port` of the address that this came from. To be asked.
 * False: it is no beacon, and `notice` is as it was. */
bool gsrt_beacon_read(gsrt_notice *notice, const uint8_t *datagram, size_t size);

#ifdef GSRT_LINK_SODIUM
/* Cryptography and randomness of libsodium; call its sodium_init() first. */
extern const gsrt_link_crypto gsrt_link_sodium;
void gsrt_link_sodium_random(void *context, uint8_t *out, size_t size);
#endif

#ifdef __cplusplus
}
#endif

#endif
