/* latency_enet_relay.c - a room relay on libenet that keeps reliable packets of different channels and authors apart:
 *   latency_enet_relay PORT CHANNELS
 * A client connects with the number of its room, and is told over channel 0 how many are in it. What comes over channel C of
 * the one who entered the room as number N goes out over channel N x CHANNELS + C, so that nobody waits for another's packet. */
#include <enet/enet.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS = 1024, ROOM_PLACES = 16, SOCKET_BYTES = 4 << 20, WAIT_MS = 1 };
static struct room {
	int count;
	ENetPeer *members[ROOM_PLACES];
} rooms[CLIENTS];
static int channels;

static void enter(ENetPeer *peer, enet_uint32 number)
{
	if (number >= CLIENTS || rooms[number].count == ROOM_PLACES) {
		enet_peer_disconnect(peer, 0);
		return;
	}
	struct room *room = &rooms[number];
	peer->data = room;
	room->members[room->count++] = peer;
	enet_peer_timeout(peer, 0, 30000, 60000);
	enet_uint8 count = room->count;
	ENetPacket *word = enet_packet_create(&count, sizeof count, ENET_PACKET_FLAG_RELIABLE);
	for (int i = 0; i < room->count; i++) enet_peer_send(room->members[i], 0, word);
}

static void relay(ENetPeer *author, ENetPacket *packet, int channel)
{
	struct room *room = author->data;
	int place = 0;
	while (room->members[place] != author) place++;
	for (int i = 0; i < room->count; i++)
		if (i != place) enet_peer_send(room->members[i], place * channels + channel, packet);
	if (!packet->referenceCount) enet_packet_destroy(packet);
}

int main(int argc, char **argv)
{
	if (argc != 3 || enet_initialize()) {
		fprintf(stderr, "usage: latency_enet_relay PORT CHANNELS\n");
		return 2;
	}
	ENetAddress at = {.host = ENET_HOST_ANY, .port = atoi(argv[1])};
	channels = atoi(argv[2]);
	ENetHost *host = enet_host_create(&at, CLIENTS, 0, 0, 0);
	if (!host) {
		fprintf(stderr, "cannot listen\n");
		return 1;
	}
	enet_socket_set_option(host->socket, ENET_SOCKOPT_RCVBUF, SOCKET_BYTES);
	enet_socket_set_option(host->socket, ENET_SOCKOPT_SNDBUF, SOCKET_BYTES);
	printf("listening\n");
	fflush(stdout);
	for (;;) { /* short waits, for ENet looks for what it has to repeat only between them */
		ENetEvent event;
		while (enet_host_service(host, &event, WAIT_MS) > 0) {
			if (event.type == ENET_EVENT_TYPE_CONNECT) enter(event.peer, event.data);
			if (event.type == ENET_EVENT_TYPE_RECEIVE && event.peer->data) relay(event.peer, event.packet, event.channelID);
		}
	}
}
