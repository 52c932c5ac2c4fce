/* A small env for the tests of the cache file: a clock that stands still until told, files in
 * mapped memory, and the disk's bad days. Everything that is not clock, entropy or file is absent.
 * One thread. */
#ifndef SB_TESTS_FAKE_ENV_H
#define SB_TESTS_FAKE_ENV_H

#include "core/env.h"

#define FAKE_FILES_MAX 16

typedef struct fake_file {
    char path[64];    /* "": renamed over, perhaps still mapped by a reader */
    uint8_t *base;    /* NULL: free */
    size_t size;
    bool locked;
} fake_file;

typedef struct fake_env {
    sb_env env;
    sb_clock clock;
    bool read_only; /* files open as copies */
    sb_status create_fails, publish_fails, open_fails; /* SB_OK: they work */
    fake_file files[FAKE_FILES_MAX];
} fake_env;

void fake_env_init(fake_env *fake);
void fake_env_fini(fake_env *fake);
/* Both clocks. */
void fake_env_pass(fake_env *fake, sb_ns duration);
/* A new boot id, boot time 1 s; the wall clock went on by that much. */
void fake_env_reboot(fake_env *fake, sb_ns wall_passed);
/* Puts a file there (replacing); bytes NULL: zeroes. */
fake_file *fake_env_put(fake_env *fake, const char *path, const void *bytes, size_t size);
fake_file *fake_env_file(fake_env *fake, const char *path);
/* All locks are given back, as the kernel does after a kill. */
void fake_env_kill(fake_env *fake);

#endif
