/* rt_load.c - load generator for the RT protocol (docs/PROTOCOL.md).
 *   --mode udp   login over TCP, then the UDP dance; packets by UDP        --mode ws   everything over a plain WebSocket
 *   --file F     one access token a line; players of one session stand together, --room of them */
#define _GNU_SOURCE
#include "traffic.h"
#include "websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LOGIN_RESULT = -1, UDP_CONNECT = -5, PLAYER_READY = -7, PLAYER_CONNECT = -101, TOKEN_BYTES = 512, DATAGRAMS = 16 };
enum { ON_STREAM, ON_UDP };
static const int SAFE_DATAGRAM = 1024; /* what the C++ client's buffer holds */

struct player {
	struct stream stream;
	int udp, peer, fast_port;
	bool logged_in, udp_acknowledged, udp_greeted, joining;
	int announced; /* PlayerConnect messages that came */
	char token[TOKEN_BYTES], reconnect_token[TOKEN_BYTES];
};
struct packet {
	int op_code, sender, data_length, payload_length;
	bool reliable_is_false, strange; /* strange: a field that no relayed packet has */
	const uint8_t *data, *payload;
};

static struct player *players;
static bool over_udp;
static int poller;

/* ---- wire format ---- */

static uint8_t *put_varint(uint8_t *at, uint32_t value)
{
	for (; value > 127; value >>= 7) *at++ = value | 128;
	*at++ = value;
	return at;
}

static const uint8_t *get_varint(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; at && at < end && shift < 64; shift += 7) {
		*value |= (uint64_t)(*at & 127) << shift;
		if (*at++ < 128) return at;
	}
	return NULL;
}

static bool parse_packet(const uint8_t *at, const uint8_t *end, struct packet *packet)
{
	uint64_t key, value;
	*packet = (struct packet){0};
	while (at < end) {
		if (!(at = get_varint(at, end, &key)) || !(at = get_varint(at, end, &value))) return false;
		switch (key) {
		case 0x08: packet->op_code = (int)(value >> 1) ^ -(int)(value & 1); break;
		case 0x28: packet->sender = value; break;
		case 0x30: packet->reliable_is_false = !value; break;
		case 0x72: packet->data = at; packet->data_length = value; break;
		case 0x7a: packet->payload = at; packet->payload_length = value; break;
		default: packet->strange = true;
		}
		if ((key & 7) == 2) {
			if (value > (uint64_t)(end - at)) return false;
			at += value;
		} else if (key & 7)
			return false;
	}
	return true;
}

static int make_login(uint8_t *out, const char *token)
{
	uint8_t body[TOKEN_BYTES + 16], *at = body;
	int length = strlen(token), inner = 1 + (length > 127 ? 2 : 1) + length + 2;
	memcpy(at, (uint8_t[]){0x08, 0x00, 0x7a}, 3);
	at = put_varint(at + 3, inner);
	*at++ = 0x0a;
	at = put_varint(at, length);
	memcpy(at, token, length);
	memcpy(at + length, (uint8_t[]){0x10, 0x02}, 2);
	at += length + 2;
	uint8_t *start = put_varint(out, at - body);
	memcpy(start, body, at - body);
	return start + (at - body) - out;
}

static void send_reliable(struct player *player, const uint8_t *bytes, int length)
{
	if (over_udp) stream_send(&player->stream, bytes, length);
	else ws_send(&player->stream, WS_BINARY, bytes, length);
}

static void send_system(struct player *player, int op_code)
{
	uint8_t frame[8] = {0, 0x08}, *end = put_varint(frame + 2, (uint32_t)-op_code * 2 - 1);
	frame[0] = end - frame - 1;
	send_reliable(player, frame, end - frame);
}

/* ---- what arrives ---- */

