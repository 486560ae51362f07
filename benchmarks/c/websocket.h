/* websocket.h - the client side of RFC 6455, as far as the generators need it. */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

enum { WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10, WS_HEADER_BYTES = 8 };

struct stream {
	int fd, length;
	uint8_t *bytes; /* RECEIVE_BYTES of room, `length` of them taken */
};

struct ws_frame {
	int opcode, length, total; /* of the payload; of the whole frame */
	const uint8_t *payload;
};

/* Connects to the server on loopback, with TCP_NODELAY. */
void stream_connect(struct stream *stream, int port);
/* One write of everything; the socket is blocking, and a server that reads makes it short. */
void stream_send(struct stream *stream, const void *bytes, int length);
/* Appends what has come without waiting. Returns false at the end of the stream. */
bool stream_receive(struct stream *stream);
void stream_consume(struct stream *stream, int length);

/* Asks for the upgrade and waits for a correct answer. What follows the answer stays in the stream. */
void ws_upgrade(struct stream *stream, int port, const char *path);
/* Sends one masked frame of at most 65,535 bytes. */
void ws_send(struct stream *stream, int opcode, const uint8_t *payload, int length);
/* Finds the whole frame at the beginning of bytes. Returns false if it is not all there. */
bool ws_parse(const uint8_t *bytes, int length, struct ws_frame *frame);

#endif
