/* traffic.c - see traffic.h */
#define _GNU_SOURCE
#include "traffic.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
	COUNTER_BASE = 1 << 27, /* so that the varint of a counter always takes 5 bytes ... */
	AUTHOR_BASE = 8192,     /* ... and that of a client number 3 */
	COUNTER_AT = 1,         /* offsets inside the data */
	AUTHOR_AT = 7,
	FIXED_AT = 10,
	DATA_AT = 6,            /* inside the packet */
	PAYLOAD_AT = DATA_AT + DATA_BYTES + 2,
};
static const uint64_t STALL_NS = 1000000000; /* silence after which a run is given up */
static const uint64_t SILENCE_NS = 300000000; /* silence at the end after which what is missing is lost */

struct client {
	uint32_t sent;
	uint64_t delivered;
	uint32_t *expected; /* by place of the sender in the room: the counter that comes next */
	uint8_t packet[PACKET_BYTES];
};

struct options options = {.room_size = 4, .window = 1, .seconds = 2, .warm_up = 0.5, .mode = "", .file = ""};
struct damage damage;

static struct client *clients;
static int *ready, ready_count, ready_room; /* closed loop: clients that may send their next packet */
static int turn; /* closed loop with a total: the client whose turn it is */
static uint64_t sent_total, delivered_total;
static char first_note[160];

uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static void print_json_text(const char *text)
{
	putchar('"');
	for (; *text; text++) putchar(*text == '"' || *text == '\\' || (unsigned char)*text < 32 ? '\'' : *text);
	putchar('"');
}