static void take_login_result(struct player *player, const struct packet *packet)
{
	const uint8_t *at = packet->payload, *end = at + packet->payload_length;
	uint64_t key, value;
	while (at && at < end) {
		if (!(at = get_varint(at, end, &key)) || !(at = get_varint(at, end, &value))) break;
		if (key == 0x18) player->peer = value;
		if (key == 0x28) player->fast_port = value;
		if (key == 0x08 && !value) fail("LoginResult without success");
		if (key == 0x12) {
			if (value >= TOKEN_BYTES || value > (uint64_t)(end - at)) fail("LoginResult with an overlong token");
			memcpy(player->reconnect_token, at, value);
			player->reconnect_token[value] = 0;
		}
		if (key == 0x12) at += value;
	}
	if (!player->peer || !player->reconnect_token[0]) fail("LoginResult without peerId or reconnectToken");
	if (packet->reliable_is_false) player->udp_acknowledged = true;
	else player->logged_in = true;
}

static void take_user_packet(struct player *player, const struct packet *packet, int leg)
{
	int me = player - players;
	if (packet->strange || packet->reliable_is_false || packet->op_code != OP_CODE || !packet->data ||
	    packet->data_length != DATA_BYTES || !packet->payload || packet->payload_length != PAYLOAD_BYTES) {
		damage.corrupt++;
		note("client %d got a packet with another header or length", me);
		return;
	}
	int author = judge_delivery(me, packet->data, packet->payload);
	if (author >= 0 && (players[author].peer != packet->sender || (leg == ON_UDP) != over_udp)) {
		damage.misdelivered++;
		note("client %d: wrong sender or transport", me);
	}
}

static void take_packet(struct player *player, const uint8_t *at, const uint8_t *end, int leg)
{
	struct packet packet;
	if (!parse_packet(at, end, &packet)) {
		damage.corrupt++;
		note("client %d got a packet that cannot be parsed", (int)(player - players));
		return;
	}
	if (packet.op_code > 0) take_user_packet(player, &packet, leg);
	else if (!packet.payload) fail("system message %d without field 15", packet.op_code);
	else if (packet.op_code == LOGIN_RESULT && leg == ON_STREAM) take_login_result(player, &packet);
	else if (packet.op_code == PLAYER_CONNECT) player->announced++;
	else if (packet.op_code == UDP_CONNECT && leg == ON_UDP && !player->udp_greeted) {
		player->udp_greeted = true;
		send_system(player, UDP_CONNECT);
	}
}

/* Takes the whole frames off the front. Returns how many bytes they were. */
static int take_frames(struct player *player, const uint8_t *bytes, int length, int leg)
{
	const uint8_t *at = bytes, *end = bytes + length;
	while (at < end) {
		uint64_t size;
		const uint8_t *body = get_varint(at, end, &size);
		if (!body || size > (uint64_t)(end - body)) break;
		take_packet(player, body, body + size, leg);
		at = body + size;
	}
	return at - bytes;
}

static void take_stream(struct player *player)
{
	struct stream *stream = &player->stream;
	struct ws_frame frame;
	int used = 0;
	if (over_udp) used = take_frames(player, stream->bytes, stream->length, ON_STREAM);
	else
		for (; ws_parse(stream->bytes + used, stream->length - used, &frame); used += frame.total) {
			if (frame.opcode == WS_PING) ws_send(stream, WS_PONG, frame.payload, frame.length);
			if (frame.opcode != WS_BINARY) continue;
			if (take_frames(player, frame.payload, frame.length, ON_STREAM) != frame.length) {
				damage.corrupt++;
				note("a WebSocket message that is not whole packets");
			}
		}
	stream_consume(stream, used);
}

static void read_stream(struct player *player)
{
	if (stream_receive(&player->stream)) {
		take_stream(player);
		return;
	}
	if (player->joining) fail("client %d: the server closed the connection during login", (int)(player - players));
	damage.disconnected++;
	note("client %d: the server closed the connection", (int)(player - players));
	epoll_ctl(poller, EPOLL_CTL_DEL, player->stream.fd, NULL);
}

