/* TLS in memory, both ends: tickets and their bounds, authorities that change, pieces of one byte,
 * memory that ends at any allocation. */
#define _GNU_SOURCE
#include "unit/tls_fixture.h"

#include "io/tls.h"

typedef struct world {
    identity authority;
    store store;
} world;

static int setup(void **state)
{
    world *w = calloc(1, sizeof(*w));
    w->authority = make_identity(NULL, "test authority", NULL, -DAY, DAY);
    store_open(&w->store, w->authority.certificate);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    identity_free(&w->authority);
    store_close(&w->store);
    free(w);
    return 0;
}

/* ---- memory that ends: OpenSSL's allocations, while they are the client's ---- */

static struct {
    bool armed;
    unsigned count, fail_from; /* the nth and all after it; 0 never */
} memory;

static bool refused_memory(void)
{
    return memory.armed && ++memory.count >= memory.fail_from && memory.fail_from > 0;
}

static void *count_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return refused_memory() ? NULL : malloc(size);
}

static void *count_realloc(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return refused_memory() ? NULL : realloc(block, size);
}

static void count_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    free(block);
}

/* Both ends in memory: the server's context against one client connection. */
static sb_status shake(SSL_CTX *context, sb_tls *tls, size_t piece)
{
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    uint8_t bytes[4096];
    sb_why why = {0};
    size_t read;
    sb_status status = SB_AGAIN;
    bool asked = false;
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    for (unsigned turns = 0; turns < 10000 && status == SB_AGAIN; turns++) {
        memory.armed = true;
        status = sb_tls_handshake(tls, &why);
        memory.armed = false;
        for (size_t n; (n = sb_tls_take(tls, bytes, piece)) > 0;)
            assert_int_equal(BIO_write(in, bytes, (int)n), (int)n);
        if (!asked || SSL_in_init(ssl))
            (void)SSL_do_handshake(ssl);
        asked = true;
        int got = BIO_read(out, bytes, (int)piece);
        memory.armed = true;
        if (got > 0 && sb_tls_feed(tls, bytes, (size_t)got) != SB_OK)
            status = SB_NOMEM;
        memory.armed = false;
    }
    if (status == SB_OK) { /* the tickets */
        (void)SSL_do_handshake(ssl);
        int got = BIO_read(out, bytes, sizeof(bytes));
        memory.armed = true;
        status = got > 0 ? sb_tls_feed(tls, bytes, (size_t)got) : SB_OK;
        if (status == SB_OK)
            status = sb_tls_read(tls, bytes, sizeof(bytes), &read, &why);
        if (status == SB_AGAIN)
            status = sb_tls_write(tls, bytes, 100, &why);
        memory.armed = false;
    }
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    ERR_clear_error();
    return status;
}

static sb_status meet(sb_tls_client *client, SSL_CTX *context, const char *name, bool *ret_resumed)
{
    sb_tls *tls;
    sb_why why = {0};
    sb_addr addr;
    assert_true(sb_addr_parse_port("192.0.2.1:853", 13, 0, &addr));
    memory.armed = true;
    sb_status status = sb_tls_new(client, &addr, name, &tls, &why);
    memory.armed = false;
    if (status != SB_OK)
        return status;
    status = shake(context, tls, 4096);
    if (status == SB_OK && ret_resumed)
        *ret_resumed = sb_tls_resumed(tls);
    sb_tls_free(tls);
    return status;
}

static void test_tickets_are_bounded(void **state)
{
    world *w = *state;
    identity id = make_identity(&w->authority, "server", "DNS:*.many.example", -DAY, DAY);
    SSL_CTX *context = server_context(&id);
    sb_tls_client *client = sb_tls_client_new();
    char name[32];
    bool resumed = false;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(meet(client, context, "same.many.example", NULL), SB_OK);
    assert_int_equal(sb_tls_tickets(client), 2);
    for (unsigned i = 0; i < 80; i++) {
        snprintf(name, sizeof(name), "n%u.many.example", i);
        assert_int_equal(meet(client, context, name, &resumed), SB_OK);
        assert_false(resumed);
        assert_true(sb_tls_tickets(client) <= 64);
    }
    assert_int_equal(sb_tls_tickets(client), 64);
    assert_int_equal(meet(client, context, "n79.many.example", &resumed), SB_OK);
    assert_true(resumed);
    assert_int_equal(meet(client, context, "same.many.example", &resumed), SB_OK);
    assert_false(resumed); /* the oldest went first */
    sb_tls_client_free(client);
    SSL_CTX_free(context);
    identity_free(&id);
}

