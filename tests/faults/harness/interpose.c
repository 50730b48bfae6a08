/* Replaces functions of libc in a process of a test (LD_PRELOAD) and injects the faults of a machine: the process is
 * killed amid a write, its disk is full or fails, its clock is wrong. It also records all changes of files, in order
 * and with their data.
 *
 * Only files below `root` count. An operation changes a file or makes a change durable. Operations are numbered from 1
 * over all threads and forked processes. shim.py has the same structures.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { CREATE, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, SEND, MARK };
enum how { BEFORE, AFTER, TORN };
enum { SHORT = 1 << 16, SENT = 200 }; /* so many bytes of what is sent are recorded */

struct era { double from, shift; };

struct orders {
    char root[256];
    int32_t group;                            /* the processes that die together */
    int32_t log;                              /* a descriptor; -1: nothing is recorded */
    int32_t kill_at, kill_how;                /* 0: never */
    int32_t fail_from, fail_to, error, kinds; /* which operations fail, how, and a bit for each kind */
    int32_t pause_at, say, hear;              /* it writes a byte and waits until it can read one */
    int32_t sends;                            /* data sent through sockets counts too */
    int32_t files;                            /* times of files are shifted by eras too */
    int32_t eras;
    struct era era[8];                        /* from a real time on, the shift of clocks */
};

struct __attribute__((packed)) record {
    uint32_t kind;
    int32_t number;
    uint64_t inode;
    int64_t offset, length;
    double at;
    uint32_t path, other;
    uint64_t data;
};

static struct orders orders;
static int armed;
static struct { pthread_mutex_t turn; long done; } *shared;

#define REAL(type, name, ...)                                                   \
    static type (*real)(__VA_ARGS__);                                           \
    if (!real) real = (type (*)(__VA_ARGS__)) dlsym(RTLD_NEXT, #name)

static double real_time(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double shift_at(double at) {
    double shift = 0;
    for (int number = 0; number < orders.eras && orders.era[number].from <= at; number++)
        shift = orders.era[number].shift;
    return shift;
}

void faults_order(const struct orders *given) {
    if (!shared) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&shared->turn, &attributes);
    }
    orders = *given;
    shared->done = 0;
    armed = orders.root[0] != 0;
}

void faults_end(void) { armed = 0; }

long faults_done(void) { return shared ? shared->done : 0; }

/* Writes the absolute path, without ., .. and double slashes, to `full`. Returns whether it is below the root. */
static int ours(int folder, const char *path, char *full) {
    char joined[2 * PATH_MAX];
    if (!armed || !path) return 0;
    if (path[0] == '/') {
        snprintf(joined, sizeof joined, "%s", path);
    } else {
        char link[64], base[PATH_MAX];
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
        snprintf(joined, sizeof joined, "%s/%s", base, path);
    }
    size_t size = 0;
    for (char *rest = joined, *part; (part = strtok_r(rest, "/", &rest));) {
        if (!strcmp(part, ".")) continue;
        if (!strcmp(part, "..")) {
            while (size && full[--size] != '/') {}
            continue;
        }
        size += snprintf(full + size, PATH_MAX - size, "/%s", part);
        if (size >= PATH_MAX) return 0;
    }
    full[size] = 0;
    size_t root = strlen(orders.root);
    int is_shared_memory = size > 4 && !strcmp(full + size - 4, "-shm"); /* SQLite makes it anew */
    return !strncmp(full, orders.root, root) && (full[root] == '/' || !full[root]) && !is_shared_memory;
}

static int ours_open(int descriptor, char *full) {
    char link[64], path[PATH_MAX];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return ours(AT_FDCWD, path, full);
}

