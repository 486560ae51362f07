/* fuzz_c_client SEED DATAGRAMS: two links of the C client talk to each other, and what one sends comes to the other mutated.
 * Mutated notices of servers are read in between.
 *
 * Built with AddressSanitizer and UndefinedBehaviorSanitizer by test_c_client.py and by `make fuzz` in clients/c. The
 * cryptography is a stand-in that takes whatever comes, so that mutated bytes get as far as they can. Prints what it has
 * reached; aborts where a link hangs or hands out what it must not.
 */
#include "gsrt_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINKS = 2, KEPT = 64, PACKET_MAX = 20000, ROUNDS_MAX = 20000 };

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t mixed = state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(draw() % limit);
}

static void fill(void *context, uint8_t *out, size_t size)
{
    (void)context;
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)draw();
    }
}

static void check(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static int stand_in_public(uint8_t *public_key, const uint8_t *private_key)
{
    memcpy(public_key, private_key, 32);
    return 0;
}

static int stand_in_x25519(uint8_t *shared, const uint8_t *private_key, const uint8_t *public_key)
{
    for (int i = 0; i < 32; i++) {
        shared[i] = private_key[i] ^ public_key[i];
    }
    return public_key[0] % 16 == 0 ? -1 : 0;
}

static void stand_in_sha256(uint8_t *digest, const uint8_t *data, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * 1099511628211u;
    }
    for (int i = 0; i < 32; i++) {
        digest[i] = (uint8_t)(hash >> i % 8 * 8);
    }
}

static int stand_in_seal(uint8_t *sealed, const uint8_t *key, const uint8_t *nonce, const uint8_t *associated,
                         size_t associated_size, const uint8_t *plain, size_t size)
{
    (void)key, (void)nonce, (void)associated, (void)associated_size;
    memmove(sealed, plain, size);
    memset(sealed + size, 0, 16);
    return 0;
}

static int stand_in_open(uint8_t *plain, const uint8_t *key, const uint8_t *nonce, const uint8_t *associated,
                         size_t associated_size, const uint8_t *sealed, size_t size)
{
    (void)key, (void)nonce, (void)associated, (void)associated_size;
    check(size >= 16, "opened less than a tag");
    memcpy(plain, sealed, size - 16);
    return 0;
}

static const gsrt_link_crypto crypto = {stand_in_public, stand_in_x25519, stand_in_sha256, stand_in_seal, stand_in_open};

typedef struct datagram {
    size_t size;
    uint8_t bytes[GSRT_LINK_DATAGRAM_MAX];
} datagram;

static void *memory[LINKS];
static gsrt_link *links[LINKS];
static datagram kept[KEPT]; /* genuine ones, to make others of */
static uint64_t received, taken, events, closed, messages, refused, notices;
static double now = 100;
static uint32_t wildness[LINKS]; /* of 100 mutations, how many may break a frame: a link is closed by the first */

/* A copy in a block of its very size: a sanitizer sees what is read beyond it. */
static bool receive(gsrt_link *link, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));
    check(copy != NULL, "no memory");
    memcpy(copy, bytes, size);
    const bool was = gsrt_link_receive(link, copy, size, now);
    free(copy);
    received++;
    taken += was;
    return was;
}

static uint32_t sum(const uint8_t *bytes, size_t size)
{
    uint32_t result = 0;
    for (size_t i = 0; i < size; i++) {
        result = result * 31 + bytes[i];
    }
    return result;
}

static volatile uint32_t seen;

static void read_data(const uint8_t *bytes, size_t size, int depth)
{
    for (int slot = 1; slot <= 6; slot++) {
        int64_t number;
        float real, vector[4];
        double wide;
        const char *text;
        const uint8_t *inner;
        size_t count;
        seen += gsrt_data_get_long(bytes, size, slot, &number);
        seen += gsrt_data_get_float(bytes, size, slot, &real);
        seen += gsrt_data_get_double(bytes, size, slot, &wide);
        seen += gsrt_data_get_vector(bytes, size, slot, vector, &count);
        if (gsrt_data_get_string(bytes, size, slot, &text, &count)) {
            seen += sum((const uint8_t *)text, count);
        }
        if (gsrt_data_get_data(bytes, size, slot, &inner, &count) && depth < 4) {
            read_data(inner, count, depth + 1);
        }
    }
}

