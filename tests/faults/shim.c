// Fails one call of the process that it is loaded into, as a disk may: for tests/faults.rs.
//
// FAULT_UNDER  files below this folder count, no others
// FAULT_CALL   sync, write, read or any: which calls count
// FAULT_NTH    which one of them fails, the first is 1; with 0 none does
// FAULT_WHILE  all of them fail while there is this file
// FAULT_HOW    eio, enospc: the call fails, and does nothing
//              short: half of it is written, and that is said
//              torn: half of it is written, and the process ends
//              flip: a bit of what is read is another one
//              exit: the process ends behind it
// FAULT_TOLD   a file that gets the number of calls at the end

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static const char *set(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static int is(const char *name, const char *what) { return !strcmp(set(name), what); }

static int counts(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len <= 0) return 0;
    path[len] = 0;
    const char *under = set("FAULT_UNDER");
    return *under && !strncmp(path, under, strlen(under));
}

// Whether this call is to fail.
static int hit(int fd, const char *call) {
    int saved = errno;
    int one = (is("FAULT_CALL", call) || is("FAULT_CALL", "any")) && counts(fd)
        && (atomic_fetch_add(&calls, 1) + 1 == atol(set("FAULT_NTH"))
            || (*set("FAULT_WHILE") && !access(set("FAULT_WHILE"), F_OK)));
    errno = saved;
    return one;
}

static ssize_t failed(void) {
    errno = is("FAULT_HOW", "enospc") ? ENOSPC : EIO;
    return -1;
}

static int fails(void) { return is("FAULT_HOW", "eio") || is("FAULT_HOW", "enospc"); }

static ssize_t after(ssize_t done) {
    if (is("FAULT_HOW", "exit") || is("FAULT_HOW", "torn")) _exit(99);
    return done;
}

__attribute__((destructor)) static void told(void) {
    FILE *file = *set("FAULT_TOLD") ? fopen(set("FAULT_TOLD"), "w") : NULL;
    if (file) {
        fprintf(file, "%ld", (long)calls);
        fclose(file);
    }
}

#define REAL(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static size_t half(size_t len) {
    return is("FAULT_HOW", "short") || is("FAULT_HOW", "torn") ? (len + 1) / 2 : len;
}

ssize_t write(int fd, const void *data, size_t len) {
    ssize_t (*real)(int, const void *, size_t) = REAL("write", ssize_t, int, const void *, size_t);
    if (!hit(fd, "write")) return real(fd, data, len);
    return fails() ? failed() : after(real(fd, data, half(len)));
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t);
    if (!hit(fd, "write")) return real(fd, data, len, at);
    return fails() ? failed() : after(real(fd, data, half(len), at));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = REAL("writev", ssize_t, int, const struct iovec *, int);
    if (!hit(fd, "write")) return real(fd, parts, count);
    return fails() ? failed() : after(real(fd, parts, count > 1 ? count / 2 : count));
}

int fsync(int fd) {
    int (*real)(int) = REAL("fsync", int, int);
    if (!hit(fd, "sync")) return real(fd);
    return fails() ? (int)failed() : (int)after(real(fd));
}

int fdatasync(int fd) {
    int (*real)(int) = REAL("fdatasync", int, int);
    if (!hit(fd, "sync")) return real(fd);
    return fails() ? (int)failed() : (int)after(real(fd));
}

static ssize_t flipped(void *data, ssize_t len) {
    if (len > 0 && is("FAULT_HOW", "flip")) ((unsigned char *)data)[len / 2] ^= 0x10;
    return after(len);
}

ssize_t read(int fd, void *data, size_t len) {
    ssize_t (*real)(int, void *, size_t) = REAL("read", ssize_t, int, void *, size_t);
    if (!hit(fd, "read")) return real(fd, data, len);
    return fails() ? failed() : flipped(data, real(fd, data, len));
}

ssize_t pread64(int fd, void *data, size_t len, off64_t at) {
    ssize_t (*real)(int, void *, size_t, off64_t) = REAL("pread64", ssize_t, int, void *, size_t, off64_t);
    if (!hit(fd, "read")) return real(fd, data, len, at);
    return fails() ? failed() : flipped(data, real(fd, data, len, at));
}
