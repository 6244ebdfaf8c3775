/* The floor: relays RTP between pairs of legs on shared UDP sockets with recvmmsg and sendmmsg, in C.
 *
 *     cc -O2 -o /tmp/relay_floor bench/relay_floor.c && /tmp/relay_floor FIRST_PORT SOCKETS GATHER_US
 *
 * Prints "ready", then reads one line "LEG PORT" for each leg (leg i uses socket i % SOCKETS and is
 * bridged with leg i ^ 1), a line "go", and relays until its standard input closes; then it prints its
 * packets and CPU seconds. Same work as media.plane: find the leg by (socket, address), rewrite SSRC,
 * gather for GATHER_US, sort by socket, send. No statistics, no latching, no decoding. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 4096, SLOTS = 1 << 16, LEGS = 8192 };
static unsigned char octets[BATCH][1536];
static struct mmsghdr in[BATCH], out[BATCH];
static struct iovec in_iov[BATCH], out_iov[BATCH];
static struct sockaddr_in from[BATCH], to[LEGS];
static int table[SLOTS], fds[256], place[BATCH], target[BATCH], owner[BATCH];

static unsigned slot_of(int sock, uint16_t port) { return (sock * 40503u + port * 2654435761u) % SLOTS; }

int main(int argc, char **argv) {
    int first = atoi(argv[1]), sockets = atoi(argv[2]), gather = atoi(argv[3]), legs = 0, port;
    long packets = 0;
    char line[64];
    for (int s = 0; s < sockets; s++) {
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(first + 2 * s)};
        int size = 4 << 20;
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[s] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        setsockopt(fds[s], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
        setsockopt(fds[s], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
        if (bind(fds[s], (struct sockaddr *)&own, sizeof own)) return perror("bind"), 1;
    }
    memset(table, -1, sizeof table);
    for (int i = 0; i < BATCH; i++) {
        in_iov[i] = (struct iovec){octets[i], sizeof octets[i]};
        in[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_iov = &in_iov[i], .msg_iovlen = 1};
        out[i].msg_hdr = (struct msghdr){.msg_iov = &out_iov[i], .msg_iovlen = 1};
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%d %d", &legs, &port) == 2) {
        unsigned at = slot_of(legs % sockets, htons(port));
        while (table[at] >= 0) at = (at + 1) % SLOTS;
        table[at] = legs;
        to[legs] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        to[legs].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    for (struct pollfd end = {.fd = 0, .events = POLLIN}; poll(&end, 1, 0) == 0;) {
        int count = 0, sorted = 0;
        usleep(gather);
        for (int s = 0; s < sockets; s++) {
            for (int i = count; i < BATCH && i < count + 1024; i++) in[i].msg_hdr.msg_namelen = sizeof *from;
            int took = recvmmsg(fds[s], in + count, BATCH - count < 1024 ? BATCH - count : 1024, MSG_DONTWAIT, 0);
            for (int i = count; i < count + (took > 0 ? took : 0); i++) owner[i] = s;
            count += took > 0 ? took : 0;
        }
        for (int i = 0; i < count; i++) {
            unsigned at = slot_of(owner[i], from[i].sin_port);
            while (table[at] >= 0 && (to[table[at]].sin_port != from[i].sin_port || table[at] % sockets != owner[i]))
                at = (at + 1) % SLOTS;
            target[i] = table[at] < 0 ? -1 : table[at] ^ 1;
            *(uint32_t *)(octets[i] + 8) = htonl(777 + target[i]);
        }
        for (int s = 0; s < sockets; s++) {
            int start = sorted;
            for (int i = 0; i < count; i++)
                if (target[i] >= 0 && target[i] % sockets == s) place[sorted++] = i;
            for (int k = start; k < sorted; k++) {
                out_iov[k] = (struct iovec){octets[place[k]], in[place[k]].msg_len};
                out[k].msg_hdr.msg_name = &to[target[place[k]]];
                out[k].msg_hdr.msg_namelen = sizeof *to;
            }
            for (int sent = start, took; sent < sorted; sent += took)
                if ((took = sendmmsg(fds[s], out + sent, sorted - sent > 1024 ? 1024 : sorted - sent, MSG_DONTWAIT)) <= 0) break;
            packets += sorted - start;
        }
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("%ld packets %.3f s\n", packets, use.ru_utime.tv_sec + use.ru_utime.tv_usec / 1e6 + use.ru_stime.tv_sec + use.ru_stime.tv_usec / 1e6);
    return 0;
}