static void take_events(gsrt_link *link)
{
    gsrt_link_event event;
    uint32_t rounds = 0;
    while (gsrt_link_next_event(link, &event)) {
        check(++rounds < ROUNDS_MAX, "events without end");
        check(event.type != GSRT_LINK_EVENT_NONE, "an event of no type");
        check(event.channel >= 0 && event.channel < 16 && event.sender >= 0 && event.sender < 256, "an event out of bounds");
        events++;
        messages += event.type == GSRT_LINK_EVENT_MESSAGE;
        seen += sum(event.packet, event.packet_size) + sum(event.peers, event.peer_count);
        seen += sum((const uint8_t *)event.token, event.token_size);
        seen += event.text == NULL ? 0 : (uint32_t)strlen(event.text);
        read_data(event.data, event.data_size, 0);
        seen += sum(event.payload, event.payload_size);
    }
}

/* A link that is in: the harness is its server. */
static void begin(int index)
{
    gsrt_link_config config;
    uint8_t buffer[GSRT_LINK_DATAGRAM_MAX], answer[84] = {0};
    if (below(4) > 0) {
        gsrt_link_config_small(&config);
    } else {
        gsrt_link_config_default(&config);
        config.datagrams_max = 16u << below(6);
        config.frames_max = 8 + below(600);
        config.receive_bytes = 65536 + below(300000);
        config.early_bytes = 1100 + below(100000);
        config.message_bytes = 1100 + below(60000);
        config.send_bytes = 2200 + below(200000);
        config.peers_max = 1 + below(255);
    }
    config.probe = draw() & 1;
    wildness[index] = below(4) == 0 ? 100 : below(4);
    config.suite = (int)(draw() & 1);
    config.token = "token";
    config.token_size = 5;
    config.crypto = &crypto;
    config.random = fill;
    free(memory[index]);
    const size_t size = gsrt_link_memory(&config);
    memory[index] = malloc(size);
    links[index] = gsrt_link_init(memory[index], size, &config);
    check(links[index] != NULL, "no link");
    gsrt_link_connect(links[index], now);
    for (uint32_t rounds = 0; gsrt_link_state(links[index]) != GSRT_LINK_OPEN; rounds++) {
        check(rounds < 100000, "never in");
        const int state_before = gsrt_link_state(links[index]);
        const size_t sent = gsrt_link_poll_datagram(links[index], buffer, sizeof buffer, now);
        size_t answered = 0;
        answer[1] = 2;
        if (sent == 64) {
            memcpy(answer + 2, buffer + 2, 18);
            answered = 44;
        } else if (sent == 108) {
            memcpy(answer + 2, buffer + 2, 18);
            answer[1] = 4;
            fill(NULL, answer + 20, 32);
            memcpy(answer + 52, "connects", 8);
            for (int i = 0; i < 4; i++) {
                answer[60 + i] = (uint8_t)(400000u >> i * 8);
                answer[64 + i] = (uint8_t)(60000u >> i * 8);
            }
            answered = 84;
        }
        if (answered > 0) {
            if (below(4) == 0) {
                uint8_t wrong[128];
                memcpy(wrong, answer, sizeof answer);
                wrong[below(84)] ^= (uint8_t)(1u << below(8));
                receive(links[index], wrong, below(8) == 0 ? below(128) : answered);
            }
            if (below(16) == 0) {
                uint8_t refusal[24] = {0, 5};
                refusal[2] = (uint8_t)below(7);
                memcpy(refusal + 8, buffer + 4, 16);
                receive(links[index], refusal, sizeof refusal);
            }
            receive(links[index], answer, answered);
        } else if (state_before == GSRT_LINK_FAILED || state_before == GSRT_LINK_CLOSED) {
            refused++;
            take_events(links[index]);
            check(gsrt_link_init(memory[index], size, &config) == links[index], "no link again");
            gsrt_link_connect(links[index], now);
        } else {
            now = gsrt_link_next_timer(links[index]);
            gsrt_link_handle_timer(links[index], now);
        }
    }
}

