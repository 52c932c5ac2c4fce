/* TLS on OpenSSL 3: one context per env, memory BIOs per connection, tickets by server and name.
 *
 * Never opens a socket and never waits; the one thing read from disk is the certificate store. An
 * OpenSSL error leaves here as a status and one sentence. RFC 5246, 6066, 7301, 7858, 8310, 8446.
 * The loop's thread. */
#define _GNU_SOURCE
#include "io/tls.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"

#define HOST_MAX 256   /* the longest name and its NUL */
#define TICKETS_MAX 64 /* as many servers as a configuration may list */
#define TICKETS_EACH 2 /* what a server gives per connection; a ticket of TLS 1.3 is used once */
/* An odd server's, with client state of its own, would be kept sixty-four times. */
#define TICKET_BYTES_MAX 8192

typedef struct ticket {
    SSL_SESSION *session; /* NULL: free */
    uint64_t order;       /* the higher the newer */
    sb_addr remote;
    char name[HOST_MAX];
} ticket;

struct sb_tls_client {
    SSL_CTX *context;  /* NULL before the first connection */
    struct stat store; /* of the file of authorities, when the context was made */
    bool has_store;    /* it was read */
    bool spoilt;       /* memory ended within OpenSSL, which keeps half-read certificates so */
    uint64_t order;
    ticket tickets[TICKETS_MAX];
};

struct sb_tls {
    sb_tls_client *client;
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
    bool failed;   /* nothing may be asked of the SSL any more */
    sb_addr remote;
    char name[HOST_MAX]; /* "" takes any certificate */
};

static sb_status prepare(sb_tls_client *client);
static SSL_CTX *context_new(void);
static bool same_file(const struct stat *a, const struct stat *b);
static bool canonical(const char *name, char ret[HOST_MAX]);
static bool expect_name(sb_tls *tls);
static void resume(sb_tls *tls);
static int ticket_arrived(SSL *ssl, SSL_SESSION *session);
static ticket *place_for(sb_tls_client *client, const sb_tls *tls);
static bool is_for(const ticket *t, const sb_tls *tls);
static bool still_holds(SSL_SESSION *session);
static void ticket_drop(ticket *t);
static sb_status failure(sb_tls *tls, int result, sb_why *why);

sb_tls_client *sb_tls_client_new(void)
{
    return sb_new(sb_tls_client);
}

void sb_tls_client_free(sb_tls_client *client)
{
    if (!client)
        return;
    for (unsigned i = 0; i < TICKETS_MAX; i++)
        ticket_drop(&client->tickets[i]);
    SSL_CTX_free(client->context);
    sb_free(client);
}

sb_status sb_tls_new(sb_tls_client *client, const sb_addr *remote, const char *name, sb_tls **ret,
                     sb_why *why)
{
    sb_tls *tls = sb_new(sb_tls);
    sb_status status = SB_NOMEM;
    if (!tls)
        goto done;
    tls->client = client;
    tls->remote = *remote;
    if (!canonical(name, tls->name)) {
        status = SB_INVALID;
        goto done;
    }
    status = prepare(client);
    if (status != SB_OK)
        goto done;
    status = SB_NOMEM;
    tls->ssl = SSL_new(client->context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        goto done;
    }
    (void)BIO_set_mem_eof_return(tls->in, -1); /* nothing there means later, not the end */
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    if (SSL_set_app_data(tls->ssl, tls) != 1 || (tls->name[0] && !expect_name(tls)))
        goto done;
    resume(tls);
    *ret = tls;
    tls = NULL;
    status = SB_OK;
done:
    ERR_clear_error();
    if (status == SB_INVALID)
        (void)sb_why_set(why, status, "no certificate can be for that name");
    else if (status != SB_OK)
        (void)sb_why_set(why, status, "out of memory for TLS");
    sb_tls_free(tls);
    return status;
}

/* OpenSSL gives up the session of a connection that ended without our close_notify, which TLS 1.1
 * was the last to ask for. */
void sb_tls_free(sb_tls *tls)
{
    if (!tls)
        return;
    if (tls->ssl && !tls->failed)
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    sb_free(tls);
}

sb_status sb_tls_feed(sb_tls *tls, const uint8_t *bytes, size_t size)
{
    size_t written;
    if (size == 0 || BIO_write_ex(tls->in, bytes, size, &written) == 1)
        return SB_OK;
    ERR_clear_error();
    return SB_NOMEM;
}

