/* The parameters of SVCB and HTTPS records: check and presentation form (RFC 9460 §2 and §7).
 *
 * A part of dns/rdata, apart because its rules are its own. Any thread. */
#ifndef SB_DNS_SVCB_H
#define SB_DNS_SVCB_H

#include "base/bytes.h"

/* Keys strictly ascending and every value inside the bytes. Values are not judged: a record with
 * one we do not like is still passed on. */
bool sb_svcb_check(sb_span params);
/* " key=value" for each parameter. False, whatever was written, when a value does not fit its key.
 */
bool sb_svcb_text(sb_span params, sb_text *t);

#endif
