/* mutants.c - datagrams for the links of a server, made out of genuine ones and sent in batches.
 *
 * A victim is a connection of suite 0, whose datagrams can be made without keys: frames in order and out of it, messages in
 * pieces, acknowledgements of what the server has sent, answers to its challenges; then some bytes of that are changed. What
 * was recorded elsewhere, handshakes and encrypted datagrams, is changed as bytes. Used through ctypes: see harness.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum {
	HEADER = 14, LONGEST = 1472, MOST = 1600, BATCH = 64, CHANNELS = 16, FRAGMENT = 1100, RECORDS = 512, PACKETS = 64,
	DATA = 6, CHALLENGE = 2, RESPONSE = 3, CLOSE = 4, UNRELIABLE = 0, SEQUENCED = 1, ORDERED = 2, UNORDERED = 3,
	MESSAGE = 0x80, BEGIN = 4, MORE = 8, VICTIMS_MAX = 256,
};

struct message {            /* in pieces, and not ended */
	uint32_t total, at;
};

struct victim {
	uint8_t connection[8];
	uint32_t next;          /* number of the next datagram */
	uint32_t heard;         /* highest number that the server has sent */
	uint8_t has_heard, has_challenge, is_new;
	uint8_t challenge[8];
	uint16_t sequenced[CHANNELS], ordered[CHANNELS], unordered;
	struct message in_order[CHANNELS], free;
};

static struct victim victims[VICTIMS_MAX];
static uint8_t records[RECORDS][LONGEST], packets[PACKETS][64];
static int record_count, record_sizes[RECORDS], packet_count, packet_sizes[PACKETS];
static uint64_t state;
static uint64_t bytes_out, bytes_in, datagrams_out, changed;

static uint64_t draw(void)
{
	uint64_t mixed = state += UINT64_C(0x9e3779b97f4a7c15);
	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ mixed >> 31;
}

static uint32_t below(uint32_t limit) { return (uint32_t)((draw() & 0xffffffff) * limit >> 32); }

static bool one_in(uint32_t chance) { return below(chance) == 0; }

static void put16(uint8_t *at, uint32_t value) { at[0] = (uint8_t)value, at[1] = (uint8_t)(value >> 8); }

static void put32(uint8_t *at, uint32_t value) { put16(at, value), put16(at + 2, value >> 16); }

static uint32_t get32(const uint8_t *at) { return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24; }

static uint8_t *put_varint(uint8_t *at, uint32_t value)
{
	for (; value > 127; value >>= 7) *at++ = (uint8_t)(value | 128);
	*at++ = (uint8_t)value;
	return at;
}

static void fill(uint8_t *at, int size)
{
	for (int i = 0; i < size; i++) at[i] = (uint8_t)draw();
}

/* ---- for Python */

void mutants_seed(uint64_t seed) { state = seed; }

void mutants_record(const uint8_t *datagram, int size)
{
	int at = record_count < RECORDS ? record_count++ : (int)below(RECORDS);
	memcpy(records[at], datagram, size);
	record_sizes[at] = size;
}

void mutants_packet(const uint8_t *packet, int size)
{
	memcpy(packets[packet_count], packet, size);
	packet_sizes[packet_count++] = size;
}

void mutants_victim(int which, const uint8_t *connection)
{
	memset(&victims[which], 0, sizeof victims[which]);
	memcpy(victims[which].connection, connection, 8);
	victims[which].is_new = true;
}

uint64_t mutants_bytes_out(void) { return bytes_out; }
uint64_t mutants_bytes_in(void) { return bytes_in; }
uint64_t mutants_datagrams_out(void) { return datagrams_out; }
uint64_t mutants_changed(void) { return changed; }

/* ---- frames */

static uint8_t *put_packet(uint8_t *at, int which)
{
	int size = packet_sizes[which];
	at = put_varint(at, size);
	memcpy(at, packets[which], size);
	return at + size;
}

