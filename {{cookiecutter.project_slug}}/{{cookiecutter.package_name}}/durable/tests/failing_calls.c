/* Makes system calls fail, on paths below one folder: see failing_calls.py.

   Preloaded into a process (LD_PRELOAD), it stands between the program with all its libraries and
   the C library. Nothing fails before `arm` is called. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>

/* What a call does, which says how it can fail. */
enum { LOOKS = 1, OPENS = 2, READS = 4, TAKES_SPACE = 8, SYNCS = 16, CLOSES = 32, LOCKS = 64, REMOVES = 128, SHORTENS = 256 };

static char root[PATH_MAX];
static size_t root_length;
static atomic_long counted, failed;
static long first, last;
static int error_number; /* 0 is no error: a read or a write is short */
static int record = -1;
static char below[1 << 16]; /* which descriptors are of files below the root */

/* Begins to count, and makes the calls from number `from` to number `to` fail.

   record_to: a descriptor to which each call is written, a line for each; -1 for none. */
void arm(const char *folder, long from, long to, int error, int record_to) {
    strcpy(root, folder);
    root_length = strlen(root);
    first = from;
    last = to;
    error_number = error;
    record = record_to;
    memset(below, 0, sizeof below);
    counted = failed = 0;
}

/* Lets everything succeed again; tells how many calls have failed. */
long disarm(void) {
    root_length = 0;
    record = -1;
    return failed;
}

static int admits(int kind, int by_path) {
    switch (error_number) {
    case 0: return kind & SHORTENS;
    case ENOSPC: return kind & (TAKES_SPACE | SYNCS);
    case EACCES: return by_path;
    case EMFILE: return kind & OPENS;
    case EINTR: return kind & (OPENS | READS | TAKES_SPACE | SYNCS | LOCKS);
    default: return 1;
    }
}

/* Counts a call; whether it is to fail. */
static int fails(const char *name, int kind, int by_path, const char *path, int descriptor) {
    long number = ++counted;
    if (record >= 0) {
        char link[32], place[PATH_MAX];
        if (!path) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
            ssize_t length = readlink(link, place, sizeof place - 1);
            place[length > 0 ? length : 0] = 0;
            path = place;
        }
        dprintf(record, "%s %d %d %s\n", name, kind, by_path, path);
    }
    if (number < first || number > last || !admits(kind, by_path)) return 0;
    failed++;
    if (error_number) errno = error_number;
    return 1;
}

static int is_below(const char *path) {
    return root_length && path && !strncmp(path, root, root_length) &&
           (path[root_length] == '/' || !path[root_length]);
}

static int is_known(int descriptor) {
    return root_length && descriptor >= 0 && descriptor < (int)sizeof below && below[descriptor];
}

static int is_at(int folder, const char *path) {
    return is_below(path) || (path && path[0] != '/' && is_known(folder));
}

static int opened(int descriptor) {
    if (descriptor >= 0 && descriptor < (int)sizeof below) below[descriptor] = 1;
    return descriptor;
}

#define NEXT(type, name, ...)                                                                      \
    static type (*next)(__VA_ARGS__);                                                              \
    if (!next) next = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* Calls that are given a path. */
