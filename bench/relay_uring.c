/* The floor of relay_floor.c once more, with io_uring instead of recvmmsg and sendmmsg: is there more to win?
 *
 *     cc -O2 -o /tmp/relay_uring bench/relay_uring.c && /tmp/relay_uring FIRST_PORT SOCKETS GATHER_US
 *
 * Same input, same work, same batches. Receives are one multishot recvmsg a socket into a ring of provided
 * buffers, sends one SQE a packet without completions; two io_uring_enter a batch, whatever the number of sockets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENTRIES = 8192, BUFFERS = 8192, STRIDE = 2048, SLOTS = 1 << 16, LEGS = 8192, HEAD = 16, NAME = 16 };
static unsigned char *octets;
static struct msghdr out[ENTRIES], in;
static struct iovec out_iov[ENTRIES];
static struct sockaddr_in to[LEGS];
static int table[SLOTS], fds[256], used[BUFFERS], uring;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;
static unsigned *sq_tail, *sq_array, *cq_head, *cq_tail, sq_mask, cq_mask;
static struct io_uring_buf_ring *ring;
static unsigned short ring_tail;

static unsigned slot_of(int sock, uint16_t port) { return (sock * 40503u + port * 2654435761u) % SLOTS; }

static struct io_uring_sqe *next_sqe(void) {
    unsigned at = *sq_tail & sq_mask;
    memset(&sqes[at], 0, sizeof *sqes);
    sq_array[at] = at;
    __atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
    return &sqes[at];
}

static void give_buffer(int buffer) {
    struct io_uring_buf *place = &ring->bufs[ring_tail++ & (BUFFERS - 1)];
    place->addr = (uint64_t)(octets + (size_t)buffer * STRIDE);
    place->len = STRIDE;
    place->bid = buffer;
}

static void listen_on(int sock) {
    struct io_uring_sqe *sqe = next_sqe();
    sqe->opcode = IORING_OP_RECVMSG;
    sqe->fd = fds[sock];
    sqe->addr = (uint64_t)&in;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->user_data = sock;
}

static int enter(unsigned submit, unsigned flags) { return syscall(SYS_io_uring_enter, uring, submit, 0, flags, 0, 0); }

static int set_up(void) {
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 4 * ENTRIES};
    struct io_uring_buf_reg reg = {.ring_entries = BUFFERS};
    unsigned char *base;
    if ((uring = syscall(SYS_io_uring_setup, ENTRIES, &p)) < 0) return perror("io_uring_setup"), 1;
    base = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof *cqes + p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, uring, IORING_OFF_SQ_RING);
    sqes = mmap(0, p.sq_entries * sizeof *sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, uring, IORING_OFF_SQES);
    if (base == MAP_FAILED || sqes == MAP_FAILED) return perror("mmap"), 1;
    sq_tail = (unsigned *)(base + p.sq_off.tail), sq_array = (unsigned *)(base + p.sq_off.array);
    cq_head = (unsigned *)(base + p.cq_off.head), cq_tail = (unsigned *)(base + p.cq_off.tail);
    cqes = (struct io_uring_cqe *)(base + p.cq_off.cqes);
    sq_mask = p.sq_entries - 1, cq_mask = p.cq_entries - 1;
    octets = mmap(0, (size_t)BUFFERS * STRIDE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
    ring = mmap(0, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
    reg.ring_addr = (uint64_t)ring;
    if (syscall(SYS_io_uring_register, uring, IORING_REGISTER_PBUF_RING, &reg, 1)) return perror("buffers"), 1;
    for (int i = 0; i < BUFFERS; i++) give_buffer(i);
    __atomic_store_n(&ring->tail, ring_tail, __ATOMIC_RELEASE);
    in.msg_namelen = NAME;
    return 0;
}

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
    if (set_up()) return 1;
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%d %d", &legs, &port) == 2) {
        unsigned at = slot_of(legs % sockets, htons(port));
        while (table[at] >= 0) at = (at + 1) % SLOTS;
        table[at] = legs;
        to[legs] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        to[legs].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    for (int s = 0; s < sockets; s++) listen_on(s);
    enter(sockets, 0);
    for (struct pollfd end = {.fd = 0, .events = POLLIN}; poll(&end, 1, 0) == 0;) {
        unsigned sends = 0, again = 0, spent = 0;
        usleep(gather);
        enter(0, IORING_ENTER_GETEVENTS);
        unsigned head = *cq_head, tail = __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE);
        for (; head != tail && sends < ENTRIES - 256; head++) {
            struct io_uring_cqe *cqe = &cqes[head & cq_mask];
            int sock = cqe->user_data;
            if (!(cqe->flags & IORING_CQE_F_MORE)) listen_on(sock), again++;
            if (cqe->res < HEAD + NAME + 12) continue;
            int buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
            unsigned char *at = octets + (size_t)buffer * STRIDE;
            struct sockaddr_in *from = (struct sockaddr_in *)(at + HEAD);
            unsigned char *packet = at + HEAD + NAME;
            unsigned place = slot_of(sock, from->sin_port);
            used[spent++] = buffer;
            while (table[place] >= 0 && (to[table[place]].sin_port != from->sin_port || table[place] % sockets != sock))
                place = (place + 1) % SLOTS;
            if (table[place] < 0) continue;
            int target = table[place] ^ 1;
            *(uint32_t *)(packet + 8) = htonl(777 + target);
            out_iov[sends] = (struct iovec){packet, ((struct io_uring_recvmsg_out *)at)->payloadlen};
            out[sends] = (struct msghdr){.msg_name = &to[target], .msg_namelen = sizeof *to, .msg_iov = &out_iov[sends], .msg_iovlen = 1};
            struct io_uring_sqe *sqe = next_sqe();
            sqe->opcode = IORING_OP_SENDMSG;
            sqe->fd = fds[target % sockets];
            sqe->addr = (uint64_t)&out[sends++];
            sqe->msg_flags = MSG_DONTWAIT;
            sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
            sqe->user_data = 255;
        }
        __atomic_store_n(cq_head, head, __ATOMIC_RELEASE);
        if (sends + again) enter(sends + again, 0);
        for (unsigned i = 0; i < spent; i++) give_buffer(used[i]);
        __atomic_store_n(&ring->tail, ring_tail, __ATOMIC_RELEASE);
        packets += sends;
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("%ld packets %.3f s\n", packets, use.ru_utime.tv_sec + use.ru_utime.tv_usec / 1e6 + use.ru_stime.tv_sec + use.ru_stime.tv_usec / 1e6);
    return 0;
}
