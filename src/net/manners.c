/* A server's manners: case, cookies, and the two strikes after which a protection gives way.
 *
 * Never sends. draft-vixie-dnsext-dns0x20, RFC 7873, 9018. Loop thread. */
#include "net/manners.h"

#include <string.h>

#include "base/map.h"

#define STRIKES 2u              /* see sb_manners_has */
#define HABIT_FOR (3600 * SB_S) /* a server that was updated is believed within the hour */

bool sb_manners_has(const sb_manners *manners, sb_habit habit, sb_ns now)
{
    return manners->habits[habit].strikes >= STRIKES &&
           now - manners->habits[habit].since < HABIT_FOR;
}

void sb_manners_strike(sb_manners *manners, sb_habit habit, sb_ns now)
{
    if (now - manners->habits[habit].since >= HABIT_FOR)
        manners->habits[habit].strikes = 0;
    manners->habits[habit].since = now;
    if (manners->habits[habit].strikes < STRIKES)
        manners->habits[habit].strikes++;
    if (habit == SB_HABIT_BREAKS_COOKIES && manners->habits[habit].strikes == STRIKES) {
        manners->sends_cookies = false;
        manners->server_cookie_size = 0;
    }
}

void sb_manners_forgive(sb_manners *manners, sb_habit habit)
{
    manners->habits[habit].strikes = 0;
}

void sb_manners_forget(sb_manners *manners)
{
    *manners = (sb_manners){0};
}

void sb_manners_mix_case(sb_name *name, const uint8_t bits[SB_CASE_BITS])
{
    /* Lengths of labels are below 64 and thus never taken for letters. */
    for (unsigned i = 0; i < name->size; i++)
        if (name->wire[i] >= 'a' && name->wire[i] <= 'z' && bits[i / 8] >> (i % 8) & 1)
            name->wire[i] = (uint8_t)(name->wire[i] - ('a' - 'A'));
}

void sb_manners_client_cookie(sb_manners *manners, const uint8_t secret[16], const sb_addr *server,
                              const sb_addr *local, uint8_t ret_cookie[SB_COOKIE_CLIENT])
{
    uint8_t bytes[2 * sizeof server->bytes + 2];
    uint8_t cookie[SB_COOKIE_CLIENT];
    sb_writer w = sb_writer_of(bytes, sizeof bytes);
    sb_write_bytes(&w, server->bytes, sizeof server->bytes);
    sb_write_u16(&w, server->port);
    sb_write_bytes(&w, local->bytes, sizeof local->bytes); /* the port is another each time */
    uint64_t hash = sb_siphash(secret, bytes, w.size);
    w = sb_writer_of(cookie, sizeof cookie);
    sb_write_u64(&w, hash);
    if (memcmp(manners->client_cookie, cookie, sizeof cookie) != 0) {
        memcpy(manners->client_cookie, cookie, sizeof cookie);
        manners->server_cookie_size = 0;
    }
    memcpy(ret_cookie, cookie, sizeof cookie);
}

void sb_manners_write_cookie(const sb_manners *manners, const uint8_t cookie[SB_COOKIE_CLIENT],
                             sb_writer *options)
{
    bool same = memcmp(manners->client_cookie, cookie, SB_COOKIE_CLIENT) == 0;
    size_t server_size = same ? manners->server_cookie_size : 0;
    sb_write_u16(options, SB_OPT_COOKIE);
    sb_write_u16(options, (uint16_t)(SB_COOKIE_CLIENT + server_size));
    sb_write_bytes(options, cookie, SB_COOKIE_CLIENT);
    sb_write_bytes(options, manners->server_cookie, server_size);
}

sb_cookie sb_manners_read_cookie(const uint8_t cookie[SB_COOKIE_CLIENT], const sb_edns *edns,
                                 sb_span *ret_server)
{
    sb_span value;
    if (!sb_edns_option(edns, SB_OPT_COOKIE, &value))
        return SB_COOKIE_ABSENT;
    if (value.size < SB_COOKIE_CLIENT || memcmp(value.data, cookie, SB_COOKIE_CLIENT) != 0)
        return SB_COOKIE_WRONG;
    if (value.size == SB_COOKIE_CLIENT)
        return SB_COOKIE_ECHOED;
    if (value.size < SB_COOKIE_CLIENT + SB_COOKIE_SERVER_MIN ||
        value.size > SB_COOKIE_CLIENT + SB_COOKIE_SERVER_MAX)
        return SB_COOKIE_WRONG;
    *ret_server = (sb_span){value.data + SB_COOKIE_CLIENT, value.size - SB_COOKIE_CLIENT};
    return SB_COOKIE_GOOD;
}

void sb_manners_learn_cookie(sb_manners *manners, const uint8_t cookie[SB_COOKIE_CLIENT],
                             sb_span server)
{
    manners->sends_cookies = true;
    if (memcmp(manners->client_cookie, cookie, SB_COOKIE_CLIENT) != 0)
        return;
    sb_reader r = sb_reader_of(server.data, server.size);
    sb_read_copy(&r, manners->server_cookie, server.size);
    manners->server_cookie_size = (uint8_t)server.size;
}
