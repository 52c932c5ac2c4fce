/* Runs every file of the given folders through a fuzz target: one TAP line per file, so that what
 * fuzzing once found stays fixed. Never mutates. Single thread. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

/* A heap block of exactly the file's size, so that a sanitizer sees the first byte beyond it. */
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return -1;
    long size = ftell(file);
    uint8_t *data = size >= 0 ? malloc(size ? (size_t)size : 1) : NULL;
    rewind(file);
    int result = -1;
    if (data && fread(data, 1, (size_t)size, file) == (size_t)size) {
        (void)LLVMFuzzerTestOneInput(data, (size_t)size);
        result = 0;
    }
    free(data);
    fclose(file);
    printf("%s %u - %s\n", result == 0 ? "ok" : "not ok", ++replayed, path);
    fflush(stdout); /* the last line before a crash names the file before the culprit */
    return result;
}

static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0) {
        perror(folder);
        return -1;
    }
    int result = 0;
    for (int i = 0; i < count; i++) {
        char path[4096];
        int length = snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && length > 0 && (size_t)length < sizeof(path))
            result |= replay_file(path);
        free(entries[i]);
    }
    free(entries);
    return result;
}

int main(int argc, char **argv)
{
    int result = 0;
    for (int i = 1; i < argc; i++)
        result |= replay_folder(argv[i]);
    if (replayed == 0) {
        printf("not ok 1 - no corpus\n");
        result = -1;
        replayed = 1;
    }
    printf("1..%u\n", replayed);
    return result == 0 ? 0 : 1;
}
