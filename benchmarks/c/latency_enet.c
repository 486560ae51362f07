/* latency_enet.c - how long ENet's reliable packets take through latency_enet_relay.c; see latency.h. All clients live in one
 * ENet host, as those of enet_load.c do. */
#define _GNU_SOURCE
#include "latency.h"

#include <enet/enet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_NS = 1000000, SOCKET_BYTES = 4 << 20 }; /* ENet counts in milliseconds */
static ENetHost *host;
static ENetPeer **peers;
static int *known; /* of each client: how many are in its room, itself among them */

/* Channel 0 says how many are in the room; of the others each author has latency_channels. */
static void take(ENetEvent *event)
{
	if (event->type == ENET_EVENT_TYPE_DISCONNECT) fail("a client was disconnected");
	if (event->type != ENET_EVENT_TYPE_RECEIVE) return;
	int client = (int)(intptr_t)event->peer->data, length = event->packet->dataLength;
	const uint8_t *bytes = event->packet->data;
	if (!event->channelID) known[client] = bytes[0];
	else if (length != PACKET_BYTES) fail("client %d got a packet of another length", client);
	else
		latency_judge(client, bytes + PACKET_BYTES - LATENCY_PAYLOAD, LATENCY_PAYLOAD,
		              (event->channelID - 1) % latency_channels + 1);
	enet_packet_destroy(event->packet);
}

static void serve(void)
{
	ENetEvent event;
	for (int n = enet_host_service(host, &event, 0); n > 0; n = enet_host_check_events(host, &event)) take(&event);
}

void transport_send(int client)
{
	int channel;
	const uint8_t *bytes = latency_packet(client, &channel);
	ENetPacket *packet = enet_packet_create(bytes, PACKET_BYTES, ENET_PACKET_FLAG_RELIABLE);
	if (enet_peer_send(peers[client], channel, packet)) fail("client %d cannot send", client);
	enet_host_flush(host);
}

void transport_wait(uint64_t nanoseconds)
{
	struct pollfd fd = {host->socket, POLLIN, 0};
	struct timespec timeout = {0, nanoseconds < WAIT_NS ? nanoseconds : WAIT_NS};
	ppoll(&fd, 1, &timeout, NULL); /* ENet's own wait counts in whole milliseconds */
	serve();
	enet_host_flush(host);
}

static bool all_know_all(void)
{
	for (int i = 0; i < options.clients; i++)
		if (known[i] < options.room_size) return false;
	return true;
}

int main(int argc, char **argv)
{
	struct sockaddr_in server = latency_options(argc, argv);
	ENetAddress to = {.host = server.sin_addr.s_addr, .port = options.port};
	if (enet_initialize() || !(host = enet_host_create(NULL, options.clients, 0, 0, 0))) fail("ENet does not start");
	enet_socket_set_option(host->socket, ENET_SOCKOPT_RCVBUF, SOCKET_BYTES);
	enet_socket_set_option(host->socket, ENET_SOCKOPT_SNDBUF, SOCKET_BYTES);
	peers = calloc(options.clients, sizeof *peers);
	known = calloc(options.clients, sizeof *known);
	for (int i = 0; i < options.clients; i++) {
		peers[i] = enet_host_connect(host, &to, 1 + options.room_size * latency_channels, i / options.room_size);
		peers[i]->data = (void *)(intptr_t)i;
		enet_peer_timeout(peers[i], 0, 30000, 60000);
	}
	for (uint64_t deadline = now_ns() + JOIN_NS; !all_know_all();) {
		if (now_ns() > deadline) fail("not all could connect");
		transport_wait(WAIT_NS);
	}
	latency_run();
	return 0;
}
