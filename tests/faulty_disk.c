/* What a disk that fails does, between a program and its files: loaded by LD_PRELOAD, told what to do through a
 * page of memory that the test writes (`tests/faulty_disk.py`).
 *
 * Beside each file it keeps another with what a power cut would leave: pages reach it when a sync is good. Pages
 * that were written before a sync that FAILED never do, unless they are written again, though a later sync is
 * called good: so do Linux' file systems. Names (made, renamed, deleted) are kept at once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DATABASE, LOG, KINDS };
enum { FILES = 256, DESCRIPTORS = 4096, PAGE = 4096, PAGES = 1 << 16 };

struct control {
    uint32_t sync_errno;  /* each sync fails so */
    uint32_t sync_ms;     /* and takes so long */
    uint32_t write_errno; /* each write fails so */
    uint32_t open_errno;  /* opening for writing fails so */
    uint32_t fail_syncs;  /* so many syncs fail, then they are good; 0: all */
    uint32_t syncs, failed_syncs, failed_writes;
};

struct file {
    char path[512], kept[1024];
    ino_t inode;
    int kind;
    uint8_t dirty[PAGES / 8];
};

static struct control *control;
static char root[512], kept_root[512];
static struct file *files[FILES];
static int file_count;
static struct file *of[DESCRIPTORS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open64", const char *, int, ...);
    return real(path, flags, mode);
}

static ssize_t real_pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    return real(fd, data, size, at);
}