static uint64_t inode_of(int folder, const char *path) {
    struct stat found;
    int flags = path[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    return syscall(SYS_newfstatat, folder, path, &found, flags) ? 0 : found.st_ino;
}

static void die(void) {
    if (orders.group) kill(-orders.group, SIGKILL);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void take_turn(void) {
    if (pthread_mutex_lock(&shared->turn) == EOWNERDEAD) pthread_mutex_consistent(&shared->turn);
}

/* Begins an operation; no other runs meanwhile. Returns 0: do it; -1: it fails, with errno; 1: do half of it. */
static int begin(enum kind kind) {
    take_turn();
    long number = ++shared->done;
    if (number == orders.kill_at && (orders.kill_how == BEFORE || (orders.kill_how == TORN && kind != WRITE))) die();
    if (number == orders.pause_at) {
        char byte = 'p';
        syscall(SYS_write, orders.say, &byte, 1);
        syscall(SYS_read, orders.hear, &byte, 1);
    }
    if (number == orders.kill_at && orders.kill_how == TORN) return 1;
    if (orders.fail_from && number >= orders.fail_from && number <= orders.fail_to && (orders.kinds & (1 << kind))) {
        if (number == orders.fail_from && kind == WRITE && (orders.kinds & SHORT)) return 1;
        pthread_mutex_unlock(&shared->turn);
        errno = orders.error;
        return -1;
    }
    return 0;
}

static void record(enum kind kind, uint64_t inode, int64_t offset, int64_t length, const char *path, const char *other,
                   const void *data, size_t size) {
    if (orders.log < 0) return;
    struct record it = {kind, shared->done, inode, offset, length, real_time(), strlen(path), strlen(other), size};
    struct iovec parts[] = {
        {&it, sizeof it}, {(void *) path, it.path}, {(void *) other, it.other}, {(void *) data, size}};
    syscall(SYS_writev, orders.log, parts, 4);
}

static void end(void) {
    int error = errno;
    if (orders.kill_at == shared->done) die();
    pthread_mutex_unlock(&shared->turn);
    errno = error;
}

/* Writes a note to the record, between operations: such as that an answer was given. */
void faults_mark(const char *text) {
    if (!armed) return;
    take_turn();
    record(MARK, 0, 0, 0, text, "", NULL, 0);
    pthread_mutex_unlock(&shared->turn);
}

/* Opens a file. This is an operation if it creates or empties the file. */
static int opened(int folder, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    struct stat before;
    if (!(flags & (O_CREAT | O_TRUNC)) || !ours(folder, path, full))
        return syscall(SYS_openat, folder, path, flags, mode);
    int existed = !syscall(SYS_newfstatat, folder, path, &before, 0);
    if (existed && !((flags & O_TRUNC) && before.st_size)) return syscall(SYS_openat, folder, path, flags, mode);
    enum kind kind = existed ? TRUNCATE : CREATE;
    if (begin(kind) < 0) return -1;
    int descriptor = syscall(SYS_openat, folder, path, flags, mode);
    if (descriptor >= 0) record(kind, inode_of(descriptor, ""), 0, 0, full, "", NULL, 0);
    end();
    return descriptor;
}

#define OPEN(name, before, ...)                                                 \
    int name(before const char *path, int flags, ...) {                         \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                           \
        return opened(__VA_ARGS__, path, flags | (sizeof(void *) == 8 ? 0 : O_LARGEFILE), mode); \
    }
#define FOLDER int folder,
OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, FOLDER, folder)
OPEN(openat64, FOLDER, folder)
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Records what was written to a descriptor from an offset on. It is read back, because the kernel may have copied it. */
static void record_copied(int descriptor, const char *full, off_t offset, ssize_t size) {
    char link[64], *data = malloc(size);
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    int again = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY, 0);
    ssize_t found = syscall(SYS_pread64, again, data, size, offset);
    record(WRITE, inode_of(descriptor, ""), offset, found, full, "", data, found < 0 ? 0 : found);
    syscall(SYS_close, again);
    free(data);
}

/* Writes at the offset, or if it is negative, at the position of the descriptor. */
static ssize_t written(int descriptor, const void *data, size_t size, off_t offset) {
    char full[PATH_MAX];
    int is_placed = offset >= 0;
#define DONE(count)                                                                                                    \
    (is_placed ? syscall(SYS_pwrite64, descriptor, data, count, offset) : syscall(SYS_write, descriptor, data, count))
    if (!ours_open(descriptor, full)) return DONE(size);
    int fate = begin(WRITE);
    if (fate < 0) return -1;
    ssize_t done = DONE(fate ? size / 2 : size);
    if (done > 0) {
        off_t at = is_placed ? offset : syscall(SYS_lseek, descriptor, 0, SEEK_CUR) - done;
        record(WRITE, inode_of(descriptor, ""), at, done, full, "", data, done);
    }
    end();
    return done;
}

ssize_t write(int descriptor, const void *data, size_t size) { return written(descriptor, data, size, -1); }
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t at) { return written(descriptor, data, size, at); }
ssize_t pwrite64(int descriptor, const void *data, size_t size, off_t at) { return written(descriptor, data, size, at); }

