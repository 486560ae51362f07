/* link_load.c - load generator for the gsrt link, made on the C client (clients/c).
 *   --mode reliable | unreliable | insecure-reliable | insecure-unreliable     --file F   as for rt_load.c
 * All clients share one socket, as those of enet_load.c do, and are told apart by their connections' ids: a relay's cost for a
 * packet includes the kernel's work for whoever receives it, so both generators have to receive alike. */
#define _GNU_SOURCE
#include "../../clients/c/gsrt_link.h"
#include "traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TOKEN_BYTES = 512, DATAGRAMS = 64, DATA = 6, SLOT_AT = 2, SLOTS = 65536, SOCKET_BYTES = 4 << 20 };

struct player {
	gsrt_link *link;
	int peer, announced;
	bool ready, dirty;
	char token[TOKEN_BYTES];
};

static struct player *players;
static int *dirty, dirty_count, joined, kind, suite, udp;
static int by_slot[SLOTS]; /* which client has the connection whose id begins so */
static double timers_at;

static double seconds(void) { return now_ns() / 1e9; }

static void mark(int client)
{
	if (players[client].dirty) return;
	players[client].dirty = true;
	dirty[dirty_count++] = client;
}

static int slot_of(const uint8_t *datagram) { return datagram[SLOT_AT] | datagram[SLOT_AT + 1] << 8; }

static void flush_one(int client, double now)
{
	uint8_t out[GSRT_LINK_DATAGRAM_MAX];
	size_t size;
	players[client].dirty = false;
	while ((size = gsrt_link_poll_datagram(players[client].link, out, sizeof out, now)) > 0) {
		if (out[1] == DATA) by_slot[slot_of(out)] = client;
		if (send(udp, out, size, MSG_DONTWAIT) < 0) note("UDP send: %s", strerror(errno));
	}
}

static void flush(double now)
{
	for (int i = 0; i < dirty_count; i++) flush_one(dirty[i], now);
	dirty_count = 0;
}

static void take_message(int client, const gsrt_link_event *event)
{
	if (event->op_code != OP_CODE || event->data_size != DATA_BYTES || event->payload_size != PAYLOAD_BYTES) {
		damage.corrupt++;
		note("client %d got a packet with another header or length", client);
		return;
	}
	int author = judge_delivery(client, event->data, event->payload);
	if (author >= 0 && (players[author].peer != event->sender || event->kind != kind)) {
		damage.misdelivered++;
		note("client %d: wrong sender or kind", client);
	}
}

static void take_events(int client)
{
	struct player *player = &players[client];
	gsrt_link_event event;
	while (gsrt_link_next_event(player->link, &event)) switch (event.type) {
		case GSRT_LINK_EVENT_READY:
			player->ready = true;
			player->peer = event.peer;
			break;
		case GSRT_LINK_EVENT_PEER_CONNECTED: player->announced++; break;
		case GSRT_LINK_EVENT_MESSAGE: take_message(client, &event); break;
		case GSRT_LINK_EVENT_REFUSED: fail("client %d was refused: %s", client, event.text);
		case GSRT_LINK_EVENT_CLOSED:
			damage.disconnected++;
			note("client %d: %s", client, event.text);
		}
}

/* What is no DATA answers the handshake of the client that joined last. */
static void read_datagrams(double now)
{
	static uint8_t bytes[DATAGRAMS][2048];
	static struct iovec vectors[DATAGRAMS];
	static struct mmsghdr messages[DATAGRAMS];
	for (int i = 0; i < DATAGRAMS && !vectors[DATAGRAMS - 1].iov_base; i++) {
		vectors[i] = (struct iovec){bytes[i], sizeof bytes[i]};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(udp, messages, DATAGRAMS, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		int client = bytes[i][1] == DATA ? by_slot[slot_of(bytes[i])] : joined - 1;
		gsrt_link_receive(players[client].link, bytes[i], messages[i].msg_len, now);
		take_events(client);
		mark(client);
	}
}

static void run_timers(double now)
{
	if (now < timers_at) return;
	timers_at = now + 0.002;
	for (int i = 0; i < joined; i++)
		if (now >= gsrt_link_next_timer(players[i].link)) {
			gsrt_link_handle_timer(players[i].link, now);
			mark(i);
		}
}

void transport_send(int client)
{
	const uint8_t *packet = next_packet(client) + 1; /* the link needs no length in front */
	int result = gsrt_link_send(players[client].link, packet, PACKET_BYTES - 1, kind, 0, seconds());
	if (result != GSRT_LINK_SENT) note("client %d cannot send: %d", client, result);
	mark(client);
}

void transport_wait(uint64_t nanoseconds)
{
	struct pollfd fd = {udp, POLLIN, 0};
	struct timespec timeout = {0, nanoseconds < 2000000 ? nanoseconds : 2000000};
	flush(seconds());
	ppoll(&fd, 1, &timeout, NULL);
	double now = seconds();
	read_datagrams(now);
	run_timers(now);
}

static void join(int client)
{
	struct player *player = &players[client];
	gsrt_link_config config;
	gsrt_link_config_small(&config);
	config.token = player->token;
	config.token_size = strlen(player->token);
	config.suite = suite;
	config.crypto = &gsrt_link_sodium;
	config.random = gsrt_link_sodium_random;
	size_t memory = gsrt_link_memory(&config);
	player->link = gsrt_link_init(malloc(memory), memory, &config);
	if (!player->link) fail("the link's configuration is wrong");
	gsrt_link_connect(player->link, seconds());
	joined++;
	mark(client);
}

static bool all_are_here(void)
{
	for (int i = 0; i < options.clients; i++) {
		if (!players[i].ready) return false;
		if (i % options.room_size == 0 && players[i].announced < options.room_size - 1) return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	int size = SOCKET_BYTES;
	read_options(argc, argv);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	suite = strstr(options.mode, "insecure") ? GSRT_LINK_INSECURE : GSRT_LINK_CHACHA20_POLY1305;
	kind = strstr(options.mode, "unreliable") ? GSRT_LINK_UNRELIABLE : GSRT_LINK_ORDERED;
	if (sodium_init() < 0) fail("libsodium does not start");
	players = calloc(options.clients, sizeof *players);
	dirty = calloc(options.clients, sizeof *dirty);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (udp < 0 || connect(udp, (void *)&to, sizeof to)) fail("UDP socket: %s", strerror(errno));
	setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	FILE *file = fopen(options.file, "r");
	if (!file) fail("cannot read %s", options.file);
	/* The first of a room is to be there before its others, or it would not be told of them. */
	for (int i = 0; i < options.clients; i++) {
		if (!fgets(players[i].token, TOKEN_BYTES, file)) fail("%s holds only %d tokens", options.file, i);
		players[i].token[strcspn(players[i].token, "\n")] = 0;
		join(i);
		for (uint64_t deadline = now_ns() + UINT64_C(5000000000); !players[i].ready;) {
			if (now_ns() > deadline) fail("client %d: login took over 5 s", i);
			transport_wait(1000000);
		}
	}
	fclose(file);
	for (uint64_t deadline = now_ns() + UINT64_C(10000000000); !all_are_here();) {
		if (now_ns() > deadline) fail("not all were told of all others");
		transport_wait(1000000);
	}
	run_traffic();
	return 0;
}