static void send_some(gsrt_link *link)
{
    static uint8_t packet[PACKET_MAX], data[PACKET_MAX];
    gsrt_data_writer writer = {data, 0, 0, false};
    gsrt_packet made = {0};
    const float vector[4] = {1, 2, 3, 4};
    static const int32_t system[] = {-1, -101, -103};
    static const uint8_t targets[] = {0, 1, 200}, keys[] = {0x08, 0x12, 0x18, 0x20, 0x20, 0x28};
    uint8_t body[64];
    writer.capacity = below(8) == 0 ? below(PACKET_MAX) : below(300);
    fill(NULL, packet, 64);
    gsrt_data_put_long(&writer, 1, (int64_t)draw());
    gsrt_data_put_float(&writer, 2, 2.5f);
    gsrt_data_put_double(&writer, 3, -2.5);
    gsrt_data_put_vector(&writer, 4, vector, 1 + below(4));
    gsrt_data_put_string(&writer, 5, (const char *)packet, below(64));
    gsrt_data_put_data(&writer, 6, data, writer.size < 40 ? writer.size : 40);
    made.op_code = below(6) == 0 ? -(int32_t)below(110) : (int32_t)below(1000);
    made.targets = targets;
    made.target_count = below(sizeof targets + 1);
    made.has_sequence = below(4) == 0;
    made.sequence = (int32_t)below(100);
    made.data = data;
    made.data_size = writer.size;
    if (draw() & 1) {
        made.payload = data;
        made.payload_size = below(below(4) == 0 ? PACKET_MAX : 200);
    }
    if (below(6) == 0) {
        made.op_code = system[below(3)];
        for (uint32_t i = 0; i + 1 < sizeof body; i += 2) {
            body[i] = keys[below(sizeof keys)];
            body[i + 1] = (uint8_t)below(body[i] == 0x12 ? 6 : 128);
        }
        made.payload = body;
        made.payload_size = below(sizeof body);
    }
    const size_t size = gsrt_packet_write(packet, sizeof packet, &made);
    if (size > 0) {
        gsrt_link_send(link, packet, size, (int)below(4), (int)below(16), now);
    }
}

/* A body of frames with the right outside and whatever inside. */
static size_t invent(uint8_t *out, const datagram *like)
{
    static const uint8_t types[] = {0x00, 0x01, 0x02, 0x03, 0x80, 0x81, 0x82, 0x83, 0x86, 0x87, 0x8a, 0x8b, 0x82, 0x8a, 0x83};
    size_t size = 14;
    memcpy(out, like->bytes, 14);
    out[size++] = 0;
    for (uint32_t frames = 1 + below(4); frames > 0 && size < 1250; frames--) {
        const uint8_t type = types[below(sizeof types)];
        uint32_t length = below(3) == 0 ? 1100 : 1 + below(60);
        if (size + length > 1400) {
            length = 1;
        }
        out[size++] = type;
        if (type == 0x02 || type == 0x03) {
            fill(NULL, out + size, 8);
            size += 8;
        }
        if (type < 0x80) {
            continue;
        }
        if (type > 0x80) {
            const uint32_t stream = (type & 3) == 3 ? 0 : below(below(4) == 0 ? 4096 : 20);
            out[size++] = (uint8_t)(stream | 0x80);
            out[size++] = (uint8_t)(stream >> 7);
            out[size++] = (uint8_t)below(below(4) == 0 ? 256 : 8);
            out[size++] = (uint8_t)(below(8) == 0 ? below(4) : 0);
        }
        if ((type & 0x0c) == 4) {
            const uint32_t total = 1101 + below(below(4) == 0 ? 260000 : 5000);
            out[size++] = (uint8_t)(total | 0x80);
            out[size++] = (uint8_t)(total >> 7 | 0x80);
            out[size++] = (uint8_t)(total >> 14);
            length = 1100;
        }
        if (size + length + 2 > GSRT_LINK_DATAGRAM_MAX - 16) {
            break;
        }
        out[size++] = (uint8_t)(length | 0x80);
        out[size++] = (uint8_t)(length >> 7);
        fill(NULL, out + size, length < 4 ? length : 4);
        size += length;
    }
    memset(out + size, 0, 16);
    return size + (draw() & 1 ? 16 : 0);
}

