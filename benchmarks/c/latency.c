/* latency.c - see latency.h */
#define _GNU_SOURCE
#include "latency.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AUTHOR_AT = 0, COUNTER_AT = 4, FILLING_AT = 8, CHANNELS_MAX = 15, PAYLOAD_AT = PACKET_BYTES - LATENCY_PAYLOAD };
static const uint64_t SILENCE_NS = UINT64_C(10000000000); /* after the last delivery; what is missing then is lost */
static const double SHARES[] = {0.5, 0.9, 0.99, 0.999};
static const char *const SHARE_NAMES[] = {"p50_ms", "p90_ms", "p99_ms", "p999_ms"};

struct author {
	uint32_t sent;
	uint64_t *sent_at;  /* by counter */
	uint32_t *expected; /* by place of the receiver in the room and channel: the counter that comes next */
};

int latency_channels;
static struct author *authors;
static uint8_t packet[PACKET_BYTES];
static uint64_t packets_max, delivered, measured, measured_from, measured_to;
static uint32_t *latencies; /* microseconds */

struct sockaddr_in latency_options(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	read_options(argc, argv);
	if (argc - optind != 2 || !inet_aton(argv[optind], &to.sin_addr)) fail("after the options: HOST CHANNELS");
	latency_channels = atoi(argv[optind + 1]);
	if (latency_channels < 1 || latency_channels > CHANNELS_MAX) fail("1 to %d channels", CHANNELS_MAX);
	to.sin_port = htons(options.port);
	return to;
}

/* ---- the packet: opCode 100; a payload of author, counter and filling ---- */

static uint32_t *expectation(int author, int receiver, int channel)
{
	return &authors[author].expected[receiver % options.room_size * latency_channels + channel - 1];
}

const uint8_t *latency_packet(int client, int *channel)
{
	struct author *author = &authors[client];
	if (author->sent == packets_max) fail("client %d has sent all that there is room for", client);
	memcpy(packet + PAYLOAD_AT + AUTHOR_AT, &client, sizeof client);
	memcpy(packet + PAYLOAD_AT + COUNTER_AT, &author->sent, sizeof author->sent);
	*channel = author->sent % latency_channels + 1;
	author->sent_at[author->sent++] = now_ns();
	return packet;
}

int latency_judge(int receiver, const uint8_t *payload, int length, int channel)
{
	uint32_t author, counter, *expected;
	if (length != LATENCY_PAYLOAD || memcmp(payload + FILLING_AT, packet + PAYLOAD_AT + FILLING_AT, LATENCY_PAYLOAD - FILLING_AT))
		fail("client %d got a packet with other content", receiver);
	memcpy(&author, payload + AUTHOR_AT, sizeof author);
	memcpy(&counter, payload + COUNTER_AT, sizeof counter);
	if (author >= (uint32_t)options.clients || (int)author == receiver ||
	    (int)author / options.room_size != receiver / options.room_size || counter >= authors[author].sent)
		fail("client %d got packet %u of client %u", receiver, counter, author);
	int own = counter % latency_channels + 1;
	if (channel && channel != own) fail("client %d got a packet of channel %d over channel %d", receiver, own, channel);
	expected = expectation(author, receiver, own);
	if (counter != *expected)
		fail("client %d got packet %u of client %u where %u had to come", receiver, counter, author, *expected);
	*expected += latency_channels;
	delivered++;
	uint64_t sent_at = authors[author].sent_at[counter];
	if (sent_at >= measured_from && sent_at < measured_to) latencies[measured++] = (now_ns() - sent_at) / 1000;
	return author;
}

/* ---- the traffic ---- */

static void prepare(void)
{
	packets_max = (uint64_t)((options.warm_up + options.seconds + 1) * options.rate) + 1;
	memcpy(packet, (uint8_t[]){PACKET_BYTES - 1, 0x08, 0xc8, 0x01, 0x7a, LATENCY_PAYLOAD}, PAYLOAD_AT);
	for (int i = FILLING_AT; i < LATENCY_PAYLOAD; i++) packet[PAYLOAD_AT + i] = i * 7 + 1;
	authors = calloc(options.clients, sizeof *authors);
	for (int i = 0; i < options.clients; i++) {
		authors[i].sent_at = calloc(packets_max, sizeof *authors[i].sent_at);
		authors[i].expected = calloc(options.room_size * latency_channels, sizeof *authors[i].expected);
		for (int j = 0; j < options.room_size * latency_channels; j++) authors[i].expected[j] = j % latency_channels;
	}
	latencies = calloc(packets_max * options.clients * (options.room_size - 1), sizeof *latencies);
}

/* Those of one room do not send one right after the other: a relay could gather that, which players' clocks do not allow. */
static int whose_turn(uint64_t number)
{
	int rooms = options.clients / options.room_size;
	return number % rooms * options.room_size + number / rooms % options.room_size;
}

static uint64_t send_until(uint64_t end)
{
	uint64_t start = now_ns(), sent = 0;
	for (uint64_t now = start; now < end; now = now_ns()) {
		uint64_t due = end;
		while (options.rate > 0 && (due = start + (uint64_t)(sent * 1e9 / (options.rate * options.clients))) <= now)
			transport_send(whose_turn(sent++));
		transport_wait(due - now);
	}
	return sent;
}

static int ascending(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
	return (a > b) - (a < b);
}

void latency_run(void)
{
	prepare();
	measured_from = now_ns() + (uint64_t)(options.warm_up * 1e9);
	measured_to = measured_from + (uint64_t)(options.seconds * 1e9);
	uint64_t sent = send_until(measured_to), expected = sent * (options.room_size - 1), before = delivered;
	for (uint64_t last = now_ns(); delivered < expected; before = delivered) {
		transport_wait(5000000);
		if (delivered != before) last = now_ns();
		if (now_ns() - last > SILENCE_NS) fail("%llu deliveries are missing", (unsigned long long)(expected - delivered));
	}
	for (uint64_t end = now_ns() + 300000000; now_ns() < end;) transport_wait(5000000); /* what comes twice would come now */

	double sum = 0;
	qsort(latencies, measured, sizeof *latencies, ascending);
	for (uint64_t i = 0; i < measured; i++) sum += latencies[i];
	printf("{\"packets\": %llu, \"deliveries\": %llu, \"mean_ms\": %.3f", (unsigned long long)sent,
	       (unsigned long long)measured, measured ? sum / 1e3 / measured : 0);
	for (size_t i = 0; i < sizeof SHARES / sizeof *SHARES; i++) /* the nearest rank */
		printf(", \"%s\": %.3f", SHARE_NAMES[i], measured ? latencies[(uint64_t)(SHARES[i] * (measured - 1) + 0.5)] / 1e3 : 0);
	printf(", \"worst_ms\": %.3f}\n", measured ? latencies[measured - 1] / 1e3 : 0);
}
