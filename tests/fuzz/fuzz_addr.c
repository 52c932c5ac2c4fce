/* Addresses and prefixes from any bytes: what parses prints, and what was printed parses back to
 * the same value. Seeds: corpus/addr. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    char buffer[SB_ADDR_TEXT_MAX];
    sb_addr addr, again;
    sb_prefix prefix;

    if (sb_addr_parse(text, size, &addr)) {
        sb_addr_text(&addr, buffer);
        if (!sb_addr_parse(buffer, strlen(buffer), &again) || !sb_addr_equal(&addr, &again))
            abort();
    }
    if (sb_addr_parse_port(text, size, 53, &addr)) {
        sb_addr_text_port(&addr, buffer);
        if (!sb_addr_parse_port(buffer, strlen(buffer), 0, &again) || !sb_addr_equal(&addr, &again))
            abort();
    }
    if (sb_prefix_parse(text, size, &prefix) && !sb_prefix_contains(&prefix, &prefix.addr))
        abort();
    return 0;
}