static uint8_t *put_frame(uint8_t *at, const uint8_t *end, struct victim *victim)
{
	uint32_t channel = one_in(3) ? below(CHANNELS) : 0, length, total;
	int kind = below(4), which = below(packet_count);
	struct message *message = kind == UNORDERED ? &victim->free : &victim->in_order[channel];
	uint16_t *sequence = kind == UNORDERED ? &victim->unordered : kind == ORDERED ? &victim->ordered[channel] : &victim->sequenced[channel];
	if (one_in(40)) {
		*at++ = 1;
		return at;
	}
	if (one_in(60)) {
		*at++ = one_in(2) ? CHALLENGE : RESPONSE;
		fill(at, 8);
		return at + 8;
	}
	if (one_in(2000)) {
		length = below(30);
		*at++ = CLOSE, *at++ = (uint8_t)draw(), *at++ = (uint8_t)length;
		fill(at, length);
		return at + length;
	}
	if (kind == UNRELIABLE) {
		*at++ = MESSAGE;
		return put_packet(at, which);
	}
	if (kind == UNORDERED) channel = 0;
	if (kind == SEQUENCED || (message->total == 0 && !one_in(12))) {
		uint16_t number = one_in(12) ? (uint16_t)(*sequence + below(one_in(20) ? 65536 : 60) - 5) : (*sequence)++;
		*at++ = (uint8_t)(MESSAGE | kind);
		at = put_varint(at, channel);
		put16(at, number);
		return put_packet(at + 2, which);
	}
	if (end - at < FRAGMENT + 20) return at;
	if (message->total == 0) {
		message->total = FRAGMENT + 1 + below(one_in(20) ? one_in(8) ? 262144 : 60000 : 8000);
		message->at = 0;
	}
	total = message->total;
	length = total - message->at < FRAGMENT ? total - message->at : FRAGMENT;
	*at++ = (uint8_t)(MESSAGE | kind | (message->at ? MORE : BEGIN));
	at = put_varint(at, channel);
	put16(at, (*sequence)++);
	at += 2;
	if (message->at == 0) at = put_varint(at, total);
	at = put_varint(at, length);
	memset(at, 0, length);
	memcpy(at, packets[which], packet_sizes[which] < (int)length ? packet_sizes[which] : (int)length);
	message->at += length;
	if (message->at == total) message->total = 0;
	return at + length;
}

static uint8_t *put_ack(uint8_t *at, const struct victim *victim)
{
	uint32_t bits = below(one_in(8) ? 33 : 4), largest = victim->heard - (one_in(4) ? below(300) : below(2));
	if (!victim->has_heard || one_in(3)) {
		*at++ = 0;
		return at;
	}
	if (largest > victim->heard && !one_in(50)) largest = victim->heard;
	if (largest < bits * 8) bits = largest / 8;
	*at++ = (uint8_t)(bits + 1);
	put32(at, largest);
	put16(at + 4, one_in(10) ? below(65536) : below(200));
	fill(at + 6, bits);
	if (one_in(2)) memset(at + 6, 0xff, bits);
	return at + 6 + bits;
}

/* Changes some bytes from `from` on: the size that comes of it. */
static int change(uint8_t *bytes, int from, int size)
{
	static const uint8_t special[] = {0, 1, 2, 3, 4, 0x7f, 0x80, 0x81, 0x82, 0x83, 0x86, 0x87, 0x8a, 0x8b, 0xff};
	changed++;
	for (uint32_t left = 1 + below(3); left && size > from; left--) {
		int at = from + below(size - from), length = 1 + below(one_in(4) ? 200 : 4);
		switch (below(7)) {
		case 0:
		case 1:
			bytes[at] ^= (uint8_t)(1 << below(8));
			break;
		case 2:
			bytes[at] = special[below(sizeof special)];
			break;
		case 3:
			bytes[at] = (uint8_t)draw();
			break;
		case 4:
			if (size + length > LONGEST) break;
			memmove(bytes + at + length, bytes + at, size - at);
			if (one_in(2)) fill(bytes + at, length);
			size += length;
			break;
		case 5:
			if (at + length > size) length = size - at;
			memmove(bytes + at, bytes + at + length, size - at - length);
			size -= length;
			break;
		default:
			size = one_in(2) ? at : size < LONGEST ? size + 1 : size;
		}
	}
	return size;
}

