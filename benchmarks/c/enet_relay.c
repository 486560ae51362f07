/* enet_relay.c - a room relay on libenet; packets are reliable if they came so:  enet_relay PORT TICK_MS
 * TICK_MS 0: serves packets as they come. Otherwise it wakes up every TICK_MS ms, as a game loop does.
 * A client connects with the number of its room. */
#define _GNU_SOURCE
#include <enet/enet.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CLIENTS = 1024, CHANNELS = 1, ROOM_PLACES = 16, SOCKET_BYTES = 4 << 20, IDLE_MS = 1000, TICK_READS = 4 };
static struct {
	int count;
	ENetPeer *members[ROOM_PLACES];
} rooms[CLIENTS];

static void enter(ENetPeer *peer, enet_uint32 room)
{
	if (room >= CLIENTS || rooms[room].count == ROOM_PLACES) {
		enet_peer_disconnect(peer, 0);
		return;
	}
	peer->data = &rooms[room];
	rooms[room].members[rooms[room].count++] = peer;
	/* ENet drops unreliable packets by itself when round trips grow: not in a comparison without loss. */
	enet_peer_throttle_configure(peer, 5000, ENET_PEER_PACKET_THROTTLE_SCALE, 0);
	enet_peer_timeout(peer, 0, 30000, 60000);
}

static void relay(ENetPeer *author, ENetPacket *packet)
{
	int room = author->data ? (int)((char *)author->data - (char *)rooms) / (int)sizeof rooms[0] : -1;
	packet->flags &= ENET_PACKET_FLAG_RELIABLE; /* goes on as it came */
	for (int i = 0; room >= 0 && i < rooms[room].count; i++)
		if (rooms[room].members[i] != author) enet_peer_send(rooms[room].members[i], 0, packet);
	if (!packet->referenceCount) enet_packet_destroy(packet);
}

static void take(const ENetEvent *event)
{
	if (event->type == ENET_EVENT_TYPE_CONNECT) enter(event->peer, event->data);
	if (event->type == ENET_EVENT_TYPE_RECEIVE) relay(event->peer, event->packet);
}

/* Takes and sends everything there is, waiting for the first of it at most so long. */
static void serve(ENetHost *host, int wait_ms)
{
	ENetEvent event;
	while (enet_host_service(host, &event, wait_ms) > 0) take(&event);
}

/* Takes what has come since the last tick (ENet reads 256 datagrams in one go), and nothing that its own answers bring. */
static void serve_tick(ENetHost *host)
{
	ENetEvent event;
	for (int go = 0; go < TICK_READS; go++) {
		if (enet_host_service(host, &event, 0) <= 0) break;
		do take(&event);
		while (enet_host_check_events(host, &event) > 0);
	}
	enet_host_flush(host);
}

int main(int argc, char **argv)
{
	if (argc != 3 || enet_initialize()) {
		fprintf(stderr, "usage: enet_relay PORT TICK_MS\n");
		return 2;
	}
	ENetAddress at = {.port = atoi(argv[1])};
	int tick_ms = atoi(argv[2]);
	enet_address_set_host(&at, "127.0.0.1");
	ENetHost *host = enet_host_create(&at, CLIENTS, CHANNELS, 0, 0);
	if (!host) {
		fprintf(stderr, "cannot listen\n");
		return 1;
	}
	enet_socket_set_option(host->socket, ENET_SOCKOPT_RCVBUF, SOCKET_BYTES);
	enet_socket_set_option(host->socket, ENET_SOCKOPT_SNDBUF, SOCKET_BYTES);
	printf("listening\n");
	fflush(stdout);
	struct timespec next;
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		if (!tick_ms) {
			serve(host, IDLE_MS);
			continue;
		}
		next.tv_nsec += tick_ms * 1000000L;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		serve_tick(host);
	}
}