sb_status sb_tls_handshake(sb_tls *tls, sb_why *why)
{
    if (tls->failed)
        return SB_CLOSED;
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    return result == 1 ? SB_OK : failure(tls, result, why);
}

sb_status sb_tls_read(sb_tls *tls, uint8_t *buffer, size_t capacity, size_t *ret_size, sb_why *why)
{
    if (tls->failed)
        return SB_CLOSED;
    size_t size;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, buffer, capacity, &size);
    if (result != 1)
        return failure(tls, result, why);
    *ret_size = size;
    return SB_OK;
}

sb_status sb_tls_write(sb_tls *tls, const uint8_t *bytes, size_t size, sb_why *why)
{
    if (tls->failed)
        return SB_CLOSED;
    if (size == 0)
        return SB_OK;
    size_t written;
    ERR_clear_error();
    int result = SSL_write_ex(tls->ssl, bytes, size, &written);
    return result == 1 ? SB_OK : failure(tls, result, why);
}

void sb_tls_goodbye(sb_tls *tls)
{
    if (tls->failed)
        return;
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

size_t sb_tls_output(const sb_tls *tls)
{
    return BIO_ctrl_pending(tls->out);
}

size_t sb_tls_take(sb_tls *tls, uint8_t *buffer, size_t capacity)
{
    size_t size;
    return BIO_read_ex(tls->out, buffer, capacity, &size) == 1 ? size : 0;
}

bool sb_tls_resumed(const sb_tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

unsigned sb_tls_tickets(const sb_tls_client *client)
{
    unsigned count = 0;
    for (unsigned i = 0; i < TICKETS_MAX; i++)
        count += client->tickets[i].session != NULL;
    return count;
}

/* ---- what connections share ---- */

/* Connections under way keep the context they began with. A file that cannot be read now is tried
 * again by the next connection; one that is gone for the moment changes nothing. */
static sb_status prepare(sb_tls_client *client)
{
    struct stat now;
    const char *file = secure_getenv(X509_get_default_cert_file_env());
    file = file ? file : X509_get_default_cert_file();
    bool there = stat(file, &now) == 0;
    bool same = !there || (client->has_store && same_file(&client->store, &now));
    if (client->context && same && !client->spoilt)
        return SB_OK;
    SSL_CTX *context = context_new();
    if (!context)
        return client->context ? SB_OK : SB_NOMEM;
    SSL_CTX_free(client->context);
    client->context = context;
    client->has_store = there && SSL_CTX_load_verify_file(context, file) == 1;
    client->store = there ? now : (struct stat){0};
    client->spoilt = false;
    for (unsigned i = 0; i < TICKETS_MAX; i++)
        ticket_drop(&client->tickets[i]); /* what vouched for them may be gone */
    return SB_OK;
}

/* The directory has hashed names and is looked into at every verification. OpenSSL's one call for
 * file and directory together is silent when memory ends in it. */
static SSL_CTX *context_new(void)
{
    static const unsigned char alpn[] = "\3dot";
    const char *directory = secure_getenv(X509_get_default_cert_dir_env());
    directory = directory ? directory : X509_get_default_cert_dir();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        return NULL;
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, ticket_arrived);
    /* The system's openssl.cnf may ask for more, never for less. */
    bool low = SSL_CTX_get_min_proto_version(context) < TLS1_2_VERSION;
    if ((low && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) ||
        SSL_CTX_set_alpn_protos(context, alpn, sizeof(alpn) - 1) != 0 ||
        SSL_CTX_load_verify_dir(context, directory) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* ---- names ---- */

/* Without the dot at the end, as certificates and RFC 6066 spell it. To OpenSSL a dot in front
 * would mean every name below. */
static bool canonical(const char *name, char ret[HOST_MAX])
{
    size_t size = strlen(name);
    if (size == 0)
        return true; /* ret is zeroed */
    if (name[size - 1] == '.')
        size--;
    if (size == 0 || size >= HOST_MAX || name[0] == '.')
        return false;
    memcpy(ret, name, size);
    return true;
}

static bool expect_name(sb_tls *tls)
{
    X509_VERIFY_PARAM *expected = SSL_get0_param(tls->ssl);
    sb_addr literal;
    SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (sb_addr_parse(tls->name, strlen(tls->name), &literal))
        return X509_VERIFY_PARAM_set1_ip(expected, literal.bytes,
                                         literal.family == SB_FAMILY_4 ? 4 : 16) == 1;
    return X509_VERIFY_PARAM_set1_host(expected, tls->name, 0) == 1 &&
           SSL_set_tlsext_host_name(tls->ssl, tls->name) == 1;
}

/* ---- resumption ---- */

/* A ticket of TLS 1.3 seen twice would tell a listener that both connections are one client's (RFC
 * 8446 §C.4). */
static void resume(sb_tls *tls)
{
    ticket *newest = NULL;
    for (unsigned i = 0; i < TICKETS_MAX; i++) {
        ticket *t = &tls->client->tickets[i];
        if (t->session && is_for(t, tls) && (!newest || t->order > newest->order))
            newest = t;
    }
    if (!newest)
        return;
    bool usable = !tls->name[0] || still_holds(newest->session);
    if (usable)
        (void)SSL_set_session(tls->ssl, newest->session);
    if (!usable || SSL_SESSION_get_protocol_version(newest->session) >= TLS1_3_VERSION)
        ticket_drop(newest);
}

/* Returns 1 when the reference is kept. */
static int ticket_arrived(SSL *ssl, SSL_SESSION *session)
{
    const sb_tls *tls = SSL_get_app_data(ssl);
    const unsigned char *bytes;
    size_t size;
    SSL_SESSION_get0_ticket(session, &bytes, &size);
    if (size > TICKET_BYTES_MAX || SSL_SESSION_is_resumable(session) != 1)
        return 0;
    ticket *t = place_for(tls->client, tls);
    ticket_drop(t);
    *t = (ticket){.session = session, .order = ++tls->client->order, .remote = tls->remote};
    memcpy(t->name, tls->name, sizeof(t->name));
    return 1;
}

/* The oldest of the same server when it has its share, else a free one, else the oldest of all. */
static ticket *place_for(sb_tls_client *client, const sb_tls *tls)
{
    ticket *oldest = NULL, *own = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < TICKETS_MAX; i++) {
        ticket *t = &client->tickets[i];
        uint64_t order = t->session ? t->order : 0;
        if (!oldest || order < (oldest->session ? oldest->order : 0))
            oldest = t;
        if (!t->session || !is_for(t, tls))
            continue;
        count++;
        if (!own || t->order < own->order)
            own = t;
    }
    return count >= TICKETS_EACH ? own : oldest;
}

static bool is_for(const ticket *t, const sb_tls *tls)
{
    return sb_addr_equal(&t->remote, &tls->remote) && strcmp(t->name, tls->name) == 0;
}

/* A resumed connection shows no certificate: the one of its first handshake must not have expired.
 */
static bool still_holds(SSL_SESSION *session)
{
    const X509 *certificate = SSL_SESSION_get0_peer(session);
    return certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

static void ticket_drop(ticket *t)
{
    SSL_SESSION_free(t->session);
    t->session = NULL;
}

/* ---- failures ---- */

static sb_status failure(sb_tls *tls, int result, sb_why *why)
{
    int code = SSL_get_error(tls->ssl, result);
    if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
        return SB_AGAIN;
    if (code == SSL_ERROR_ZERO_RETURN)
        return SB_CLOSED;
    unsigned long error = ERR_peek_last_error();
    int reason = ERR_GET_REASON(error);
    bool of_tls = ERR_GET_LIB(error) == ERR_LIB_SSL;
    const char *text = ERR_reason_error_string(error);
    tls->failed = true;
    ERR_clear_error();
    long verified = SSL_get_verify_result(tls->ssl);
    if (reason == ERR_R_MALLOC_FAILURE || verified == X509_V_ERR_OUT_OF_MEM) {
        tls->client->spoilt = true;
        return sb_why_set(why, SB_NOMEM, "out of memory for TLS");
    }
    if (of_tls && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return sb_why_set(why, SB_UNTRUSTED, "the certificate does not verify: %s",
                          X509_verify_cert_error_string(verified));
    if (of_tls && reason > SSL_AD_REASON_OFFSET)
        return sb_why_set(why, SB_UNSUPPORTED, "the server turns us away: %s",
                          text ? text : "unknown alert");
    if (of_tls && (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_SSL_VERSION))
        return sb_why_set(why, SB_UNSUPPORTED, "the server has no TLS 1.2 and none above");
    return sb_why_set(why, SB_MALFORMED, "what the server sends is no TLS: %s",
                      text ? text : "unknown error");
}