/* The next datagram of a victim: its size. */
static int make(uint8_t *out, struct victim *victim, bool elsewhere)
{
	uint8_t *at = out + HEADER;
	const uint8_t *end = out + LONGEST;
	uint32_t number = victim->next;
	int size;
	if (one_in(30)) number = victim->next - below(300);
	else if (one_in(30)) number = victim->next += below(one_in(20) ? 1 << 20 : 300);
	else if (one_in(4000)) number = victim->next = (uint32_t)draw();
	if (number == victim->next) victim->next++;
	out[0] = 0, out[1] = DATA;
	memcpy(out + 2, victim->connection, 8);
	put32(out + 10, number);
	at = put_ack(at, victim);
	if (victim->has_challenge && elsewhere) {
		*at++ = RESPONSE;
		memcpy(at, victim->challenge, 8);
		at += 8;
		victim->has_challenge = false;
	}
	if (victim->is_new) {
		*at++ = MESSAGE | ORDERED, *at++ = 0;
		put16(at, victim->ordered[0]++);
		at = put_packet(at + 2, 0);     /* PlayerReady */
		victim->is_new = false;
		return (int)(at - out);
	}
	for (uint32_t frames = 1 + below(5); frames && end - at > 100; frames--) at = put_frame(at, end, victim);
	if (one_in(30)) {
		int padding = below((uint32_t)(end - at) + 1);
		memset(at, 0, padding);
		at += padding;
	}
	size = (int)(at - out);
	/* Some live long, or nothing would ever be full. */
	if (one_in((victim - victims) % 3 ? 1 : 400)) size = change(out, one_in(40) ? 2 : HEADER, size);
	return size;
}

/* ---- sockets */

static uint8_t buffers[BATCH][MOST];
static struct mmsghdr headers[BATCH];
static struct iovec parts[BATCH];

static int send_all(int fd, const int *sizes, int count)
{
	for (int i = 0; i < count; i++) {
		parts[i] = (struct iovec){buffers[i], sizes[i]};
		headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
		bytes_out += sizes[i];
	}
	for (int at = 0; at < count;) {
		int sent = sendmmsg(fd, headers + at, count - at, 0);
		if (sent < 0 && errno != EINTR) return -1;
		if (sent > 0) at += sent;
	}
	datagrams_out += count;
	return count;
}

/* One datagram of each victim from `first` on, by `fd`: how many; -1: the socket does not take them. */
int mutants_send(int fd, int first, int count, bool elsewhere)
{
	int sizes[BATCH];
	for (int i = 0; i < count; i++) sizes[i] = make(buffers[i], &victims[first + i], elsewhere);
	return send_all(fd, sizes, count);
}

/* Recorded datagrams, changed. */
int mutants_send_records(int fd, int count)
{
	int sizes[BATCH];
	for (int i = 0; i < count; i++) {
		int which = below(record_count);
		memcpy(buffers[i], records[which], record_sizes[which]);
		sizes[i] = one_in(6) ? record_sizes[which] : change(buffers[i], one_in(3) ? 0 : 2, record_sizes[which]);
	}
	return send_all(fd, sizes, count);
}

/* Takes what the server has sent to `fd`: how many datagrams. */
int mutants_drain(int fd, int victim_count)
{
	int total = 0;
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){buffers[i], MOST};
			headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
		}
		int got = recvmmsg(fd, headers, BATCH, MSG_DONTWAIT, NULL);
		if (got <= 0) return total;
		total += got;
		for (int i = 0; i < got; i++) {
			const uint8_t *bytes = buffers[i];
			uint32_t size = headers[i].msg_len;
			bytes_in += size;
			if (size <= HEADER || bytes[1] != DATA) continue;
			for (int v = 0; v < victim_count; v++) {
				struct victim *victim = &victims[v];
				if (memcmp(victim->connection, bytes + 2, 8)) continue;
				uint32_t number = get32(bytes + 10), ack = bytes[HEADER] ? 6 + bytes[HEADER] : 1;
				if (!victim->has_heard || number > victim->heard) victim->heard = number;
				victim->has_heard = true;
				if (size >= HEADER + ack + 9 && bytes[HEADER + ack] == CHALLENGE) {
					memcpy(victim->challenge, bytes + HEADER + ack + 1, 8);
					victim->has_challenge = true;
				}
				break;
			}
		}
	}
}
