/* plain_relay.c - a room relay over UDP that does nothing but the system calls: what a server is compared with.
 *   plain_relay single|coalesced PORT
 * single     recvfrom, then one sendto per receiver
 * coalesced  recvmmsg until nothing is left, then everything for one client in as few datagrams of at most
 *            1024 bytes as possible, all of them by sendmmsg
 * A datagram that begins with a zero byte joins the room whose number follows (4 bytes, this machine's order). */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { CLIENTS = 4096, TABLE = 16384, ROOM_PLACES = 16, BATCH = 64, DATAGRAM = 1024, RECEIVE = 2048, JOIN_BYTES = 5 };

struct client {
	struct sockaddr_in address;
	int room, filled;
	uint8_t output[DATAGRAM];
};
static struct client clients[CLIENTS];
static int client_count, table[TABLE]; /* open addressing; client number + 1, 0 = free */
static struct {
	int count, members[ROOM_PLACES];
} rooms[CLIENTS];
static int waiting[CLIENTS], waiting_count; /* clients with output */
static int server;

static int *table_entry(const struct sockaddr_in *address)
{
	uint64_t key = (uint64_t)address->sin_addr.s_addr << 16 | address->sin_port;
	unsigned at = key * UINT64_C(0x9e3779b97f4a7c15) >> 50;
	while (table[at]) {
		const struct sockaddr_in *other = &clients[table[at] - 1].address;
		if (other->sin_port == address->sin_port && other->sin_addr.s_addr == address->sin_addr.s_addr) break;
		at = (at + 1) % TABLE;
	}
	return &table[at];
}

static void join(const uint8_t *bytes, int length, const struct sockaddr_in *address)
{
	uint32_t room;
	int *entry = table_entry(address);
	if (length != JOIN_BYTES) return;
	memcpy(&room, bytes + 1, sizeof room);
	if (room >= CLIENTS) return;
	if (!*entry && client_count < CLIENTS && rooms[room].count < ROOM_PLACES) {
		clients[client_count].address = *address;
		clients[client_count].room = room;
		rooms[room].members[rooms[room].count++] = client_count;
		*entry = ++client_count;
	}
	sendto(server, bytes, length, 0, (const void *)address, sizeof *address);
}

/* Returns the number of the client that sent the packet, or -1 if there is nothing to relay. */
static int author_of(const uint8_t *bytes, int length, const struct sockaddr_in *address)
{
	if (length > 0 && bytes[0]) return *table_entry(address) - 1;
	join(bytes, length, address);
	return -1;
}

static void relay_singly(void)
{
	static uint8_t bytes[RECEIVE];
	struct sockaddr_in from;
	socklen_t size = sizeof from;
	for (ssize_t n; (n = recvfrom(server, bytes, sizeof bytes, MSG_DONTWAIT, (void *)&from, &size)) >= 0;) {
		int author = author_of(bytes, n, &from);
		for (int i = 0; author >= 0 && i < rooms[clients[author].room].count; i++) {
			int member = rooms[clients[author].room].members[i];
			if (member != author) sendto(server, bytes, n, 0, (void *)&clients[member].address, sizeof from);
		}
	}
}

static void append(int number, const uint8_t *bytes, int length)
{
	struct client *client = &clients[number];
	if (client->filled + length > DATAGRAM) {
		sendto(server, client->output, client->filled, 0, (void *)&client->address, sizeof client->address);
		client->filled = 0;
	} else if (!client->filled)
		waiting[waiting_count++] = number;
	memcpy(client->output + client->filled, bytes, length);
	client->filled += length;
}

static void send_waiting(void)
{
	static struct mmsghdr messages[CLIENTS];
	static struct iovec vectors[CLIENTS];
	for (int i = 0; i < waiting_count; i++) {
		struct client *client = &clients[waiting[i]];
		vectors[i] = (struct iovec){client->output, client->filled};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &client->address, .msg_namelen = sizeof client->address,
		                                      .msg_iov = &vectors[i], .msg_iovlen = 1};
		client->filled = 0;
	}
	for (int done = 0, n; done < waiting_count; done += n)
		if ((n = sendmmsg(server, messages + done, waiting_count - done, 0)) <= 0) n = 1; /* that one is lost */
	waiting_count = 0;
}

static void relay_coalesced(void)
{
	static uint8_t bytes[BATCH][RECEIVE];
	static struct sockaddr_in from[BATCH];
	static struct iovec vectors[BATCH];
	static struct mmsghdr messages[BATCH];
	int n;
	do {
		for (int i = 0; i < BATCH; i++) {
			vectors[i] = (struct iovec){bytes[i], RECEIVE};
			messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i],
			                                      .msg_iov = &vectors[i], .msg_iovlen = 1};
		}
		n = recvmmsg(server, messages, BATCH, MSG_DONTWAIT, NULL);
		for (int m = 0; m < n; m++) {
			int author = author_of(bytes[m], messages[m].msg_len, &from[m]);
			for (int i = 0; author >= 0 && i < rooms[clients[author].room].count; i++) {
				int member = rooms[clients[author].room].members[i];
				if (member != author) append(member, bytes[m], messages[m].msg_len);
			}
		}
	} while (n == BATCH);
	send_waiting();
}

int main(int argc, char **argv)
{
	if (argc != 3 || (strcmp(argv[1], "single") && strcmp(argv[1], "coalesced"))) {
		fprintf(stderr, "usage: plain_relay single|coalesced PORT\n");
		return 2;
	}
	bool coalesced = !strcmp(argv[1], "coalesced");
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int size = 4 << 20, poller = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN};
	server = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(server, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	setsockopt(server, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (bind(server, (void *)&at, sizeof at)) {
		perror("bind");
		return 1;
	}
	epoll_ctl(poller, EPOLL_CTL_ADD, server, &event);
	printf("listening\n");
	fflush(stdout);
	for (;;) {
		epoll_wait(poller, &event, 1, -1);
		if (coalesced) relay_coalesced();
		else relay_singly();
	}
}