void fail(const char *format, ...)
{
	char text[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	printf("{\"error\": ");
	print_json_text(text);
	printf("}\n");
	exit(1);
}

void note(const char *format, ...)
{
	if (first_note[0]) return;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(first_note, sizeof first_note, format, arguments);
	va_end(arguments);
}

void read_options(int argc, char **argv)
{
	static const struct option names[] = {
		{"port", required_argument, NULL, 'p'},    {"pid", required_argument, NULL, 'i'},
		{"clients", required_argument, NULL, 'c'}, {"room", required_argument, NULL, 'o'},
		{"window", required_argument, NULL, 'w'},  {"rate", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'}, {"warm-up", required_argument, NULL, 'u'},
		{"in-flight", required_argument, NULL, 'l'},
		{"mode", required_argument, NULL, 'm'},    {"file", required_argument, NULL, 'f'},
		{0},
	};
	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		switch (c) {
		case 'p': options.port = atoi(optarg); break;
		case 'i': options.pid = atoi(optarg); break;
		case 'c': options.clients = atoi(optarg); break;
		case 'o': options.room_size = atoi(optarg); break;
		case 'w': options.window = atoi(optarg); break;
		case 'l': options.in_flight = atoi(optarg); break;
		case 'r': options.rate = atof(optarg); break;
		case 's': options.seconds = atof(optarg); break;
		case 'u': options.warm_up = atof(optarg); break;
		case 'm': options.mode = optarg; break;
		case 'f': options.file = optarg; break;
		default: fail("unknown option");
		}
	}
	if (options.port <= 0 || options.pid <= 0 || options.room_size < 2 || options.clients < options.room_size ||
	    options.clients % options.room_size || options.window < 1 || options.seconds <= 0)
		fail("needs --port, --pid and --clients, a multiple of --room");
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

/* ---- the packet: opCode 100; data {1 counter, 2 author, 3 vector, 4 float, 5 double}; 12 bytes of payload ---- */

static void put_long(uint8_t *at, int bytes, uint64_t value)
{
	uint64_t zigzag = value << 1;
	for (int i = 0; i < bytes; i++, zigzag >>= 7) at[i] = (zigzag & 127) | (i < bytes - 1 ? 128 : 0);
}

static uint64_t get_long(const uint8_t *at, int bytes)
{
	uint64_t zigzag = 0;
	for (int i = bytes - 1; i >= 0; i--) zigzag = zigzag << 7 | (at[i] & 127);
	return zigzag >> 1;
}

static void make_packet(uint8_t *packet, int author)
{
	static const float vector[3] = {1.25f, -2.5f, 1000.125f}, single = 0.75f;
	static const double twice = 3.14159;
	uint8_t *data = packet + DATA_AT, *payload = packet + PAYLOAD_AT;
	memcpy(packet, (uint8_t[]){PACKET_BYTES - 1, 0x08, 0xc8, 0x01, 0x72, DATA_BYTES}, DATA_AT);
	data[COUNTER_AT - 1] = 1 << 3;
	put_long(data + COUNTER_AT, 5, COUNTER_BASE);
	data[AUTHOR_AT - 1] = 2 << 3;
	put_long(data + AUTHOR_AT, 3, AUTHOR_BASE + author);
	memcpy(data + FIXED_AT, (uint8_t[]){3 << 3 | 2, 14, 0x12, 12}, 4);
	memcpy(data + FIXED_AT + 4, vector, sizeof vector);
	data[FIXED_AT + 16] = 4 << 3 | 5;
	memcpy(data + FIXED_AT + 17, &single, sizeof single);
	data[FIXED_AT + 21] = 5 << 3 | 1;
	memcpy(data + FIXED_AT + 22, &twice, sizeof twice);
	payload[-2] = 0x7a;
	payload[-1] = PAYLOAD_BYTES;
	for (int i = 0; i < PAYLOAD_BYTES; i++) payload[i] = i * 7 + 1;
}

const uint8_t *next_packet(int client)
{
	struct client *c = &clients[client];
	put_long(c->packet + DATA_AT + COUNTER_AT, 5, COUNTER_BASE + c->sent++);
	sent_total++;
	return c->packet;
}

int judge_delivery(int receiver, const uint8_t *data, const uint8_t *payload)
{
	const uint8_t *model = clients[0].packet;
	if (data[COUNTER_AT - 1] != 1 << 3 || data[AUTHOR_AT - 1] != 2 << 3 ||
	    memcmp(data + FIXED_AT, model + DATA_AT + FIXED_AT, DATA_BYTES - FIXED_AT) ||
	    memcmp(payload, model + PAYLOAD_AT, PAYLOAD_BYTES)) {
		damage.corrupt++;
		note("client %d got a packet with other content", receiver);
		return -1;
	}
	uint64_t author = get_long(data + AUTHOR_AT, 3) - AUTHOR_BASE;
	uint32_t counter = get_long(data + COUNTER_AT, 5) - COUNTER_BASE;
	if (author >= (uint64_t)options.clients || (int)author == receiver ||
	    (int)author / options.room_size != receiver / options.room_size || counter >= clients[author].sent) {
		damage.misdelivered++;
		note("client %d got packet %u of client %d", receiver, (unsigned)counter, (int)author);
		return -1;
	}
	uint32_t *expected = &clients[receiver].expected[author % options.room_size];
	if (counter != *expected) {
		damage.disordered++;
		note("client %d got packet %u of client %d where %u had to come", receiver, (unsigned)counter, (int)author,
		     (unsigned)*expected);
	}
	*expected = counter + 1;
	delivered_total++;
	if (++clients[author].delivered % (options.room_size - 1) == 0 && ready_count < ready_room)
		ready[ready_count++] = options.in_flight ? turn++ % options.clients : (int)author;
	return author;
}

bool judge_plain_packets(int receiver, const uint8_t *bytes, int length)
{
	const uint8_t *model = clients[0].packet;
	bool whole = length % PACKET_BYTES == 0;
	for (; whole && length; bytes += PACKET_BYTES, length -= PACKET_BYTES) {
		whole = !memcmp(bytes, model, DATA_AT) && !memcmp(bytes + PAYLOAD_AT - 2, model + PAYLOAD_AT - 2, 2);
		if (whole) judge_delivery(receiver, bytes + DATA_AT, bytes + PAYLOAD_AT);
	}
	if (!whole) {
		damage.corrupt++;
		note("client %d got bytes that are no packet", receiver);
	}
	return whole;
}

/* ---- the measured process ---- */

static uint64_t server_cpu_ns(void)
{
	clockid_t clock;
	struct timespec t;
	if (clock_getcpuclockid(options.pid, &clock) || clock_gettime(clock, &t)) fail("the server has ended");
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static uint64_t own_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static long server_rss_kb(void)
{
	char path[64], line[256];
	long kb = 0;
	snprintf(path, sizeof path, "/proc/%d/status", options.pid);
	FILE *status = fopen(path, "r");
	while (status && fgets(line, sizeof line, status))
		if (sscanf(line, "VmRSS: %ld", &kb) == 1) break;
	if (status) fclose(status);
	return kb;
}

/* ---- the loops ---- */

static struct {
	uint64_t start, sent; /* of the open loop */
} pace;

/* Sends what is due. Returns how long the next packet takes to be due. */
static uint64_t send_due(void)
{
	if (options.rate <= 0) {
		for (int i = 0; i < ready_count; i++) transport_send(ready[i]);
		ready_count = 0;
		return 5000000;
	}
	ready_count = 0;
	for (;;) {
		uint64_t due = pace.start + (uint64_t)(pace.sent * 1e9 / (options.rate * options.clients)), now = now_ns();
		if (due > now) return due - now;
		transport_send(pace.sent++ % options.clients);
	}
}

/* Keeps traffic up until `end`. Returns false when nothing at all arrived for STALL_NS. */
static bool keep_up(uint64_t end)
{
	uint64_t delivered = delivered_total, last = now_ns();
	for (uint64_t now = last; now < end; now = now_ns()) {
		if (delivered_total != delivered) {
			delivered = delivered_total;
			last = now;
		} else if (now - last > STALL_NS) {
			note("nothing more arrived");
			return false;
		}
		transport_wait(send_due());
	}
	return true;
}

static void drain(void)
{
	uint64_t delivered = delivered_total, last = now_ns();
	while (delivered_total < sent_total * (options.room_size - 1) && now_ns() - last < SILENCE_NS) {
		transport_wait(5000000);
		ready_count = 0;
		if (delivered_total != delivered) {
			delivered = delivered_total;
			last = now_ns();
		}
	}
	transport_wait(20000000); /* what came twice would come now */
}

void run_traffic(void)
{
	const int fan_out = options.room_size - 1;
	clients = calloc(options.clients, sizeof *clients);
	/* More than all in flight cannot be freed at once. */
	ready_room = options.in_flight ? options.in_flight : options.clients * options.window;
	ready = calloc(ready_room, sizeof *ready);
	for (int i = 0; i < options.clients; i++) {
		clients[i].expected = calloc(options.room_size, sizeof *clients[i].expected);
		make_packet(clients[i].packet, i);
	}
	for (int i = 0; options.rate <= 0 && i < ready_room; i++)
		ready[ready_count++] = turn++ % options.clients;
	pace.start = now_ns();

	bool flowing = keep_up(pace.start + (uint64_t)(options.warm_up * 1e9));
	uint64_t cpu = server_cpu_ns(), own = own_cpu_ns(), from = now_ns(), deliveries = delivered_total;
	if (flowing) keep_up(from + (uint64_t)(options.seconds * 1e9));
	uint64_t to = now_ns();
	cpu = server_cpu_ns() - cpu;
	own = own_cpu_ns() - own;
	deliveries = delivered_total - deliveries;
	long rss = server_rss_kb();
	drain();

	double span = to - from, packets = (double)deliveries / fan_out;
	long long lost = (long long)(sent_total * fan_out) - (long long)delivered_total;
	printf("{\"packet_bytes\": %d, \"packets\": %.0f, \"packets_per_second\": %.0f, \"cpu_us_per_packet\": %.4f, "
	       "\"server_share\": %.3f, \"generator_share\": %.3f, \"rss_kb\": %ld, \"lost\": %lld, \"corrupt\": %llu, "
	       "\"misdelivered\": %llu, \"disordered\": %llu, \"disconnected\": %llu, \"note\": ",
	       PACKET_BYTES, packets, span > 0 ? packets / span * 1e9 : 0, packets > 0 ? cpu / 1e3 / packets : 0,
	       span > 0 ? cpu / span : 0, span > 0 ? own / span : 0, rss, lost, (unsigned long long)damage.corrupt,
	       (unsigned long long)damage.misdelivered, (unsigned long long)damage.disordered,
	       (unsigned long long)damage.disconnected);
	print_json_text(first_note);
	printf("}\n");
}
