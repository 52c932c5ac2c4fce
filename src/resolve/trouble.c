/* See trouble.h. */
#include "resolve/trouble.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dns/rdata.h"

void sb_question_key_of(const sb_question *folded, uint32_t view, sb_question_key *ret_key)
{
    sb_writer w = sb_writer_of(ret_key->bytes, sizeof ret_key->bytes);
    sb_write_u32(&w, view);
    sb_write_u16(&w, folded->type);
    sb_write_u16(&w, folded->class);
    sb_write_u16(&w, (uint16_t)((folded->dnssec_ok ? 1 : 0) | (folded->checking_disabled ? 2 : 0)));
    sb_name_write(&w, &folded->name);
    ret_key->size = (uint16_t)w.size;
}

sb_status sb_troubles_init(sb_troubles *troubles, const uint8_t secret[16])
{
    troubles->generation = 1;
    sb_list_init(&troubles->by_age);
    return sb_map_init(&troubles->map, secret);
}

static void drop(sb_troubles *troubles, sb_trouble *t)
{
    sb_map_remove(&troubles->map, &t->node);
    sb_list_remove(&t->age);
    sb_free(t);
}

void sb_troubles_fini(sb_troubles *troubles)
{
    while (!sb_list_empty(&troubles->by_age))
        drop(troubles, sb_container_of(troubles->by_age.next, sb_trouble, age));
    sb_map_fini(&troubles->map);
}

static sb_trouble *find(sb_troubles *troubles, const sb_question_key *key)
{
    sb_map_node *node = sb_map_find(&troubles->map, key->bytes, key->size);
    return node ? sb_container_of(node, sb_trouble, node) : NULL;
}

sb_trouble *sb_troubles_active(sb_troubles *troubles, const sb_question_key *key, sb_ns now)
{
    sb_trouble *t = find(troubles, key);
    return t && t->generation == troubles->generation && now < t->until ? t : NULL;
}

sb_trouble *sb_troubles_add(sb_troubles *troubles, const sb_question_key *key, sb_status status,
                            int ede, sb_ns now, sb_ns pause)
{
    sb_trouble *t = find(troubles, key);
    if (!t) {
        if (troubles->map.count >= SB_TROUBLES_MAX)
            drop(troubles, sb_container_of(troubles->by_age.next, sb_trouble, age));
        if (!(t = sb_new(sb_trouble)))
            return NULL;
        t->key = *key;
        sb_list_init(&t->age);
        sb_map_insert(&troubles->map, &t->node, t->key.bytes, t->key.size);
    }
    sb_list_remove(&t->age);
    sb_list_push(&troubles->by_age, &t->age);
    t->count++;
    if (pause == 0)
        pause = sb_trouble_pause(t->count);
    t->until = now + pause;
    t->generation = troubles->generation;
    t->status = (uint8_t)status;
    t->ede = (int16_t)ede;
    return t;
}

static void question_of(const sb_trouble *t, sb_question *ret_question)
{
    sb_reader r = sb_reader_of(t->key.bytes, t->key.size);
    sb_question question = {0};
    sb_read_skip(&r, 4); /* the view follows from the name */
    question.type = sb_read_u16(&r);
    question.class = sb_read_u16(&r);
    uint16_t bits = sb_read_u16(&r);
    question.dnssec_ok = bits & 1;
    question.checking_disabled = bits & 2;
    SB_ASSERT(sb_name_read_plain(&r, &question.name));
    *ret_question = question;
}

/* Is another question of that name on record as told? */
static bool is_name_told(sb_troubles *troubles, const sb_trouble *of)
{
    static const uint16_t types[] = {SB_TYPE_A, SB_TYPE_AAAA, SB_TYPE_HTTPS};
    sb_question question;
    question_of(of, &question);
    uint32_t view = sb_load_u32(of->key.bytes);
    uint16_t own = question.type;
    for (size_t i = 0; i <= SB_ARRAY_SIZE(types); i++) {
        question.type = i < SB_ARRAY_SIZE(types) ? types[i] : own;
        for (unsigned variant = 0; variant < 4; variant++) {
            sb_question_key key;
            question.dnssec_ok = variant & 1;
            question.checking_disabled = variant & 2;
            sb_question_key_of(&question, view, &key);
            const sb_trouble *t = find(troubles, &key);
            if (t && t != of && t->told)
                return true;
        }
    }
    return false;
}

bool sb_troubles_clear(sb_troubles *troubles, const sb_question_key *key, bool *ret_told)
{
    sb_trouble *t = find(troubles, key);
    *ret_told = t && t->told && !is_name_told(troubles, t);
    if (!t)
        return false;
    bool degraded = t->degraded;
    drop(troubles, t);
    return degraded;
}

void sb_troubles_tell(sb_troubles *troubles, sb_trouble *t, const sb_offer *offer,
                      const char *reason)
{
    char name[SB_NAME_TEXT_MAX], quoted[SB_NAME_TEXT_MAX], age[32] = "";
    sb_question question;
    if (t->told)
        return;
    t->told = true;
    if (is_name_told(troubles, t))
        return;
    question_of(t, &question);
    if (!offer->age_unknown)
        snprintf(age, sizeof age, " age_s=%u", offer->age_s);
    sb_log(RESOLVE, WARN, "serving a fall-back", "name=%s source=%s%s reason=\"%s\"",
           sb_log_escape(quoted, sizeof quoted, sb_name_text(&question.name, name)),
           sb_source_text(offer->source), age, reason);
}

void sb_troubles_void(sb_troubles *troubles)
{
    troubles->generation++;
}

/* By age, old generations come first, but for those that were passed: they are as of now and over.
 */
static sb_trouble *oldest_void(const sb_troubles *troubles)
{
    if (sb_list_empty(&troubles->by_age))
        return NULL;
    sb_trouble *t = sb_container_of(troubles->by_age.next, sb_trouble, age);
    return t->generation == troubles->generation ? NULL : t;
}

bool sb_troubles_peek_void(const sb_troubles *troubles, sb_question *ret_question,
                           bool *ret_degraded)
{
    const sb_trouble *t = oldest_void(troubles);
    if (!t)
        return false;
    question_of(t, ret_question);
    *ret_degraded = t->degraded;
    return true;
}

void sb_troubles_pass_void(sb_troubles *troubles)
{
    sb_trouble *t = oldest_void(troubles);
    if (!t)
        return;
    t->generation = troubles->generation;
    t->until = 0;
    sb_list_remove(&t->age);
    sb_list_push(&troubles->by_age, &t->age);
}

sb_ns sb_trouble_pause(unsigned count)
{
    sb_ns pause = SB_S << (count > 6 ? 5 : count - 1);
    return pause > 30 * SB_S ? 30 * SB_S : pause;
}
