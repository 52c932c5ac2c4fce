/* The environment of any bytes, as lines NAME=value: either taken, or refused with a sentence that
 * begins with the variable's name. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "core/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* context: the lines, each ended by a NUL, and an empty one at the end. */
static const char *get(void *context, const char *name)
{
    size_t name_size = strlen(name);
    for (const char *line = context; *line; line += strlen(line) + 1)
        if (strncmp(line, name, name_size) == 0 && line[name_size] == '=')
            return line + name_size + 1;
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {
        "DNS_CACHE_TTL", "DNS_TIMEOUT",       "STUBBORN_SERVERS",    "STUBBORN_SOCKET",
        "STUBBORN_LOG",  "STUBBORN_FALLBACK", "MLFLOW_TRACKING_URI", "MLFLOW_FALLBACK_IP",
    };
    char *lines = sb_zalloc(size + 2);
    sb_settings *settings = NULL;
    sb_why why = {""};
    if (!lines)
        return 0;
    if (size > 0)
        memcpy(lines, data, size);
    for (size_t i = 0; i < size; i++)
        if (lines[i] == '\n')
            lines[i] = '\0';
    if (sb_settings_new(get, lines, size % 2 != 0, &settings) != SB_OK)
        goto done;
    if (sb_settings_env(settings, get, lines, &why) == SB_INVALID) {
        bool named = false;
        for (size_t i = 0; i < SB_ARRAY_SIZE(names); i++)
            named |= strncmp(why.text, names[i], strlen(names[i])) == 0;
        SB_ASSERT(named);
    } else if (sb_settings_freeze(settings, &why) != SB_OK) {
        SB_ASSERT(why.text[0] != '\0');
    }
done:
    sb_settings_unref(settings);
    sb_free(lines);
    return 0;
}
