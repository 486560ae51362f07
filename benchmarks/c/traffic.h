/* traffic.h - what every load generator shares: the packet, the closed and the open loop, the check of each delivery,
 * the measured window, and the one line of JSON at the end.
 *
 * Client i is in room i / room_size. A packet is for all others of the room, so it makes room_size - 1 deliveries.
 * A generator is this file plus a transport: the functions marked "transport" below. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PACKET_BYTES = 60, /* with the length prefix, as the issue of this project asks */
	DATA_BYTES = 40,
	PAYLOAD_BYTES = 12,
	OP_CODE = 100,
	RECEIVE_BYTES = 65536,
};

struct options {
	int port, pid, clients, room_size;
	int window;      /* closed loop: packets each client keeps in flight */
	int in_flight;   /* closed loop, if > 0: packets that all clients together keep in flight, taking turns */
	double rate;     /* open loop, if > 0: packets per second and client */
	double seconds;  /* length of the measured window */
	double warm_up;  /* seconds of traffic before it */
	const char *mode, *file;
};
extern struct options options;

struct damage {
	uint64_t corrupt;      /* content, framing or header not as it must be */
	uint64_t misdelivered; /* wrong room, wrong sender field, an echo, or over the wrong transport */
	uint64_t disordered;   /* not the number that had to come next from this sender */
	uint64_t disconnected;
};
extern struct damage damage;

uint64_t now_ns(void);

/* Prints {"error": ...} as the only line and ends the program with status 1. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Remembers the first few words on what went wrong; the run goes on. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

void read_options(int argc, char **argv);

/* Puts the next packet of a client together; the bytes stay valid until the client's next packet. */
const uint8_t *next_packet(int client);

/* Judges the data and payload of one packet that `receiver` got. Returns its author, or -1 if it was damaged. */
int judge_delivery(int receiver, const uint8_t *data, const uint8_t *payload);

/* Judges whole packets exactly as they were sent (relays that add nothing). Returns false if they are not. */
bool judge_plain_packets(int receiver, const uint8_t *bytes, int length);

/* Runs the traffic, then prints the result. All clients have joined and nothing is on its way. */
void run_traffic(void);

/* Transport: sends next_packet(client), at once or at the next transport_wait. */
void transport_send(int client);
/* Transport: sends what waits, then takes what has come, waiting for it at most so many nanoseconds. */
void transport_wait(uint64_t nanoseconds);

#endif