static ssize_t gathered(int descriptor, const struct iovec *parts, int count, off_t offset) {
    char full[PATH_MAX];
    if (!ours_open(descriptor, full))
        return offset < 0 ? syscall(SYS_writev, descriptor, parts, count)
                          : syscall(SYS_pwritev, descriptor, parts, count, offset, 0);
    size_t size = 0;
    for (int number = 0; number < count; number++) size += parts[number].iov_len;
    char *data = malloc(size), *next = data;
    for (int number = 0; number < count; number++) next = mempcpy(next, parts[number].iov_base, parts[number].iov_len);
    ssize_t done = written(descriptor, data, size, offset);
    free(data);
    return done;
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) { return gathered(descriptor, parts, count, -1); }
ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t at) { return gathered(descriptor, parts, count, at); }
ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off_t at) { return gathered(descriptor, parts, count, at); }

static ssize_t moved(int descriptor, off_t *place, long call, long from, long from_place, long size) {
    char full[PATH_MAX];
    int is_ours = ours_open(descriptor, full);
    if (is_ours) {
        int fate = begin(WRITE);
        if (fate < 0) return -1;
        if (fate) size = size / 2 + 1;
    }
    off_t at = place ? *place : syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
    ssize_t done = call == SYS_sendfile ? syscall(call, descriptor, from, from_place, size)
                                        : syscall(call, from, from_place, descriptor, place, size, 0);
    if (is_ours) {
        if (done > 0) record_copied(descriptor, full, at, done);
        end();
    }
    return done;
}

ssize_t sendfile(int to, int from, off_t *at, size_t size) { return moved(to, NULL, SYS_sendfile, from, (long) at, size); }
ssize_t sendfile64(int to, int from, off_t *at, size_t size) { return sendfile(to, from, at, size); }
ssize_t copy_file_range(int from, off_t *at, int to, off_t *place, size_t size, unsigned flags) {
    (void) flags;
    return moved(to, place, SYS_copy_file_range, from, (long) at, size);
}

static int resized(int descriptor, off_t size, int is_only_grown) {
    char full[PATH_MAX];
    struct stat before;
    if (!ours_open(descriptor, full)) return syscall(SYS_ftruncate, descriptor, size);
    if (syscall(SYS_fstat, descriptor, &before) == 0 && is_only_grown && before.st_size >= size) return 0;
    if (begin(TRUNCATE) < 0) return -1;
    int done = syscall(SYS_ftruncate, descriptor, size);
    if (!done) record(TRUNCATE, inode_of(descriptor, ""), 0, size, full, "", NULL, 0);
    end();
    return done;
}

int ftruncate(int descriptor, off_t size) { return resized(descriptor, size, 0); }
int ftruncate64(int descriptor, off_t size) { return resized(descriptor, size, 0); }
int posix_fallocate(int descriptor, off_t at, off_t size) { return resized(descriptor, at + size, 1) ? errno : 0; }
int posix_fallocate64(int descriptor, off_t at, off_t size) { return posix_fallocate(descriptor, at, size); }
int fallocate(int descriptor, int mode, off_t at, off_t size) {
    char full[PATH_MAX];
    if (!ours_open(descriptor, full)) return syscall(SYS_fallocate, descriptor, mode, at, size);
    return mode ? 0 : resized(descriptor, at + size, 1);
}
int fallocate64(int descriptor, int mode, off_t at, off_t size) { return fallocate(descriptor, mode, at, size); }

static int synced(int descriptor, long call) {
    char full[PATH_MAX];
    if (!ours_open(descriptor, full)) return syscall(call, descriptor);
    if (begin(SYNC) < 0) return -1;
    int done = 0; /* the record says what is durable; the real disk need not flush */
    record(SYNC, inode_of(descriptor, ""), 0, 0, full, "", NULL, 0);
    end();
    return done;
}

