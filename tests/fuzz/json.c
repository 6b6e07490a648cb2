/* json.c -- fuzz target: texts of JSON (apps/json.h), as `antq qlog` reads them from any file.
 *
 * Whatever the bytes, the reader ends; what it takes has tokens that lie inside the text and inside
 * each other, as many as it said, and can be walked. */
#include "apps/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

/* Values of a container, each inside of it, by the calls that users have. */
static void walk(const struct json_token *tokens, const struct json_token *container)
{
    const struct json_token *before = container;

    for (const struct json_token *t = json_first(tokens, container); t != NULL;
         t = json_next(tokens, container, t)) {
        const struct json_token *value = container->kind == JSON_OBJECT ? t + 1 : t;
        require(t > before && value->end <= container->end);
        require(t->text >= container->text
                && value->text + value->size <= container->text + container->size);
        require(container->kind != JSON_OBJECT || t->kind == JSON_STRING);
        before = value;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t max = json_tokens_max(size), count, at = 0;
    struct json_token *tokens = malloc(max * sizeof *tokens);
    const char *why = NULL;
    double number;

    if (tokens == NULL)
        return 0;
    count = json_parse((const char *)data, size, tokens, max, &why, &at);
    require(at <= size && (count == 0) == (why != NULL));
    require(why == NULL || strcmp(why, "more values than there is room for") != 0);
    require(count == 0 || tokens[0].end == count);
    for (size_t i = 0; i < count; i++) {
        require(tokens[i].end > i && tokens[i].end <= count);
        walk(tokens, &tokens[i]);
        (void)json_number(&tokens[i], &number);
        (void)json_member(tokens, &tokens[i], "a");
    }
    free(tokens);
    return 0;
}
