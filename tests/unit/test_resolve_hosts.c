/* The hosts file: read again when it changes; kept when it cannot be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "resolve/hosts.h"
#include "sim/sim_env.h"

#define PATH "/etc/hosts"

static sb_name name_of(const char *text)
{
    sb_name name = {0};
    assert_int_equal(sb_name_parse(text, strlen(text), &name, NULL), SB_OK);
    return name;
}

static void put(sim *s, const char *text)
{
    sim_file_put(s, PATH, text, strlen(text));
}

/* An editor's moment, or no descriptor left: what was known stays, and the file is tried again. */
static void a_failed_read_loses_nothing(void **state)
{
    (void)state;
    sim *s = sim_new();
    sb_hosts *hosts = NULL;
    sb_name one = name_of("one.example"), two = name_of("two.example");
    sim_reset(s, 1);
    sb_env *env = sim_process_start(s);
    put(s, "192.0.2.1 one.example\n");
    assert_int_equal(sb_hosts_new(env, PATH, &hosts), SB_OK);
    assert_true(sb_hosts_has(hosts, &one));
    assert_false(sb_hosts_refresh(hosts));
    put(s, "192.0.2.1 one.example\n192.0.2.2 two.example\n");
    sim_fault(s)->file = 1000;
    assert_false(sb_hosts_refresh(hosts));
    assert_true(sb_hosts_has(hosts, &one));
    assert_false(sb_hosts_has(hosts, &two));
    sim_fault(s)->file = 0;
    assert_true(sb_hosts_refresh(hosts));
    assert_true(sb_hosts_has(hosts, &one));
    assert_true(sb_hosts_has(hosts, &two));
    sim_file_remove(s, PATH);
    assert_true(sb_hosts_refresh(hosts));
    assert_false(sb_hosts_has(hosts, &one));
    sb_hosts_free(hosts);
    sim_process_end(s, env, 0);
    sim_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_read_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
