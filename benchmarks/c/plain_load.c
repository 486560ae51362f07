/* plain_load.c - load generator for plain_relay.c: one connected UDP socket per client, packets as they are. */
#define _GNU_SOURCE
#include "traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { DATAGRAMS = 16, JOIN_BYTES = 5 };
static int *sockets, poller;

/* A join is a zero byte and the number of the room; the relay sends it back. */
static void join(int client)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_usec = 200000};
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = client};
	uint8_t join[JOIN_BYTES] = {0}, answer[JOIN_BYTES];
	uint32_t room = client / options.room_size;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 1 << 20, tries = 10;
	memcpy(join + 1, &room, sizeof room);
	if (fd < 0 || connect(fd, (void *)&to, sizeof to)) fail("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	do {
		if (!tries--) fail("client %d could not join", client);
		send(fd, join, sizeof join, 0);
	} while (recv(fd, answer, sizeof answer, 0) != JOIN_BYTES);
	sockets[client] = fd;
	epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void read_datagrams(int client)
{
	static uint8_t bytes[DATAGRAMS][2048];
	static struct iovec vectors[DATAGRAMS];
	static struct mmsghdr messages[DATAGRAMS];
	for (int i = 0; !vectors[DATAGRAMS - 1].iov_base && i < DATAGRAMS; i++) {
		vectors[i] = (struct iovec){bytes[i], sizeof bytes[i]};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(sockets[client], messages, DATAGRAMS, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) judge_plain_packets(client, bytes[i], messages[i].msg_len);
}

void transport_send(int client)
{
	if (send(sockets[client], next_packet(client), PACKET_BYTES, MSG_DONTWAIT) < 0) note("UDP send: %s", strerror(errno));
}

void transport_wait(uint64_t nanoseconds)
{
	struct epoll_event events[256];
	struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
	int n = epoll_pwait2(poller, events, 256, &timeout, NULL);
	for (int i = 0; i < n; i++) read_datagrams(events[i].data.u32);
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	sockets = calloc(options.clients, sizeof *sockets);
	poller = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < options.clients; i++) join(i);
	run_traffic();
	return 0;
}
