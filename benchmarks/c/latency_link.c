/* latency_link.c - how long reliable packets take over the gsrt link, made on the C client (clients/c); see latency.h.
 *   --file F   one access token a line; players of one session stand together, --room of them
 * Each client has a socket of its own. */
#define _GNU_SOURCE
#include "../../clients/c/gsrt_link.h"
#include "latency.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { TOKEN_BYTES = 512 };

struct player {
	gsrt_link *link;
	int peer, known; /* known: players that it knows to be in its session, itself among them */
	char token[TOKEN_BYTES];
};

static struct player *players;
static struct pollfd *sockets;
static int joined; /* the first so many clients have begun to connect */

static double seconds(void) { return now_ns() / 1e9; }

static void flush(int client, double now)
{
	uint8_t out[GSRT_LINK_DATAGRAM_MAX];
	for (size_t size; (size = gsrt_link_poll_datagram(players[client].link, out, sizeof out, now)) > 0;)
		if (send(sockets[client].fd, out, size, MSG_DONTWAIT) < 0) fail("UDP send: %s", strerror(errno));
}

static void take_events(int client)
{
	struct player *player = &players[client];
	gsrt_link_event event;
	while (gsrt_link_next_event(player->link, &event)) switch (event.type) {
		case GSRT_LINK_EVENT_READY:
			player->peer = event.peer;
			player->known = event.peer_count;
			break;
		case GSRT_LINK_EVENT_PEER_CONNECTED: player->known = event.peer_count; break;
		case GSRT_LINK_EVENT_MESSAGE:
			if (event.kind != GSRT_LINK_ORDERED) fail("client %d got a packet of another kind", client);
			if (players[latency_judge(client, event.payload, event.payload_size, event.channel)].peer != event.sender)
				fail("client %d got a packet with another sender", client);
			break;
		case GSRT_LINK_EVENT_PEER_DISCONNECTED: fail("client %d was told that peer %d has gone", client, event.peer);
		case GSRT_LINK_EVENT_REFUSED:
		case GSRT_LINK_EVENT_CLOSED: fail("client %d: %s", client, event.text);
		}
}

void transport_send(int client)
{
	int channel;
	const uint8_t *packet = latency_packet(client, &channel) + 1; /* the link needs no length in front */
	int result = gsrt_link_send(players[client].link, packet, PACKET_BYTES - 1, GSRT_LINK_ORDERED, channel, seconds());
	if (result != GSRT_LINK_SENT) fail("client %d cannot send: %d", client, result);
	flush(client, seconds());
}

void transport_wait(uint64_t nanoseconds)
{
	uint8_t bytes[2048];
	double now = seconds(), due = now + nanoseconds / 1e9;
	for (int i = 0; i < joined; i++) {
		double timer = gsrt_link_next_timer(players[i].link);
		if (timer < due) due = timer;
	}
	uint64_t patience = due > now ? (uint64_t)((due - now) * 1e9) : 0;
	struct timespec timeout = {patience / 1000000000, patience % 1000000000};
	ppoll(sockets, joined, &timeout, NULL);
	now = seconds();
	for (int i = 0; i < joined; i++) {
		bool timer = now >= gsrt_link_next_timer(players[i].link);
		if (!timer && !sockets[i].revents) continue;
		for (ssize_t size; (size = recv(sockets[i].fd, bytes, sizeof bytes, MSG_DONTWAIT)) >= 0;) {
			gsrt_link_receive(players[i].link, bytes, size, now);
			take_events(i);
		}
		if (timer) gsrt_link_handle_timer(players[i].link, now);
		take_events(i);
		flush(i, now);
	}
}

static void join(int client, const struct sockaddr_in *to)
{
	struct player *player = &players[client];
	gsrt_link_config config;
	gsrt_link_config_small(&config);
	config.token = player->token;
	config.token_size = strlen(player->token);
	config.suite = GSRT_LINK_CHACHA20_POLY1305;
	config.crypto = &gsrt_link_sodium;
	config.random = gsrt_link_sodium_random;
	size_t memory = gsrt_link_memory(&config);
	player->link = gsrt_link_init(malloc(memory), memory, &config);
	if (!player->link) fail("the link's configuration is wrong");
	sockets[client].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	sockets[client].events = POLLIN;
	if (sockets[client].fd < 0 || connect(sockets[client].fd, (void *)to, sizeof *to)) fail("UDP socket: %s", strerror(errno));
	gsrt_link_connect(player->link, seconds());
	joined++;
	flush(client, seconds());
}

static bool all_know_all(void)
{
	for (int i = 0; i < joined; i++)
		if (players[i].known < options.room_size) return false;
	return true;
}

static void add_up(void)
{
	gsrt_link_quality total = {0};
	for (int i = 0; i < options.clients; i++) {
		gsrt_link_quality quality;
		gsrt_link_quality_of(players[i].link, &quality);
		total.datagrams_out += quality.datagrams_out;
		total.datagrams_lost += quality.datagrams_lost;
		total.frames_sent_again += quality.frames_sent_again;
		total.frames_repeated += quality.frames_repeated;
	}
	fprintf(stderr, "clients: %llu datagrams out, %llu taken for lost; frames: %llu sent again, %llu repeated\n",
	        (unsigned long long)total.datagrams_out, (unsigned long long)total.datagrams_lost,
	        (unsigned long long)total.frames_sent_again, (unsigned long long)total.frames_repeated);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = latency_options(argc, argv);
	if (sodium_init() < 0) fail("libsodium does not start");
	players = calloc(options.clients, sizeof *players);
	sockets = calloc(options.clients, sizeof *sockets);
	FILE *file = fopen(options.file, "r");
	if (!file) fail("cannot read %s", options.file);
	for (int i = 0; i < options.clients; i++) {
		if (!fgets(players[i].token, TOKEN_BYTES, file)) fail("%s holds only %d tokens", options.file, i);
		players[i].token[strcspn(players[i].token, "\n")] = 0;
	}
	fclose(file);
	/* Room by room: a server takes so many logins at a time, and puts the others off. */
	while (joined < options.clients) {
		for (int i = 0; i < options.room_size; i++) join(joined, &to);
		for (uint64_t deadline = now_ns() + JOIN_NS; !all_know_all();) {
			if (now_ns() > deadline) fail("not all were told of all others");
			transport_wait(5000000);
		}
	}
	latency_run();
	add_up();
	return 0;
}
