/* websocket.c - see websocket.h */
#define _GNU_SOURCE
#include "websocket.h"
#include "traffic.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void stream_connect(struct stream *stream, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = 5};
	int on = 1;
	stream->length = 0;
	if (!stream->bytes) stream->bytes = malloc(RECEIVE_BYTES);
	stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stream->fd < 0 || connect(stream->fd, (void *)&to, sizeof to)) fail("connect: %s", strerror(errno));
	setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(stream->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(stream->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void stream_send(struct stream *stream, const void *bytes, int length)
{
	if (send(stream->fd, bytes, length, MSG_NOSIGNAL) != length) fail("send to the server: %s", strerror(errno));
}

static bool receive(struct stream *stream, int flags)
{
	if (stream->length == RECEIVE_BYTES) fail("the server sent a frame of over %d bytes", RECEIVE_BYTES);
	ssize_t n = recv(stream->fd, stream->bytes + stream->length, RECEIVE_BYTES - stream->length, flags);
	if (n > 0) stream->length += n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

bool stream_receive(struct stream *stream) { return receive(stream, MSG_DONTWAIT); }

void stream_consume(struct stream *stream, int length)
{
	stream->length -= length;
	if (stream->length) memmove(stream->bytes, stream->bytes + length, stream->length);
}

void ws_upgrade(struct stream *stream, int port, const char *path)
{
	/* Key and answer are those of the example in RFC 6455, section 1.3. */
	char text[1024], *end;
	int n = snprintf(text, sizeof text,
	                 "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, port);
	stream_send(stream, text, n);
	while (!(end = memmem(stream->bytes, stream->length, "\r\n\r\n", 4))) {
		int before = stream->length;
		if (!receive(stream, 0) || stream->length == before) fail("no answer to the WebSocket upgrade");
	}
	n = end + 4 - (char *)stream->bytes;
	if (memcmp(stream->bytes, "HTTP/1.1 101", 12) || !memmem(stream->bytes, n, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28))
		fail("upgrade refused: %.40s", (char *)stream->bytes);
	stream_consume(stream, n);
}

void ws_send(struct stream *stream, int opcode, const uint8_t *payload, int length)
{
	static uint32_t mask = 0x9e3779b9;
	uint8_t frame[2048];
	int header = length < 126 ? 2 : 4;
	if (length > (int)sizeof frame - WS_HEADER_BYTES) fail("frame too long");
	mask = mask * 1664525 + 1013904223;
	frame[0] = 0x80 | opcode;
	frame[1] = 0x80 | (length < 126 ? length : 126);
	if (header == 4) {
		frame[2] = length >> 8;
		frame[3] = length;
	}
	memcpy(frame + header, &mask, 4);
	for (int i = 0; i < length; i++) frame[header + 4 + i] = payload[i] ^ frame[header + (i & 3)];
	stream_send(stream, frame, header + 4 + length);
}

bool ws_parse(const uint8_t *bytes, int length, struct ws_frame *frame)
{
	int header = 2;
	uint64_t payload;
	if (length < 2) return false;
	payload = bytes[1];
	if (payload == 126) {
		header = 4;
		if (length < header) return false;
		payload = bytes[2] << 8 | bytes[3];
	}
	if (bytes[1] > 126 || !(bytes[0] & 0x80)) fail("a WebSocket frame that is masked, split, or over 64 KiB");
	if ((uint64_t)length < header + payload) return false;
	*frame = (struct ws_frame){bytes[0] & 15, payload, header + payload, bytes + header};
	return true;
}