static int real_truncate(int fd, off_t size) {
    REAL(int, "ftruncate64", int, off_t);
    return real(fd, size);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTY_CONTROL"), *where = getenv("FAULTY_ROOT");
    const char *kept = getenv("FAULTY_KEPT");
    if (!path || !where) return;
    int fd = real_open(path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return;
    snprintf(root, sizeof root, "%s/", where);
    snprintf(kept_root, sizeof kept_root, "%s", kept ? kept : "");
    control = page;
}

/* Which kind a path under the root is of, or -1; `rest` is its name there. */
static int kind_of(const char *path, const char **rest) {
    size_t length = strlen(root);
    if (!control || !length || strncmp(path, root, length)) return -1;
    *rest = path + length;
    if (!strncmp(*rest, "journal", 7)) return strstr(*rest, "/lock") ? -1 : LOG;
    if (strncmp(*rest, "softswitch.db", 13) || strstr(*rest, "-shm")) return -1;
    return DATABASE;
}

static void copy_page(int from, int to, off_t page) {
    char data[PAGE];
    ssize_t got = pread(from, data, PAGE, page * PAGE);
    if (got > 0) real_pwrite(to, data, (size_t)got, page * PAGE);
}

/* With the lock held: what is on the disk of an inode that nobody has opened yet is all that it holds. */
static struct file *found(int fd, const char *path, const char *rest, int kind) {
    struct stat now;
    if (fstat(fd, &now) || !S_ISREG(now.st_mode)) return NULL;
    for (int i = 0; i < file_count; i++)
        if (!strcmp(files[i]->path, path) && files[i]->inode == now.st_ino) return files[i];
    if (file_count == FILES) return NULL;
    struct file *made = calloc(1, sizeof *made);
    snprintf(made->path, sizeof made->path, "%s", path);
    made->inode = now.st_ino;
    made->kind = kind;
    if (*kept_root) {
        snprintf(made->kept, sizeof made->kept, "%s/%s", kept_root, rest);
        int to = real_open(made->kept, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        int from = real_open(path, O_RDONLY | O_CLOEXEC, 0);
        for (off_t page = 0; to >= 0 && from >= 0 && page * PAGE < now.st_size; page++)
            copy_page(from, to, page);
        if (to >= 0) close(to);
        if (from >= 0) close(from);
    }
    return files[file_count++] = made;
}

static int opened(const char *path, int flags, mode_t mode) {
    const char *rest = "";
    int kind = kind_of(path, &rest);
    if (kind >= 0 && (flags & O_ACCMODE) != O_RDONLY && control[kind].open_errno) {
        errno = (int)control[kind].open_errno;
        return -1;
    }
    int fd = real_open(path, flags, mode);
    if (kind < 0 || fd < 0 || fd >= DESCRIPTORS) return fd;
    pthread_mutex_lock(&mutex);
    static struct file folder = {.kind = LOG};
    of[fd] = flags & O_DIRECTORY ? &folder : found(fd, path, rest, kind);
    pthread_mutex_unlock(&mutex);
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < DESCRIPTORS) of[fd] = NULL;
    return real(fd);
}

static struct file *known(int fd) {
    return control && fd >= 0 && fd < DESCRIPTORS ? of[fd] : NULL;
}

static int refused(struct file *file) {
    struct control *told = control + file->kind;
    if (!told->write_errno) return 0;
    __atomic_add_fetch(&told->failed_writes, 1, __ATOMIC_RELAXED);
    errno = (int)told->write_errno;
    return 1;
}

static void written(struct file *file, off_t at, ssize_t size) {
    pthread_mutex_lock(&mutex);
    for (off_t page = at / PAGE; size > 0 && page <= (at + size - 1) / PAGE && page < PAGES; page++)
        file->dirty[page / 8] |= (uint8_t)(1 << page % 8);
    pthread_mutex_unlock(&mutex);
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    struct file *file = known(fd);
    if (file && refused(file)) return -1;
    ssize_t done = real(fd, data, size);
    if (file && done > 0) written(file, lseek(fd, 0, SEEK_CUR) - done, done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    struct file *file = known(fd);
    if (file && refused(file)) return -1;
    ssize_t done = real_pwrite(fd, data, size, at);
    if (file && done > 0) written(file, at, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return pwrite64(fd, data, size, at);
}

int ftruncate64(int fd, off_t size) {
    struct file *file = known(fd);
    if (file && refused(file)) return -1;
    return real_truncate(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* With the lock held: what was written since the last sync is on the disk now, or never will be. */
static void settle(struct file *file, int fd, int good) {
    if (!*file->kept) return;
    struct stat now;
    int to = good ? real_open(file->kept, O_WRONLY | O_CLOEXEC, 0) : -1;
    int from = good ? real_open(file->path, O_RDONLY | O_CLOEXEC, 0) : -1;
    for (off_t page = 0; to >= 0 && from >= 0 && page < PAGES; page++)
        if (file->dirty[page / 8] & 1 << page % 8) copy_page(from, to, page);
    if (to >= 0 && !fstat(fd, &now)) real_truncate(to, now.st_size);
    if (to >= 0) close(to);
    if (from >= 0) close(from);
    memset(file->dirty, 0, sizeof file->dirty);
}

static int synced(int fd, int (*real)(int)) {
    struct file *file = known(fd);
    if (!file) return real(fd);
    struct control *told = control + file->kind;
    __atomic_add_fetch(&told->syncs, 1, __ATOMIC_RELAXED);
    struct timespec pause = {told->sync_ms / 1000, told->sync_ms % 1000 * 1000000L};
    if (told->sync_ms) nanosleep(&pause, NULL);
    pthread_mutex_lock(&mutex);
    int bad = (int)told->sync_errno;
    if (bad && told->fail_syncs && --told->fail_syncs == 0) told->sync_errno = 0;
    if (bad) told->failed_syncs++;
    settle(file, fd, !bad);
    pthread_mutex_unlock(&mutex);
    if (!bad) return real(fd);
    errno = bad;
    return -1;
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return synced(fd, real);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return synced(fd, real);
}

/* The next file of that name is another, even where it is given the same inode. */
static void forget(const char *path) {
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < file_count; i++)
        if (!strcmp(files[i]->path, path)) files[i]->inode = 0;
    pthread_mutex_unlock(&mutex);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    const char *rest = "";
    int kind = kind_of(path, &rest), done = real(path);
    if (kind >= 0 && !done) forget(path);
    if (kind >= 0 && !done && *kept_root) {
        char kept[1100];
        snprintf(kept, sizeof kept, "%s/%s", kept_root, rest);
        real(kept);
    }
    return done;
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    const char *rest = "", *other = "";
    int kind = kind_of(from, &rest), done = real(from, to);
    if (kind >= 0 && !done) forget(from);
    if (!done) forget(to);
    if (kind >= 0 && !done && *kept_root && kind_of(to, &other) >= 0) {
        char old[1100], fresh[1100];
        snprintf(old, sizeof old, "%s/%s", kept_root, rest);
        snprintf(fresh, sizeof fresh, "%s/%s", kept_root, other);
        real(old, fresh);
    }
    return done;
}