static size_t mutate(uint8_t *out, const datagram *from, uint32_t wild)
{
    const datagram *other = &kept[below(KEPT)];
    size_t size = from->size;
    memcpy(out, from->bytes, size);
    if (below(100) >= wild) {
        switch (size < 40 ? below(2) : below(3)) {
        case 0: /* another number */
            out[10 + below(below(8) == 0 ? 4 : 1)] ^= (uint8_t)(1u << below(8));
            break;
        case 1: /* something else is acknowledged */
            if (size > 21 && out[14] > 0) {
                /* A number that was never sent ends the connection: rather one of those that were. */
                const uint32_t low = out[15], fewer = below(below(50) == 0 ? 256 : low < 12 ? low + 1 : 12);
                out[15] = (uint8_t)(low - fewer);
                for (uint32_t i = 1; i < out[14] && 20 + i < size; i++) {
                    out[20 + i] ^= (uint8_t)(out[16] > 0 || i * 8 <= low - fewer ? draw() : 0);
                }
            }
            break;
        default: /* within a message */
            out[size - 17 - below(10)] = (uint8_t)draw();
        }
        return size;
    }
    if (below(3) == 0) {
        return invent(out, from);
    }
    for (uint32_t changes = 1 + below(4); changes > 0 && size > 0; changes--) {
        /* rather the first bytes of the body, where most of the sense is */
        size_t at = below(4) == 0 || size < 15 ? below((uint32_t)size) : 14 + below((uint32_t)(size - 14 < 40 ? size - 14 : 40));
        at = at < size ? at : size - 1;
        switch (below(6)) {
        case 0:
            out[at] ^= (uint8_t)(1u << below(8));
            break;
        case 1:
            out[at] = (uint8_t)draw();
            break;
        case 2:
            size = at + 1;
            break;
        case 3:
            memmove(out + at, out + at + 1, size - at - 1);
            size--;
            break;
        case 4:
            if (size < GSRT_LINK_DATAGRAM_MAX) {
                memmove(out + at + 1, out + at, size - at);
                out[at] = (uint8_t)draw();
                size++;
            }
            break;
        default:
            if (other->size > at) {
                memcpy(out + at, other->bytes + at, other->size - at);
                size = other->size;
            }
        }
    }
    return size;
}

static void flush(int index, uint64_t limit)
{
    uint8_t changed[GSRT_LINK_DATAGRAM_MAX];
    datagram made;
    uint32_t rounds = 0;
    while ((made.size = gsrt_link_poll_datagram(links[index], made.bytes, sizeof made.bytes, now)) > 0) {
        check(++rounds < ROUNDS_MAX, "datagrams without end");
        check(made.size <= sizeof made.bytes, "a datagram that is too long");
        kept[below(KEPT)] = made;
        gsrt_link *other = links[1 - index];
        for (uint32_t copies = below(3); copies > 0 && received < limit; copies--) {
            receive(other, changed, mutate(changed, &made, wildness[1 - index]));
            take_events(other);
        }
        if (below(10) != 0) {
            receive(other, made.bytes, made.size);
            if (below(10) != 0) {
                take_events(other);
            }
        }
        if (below(20) == 0) {
            receive(other, kept[below(KEPT)].bytes, below(1 + GSRT_LINK_DATAGRAM_MAX));
        }
    }
}