int fsync(int descriptor) { return synced(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return synced(descriptor, SYS_fdatasync); }

static int renamed(int from, const char *path, int to, const char *other, unsigned flags) {
    char full[PATH_MAX], target[PATH_MAX];
    if (!ours(from, path, full) | !ours(to, other, target))
        return syscall(SYS_renameat2, from, path, to, other, flags);
    if (begin(RENAME) < 0) return -1;
    int done = syscall(SYS_renameat2, from, path, to, other, flags);
    if (!done) record(RENAME, 0, 0, 0, full, target, NULL, 0);
    end();
    return done;
}

int rename(const char *path, const char *other) { return renamed(AT_FDCWD, path, AT_FDCWD, other, 0); }
int renameat(int from, const char *path, int to, const char *other) { return renamed(from, path, to, other, 0); }
int renameat2(int from, const char *path, int to, const char *other, unsigned flags) {
    return renamed(from, path, to, other, flags);
}

static int linked(int from, const char *path, int to, const char *other, int flags) {
    char full[PATH_MAX], target[PATH_MAX];
    if (!ours(to, other, target) || !ours(from, path, full)) return syscall(SYS_linkat, from, path, to, other, flags);
    if (begin(LINK) < 0) return -1;
    int done = syscall(SYS_linkat, from, path, to, other, flags);
    if (!done) record(LINK, 0, 0, 0, full, target, NULL, 0);
    end();
    return done;
}

int link(const char *path, const char *other) { return linked(AT_FDCWD, path, AT_FDCWD, other, 0); }
int linkat(int from, const char *path, int to, const char *other, int flags) {
    return linked(from, path, to, other, flags);
}

static int removed(int folder, const char *path, int flags) {
    char full[PATH_MAX];
    struct stat before;
    if (!ours(folder, path, full) || syscall(SYS_newfstatat, folder, path, &before, AT_SYMLINK_NOFOLLOW))
        return syscall(SYS_unlinkat, folder, path, flags);
    enum kind kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    if (begin(kind) < 0) return -1;
    int done = syscall(SYS_unlinkat, folder, path, flags);
    if (!done) record(kind, 0, 0, 0, full, "", NULL, 0);
    end();
    return done;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int done = removed(AT_FDCWD, path, 0);
    return done && errno == EISDIR ? rmdir(path) : done;
}

static int made(int folder, const char *path, mode_t mode) {
    char full[PATH_MAX];
    struct stat before;
    if (!ours(folder, path, full) || !syscall(SYS_newfstatat, folder, path, &before, AT_SYMLINK_NOFOLLOW))
        return syscall(SYS_mkdirat, folder, path, mode);
    if (begin(MKDIR) < 0) return -1;
    int done = syscall(SYS_mkdirat, folder, path, mode);
    if (!done) record(MKDIR, inode_of(folder, path), 0, 0, full, "", NULL, 0);
    end();
    return done;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }

ssize_t send(int descriptor, const void *data, size_t size, int flags) {
    int counts = armed && orders.sends;
    if (counts && begin(SEND) < 0) return -1;
    ssize_t done = syscall(SYS_sendto, descriptor, data, size, flags, NULL, 0);
    if (counts) {
        record(SEND, 0, 0, size, "", "", data, size < SENT ? size : SENT);
        end();
    }
    return done;
}

/* Clocks, and the times of files. */

static void set(struct timespec *at) {
    double shift = shift_at(at->tv_sec + at->tv_nsec / 1e9);
    at->tv_sec += (time_t) shift;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int done = real(clock, at);
    if (!done && orders.eras && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) set(at);
    return done;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void) zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *at = (struct timeval) {now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

/* Sets the change time to the modification time, because a copied file keeps only the latter. */
static int aged(int done, struct stat *found) {
    if (!done && orders.eras && orders.files) {
        set(&found->st_mtim);
        found->st_atim = found->st_ctim = found->st_mtim;
    }
    return done;
}

#define STAT(name, result, call, ...)                                                                                  \
    int name(__VA_ARGS__) { return aged(syscall call, (struct stat *) result); }
STAT(stat, found, (SYS_newfstatat, AT_FDCWD, path, found, 0), const char *restrict path, struct stat *restrict found)
STAT(stat64, found, (SYS_newfstatat, AT_FDCWD, path, found, 0), const char *restrict path, struct stat64 *restrict found)
STAT(lstat, found, (SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW), const char *restrict path, struct stat *restrict found)
STAT(lstat64, found, (SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW), const char *restrict path, struct stat64 *restrict found)
STAT(fstat, found, (SYS_fstat, descriptor, found), int descriptor, struct stat *found)
STAT(fstat64, found, (SYS_fstat, descriptor, found), int descriptor, struct stat64 *found)
STAT(fstatat, found, (SYS_newfstatat, folder, path, found, flags), int folder, const char *restrict path, struct stat *restrict found, int flags)
STAT(fstatat64, found, (SYS_newfstatat, folder, path, found, flags), int folder, const char *restrict path, struct stat64 *restrict found, int flags)
STAT(__xstat, found, (SYS_newfstatat, AT_FDCWD, path, found, 0), int version, const char *path, struct stat *found)
STAT(__xstat64, found, (SYS_newfstatat, AT_FDCWD, path, found, 0), int version, const char *path, struct stat64 *found)
STAT(__lxstat, found, (SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW), int version, const char *path, struct stat *found)
STAT(__lxstat64, found, (SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW), int version, const char *path, struct stat64 *found)
STAT(__fxstat, found, (SYS_fstat, descriptor, found), int version, int descriptor, struct stat *found)
STAT(__fxstat64, found, (SYS_fstat, descriptor, found), int version, int descriptor, struct stat64 *found)
