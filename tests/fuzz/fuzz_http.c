/* Any request at the HTTP front. Lines of the input: method, path, Host, Origin, Sec-Fetch-Site,
 * then name and value of arguments; an empty line leaves a header out. First byte: peer, share. */
#include <jansson.h>
#include <stdint.h>

#include "front/http_front.h"
#include "support/front_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINES 16

static world w[2];
static sb_http_front front[2];
static const char *lines[LINES];

static const char *argument(const sb_http_request *request, const char *name)
{
    (void)request;
    for (size_t i = 5; i + 1 < LINES; i += 2)
        if (lines[i] && lines[i + 1] && strcmp(lines[i], name) == 0)
            return lines[i + 1];
    return NULL;
}

static void begin(void)
{
    for (unsigned i = 0; i < 2; i++) {
        sb_settings *settings = world_settings();
        settings->cache.share = i ? SB_SHARE_ALL : SB_SHARE_USER;
        world_start(&w[i], settings);
        front[i].engine = w[i].engine;
        sb_name name = world_name("a.example");
        sb_engine_warm(w[i].engine, &name);
        world_run(&w[i], SB_S);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!front[0].engine)
        begin();
    if (size < 1 || size > 4096)
        return 0;
    char text[4097];
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    memset(lines, 0, sizeof(lines));
    char *at = text;
    for (size_t i = 0; i < LINES && at; i++) {
        char *end = strchr(at, '\n');
        if (end)
            *end = '\0';
        lines[i] = at;
        at = end ? end + 1 : NULL;
    }
    sb_http_request request = {
        .method = lines[0],
        .path = lines[1] ? lines[1] : "",
        .host = lines[2] ? lines[2] : "",
        .origin = lines[3] && lines[3][0] ? lines[3] : NULL,
        .fetch_site = lines[4] && lines[4][0] ? lines[4] : NULL,
        .peer = world_addr(data[0] & 1 ? "127.0.0.1:4000" : "10.1.1.1:4000"),
        .argument = argument,
    };
    sb_http_response response;
    sb_http_front_handle(&front[data[0] >> 1 & 1], &request, &response);
    SB_ASSERT(response.status >= 200 && response.status < 600 && response.content_type);
    if (strcmp(response.content_type, "application/json") == 0) {
        json_t *body = json_loadb(response.body.data, response.body.size, 0, NULL);
        SB_ASSERT(json_is_object(body));
        json_decref(body);
    }
    sb_text_fini(&response.body);
    return 0;
}