/* A resumed connection is as good as the certificate of its first handshake, and no longer. */
static void test_no_ticket_beyond_expiry(void **state)
{
    world *w = *state;
    identity id = make_identity(&w->authority, "server", "DNS:" NAME, -DAY, 2);
    SSL_CTX *context = server_context(&id);
    sb_tls_client *client = sb_tls_client_new();
    bool resumed = false;
    assert_int_equal(meet(client, context, NAME, NULL), SB_OK);
    assert_int_equal(meet(client, context, NAME, &resumed), SB_OK);
    assert_true(resumed);
    while (X509_cmp_current_time(X509_get0_notAfter(id.certificate)) > 0)
        usleep(100000);
    assert_int_equal(meet(client, context, NAME, &resumed), SB_UNTRUSTED);
    sb_tls_client_free(client);
    SSL_CTX_free(context);
    identity_free(&id);
}

/* Authorities come and go without a restart; tickets go with them. */
static void test_store_renewed(void **state)
{
    world *w = *state;
    identity second = make_identity(NULL, "second authority", NULL, -DAY, DAY);
    identity id = make_identity(&second, "server", "DNS:" NAME, -DAY, DAY);
    SSL_CTX *context = server_context(&id);
    sb_tls_client *client = sb_tls_client_new();
    bool resumed = true;
    unlink(w->store.file);
    assert_int_equal(meet(client, context, NAME, NULL), SB_UNTRUSTED);
    store_write(&w->store, w->authority.certificate);
    assert_int_equal(meet(client, context, NAME, NULL), SB_UNTRUSTED);
    unlink(w->store.file);
    store_write(&w->store, second.certificate);
    assert_int_equal(meet(client, context, NAME, NULL), SB_OK);
    unlink(w->store.file); /* gone for a moment: nothing changes */
    assert_int_equal(meet(client, context, NAME, &resumed), SB_OK);
    assert_true(resumed);
    store_write(&w->store, w->authority.certificate);
    assert_int_equal(meet(client, context, NAME, NULL), SB_UNTRUSTED);
    assert_int_equal(sb_tls_tickets(client), 0);
    sb_tls_client_free(client);
    SSL_CTX_free(context);
    identity_free(&id);
    identity_free(&second);
}

static void test_byte_by_byte(void **state)
{
    world *w = *state;
    identity id = make_identity(&w->authority, "server", "DNS:" NAME, -DAY, DAY);
    SSL_CTX *context = server_context(&id);
    sb_tls_client *client = sb_tls_client_new();
    sb_tls *tls;
    assert_int_equal(sb_tls_new(client, &(sb_addr){0}, NAME, &tls, NULL), SB_OK);
    assert_int_equal(shake(context, tls, 1), SB_OK);
    sb_tls_free(tls);
    sb_tls_client_free(client);
    SSL_CTX_free(context);
    identity_free(&id);
}

/* Memory that ends anywhere is a status, never a crash or a leak; with some left all is well. */
static void test_memory_ends(void **state)
{
    world *w = *state;
    identity id = make_identity(&w->authority, "server", "DNS:" NAME, -DAY, DAY);
    SSL_CTX *context = server_context(&id);
    sb_tls_client *client = sb_tls_client_new();
    memory.count = memory.fail_from = 0;
    assert_int_equal(meet(client, context, NAME, NULL), SB_OK);
    unsigned all = memory.count, refused = 0;
    sb_tls_client_free(client);
    for (unsigned n = 1; n <= all; n += n < 400 ? 1 : 11) {
        client = sb_tls_client_new();
        memory.count = 0;
        memory.fail_from = n;
        sb_status status = meet(client, context, NAME, NULL);
        if (status == SB_AGAIN) /* the server gave up on half a message */
            status = SB_NOMEM;
        refused += status != SB_OK;
        memory.fail_from = 0;
        assert_int_equal(meet(client, context, NAME, NULL), SB_OK);
        sb_tls_client_free(client);
    }
    assert_true(refused > 100);
    SSL_CTX_free(context);
    identity_free(&id);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_tickets_are_bounded), IN_WORLD(test_no_ticket_beyond_expiry),
        IN_WORLD(test_store_renewed),       IN_WORLD(test_byte_by_byte),
        IN_WORLD(test_memory_ends),
    };
    if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
        return 1;
    return cmocka_run_group_tests_name("io_tls", tests, NULL, NULL);
}
