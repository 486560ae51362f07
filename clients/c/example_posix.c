/* gsrt_example HOST PORT TOKEN: joins a session over the link, prints what happens, and sends each line typed as a reliable
 * packet (opCode 1, the text in slot 1) to all others, as `gsrt join` does. The end of the input leaves.
 *
 * gsrt_example: looks for two seconds which servers there are on this network, by IPv4, and prints them.
 */
#define _POSIX_C_SOURCE 200112L
#define _DEFAULT_SOURCE /* IP_MTU_DISCOVER, SO_REUSEPORT, getifaddrs() */

#include "gsrt_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_OP_CODE = 1, TEXT_SLOT = 1, LINE_MAX_BYTES = 1000, LEAVING_SECONDS = 5 };

#define SEEK_SECONDS 2.0
#define ASK_AGAIN_SECONDS 0.5
enum { ASKED_MAX = 64, ASKED_TIMES = 2, FOUND_MAX = 64 };

typedef struct terminal {
    const char *host, *port;
    gsrt_link *link;
    int socket;
    char line[LINE_MAX_BYTES];
    size_t line_size;
    bool input_ended;
    bool ready;
    int status; /* of the program; -1: not yet */
} terminal;

static double seconds_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A socket that sends to the server and gets only what comes from there; -1: there is none. */
static int open_socket(const char *host, const char *port)
{
    struct addrinfo wanted, *found = NULL;
    int made = -1;
    memset(&wanted, 0, sizeof wanted);
    wanted.ai_socktype = SOCK_DGRAM;
    if (getaddrinfo(host, port, &wanted, &found) != 0) {
        return -1;
    }
    for (const struct addrinfo *at = found; at != NULL && made < 0; at = at->ai_next) {
        made = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (made >= 0 && connect(made, at->ai_addr, at->ai_addrlen) != 0) {
            close(made);
            made = -1;
        }
    }
    freeaddrinfo(found);
#ifdef IP_PMTUDISC_PROBE
    if (made >= 0) {
        const int probe = IP_PMTUDISC_PROBE; /* never cut datagrams: the link looks for the size that gets through */
        setsockopt(made, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
    }
#endif
    return made;
}

/* After every other call: what the link wants to send. A datagram that the system does not take is as good as lost. */
static void flush(const terminal *at)
{
    uint8_t datagram[GSRT_LINK_DATAGRAM_MAX];
    size_t size;
    while ((size = gsrt_link_poll_datagram(at->link, datagram, sizeof datagram, seconds_now())) > 0) {
        if (send(at->socket, datagram, size, 0) < 0 && errno == EBADF) {
            return;
        }
    }
}

static void print_peers(const gsrt_link_event *event)
{
    printf("peers:");
    for (size_t i = 0; i < event->peer_count; i++) {
        printf(" %d", event->peers[i]);
    }
    printf("\n");
}

static void print_message(const gsrt_link_event *event)
{
    const char *text;
    size_t size;
    if (gsrt_data_get_string(event->data, event->data_size, TEXT_SLOT, &text, &size)) {
        printf("%d> %.*s\n", event->sender, (int)size, text);
    } else {
        printf("%d> opCode %ld, %lu bytes of data, %lu of payload\n", event->sender, (long)event->op_code,
               (unsigned long)event->data_size, (unsigned long)event->payload_size);
    }
}

static void take_events(terminal *at)
{
    gsrt_link_event event;
    while (gsrt_link_next_event(at->link, &event)) {
        switch (event.type) {
        case GSRT_LINK_EVENT_READY:
            printf("in, as peer %d\n", event.peer);
            print_peers(&event);
            at->ready = true;
            break;
        case GSRT_LINK_EVENT_MESSAGE:
            print_message(&event);
            break;
        case GSRT_LINK_EVENT_PEER_CONNECTED:
            printf("peer %d has come\n", event.peer);
            print_peers(&event);
            break;
        case GSRT_LINK_EVENT_PEER_DISCONNECTED:
            printf("peer %d has gone\n", event.peer);
            print_peers(&event);
            break;
        case GSRT_LINK_EVENT_SILENT: {
            const int other = open_socket(at->host, at->port);
            if (other >= 0) {
                close(at->socket);
                at->socket = other;
                gsrt_link_path_changed(at->link, seconds_now());
            }
            break;
        }
        default: /* refused or closed */
            printf("%s: %s\n", event.type == GSRT_LINK_EVENT_REFUSED ? "refused" : "closed", event.text);
            at->status = event.type == GSRT_LINK_EVENT_CLOSED && event.reason >= 0 ? 0 : 1;
        }
        fflush(stdout);
    }
}

static void say(terminal *at)
{
    uint8_t data[LINE_MAX_BYTES + 16], bytes[LINE_MAX_BYTES + 64];
    gsrt_data_writer writer = {data, sizeof data, 0, false};
    gsrt_packet packet;
    gsrt_data_put_string(&writer, TEXT_SLOT, at->line, at->line_size);
    memset(&packet, 0, sizeof packet);
    packet.op_code = TEXT_OP_CODE;
    packet.data = data;
    packet.data_size = writer.size;
    const size_t size = gsrt_packet_write(bytes, sizeof bytes, &packet);
    if (gsrt_link_send(at->link, bytes, size, GSRT_LINK_ORDERED, 0, seconds_now()) != GSRT_LINK_SENT) {
        printf("not sent\n");
    }
    at->line_size = 0;
}

static void read_input(terminal *at)
{
    char bytes[256];
    const ssize_t size = read(STDIN_FILENO, bytes, sizeof bytes);
    at->input_ended = size <= 0;
    for (ssize_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            say(at);
        } else if (at->line_size < sizeof at->line) {
            at->line[at->line_size++] = bytes[i];
        }
    }
}