/* What servers say of themselves: right, but for some bytes. */
static void read_notices(void)
{
    static const char *const words[] = {"", "attic", "Gro\xc3\x9fvater", "\xf0\x9f\x8e\xb2", "\xe2\x80\xae", "\x1b[2J"};
    static const uint8_t most[] = {24, 64, 64};
    uint8_t bytes[GSRT_SEEK_BYTES] = {0, 8, 1, 0};
    gsrt_notice notice;
    size_t size = 30;
    bytes[1] = (uint8_t)(8 + below(2));
    fill(NULL, bytes + 4, size - 4);
    for (int i = 0; i < 3; i++) {
        const size_t length = below(most[i] + 1u);
        bytes[size] = (uint8_t)length;
        memset(bytes + size + 1, 'n', length);
        const char *word = words[below(sizeof words / sizeof words[0])];
        if (strlen(word) <= length) {
            memcpy(bytes + size + 1 + below((uint32_t)(length - strlen(word) + 1)), word, strlen(word));
        }
        size += 1 + length;
    }
    for (uint32_t changes = below(4); changes > 0; changes--) {
        bytes[below((uint32_t)size)] = (uint8_t)draw();
    }
    size = below(4) == 0 ? below((uint32_t)sizeof bytes + 1) : size;
    uint8_t *copy = malloc(size + (size == 0));
    check(copy != NULL, "no memory");
    memcpy(copy, bytes, size);
    memset(&notice, 'x', sizeof notice);
    if (gsrt_here_read(&notice, copy, size, bytes + 4) || gsrt_beacon_read(&notice, copy, size)) {
        check(notice.port != 0, "a notice without a port");
        check(memchr(notice.version, 0, sizeof notice.version) != NULL && notice.version[0] != 0, "a version of no length");
        check(memchr(notice.name, 0, sizeof notice.name) != NULL && notice.name[0] != 0, "a name of no length");
        check(memchr(notice.game, 0, sizeof notice.game) != NULL, "a game without an end");
        notices++;
    } else {
        check(notice.version[0] == 'x' && notice.game[sizeof notice.game - 1] == 'x', "a refused notice was written");
    }
    free(copy);
}

int main(int argc, char **argv)
{
    state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const uint64_t limit = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
    begin(0);
    begin(1);
    while (received < limit) {
        const int index = (int)below(LINKS);
        gsrt_link *link = links[index];
        if (gsrt_link_state(link) != GSRT_LINK_OPEN) {
            take_events(link);
            check(!gsrt_link_receive(link, kept[0].bytes, kept[0].size, now), "taken by a link that is closed");
            closed++;
            begin(index);
            continue;
        }
        read_notices();
        for (uint32_t sends = below(5); sends > 0; sends--) {
            send_some(link);
        }
        flush(index, limit);
        double next = gsrt_link_next_timer(link);
        check(next >= now - 1000 && next <= GSRT_LINK_NEVER, "a timer that is none");
        now = below(4) == 0 && next > now && next < now + 20 ? next : now + below(20) / 1000.0;
        gsrt_link_handle_timer(link, now);
        if (below(500) == 0) {
            gsrt_link_path_changed(link, now);
        }
        if (below(2000) == 0) {
            gsrt_link_close(link, 0, "left", now);
        }
        flush(index, limit);
        take_events(link);
        gsrt_link_quality quality;
        gsrt_link_quality_of(link, &quality);
        check(quality.loss >= 0 && quality.loss <= 1 && quality.congestion_window >= 4800, "an estimate out of bounds");
        check(quality.waiting_bytes <= 4194304, "more waits than was sent");
    }
    printf("%llu datagrams, %llu taken, %llu messages, %llu links closed, %llu refused, %llu notices\n",
           (unsigned long long)received, (unsigned long long)taken, (unsigned long long)messages, (unsigned long long)closed,
           (unsigned long long)refused, (unsigned long long)notices);
    for (int i = 0; i < LINKS; i++) {
        free(memory[i]);
    }
    return 0;
}
