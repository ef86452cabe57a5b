/* pages.c - see pages.h. */
#include "gateway/pages.h"

#include <assert.h>
#include <dlfcn.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/log.h"
#include "gateway/headers.h"
#include "gateway/problem.h"

enum { ARENA_MAX = 16 << 10 };

queue_response *pages_queue(void)
{
    queue_response *found;
    void *symbol = dlsym(RTLD_NEXT, "MHD_queue_response");

    assert(symbol != NULL);
    memcpy(&found, &symbol, sizeof found); /* ISO C has no cast between the two */
    return found;
}

static struct err error_of(unsigned status)
{
    switch (status) {
    case MHD_HTTP_URI_TOO_LONG:
    case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
        return err_make(ERR_HEADER_TOO_LARGE, "the head does not fit");
    case MHD_HTTP_CONTENT_TOO_LARGE:
        return err_make(ERR_PAYLOAD_TOO_LARGE, "The body is too large.");
    case MHD_HTTP_INTERNAL_SERVER_ERROR:
        return err_make(ERR_INTERNAL, "libmicrohttpd failed");
    default:
        return err_make(ERR_INVALID_ARGUMENT, "The request is not HTTP/1.1.");
    }
}

static enum MHD_Result queue_problem(struct MHD_Connection *connection,
                                     const struct answer *answer)
{
    char id[ULID_SIZE];
    /* It copies: the arena ends before the answer is sent. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->size, (void *)answer->body, MHD_RESPMEM_MUST_COPY);

    if (response == NULL)
        return MHD_NO;
    ulid_make(id);
    headers_add(response, answer, id);
    log_info("access", "request=%s method=- status=%u ms=0 path=\"-\"", id,
             answer->status);
    enum MHD_Result result = pages_queue()(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Only libmicrohttpd calls this.  MHD_NO makes it hang up without a word. */
enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                   struct MHD_Response *response)
{
    struct arena *arena = arena_new(ARENA_MAX);
    enum MHD_Result result = MHD_NO;

    (void)response;
    if (arena != NULL) {
        struct answer answer = problem_answer(arena, error_of(status));
        answer.close = true;
        result = queue_problem(connection, &answer);
    }
    arena_free(arena);
    return result;
}
