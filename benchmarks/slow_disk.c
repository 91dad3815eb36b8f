/* A disk whose flushes take longer: every fsync(2) and fdatasync(2) takes SLOW_DISK_US microseconds more, and is counted in
 * the first eight bytes of the file SLOW_DISK_COUNT. Loaded by LD_PRELOAD (ld.so(8)), so that the interpreter and
 * everything in it stay what they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static _Atomic unsigned long *count;
static struct timespec delay;
static int (*real_fsync)(int), (*real_fdatasync)(int);

__attribute__((constructor)) static void prepare(void) {
    const char *name = getenv("SLOW_DISK_COUNT"), *micros = getenv("SLOW_DISK_US");
    long us = micros ? atol(micros) : 0;
    delay = (struct timespec){us / 1000000, us % 1000000 * 1000};
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    count = shared == MAP_FAILED ? NULL : shared;
    if (fd >= 0)
        close(fd);
}

static int slowly(int (*real)(int), int fd) {
    int result = real(fd);
    nanosleep(&delay, NULL);
    if (count)
        atomic_fetch_add(count, 1);
    return result;
}

int fsync(int fd) { return slowly(real_fsync, fd); }
int fdatasync(int fd) { return slowly(real_fdatasync, fd); }
