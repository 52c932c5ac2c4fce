/* The least env that keeps a cache file on a real disk: clock, entropy, mappings. No loop, no
 * sockets.
 *
 * Knows nothing of the product's own env, so that a test of the file does not rest on it. One
 * thread. */
#ifndef SB_TESTS_POSIX_ENV_H
#define SB_TESTS_POSIX_ENV_H

#include "core/env.h"

typedef struct posix_env {
    sb_env env;
} posix_env;

void posix_env_init(posix_env *posix);

#endif
