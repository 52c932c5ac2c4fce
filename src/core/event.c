/* The event ring and its readers. Never decides what an event means. Loop thread. */
#include "core/event.h"

#include "base/mem.h"

sb_status sb_events_init(sb_events *events, sb_env *env, uint32_t capacity)
{
    if (capacity & (capacity - 1))
        return SB_INVALID;
    sb_event *ring = NULL;
    if (capacity > 0) {
        ring = sb_calloc(capacity, sizeof(*ring));
        if (!ring)
            return SB_NOMEM;
    }
    *events = (sb_events){.env = env, .ring = ring, .capacity = capacity};
    return SB_OK;
}

void sb_events_fini(sb_events *events)
{
    sb_free(events->ring);
    *events = (sb_events){0};
}

sb_status sb_events_attach(sb_events *events, sb_event_reader *read, void *context)
{
    if (events->reader_count == SB_ARRAY_SIZE(events->readers))
        return SB_LIMIT;
    events->readers[events->reader_count].read = read;
    events->readers[events->reader_count].context = context;
    events->reader_count++;
    return SB_OK;
}

void sb_events_emit(sb_events *events, sb_event event)
{
    event.at = sb_env_now(events->env);
    if (events->ring)
        events->ring[events->count & (events->capacity - 1)] = event;
    events->count++;
    for (unsigned i = 0; i < events->reader_count; i++)
        events->readers[i].read(events->readers[i].context, &event);
}

const char *sb_event_text(unsigned type)
{
    static const char *const texts[] = {
#define EVENT_TEXT(id, text) text,
        SB_EVENT_TABLE(EVENT_TEXT)
#undef EVENT_TEXT
    };
    return type < SB_ARRAY_SIZE(texts) ? texts[type] : "unknown";
}
