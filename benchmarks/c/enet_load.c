/* enet_load.c - load generator for enet_relay.c. All clients live in one ENet host, so in one socket: the generator
 * is cheaper that way, and the relay still has one peer, with datagrams of its own, for each client. */
#define _GNU_SOURCE
#include "traffic.h"

#include <enet/enet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHANNELS = 1, SOCKET_BYTES = 4 << 20 };
static ENetHost *host;
static ENetPeer **peers;
static enet_uint32 flags; /* of each packet */

static void take(ENetEvent *event)
{
	if (event->type == ENET_EVENT_TYPE_DISCONNECT) fail("a client was disconnected");
	if (event->type != ENET_EVENT_TYPE_RECEIVE) return;
	judge_plain_packets((int)(intptr_t)event->peer->data, event->packet->data, event->packet->dataLength);
	enet_packet_destroy(event->packet);
}

void transport_send(int client)
{
	enet_peer_send(peers[client], 0, enet_packet_create(next_packet(client), PACKET_BYTES, flags));
}

void transport_wait(uint64_t nanoseconds)
{
	ENetEvent event;
	struct pollfd fd = {host->socket, POLLIN, 0};
	struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
	enet_host_flush(host);
	ppoll(&fd, 1, &timeout, NULL); /* ENet's own wait counts in whole milliseconds */
	for (int n = enet_host_service(host, &event, 0); n > 0; n = enet_host_check_events(host, &event)) take(&event);
}

static void join(const ENetAddress *to, int client)
{
	ENetEvent event;
	uint64_t deadline = now_ns() + UINT64_C(5000000000);
	peers[client] = enet_host_connect(host, to, CHANNELS, client / options.room_size);
	peers[client]->data = (void *)(intptr_t)client;
	while (peers[client]->state != ENET_PEER_STATE_CONNECTED) {
		if (now_ns() > deadline) fail("client %d could not connect", client);
		if (enet_host_service(host, &event, 100) > 0) take(&event);
	}
	enet_peer_throttle_configure(peers[client], 5000, ENET_PEER_PACKET_THROTTLE_SCALE, 0);
	enet_peer_timeout(peers[client], 0, 30000, 60000);
}

int main(int argc, char **argv)
{
	ENetAddress to;
	read_options(argc, argv);
	flags = options.mode && !strcmp(options.mode, "reliable") ? ENET_PACKET_FLAG_RELIABLE : 0;
	if (enet_initialize() || !(host = enet_host_create(NULL, options.clients, CHANNELS, 0, 0))) fail("ENet does not start");
	enet_socket_set_option(host->socket, ENET_SOCKOPT_RCVBUF, SOCKET_BYTES);
	enet_socket_set_option(host->socket, ENET_SOCKOPT_SNDBUF, SOCKET_BYTES);
	enet_address_set_host(&to, "127.0.0.1");
	to.port = options.port;
	peers = calloc(options.clients, sizeof *peers);
	for (int i = 0; i < options.clients; i++) join(&to, i);
	for (uint64_t until = now_ns() + 300000000; now_ns() < until;) transport_wait(10000000); /* the last acknowledgements */
	run_traffic();
	return 0;
}