#define BY_NAME(name, kind, type, failure, parameters, arguments, path)                            \
    type name parameters {                                                                         \
        static type(*next) parameters;                                                             \
        if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name);                             \
        if (is_below(path) && fails(#name, kind, 1, path, -1)) return failure;                     \
        return next arguments;                                                                     \
    }

/* Calls that are given a path in a folder. */
#define AT(name, kind, type, failure, parameters, arguments, folder, path)                         \
    type name parameters {                                                                         \
        static type(*next) parameters;                                                             \
        if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name);                             \
        if (is_at(folder, path) && fails(#name, kind, 1, path, -1)) return failure;                \
        return next arguments;                                                                     \
    }

/* Calls that are given a descriptor. */
#define OF_FILE(name, kind, type, parameters, arguments, descriptor)                               \
    type name parameters {                                                                         \
        static type(*next) parameters;                                                             \
        if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name);                             \
        if (is_known(descriptor) && fails(#name, kind, 0, 0, descriptor)) return -1;               \
        return next arguments;                                                                     \
    }

/* Calls that are given a descriptor and a size: a short one does half. */
#define TRANSFER(name, kind, parameters, arguments, descriptor, size)                              \
    ssize_t name parameters {                                                                      \
        static ssize_t(*next) parameters;                                                          \
        if (!next) next = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);                          \
        if (is_known(descriptor) && fails(#name, kind | SHORTENS, 0, 0, descriptor)) {                        \
            if (error_number) return -1;                                                           \
            size = size > 1 ? size / 2 : size;                                                     \
        }                                                                                          \
        return next arguments;                                                                     \
    }

BY_NAME(mkdir, TAKES_SPACE, int, -1, (const char *path, mode_t mode), (path, mode), path)
BY_NAME(rmdir, REMOVES, int, -1, (const char *path), (path), path)
BY_NAME(unlink, REMOVES, int, -1, (const char *path), (path), path)
BY_NAME(remove, REMOVES, int, -1, (const char *path), (path), path)
BY_NAME(access, LOOKS, int, -1, (const char *path, int mode), (path, mode), path)
BY_NAME(rename, TAKES_SPACE, int, -1, (const char *from, const char *path), (from, path), path)
BY_NAME(link, TAKES_SPACE, int, -1, (const char *from, const char *path), (from, path), path)
BY_NAME(symlink, TAKES_SPACE, int, -1, (const char *to, const char *path), (to, path), path)
BY_NAME(chmod, LOOKS, int, -1, (const char *path, mode_t mode), (path, mode), path)
BY_NAME(truncate64, TAKES_SPACE, int, -1, (const char *path, off64_t size), (path, size), path)
BY_NAME(truncate, TAKES_SPACE, int, -1, (const char *path, off_t size), (path, size), path)
BY_NAME(stat, LOOKS, int, -1, (const char *path, struct stat *found), (path, found), path)
BY_NAME(lstat, LOOKS, int, -1, (const char *path, struct stat *found), (path, found), path)
BY_NAME(stat64, LOOKS, int, -1, (const char *path, struct stat64 *found), (path, found), path)
BY_NAME(lstat64, LOOKS, int, -1, (const char *path, struct stat64 *found), (path, found), path)
BY_NAME(statvfs, LOOKS, int, -1, (const char *path, struct statvfs *found), (path, found), path)
BY_NAME(statvfs64, LOOKS, int, -1, (const char *path, struct statvfs64 *found), (path, found), path)
/* How older programs call `stat`. */
BY_NAME(__xstat, LOOKS, int, -1, (int version, const char *path, void *found), (version, path, found), path)
BY_NAME(__lxstat, LOOKS, int, -1, (int version, const char *path, void *found), (version, path, found), path)
BY_NAME(__xstat64, LOOKS, int, -1, (int version, const char *path, void *found), (version, path, found), path)
BY_NAME(__lxstat64, LOOKS, int, -1, (int version, const char *path, void *found), (version, path, found), path)

AT(mkdirat, TAKES_SPACE, int, -1, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path)
AT(unlinkat, REMOVES, int, -1, (int folder, const char *path, int flags), (folder, path, flags), folder, path)
AT(faccessat, LOOKS, int, -1, (int folder, const char *path, int mode, int flags), (folder, path, mode, flags), folder, path)
AT(fchmodat, LOOKS, int, -1, (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags), folder, path)
AT(fstatat, LOOKS, int, -1, (int folder, const char *path, struct stat *found, int flags), (folder, path, found, flags), folder, path)
AT(fstatat64, LOOKS, int, -1, (int folder, const char *path, struct stat64 *found, int flags), (folder, path, found, flags), folder, path)
AT(__fxstatat, LOOKS, int, -1, (int version, int folder, const char *path, void *found, int flags), (version, folder, path, found, flags), folder, path)
AT(__fxstatat64, LOOKS, int, -1, (int version, int folder, const char *path, void *found, int flags), (version, folder, path, found, flags), folder, path)
AT(renameat, TAKES_SPACE, int, -1, (int from_folder, const char *from, int folder, const char *path), (from_folder, from, folder, path), folder, path)
AT(linkat, TAKES_SPACE, int, -1, (int from_folder, const char *from, int folder, const char *path, int flags), (from_folder, from, folder, path, flags), folder, path)

/* No power is cut here: what succeeds need not wait for the disk. */
#define SYNC(name)                                                                                 \
    int name(int file) {                                                                           \
        NEXT(int, #name, int);                                                                     \
        return !is_known(file) ? next(file) : fails(#name, SYNCS, 0, 0, file) ? -1 : 0;            \
    }
SYNC(fsync)
SYNC(fdatasync)
OF_FILE(flock, LOCKS, int, (int file, int operation), (file, operation), file)
OF_FILE(ftruncate, TAKES_SPACE, int, (int file, off_t size), (file, size), file)
OF_FILE(ftruncate64, TAKES_SPACE, int, (int file, off64_t size), (file, size), file)
OF_FILE(fchmod, LOOKS, int, (int file, mode_t mode), (file, mode), file)
OF_FILE(fstat, LOOKS, int, (int file, struct stat *found), (file, found), file)
OF_FILE(fstat64, LOOKS, int, (int file, struct stat64 *found), (file, found), file)
OF_FILE(__fxstat, LOOKS, int, (int version, int file, void *found), (version, file, found), file)
OF_FILE(__fxstat64, LOOKS, int, (int version, int file, void *found), (version, file, found), file)

TRANSFER(read, READS, (int file, void *bytes, size_t size), (file, bytes, size), file, size)
TRANSFER(pread, READS, (int file, void *bytes, size_t size, off_t at), (file, bytes, size, at), file, size)
TRANSFER(pread64, READS, (int file, void *bytes, size_t size, off64_t at), (file, bytes, size, at), file, size)
TRANSFER(write, TAKES_SPACE, (int file, const void *bytes, size_t size), (file, bytes, size), file, size)
TRANSFER(pwrite, TAKES_SPACE, (int file, const void *bytes, size_t size, off_t at), (file, bytes, size, at), file, size)
TRANSFER(pwrite64, TAKES_SPACE, (int file, const void *bytes, size_t size, off64_t at), (file, bytes, size, at), file, size)
TRANSFER(sendfile, TAKES_SPACE, (int to, int from, off_t *at, size_t size), (to, from, at, size), to, size)
TRANSFER(sendfile64, TAKES_SPACE, (int to, int from, off64_t *at, size_t size), (to, from, at, size), to, size)
TRANSFER(copy_file_range, TAKES_SPACE, (int from, off64_t *start, int to, off64_t *at, size_t size, unsigned flags), (from, start, to, at, size, flags), to, size)

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        NEXT(int, #name, const char *, int, ...);                                                  \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                    \
        va_end(list);                                                                              \
        if (!is_below(path)) return next(path, flags, mode);                                       \
        if (fails(#name, OPENS | (flags & O_CREAT ? TAKES_SPACE : 0), 1, path, -1)) return -1;     \
        return opened(next(path, flags, mode));                                                    \
    }
OPEN(open)
OPEN(open64)

#define OPEN_AT(name)                                                                              \
    int name(int folder, const char *path, int flags, ...) {                                       \
        NEXT(int, #name, int, const char *, int, ...);                                             \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                    \
        va_end(list);                                                                              \
        if (!is_at(folder, path)) return next(folder, path, flags, mode);                          \
        if (fails(#name, OPENS | (flags & O_CREAT ? TAKES_SPACE : 0), 1, path, -1)) return -1;     \
        return opened(next(folder, path, flags, mode));                                            \
    }
OPEN_AT(openat)
OPEN_AT(openat64)

#define FOPEN(name)                                                                                \
    FILE *name(const char *path, const char *mode) {                                               \
        NEXT(FILE *, #name, const char *, const char *);                                           \
        if (!is_below(path)) return next(path, mode);                                              \
        if (fails(#name, OPENS | (mode[0] == 'r' ? 0 : TAKES_SPACE), 1, path, -1)) return NULL;    \
        FILE *stream = next(path, mode);                                                           \
        if (stream) opened(fileno(stream));                                                        \
        return stream;                                                                             \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* A stream keeps what it is given: an error may come when it is written, flushed or closed. */
size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
    NEXT(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    if (is_known(fileno(stream)) && fails("fwrite", TAKES_SPACE, 0, 0, fileno(stream)))
        return 0;
    return next(bytes, size, count, stream);
}

size_t fread(void *bytes, size_t size, size_t count, FILE *stream) {
    NEXT(size_t, "fread", void *, size_t, size_t, FILE *);
    if (is_known(fileno(stream)) && fails("fread", READS, 0, 0, fileno(stream)))
        return 0;
    return next(bytes, size, count, stream);
}

int fflush(FILE *stream) {
    NEXT(int, "fflush", FILE *);
    if (stream && is_known(fileno(stream)) && fails("fflush", TAKES_SPACE, 0, 0, fileno(stream)))
        return EOF;
    return next(stream);
}

/* A server may tell only now that it could not write; the file is closed all the same. */
int fclose(FILE *stream) {
    NEXT(int, "fclose", FILE *);
    int file = fileno(stream);
    int failing = is_known(file) && fails("fclose", CLOSES, 0, 0, file);
    if (file >= 0 && file < (int)sizeof below) below[file] = 0;
    int result = next(stream);
    if (failing) errno = error_number;
    return failing ? EOF : result;
}

int close(int file) {
    NEXT(int, "close", int);
    int failing = is_known(file) && fails("close", CLOSES, 0, 0, file);
    if (file >= 0 && file < (int)sizeof below) below[file] = 0;
    int result = next(file);
    if (failing) errno = error_number;
    return failing ? -1 : result;
}

DIR *opendir(const char *path) {
    NEXT(DIR *, "opendir", const char *);
    if (!is_below(path)) return next(path);
    if (fails("opendir", OPENS, 1, path, -1)) return NULL;
    DIR *folder = next(path);
    if (folder) opened(dirfd(folder));
    return folder;
}

/* Of the entries of a folder, the first may fail: the others would do the same. */
#define READDIR(name, entry)                                                                       \
    struct entry *name(DIR *folder) {                                                              \
        NEXT(struct entry *, #name, DIR *);                                                        \
        int file = dirfd(folder);                                                                  \
        if (is_known(file) && below[file] == 1) {                                                  \
            below[file] = 2;                                                                       \
            if (fails(#name, READS, 0, 0, file)) return NULL;                                      \
        }                                                                                          \
        return next(folder);                                                                       \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

int closedir(DIR *folder) {
    NEXT(int, "closedir", DIR *);
    int file = dirfd(folder);
    if (file >= 0 && file < (int)sizeof below) below[file] = 0;
    return next(folder);
}
