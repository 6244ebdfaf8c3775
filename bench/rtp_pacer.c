/* The other ends of many calls, evenly paced, whose own lateness is in no figure.
 *
 *     cc -O2 -o /tmp/rtp_pacer bench/rtp_pacer.c && /tmp/rtp_pacer SOCKETS
 *
 * Prints the ports of its sockets in one line, reads a line "SOCKET HOST PORT" for each leg, then "go WARM_S SECONDS".
 * Each leg sends G.711 every 20 ms, its moment being its own: the legs are spread over the 20 ms one by one, and
 * those that are due within a step of 0.1 ms go together. A packet bears the time just before its sendmmsg; when it
 * came back is the kernel's word (SO_TIMESTAMPNS), so that it does not matter when it is fetched here. What is
 * measured is what lies between. The last line is JSON: packets, delays in microseconds over all and of each second (p99),
 * how late this program itself was (from the moment a leg was due to its stamp), and its CPU. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LEGS = 8192, SOCKETS = 512, BATCH = 256, PACKET = 172, BINS = 100000, BIN_NS = 10000, SECONDS = 600 };
static const int64_t FRAME_NS = 20000000, STEP_NS = 100000;
static unsigned char out[BATCH][PACKET], in[BATCH][256], control[BATCH][64];
static struct mmsghdr tx[BATCH], rx[BATCH];
static struct iovec tx_iov[BATCH], rx_iov[BATCH];
static struct sockaddr_in to[LEGS];
static int socket_of[LEGS], fds[SOCKETS], legs, sockets;
static uint32_t delays[BINS], lateness[BINS], of_second[BINS];
static int p99_of[SECONDS], worst_of[SECONDS], worst_now, second_now;
static int64_t sent, received, longest_late_ns, begin_ns, end_ns;

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void count(uint32_t *bins, int64_t ns) { bins[ns < 0 ? 0 : ns / BIN_NS < BINS ? ns / BIN_NS : BINS - 1]++; }

static int quantile_us(const uint32_t *bins, double share) {
    uint64_t all = 0, so_far = 0;
    for (int i = 0; i < BINS; i++) all += bins[i];
    for (int i = 0; i < BINS; i++)
        if ((so_far += bins[i]) >= share * all && all) return (i + 1) * (BIN_NS / 1000);
    return 0;
}

static void close_second(void) {
    if (second_now < SECONDS) p99_of[second_now] = quantile_us(of_second, 0.99), worst_of[second_now] = worst_now;
    memset(of_second, 0, sizeof of_second);
    worst_now = 0;
}

/* Legs [first, last) of one socket and step. */
static void send_run(int first, int last, int64_t frame, int64_t started_ns) {
    int n = last - first, done = 0;
    int64_t stamp = clock_ns(CLOCK_REALTIME);
    for (int i = 0; i < n; i++) {
        int leg = first + i;
        uint32_t head[3] = {htonl(0x80000000u | (frame & 0xffff)), htonl((uint32_t)(frame * 160)), htonl(1000 + leg)};
        memcpy(out[i], head, 12);
        memcpy(out[i] + 12, &stamp, 8);
        tx[i].msg_hdr.msg_name = &to[leg];
        tx[i].msg_hdr.msg_namelen = sizeof *to;
        int64_t late = stamp - (started_ns + frame * FRAME_NS + leg * FRAME_NS / legs);
        if (stamp >= begin_ns && stamp < end_ns) {
            count(lateness, late);
            if (late > longest_late_ns) longest_late_ns = late;
        }
    }
    while (done < n) {
        int took = sendmmsg(fds[socket_of[first]], tx + done, n - done, 0);
        if (took <= 0) took = 1; /* counted as sent: lost */
        done += took;
    }
    if (stamp >= begin_ns && stamp < end_ns) sent += n;
}

static void fetch(int s) {
    for (int i = 0; i < BATCH; i++) rx[i].msg_hdr.msg_controllen = sizeof *control;
    int n = recvmmsg(fds[s], rx, BATCH, MSG_DONTWAIT, 0);
    for (int i = 0; i < n; i++) {
        struct cmsghdr *note = CMSG_FIRSTHDR(&rx[i].msg_hdr);
        struct timespec arrived;
        int64_t stamp;
        if (rx[i].msg_len != PACKET || !note || note->cmsg_type != SCM_TIMESTAMPNS) continue;
        memcpy(&arrived, CMSG_DATA(note), sizeof arrived);
        memcpy(&stamp, in[i] + 12, 8);
        if (stamp < begin_ns || stamp >= end_ns) continue;
        int64_t delay = arrived.tv_sec * 1000000000LL + arrived.tv_nsec - stamp;
        int second = (stamp - begin_ns) / 1000000000LL;
        if (second > second_now) close_second(), second_now = second;
        received++;
        count(delays, delay);
        count(of_second, delay);
        if (delay / 1000 > worst_now) worst_now = delay / 1000;
    }
}

