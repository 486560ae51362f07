/* latency_tcp.c - how long reliable packets take over the TCP leg of the RT protocol (docs/PROTOCOL.md); see latency.h.
 *   --file F   one access token a line; players of one session stand together, --room of them */
#define _GNU_SOURCE
#include "latency.h"
#include "websocket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { LOGIN_RESULT = -1, PLAYER_CONNECT = -101, PLAYER_DISCONNECT = -103, TOKEN_BYTES = 512 };

struct player {
	struct stream stream;
	int peer, announced; /* announced: PlayerConnect messages that came */
};

static struct player *players;
static struct pollfd *sockets;

static uint8_t *put_varint(uint8_t *at, uint32_t value)
{
	for (; value > 127; value >>= 7) *at++ = value | 128;
	*at++ = value;
	return at;
}

/* False where `end` comes before the varint's. */
static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; *at < end && shift < 64; shift += 7) {
		*value |= (uint64_t)(**at & 127) << shift;
		if (*(*at)++ < 128) return true;
	}
	return false;
}

/* The same in a frame that is whole. */
static uint64_t take_varint(const uint8_t **at, const uint8_t *end)
{
	uint64_t value;
	if (!get_varint(at, end, &value)) fail("a packet that cannot be parsed");
	return value;
}

/* peerId of a LoginResult. */
static int take_peer(const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		uint64_t key = take_varint(&at, end), value = take_varint(&at, end);
		if (key == 0x18) return value;
		if ((key & 7) == 2) at += value;
	}
	fail("LoginResult without peerId");
}

static void take_packet(int client, const uint8_t *at, const uint8_t *end)
{
	struct player *player = &players[client];
	const uint8_t *payload = NULL;
	int op_code = 0, sender = 0, length = 0;
	while (at < end) {
		uint64_t key = take_varint(&at, end), value = take_varint(&at, end);
		if (key == 0x08) op_code = (int)(value >> 1) ^ -(int)(value & 1);
		if (key == 0x28) sender = value;
		if (key == 0x7a) payload = at, length = value;
		if ((key & 7) == 2) at += value;
	}
	if (op_code == OP_CODE && payload) {
		if (players[latency_judge(client, payload, length, 0)].peer != sender) fail("client %d: another sender", client);
	} else if (op_code == LOGIN_RESULT && payload)
		player->peer = take_peer(payload, payload + length);
	else if (op_code == PLAYER_CONNECT)
		player->announced++;
	else if (op_code == PLAYER_DISCONNECT)
		fail("client %d was told that somebody has gone", client);
}

static void read_stream(int client)
{
	struct stream *stream = &players[client].stream;
	if (!stream_receive(stream)) fail("client %d: the server closed the connection", client);
	const uint8_t *at = stream->bytes, *end = at + stream->length, *body = at;
	for (uint64_t size; get_varint(&body, end, &size) && size <= (uint64_t)(end - body); body = at = body + size)
		take_packet(client, body, body + size);
	stream_consume(stream, at - stream->bytes);
}

void transport_send(int client)
{
	int channel;
	stream_send(&players[client].stream, latency_packet(client, &channel), PACKET_BYTES);
}

void transport_wait(uint64_t nanoseconds)
{
	struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
	ppoll(sockets, options.clients, &timeout, NULL);
	for (int i = 0; i < options.clients; i++)
		if (sockets[i].revents) read_stream(i);
}

static int make_login(uint8_t *out, const char *token)
{
	uint8_t body[TOKEN_BYTES + 16], *at = body;
	int length = strlen(token);
	*at++ = 0x08;
	*at++ = 0x00;
	*at++ = 0x7a;
	at = put_varint(at, 1 + (length > 127 ? 2 : 1) + length + 2);
	*at++ = 0x0a;
	at = put_varint(at, length);
	at = mempcpy(at, token, length);
	*at++ = 0x10; /* client version */
	*at++ = 0x02;
	return (uint8_t *)mempcpy(put_varint(out, at - body), body, at - body) - out;
}

static void log_in(int client, const struct sockaddr_in *to, const char *token, uint64_t deadline)
{
	static const uint8_t player_ready[] = {2, 0x08, 0x0d};
	struct stream *stream = &players[client].stream;
	uint8_t login[2 * TOKEN_BYTES];
	int on = 1;
	stream->bytes = malloc(RECEIVE_BYTES);
	stream->fd = sockets[client].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sockets[client].events = POLLIN;
	if (stream->fd < 0 || connect(stream->fd, (void *)to, sizeof *to)) fail("connect: %s", strerror(errno));
	setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	stream_send(stream, login, make_login(login, token));
	while (!players[client].peer) {
		if (now_ns() > deadline) fail("client %d: login took too long", client);
		transport_wait(100000000);
	}
	stream_send(stream, player_ready, sizeof player_ready);
}

/* The first player of a room hears of each other one when that one is ready. */
static bool all_are_announced(void)
{
	for (int i = 0; i < options.clients; i += options.room_size)
		if (players[i].announced < options.room_size - 1) return false;
	return true;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = latency_options(argc, argv);
	uint64_t deadline = now_ns() + JOIN_NS;
	char token[TOKEN_BYTES];
	players = calloc(options.clients, sizeof *players);
	sockets = calloc(options.clients, sizeof *sockets);
	for (int i = 0; i < options.clients; i++) sockets[i].fd = -1; /* ppoll passes it over */
	FILE *file = fopen(options.file, "r");
	if (!file) fail("cannot read %s", options.file);
	for (int i = 0; i < options.clients; i++) {
		if (!fgets(token, sizeof token, file)) fail("%s holds only %d tokens", options.file, i);
		token[strcspn(token, "\n")] = 0;
		log_in(i, &to, token, deadline);
	}
	fclose(file);
	while (!all_are_announced()) {
		if (now_ns() > deadline) fail("not all were told of all others");
		transport_wait(100000000);
	}
	latency_run();
	return 0;
}
