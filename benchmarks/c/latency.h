/* latency.h - what the generators of latency_*.c share: packets that know when they were sent, the open loop, and how long each
 * took to arrive. Of traffic.h they use the options, the clock and fail(); the functions marked "transport" are theirs.
 *
 * After the options:  HOST CHANNELS
 * Client i is in room i / room_size. A packet is for all others of the room, and reliable; a client's packets take the channels
 * 1 to CHANNELS in turn. One that is lost, comes twice, out of its channel's order or otherwise than it was sent ends the
 * program with fail(): what such a run says of time is worth nothing. */
#ifndef LATENCY_H
#define LATENCY_H

#include "traffic.h"

#include <netinet/in.h>

enum { LATENCY_PAYLOAD = PACKET_BYTES - 6 };
static const uint64_t JOIN_NS = UINT64_C(20000000000);

/* Reads the options and the words after them. Returns the address of the server. */
struct sockaddr_in latency_options(int argc, char **argv);
extern int latency_channels;

/* The next packet of a client with its length in front, PACKET_BYTES of them, and the channel that it takes. The bytes stay
 * valid until the next call. The clock of its latency runs from here. */
const uint8_t *latency_packet(int client, int *channel);

/* A packet has come: LATENCY_PAYLOAD bytes. `channel` is 0 where the transport has none. Returns its author. */
int latency_judge(int receiver, const uint8_t *payload, int length, int channel);

/* Runs the traffic, then prints the result. All clients have joined. With --rate 0 nobody sends. */
void latency_run(void);

/* Transport: sends latency_packet(client), at once or at the next transport_wait. */
/* Transport: transport_wait sends what waits, then takes what has come, waiting for it at most so many nanoseconds. */

#endif