int main(int argc, char **argv) {
    char line[128], host[64];
    int port, s;
    double warm_s, seconds;
    sockets = argc > 1 ? atoi(argv[1]) : 1;
    if (sockets < 1 || sockets > SOCKETS) return fprintf(stderr, "1 to %d sockets\n", SOCKETS), 2;
    for (s = 0; s < sockets; s++) {
        struct sockaddr_in own = {.sin_family = AF_INET};
        socklen_t length = sizeof own;
        int size = 4 << 20, on = 1;
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[s] = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(fds[s], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
        setsockopt(fds[s], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
        setsockopt(fds[s], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        if (bind(fds[s], (struct sockaddr *)&own, sizeof own)) return perror("bind"), 1;
        getsockname(fds[s], (struct sockaddr *)&own, &length);
        printf("%d ", ntohs(own.sin_port));
    }
    puts("");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%d %63s %d", &s, host, &port) == 3 && legs < LEGS) {
        if (s < 0 || s >= sockets) return fprintf(stderr, "socket %d\n", s), 2;
        to[legs] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        inet_pton(AF_INET, host, &to[legs].sin_addr);
        socket_of[legs++] = s;
    }
    if (sscanf(line, "go %lf %lf", &warm_s, &seconds) != 2 || !legs || seconds >= SECONDS) return fputs("go?\n", stderr), 2;
    for (int i = 0; i < BATCH; i++) {
        memset(out[i], 0xff, PACKET);
        /* Soft noise, as u-law has it: what decodes or records has something to do. */
        for (int k = 20; k < PACKET; k++) out[i][k] = 0x60 | (random() & 0x8f);
        tx_iov[i] = (struct iovec){out[i], PACKET};
        rx_iov[i] = (struct iovec){in[i], sizeof *in};
        tx[i].msg_hdr = (struct msghdr){.msg_iov = &tx_iov[i], .msg_iovlen = 1};
        rx[i].msg_hdr = (struct msghdr){.msg_iov = &rx_iov[i], .msg_iovlen = 1, .msg_control = control[i]};
    }
    prctl(PR_SET_TIMERSLACK, 1);
    struct sched_param prompt = {.sched_priority = 1};
    int realtime = sched_setscheduler(0, SCHED_FIFO, &prompt) == 0;

    /* One clock for due moments, stamps and the kernel's word; nobody sets it in these seconds. */
    int64_t started_ns = clock_ns(CLOCK_REALTIME) + STEP_NS, packet = 0, over_ns;
    begin_ns = started_ns + (int64_t)(warm_s * 1e9);
    end_ns = begin_ns + (int64_t)(seconds * 1e9);
    over_ns = end_ns + 500000000;
    struct rusage before = {0}, after;
    int counting = 0, next = 0, some = (sockets + 19) / 20;
    for (int64_t now; (now = clock_ns(CLOCK_REALTIME)) < over_ns;) {
        if (!counting && now >= begin_ns) counting = 1, getrusage(RUSAGE_SELF, &before);
        while (now < end_ns + FRAME_NS) {
            int64_t frame = packet / legs;
            int first = packet % legs, last = first;
            while (last < legs && last - first < BATCH && socket_of[last] == socket_of[first] &&
                   started_ns + frame * FRAME_NS + last * FRAME_NS / legs <= now)
                last++;
            if (last == first) break;
            send_run(first, last, frame, started_ns);
            packet += last - first;
        }
        for (int i = 0; i < some; i++, next = (next + 1) % sockets) fetch(next);
        now = clock_ns(CLOCK_REALTIME);
        int64_t pause = STEP_NS - (now - started_ns) % STEP_NS;
        struct timespec rest = {.tv_nsec = pause};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
    }
    close_second();
    getrusage(RUSAGE_SELF, &after);
    double cpu_s = (after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec - before.ru_stime.tv_sec) +
                   (after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec - before.ru_stime.tv_usec) / 1e6;
    printf("{\"sent\": %ld, \"received\": %ld, \"p50_us\": %d, \"p99_us\": %d, \"p999_us\": %d, \"realtime\": %d, ", (long)sent,
           (long)received, quantile_us(delays, 0.5), quantile_us(delays, 0.99), quantile_us(delays, 0.999), realtime);
    printf("\"late_p50_us\": %d, \"late_p99_us\": %d, \"late_max_us\": %ld, \"cpu\": %.3f, ", quantile_us(lateness, 0.5),
           quantile_us(lateness, 0.99), (long)longest_late_ns / 1000, cpu_s / seconds);
    printf("\"p99_us_of_seconds\": [");
    for (int i = 0; i <= second_now; i++) printf("%s%d", i ? ", " : "", p99_of[i]);
    printf("], \"worst_us_of_seconds\": [");
    for (int i = 0; i <= second_now; i++) printf("%s%d", i ? ", " : "", worst_of[i]);
    puts("]}");
    return 0;
}
