/* A wall clock that a test sets, for a program that is started with this before the C library: what asks for the
 * time of day is told that of the machine and so much more. The monotonic clock and what the kernel waits by stay.
 *
 *   cc -shared -fPIC -O2 -o wall_clock.so wall_clock.c
 *   TEST_WALL_CLOCK=FILE LD_PRELOAD=wall_clock.so program
 *
 * FILE holds three numbers (double): seconds ahead, how much faster it runs, and since which monotonic second. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile double *ahead;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_WALL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *found;

    if (file < 0)
        return;
    found = mmap(NULL, 3 * sizeof(double), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED)
        ahead = found;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    long failed = syscall(SYS_clock_gettime, clock, at);
    struct timespec monotonic;
    double more;
    long long ns;

    if (failed || !ahead || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return (int)failed;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &monotonic);
    more = ahead[0] + ahead[1] * ((double)monotonic.tv_sec + 1e-9 * (double)monotonic.tv_nsec - ahead[2]);
    ns = (long long)at->tv_sec * 1000000000LL + at->tv_nsec + (long long)(more * 1e9);
    at->tv_sec = (time_t)(ns / 1000000000LL);
    at->tv_nsec = (long)(ns % 1000000000LL);
    return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec exact;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    at->tv_sec = exact.tv_sec;
    at->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec exact;

    clock_gettime(CLOCK_REALTIME, &exact);
    if (at)
        *at = exact.tv_sec;
    return exact.tv_sec;
}
