/* Any line on the control socket: one JSON object back, always. */
#include <jansson.h>
#include <stdint.h>

#include "front/control.h"
#include "support/front_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static world w;
static sb_control *control;

static void begin(void)
{
    sb_why why;
    world_start(&w, world_settings());
    sb_control_options options = {.engine = w.engine, .group = -1};
    SB_ASSERT(sb_control_new(&options, &control, &why) == SB_OK);
    sb_log_set_level(SB_LOG_CONTROL, SB_LOG_ERROR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_text text = {0};
    if (!control)
        begin();
    sb_control_line(control, size ? (const char *)data : "", size, true, &text);
    SB_ASSERT(!text.failed);
    json_t *reply = json_loadb(text.data, text.size, 0, NULL);
    SB_ASSERT(json_is_boolean(json_object_get(reply, "ok")));
    json_decref(reply);
    sb_text_fini(&text);
    sb_log_set_level(SB_LOG_CONTROL, SB_LOG_ERROR); /* the verb log is one of them */
    world_run(&w, SB_MS);
    return 0;
}