static void read_socket(terminal *at)
{
    uint8_t datagram[GSRT_LINK_DATAGRAM_MAX + 1];
    ssize_t size;
    while ((size = recv(at->socket, datagram, sizeof datagram, MSG_DONTWAIT)) >= 0) {
        gsrt_link_receive(at->link, datagram, (size_t)size, seconds_now());
        take_events(at);
    }
}

/* Milliseconds until the link's next timer, rounded up; -1: none. */
static int wait_milliseconds(const terminal *at)
{
    const double left = gsrt_link_next_timer(at->link) - seconds_now();
    return left <= 0 ? 0 : left > 60 ? -1 : (int)(left * 1000) + 1;
}

static void run(terminal *at)
{
    double leaving_at = GSRT_LINK_NEVER;
    while (at->status < 0) {
        struct pollfd waited[2] = {{at->socket, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        /* The input is read once somebody can hear it. */
        const nfds_t count = at->ready && !at->input_ended ? 2 : 1;
        poll(waited, count, wait_milliseconds(at));
        if (waited[0].revents != 0) {
            read_socket(at);
        }
        if (count == 2 && waited[1].revents != 0) {
            read_input(at);
        }
        if (seconds_now() >= gsrt_link_next_timer(at->link)) {
            gsrt_link_handle_timer(at->link, seconds_now());
        }
        if (at->input_ended) {
            gsrt_link_quality quality;
            gsrt_link_quality_of(at->link, &quality);
            leaving_at = leaving_at < GSRT_LINK_NEVER ? leaving_at : seconds_now() + LEAVING_SECONDS;
            if (quality.waiting_bytes == 0 || seconds_now() >= leaving_at) {
                gsrt_link_close(at->link, GSRT_LINK_CLOSE_LEFT, "left", seconds_now());
            }
        }
        flush(at);
        take_events(at);
    }
}

typedef struct asked {
    struct sockaddr_in address;
    double at; /* seconds */
    int times;
} asked;

typedef struct found {
    struct sockaddr_in address;
    gsrt_notice notice;
} found;

/* Who looks for servers: the mouth asks and hears answers; the ear hears beacons, -1 where another program has their port. */
typedef struct search {
    int mouth, ear;
    uint8_t nonce[GSRT_NONCE_BYTES];
    uint8_t question[GSRT_SEEK_BYTES];
    asked asked[ASKED_MAX];
    size_t asked_count;
    found found[FOUND_MAX];
    size_t found_count;
} search;

/* A UDP socket that does not wait, bound to a port of all addresses, 0: any port; -1: there is none. */
static int bound_socket(uint16_t port)
{
    const int on = 1, made = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in here;
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_port = htons(port);
    if (made < 0) {
        return -1;
    }
    setsockopt(made, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    if (port != 0) { /* others on this machine may look, too */
        setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
#ifdef SO_REUSEPORT
        setsockopt(made, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
#endif
    }
    if (bind(made, (const struct sockaddr *)&here, sizeof here) != 0) {
        close(made);
        return -1;
    }
    return made;
}

/* What cannot be sent is left out: others may be reached. */
static void ask(const search *at, const struct sockaddr_in *address)
{
    sendto(at->mouth, at->question, sizeof at->question, 0, (const struct sockaddr *)address, sizeof *address);
}

/* All that are at the usual port: on this machine, and where broadcasts reach. That to 255.255.255.255 leaves by one
 * interface, and by none where there is no router, so each interface's own is sent, too. */
static void ask_all(const search *at)
{
    static const uint32_t hosts[] = {INADDR_LOOPBACK, INADDR_BROADCAST};
    struct sockaddr_in address;
    struct ifaddrs *interfaces = NULL;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(GSRT_SERVER_PORT);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        address.sin_addr.s_addr = htonl(hosts[i]);
        ask(at, &address);
    }
    if (getifaddrs(&interfaces) != 0) {
        return;
    }
    for (const struct ifaddrs *each = interfaces; each != NULL; each = each->ifa_next) {
        if (each->ifa_addr != NULL && each->ifa_addr->sa_family == AF_INET && (each->ifa_flags & IFF_BROADCAST) != 0 &&
            each->ifa_broadaddr != NULL) {
            struct sockaddr_in all;
            memcpy(&all, each->ifa_broadaddr, sizeof all);
            address.sin_addr = all.sin_addr;
            ask(at, &address);
        }
    }
    freeifaddrs(interfaces);
}

static bool same_address(const struct sockaddr_in *one, const struct sockaddr_in *other)
{
    return one->sin_addr.s_addr == other->sin_addr.s_addr && one->sin_port == other->sin_port;
}

/* Somebody says that a server is there. Anybody can say that of anybody, so what is sent upon it has bounds. */
static void hear_beacon(search *at, const gsrt_notice *notice, struct sockaddr_in address)
{
    const double now = seconds_now();
    size_t i = 0;
    address.sin_port = htons(notice->port);
    while (i < at->asked_count && !same_address(&at->asked[i].address, &address)) {
        i++;
    }
    if (i == ASKED_MAX) {
        return;
    }
    asked *one = &at->asked[i];
    if (i == at->asked_count) {
        at->asked_count++;
        one->address = address;
    } else if (one->times == ASKED_TIMES || now - one->at < ASK_AGAIN_SECONDS) {
        return;
    }
    one->at = now;
    one->times++;
    ask(at, &address);
}

static bool is_loopback(const struct sockaddr_in *address)
{
    return ntohl(address->sin_addr.s_addr) >> 24 == 127;
}

/* A server has answered. It may do so from several addresses: one that others can use is rather kept. */
static void hear_answer(search *at, const gsrt_notice *notice, const struct sockaddr_in *address)
{
    size_t i = 0;
    while (i < at->found_count && memcmp(at->found[i].notice.server, notice->server, sizeof notice->server) != 0) {
        i++;
    }
    if (i == FOUND_MAX || (i < at->found_count && !is_loopback(&at->found[i].address))) {
        return;
    }
    at->found_count += i == at->found_count;
    at->found[i].address = *address;
    at->found[i].notice = *notice;
}

/* What has come to the mouth or the ear. */
static void hear(search *at, int which)
{
    uint8_t datagram[GSRT_SEEK_BYTES + 1]; /* no notice is longer than a question */
    struct sockaddr_in address;
    socklen_t address_size = sizeof address;
    gsrt_notice notice;
    const ssize_t size = recvfrom(which, datagram, sizeof datagram, MSG_DONTWAIT, (struct sockaddr *)&address, &address_size);
    if (size < 0) {
        return; /* nobody is where we have asked */
    }
    if (which == at->mouth && gsrt_here_read(&notice, datagram, (size_t)size, at->nonce)) {
        hear_answer(at, &notice, &address);
    } else if (which == at->ear && gsrt_beacon_read(&notice, datagram, (size_t)size)) {
        hear_beacon(at, &notice, address);
    }
}

static void print_found(const search *at)
{
    for (size_t i = 0; i < at->found_count; i++) {
        const gsrt_notice *notice = &at->found[i].notice;
        char host[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &at->found[i].address.sin_addr, host, sizeof host);
        printf("%s %u  %s ", host, (unsigned)ntohs(at->found[i].address.sin_port), notice->name);
        if (notice->game[0] != '\0') {
            printf("(%s) ", notice->game);
        }
        printf(" %lu players\n", (unsigned long)notice->players);
    }
}

/* The status of the program. */
static int look(void)
{
    static const double ask_at[] = {0, 0.25, 1, SEEK_SECONDS}; /* seconds: a datagram may be lost */
    static search at;
    const double began = seconds_now();
    double now = began;
    size_t questions = 0;
    at.mouth = bound_socket(0);
    at.ear = bound_socket(GSRT_BEACON_PORT);
    if (at.mouth < 0) {
        fprintf(stderr, "no socket to ask by\n");
        return 1;
    }
    randombytes_buf(at.nonce, sizeof at.nonce);
    gsrt_seek_write(at.question, at.nonce);
    for (; now - began < SEEK_SECONDS; now = seconds_now()) {
        if (now - began >= ask_at[questions]) {
            ask_all(&at);
            questions++;
        }
        struct pollfd waited[2] = {{at.mouth, POLLIN, 0}, {at.ear, POLLIN, 0}}; /* -1 is passed over */
        const double left = began + ask_at[questions] - now;
        poll(waited, 2, left > 0 ? (int)(left * 1000) + 1 : 0);
        for (size_t i = 0; i < 2; i++) {
            if (waited[i].revents != 0) {
                hear(&at, waited[i].fd);
            }
        }
    }
    close(at.mouth);
    if (at.ear >= 0) {
        close(at.ear);
    }
    print_found(&at);
    if (at.found_count == 0) {
        fprintf(stderr, "no server has answered\n");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    gsrt_link_config config;
    terminal at;
    if ((argc != 1 && argc != 4) || sodium_init() < 0) {
        fprintf(stderr, "usage: %s [HOST PORT TOKEN]\n", argv[0]);
        return 2;
    }
    if (argc == 1) {
        return look();
    }
    gsrt_link_config_default(&config);
    config.token = argv[3];
    config.token_size = strlen(argv[3]);
    config.crypto = &gsrt_link_sodium;
    config.random = gsrt_link_sodium_random;
    const size_t size = gsrt_link_memory(&config);
    void *memory = malloc(size);

    memset(&at, 0, sizeof at);
    at.status = -1;
    at.host = argv[1];
    at.port = argv[2];
    at.link = gsrt_link_init(memory, size, &config);
    at.socket = open_socket(at.host, at.port);
    if (at.link == NULL || at.socket < 0) {
        fprintf(stderr, "no link to %s port %s\n", at.host, at.port);
        free(memory);
        return 1;
    }
    gsrt_link_connect(at.link, seconds_now());
    flush(&at);
    run(&at);
    close(at.socket);
    free(memory);
    return at.status;
}
