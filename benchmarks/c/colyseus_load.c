/* colyseus_load.c - load generator for peers/colyseus/server.mjs: packets as bytes messages over plain WebSockets.
 *   --file F   the path of one reserved seat a line */
#define _GNU_SOURCE
#include "traffic.h"
#include "websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { JOIN_ROOM = 10, ROOM_DATA_BYTES = 17, NAME_BYTES = 3, PATH_BYTES = 512 };
static const uint8_t NAME[NAME_BYTES] = {ROOM_DATA_BYTES, 0xa1, 'm'}; /* the message "m", its name as MessagePack has it */

struct seat {
	struct stream stream;
	bool joined;
};
static struct seat *seats;
static int poller;

static void take_message(int client, const struct ws_frame *frame)
{
	struct seat *seat = &seats[client];
	if (frame->length && frame->payload[0] == JOIN_ROOM && !seat->joined) {
		ws_send(&seat->stream, WS_BINARY, (uint8_t[]){JOIN_ROOM}, 1); /* the room lets a client in when it has answered */
		seat->joined = true;
	} else if (frame->length == NAME_BYTES + PACKET_BYTES && !memcmp(frame->payload, NAME, NAME_BYTES))
		judge_plain_packets(client, frame->payload + NAME_BYTES, PACKET_BYTES);
	else {
		damage.corrupt++;
		note("client %d got a message of kind %d, %d bytes", client, frame->length ? frame->payload[0] : -1, frame->length);
	}
}

static void take_stream(int client)
{
	struct seat *seat = &seats[client];
	struct ws_frame frame;
	int used = 0;
	if (!stream_receive(&seat->stream)) fail("client %d: the server closed the connection", client);
	for (; ws_parse(seat->stream.bytes + used, seat->stream.length - used, &frame); used += frame.total) {
		if (frame.opcode == WS_CLOSE) fail("client %d: the server said good-bye", client);
		if (frame.opcode == WS_PING) ws_send(&seat->stream, WS_PONG, frame.payload, frame.length);
		if (frame.opcode == WS_BINARY) take_message(client, &frame);
	}
	stream_consume(&seat->stream, used);
}

static void join(int client, const char *path)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = client};
	uint64_t deadline = now_ns() + UINT64_C(5000000000);
	struct seat *seat = &seats[client];
	stream_connect(&seat->stream, options.port);
	ws_upgrade(&seat->stream, options.port, path);
	epoll_ctl(poller, EPOLL_CTL_ADD, seat->stream.fd, &event);
	while (!seat->joined) {
		if (now_ns() > deadline) fail("client %d was not let in", client);
		take_stream(client);
		transport_wait(1000000);
	}
}

void transport_send(int client)
{
	uint8_t message[NAME_BYTES + PACKET_BYTES];
	memcpy(message, NAME, NAME_BYTES);
	memcpy(message + NAME_BYTES, next_packet(client), PACKET_BYTES);
	ws_send(&seats[client].stream, WS_BINARY, message, sizeof message);
}

void transport_wait(uint64_t nanoseconds)
{
	struct epoll_event events[256];
	struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
	int n = epoll_pwait2(poller, events, 256, &timeout, NULL);
	for (int i = 0; i < n; i++) take_stream(events[i].data.u32);
}

int main(int argc, char **argv)
{
	char path[PATH_BYTES];
	read_options(argc, argv);
	FILE *file = fopen(options.file, "r");
	if (!file) fail("cannot read %s", options.file);
	seats = calloc(options.clients, sizeof *seats);
	poller = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < options.clients; i++) {
		if (!fgets(path, sizeof path, file)) fail("%s holds only %d seats", options.file, i);
		path[strcspn(path, "\n")] = 0;
		join(i, path);
	}
	fclose(file);
	for (uint64_t until = now_ns() + 300000000; now_ns() < until;) transport_wait(10000000); /* the last join answers */
	run_traffic();
	return 0;
}