static void read_datagrams(struct player *player)
{
	static uint8_t bytes[DATAGRAMS][2048];
	static struct iovec vectors[DATAGRAMS];
	static struct mmsghdr messages[DATAGRAMS];
	for (int i = 0; !vectors[DATAGRAMS - 1].iov_base && i < DATAGRAMS; i++) {
		vectors[i] = (struct iovec){bytes[i], sizeof bytes[i]};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(player->udp, messages, DATAGRAMS, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		int length = messages[i].msg_len;
		if (length > SAFE_DATAGRAM || take_frames(player, bytes[i], length, ON_UDP) != length) {
			damage.corrupt++;
			note("a datagram of %d bytes that is too long or not whole packets", length);
		}
	}
}

/* ---- login ---- */

static void open_udp(struct player *player)
{
	int port = player->fast_port ? player->fast_port : options.port, size = 1 << 20;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	player->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (player->udp < 0 || connect(player->udp, (void *)&to, sizeof to)) fail("UDP socket: %s", strerror(errno));
	setsockopt(player->udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

/* Reads for at most 200 ms, the pause after which official clients repeat their UDP login. */
static void read_some(struct player *player)
{
	struct pollfd fds[2] = {{player->stream.fd, POLLIN, 0}, {player->udp, POLLIN, 0}};
	poll(fds, 2, 200);
	if (fds[0].revents) read_stream(player);
	if (fds[1].revents) read_datagrams(player);
}

static void log_in(struct player *player)
{
	uint8_t login[TOKEN_BYTES + 16];
	uint64_t deadline = now_ns() + UINT64_C(5000000000), repeat = 0;
	player->joining = true;
	player->udp = -1;
	stream_connect(&player->stream, options.port);
	if (!over_udp) ws_upgrade(&player->stream, options.port, "/");
	send_reliable(player, login, make_login(login, player->token));
	while (!player->logged_in || (over_udp && !(player->udp_acknowledged && player->udp_greeted))) {
		if (now_ns() > deadline) fail("client %d: login took over 5 s", (int)(player - players));
		if (player->logged_in && over_udp && now_ns() > repeat) {
			if (player->udp < 0) open_udp(player);
			send(player->udp, login, make_login(login, player->reconnect_token), 0);
			repeat = now_ns() + 200000000;
		}
		read_some(player);
	}
	send_system(player, PLAYER_READY);
	player->joining = false;
}

/* The first player of a room hears of each other one when that one is ready. */
static void wait_until_all_are_announced(void)
{
	uint64_t deadline = now_ns() + UINT64_C(10000000000);
	for (int first = 0; first < options.clients; first += options.room_size)
		while (players[first].announced < options.room_size - 1) {
			if (now_ns() > deadline) fail("client %d was not told of all others", first);
			read_some(&players[first]);
		}
}

static void read_tokens(void)
{
	FILE *file = fopen(options.file, "r");
	if (!file) fail("cannot read %s", options.file);
	for (int i = 0; i < options.clients; i++) {
		if (!fgets(players[i].token, TOKEN_BYTES, file)) fail("%s holds only %d tokens", options.file, i);
		players[i].token[strcspn(players[i].token, "\n")] = 0;
	}
	fclose(file);
}

static void watch(int fd, int client, int leg)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)client << 1 | leg};
	if (fd >= 0) epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

/* ---- transport ---- */

void transport_send(int client)
{
	struct player *player = &players[client];
	if (!over_udp) send_reliable(player, next_packet(client), PACKET_BYTES);
	else if (send(player->udp, next_packet(client), PACKET_BYTES, MSG_DONTWAIT) < 0) note("UDP send: %s", strerror(errno));
}

void transport_wait(uint64_t nanoseconds)
{
	struct epoll_event events[256];
	struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
	int n = epoll_pwait2(poller, events, 256, &timeout, NULL);
	for (int i = 0; i < n; i++) {
		struct player *player = &players[events[i].data.u64 >> 1];
		if ((events[i].data.u64 & 1) == ON_UDP) read_datagrams(player);
		else read_stream(player);
	}
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	over_udp = !strcmp(options.mode, "udp");
	if (!over_udp && strcmp(options.mode, "ws")) fail("--mode must be udp or ws");
	players = calloc(options.clients, sizeof *players);
	read_tokens();
	for (int i = 0; i < options.clients; i++) log_in(&players[i]);
	wait_until_all_are_announced();
	poller = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < options.clients; i++) {
		watch(players[i].stream.fd, i, ON_STREAM);
		watch(players[i].udp, i, ON_UDP);
	}
	run_traffic();
	return 0;
}
