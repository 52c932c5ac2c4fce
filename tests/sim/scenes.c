/* The command that plays scenes: stubborn-scenes [--verbose] [--seed N] FILE… or a folder of
 * *.scene; TAP. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/scene.h"

#define SCENES_MAX 400

static unsigned collect(const char *path, char **ret_paths, unsigned n);
static bool play(scene *sc, const char *path, unsigned number, bool verbose, const char *self);
static int by_name(const void *a, const void *b);

int main(int argc, char **argv)
{
    static char *paths[SCENES_MAX];
    unsigned n = 0, failures = 0;
    uint64_t seed = 1;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc &&
                 sb_parse_u64(argv[i + 1], strlen(argv[i + 1]), UINT64_MAX, &seed))
            i++;
        else
            n = collect(argv[i], paths, n);
    }
    if (n == 0) {
        fputs("usage: stubborn-scenes [--verbose] [--seed N] FILE|FOLDER…\n", stderr);
        return 2;
    }
    qsort(paths, n, sizeof *paths, by_name);
    printf("1..%u\n", n);
    scene *sc = scene_new();
    sc->seed = seed;
    for (unsigned i = 0; i < n; i++) {
        failures += !play(sc, paths[i], i + 1, verbose, argv[0]);
        free(paths[i]);
    }
    scene_free(sc);
    return failures ? 1 : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static unsigned collect(const char *path, char **ret_paths, unsigned n)
{
    DIR *folder = opendir(path);
    if (!folder) {
        if (n < SCENES_MAX)
            ret_paths[n++] = strdup(path);
        return n;
    }
    for (const struct dirent *entry; (entry = readdir(folder));) {
        size_t size = strlen(entry->d_name);
        if (size < 7 || strcmp(entry->d_name + size - 6, ".scene") != 0 || n == SCENES_MAX)
            continue;
        size_t room = strlen(path) + size + 2;
        ret_paths[n] = malloc(room);
        if (ret_paths[n])
            snprintf(ret_paths[n++], room, "%s/%s", path, entry->d_name);
    }
    closedir(folder);
    return n;
}

static bool play(scene *sc, const char *path, unsigned number, bool verbose, const char *self)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    if (!file) {
        printf("not ok %u - %s: cannot be read\n", number, path);
        return false;
    }
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    bool good = scene_play(sc, path, text, size, verbose);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    printf("%s %u - %s: %s\n", good ? "ok" : "not ok", number, name, sc->title);
    if (!good)
        printf("# %s; replay: %s --verbose %s\n", sc->failure, self, path);
    fputs(sc->report, stdout);
    fflush(stdout);
    return good;
}
