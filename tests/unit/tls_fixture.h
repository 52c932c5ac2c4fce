/* Authorities, certificates and servers' contexts made at run time, for the tests of TLS. */
#ifndef SB_TESTS_UNIT_TLS_FIXTURE_H
#define SB_TESTS_UNIT_TLS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define DAY 86400L
#define NAME "dns.example"

typedef struct identity {
    EVP_PKEY *key;
    X509 *certificate;
} identity;

static inline void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* names: a subjectAltName, NULL for an authority. Valid from and until, seconds from now. */
static inline identity make_identity(const identity *issuer, const char *common, const char *names,
                              long from, long until)
{
    static long serial;
    identity id = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
    X509 *x = id.certificate;
    assert_true(id.key && x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), until);
    X509_set_pubkey(x, id.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)common, -1, -1, 0);
    X509 *above = issuer ? issuer->certificate : x;
    X509_set_issuer_name(x, X509_get_subject_name(above));
    if (!issuer)
        extend(x, x, NID_basic_constraints, "critical,CA:TRUE");
    if (names)
        extend(x, above, NID_subject_alt_name, names);
    assert_true(X509_sign(x, issuer ? issuer->key : id.key, EVP_sha256()) > 0);
    return id;
}

static inline void identity_free(identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->certificate);
}

/* A directory with the file of authorities that SSL_CERT_FILE names. */
typedef struct store {
    char dir[64], file[100];
} store;

static inline void store_write(const store *s, X509 *certificate)
{
    FILE *f = fopen(s->file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, certificate), 1);
    fclose(f);
}

static inline void store_open(store *s, X509 *certificate)
{
    snprintf(s->dir, sizeof(s->dir), "/tmp/stubborn-tls-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->file, sizeof(s->file), "%s/ca.pem", s->dir);
    setenv("SSL_CERT_FILE", s->file, 1);
    setenv("SSL_CERT_DIR", s->dir, 1);
    store_write(s, certificate);
}

static inline void store_close(store *s)
{
    unlink(s->file);
    assert_int_equal(rmdir(s->dir), 0);
}

static inline int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_size,
                           const unsigned char *offered, unsigned offered_size, void *context)
{
    static const unsigned char ours[] = "\3dot";
    (void)ssl;
    (void)context;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)ret, ret_size, ours, 4, offered,
                                 offered_size) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static inline SSL_CTX *server_context(const identity *id)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_non_null(context);
    assert_int_equal(SSL_CTX_use_certificate(context, id->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, id->key), 1);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"t", 1);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

#endif
