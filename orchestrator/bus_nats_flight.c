/* bus_nats_flight.c - see bus_nats_flight.h. */
#include "orchestrator/bus_nats_flight.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

const char FLIGHT_POSITION_HEADER[] = "Checkout-Position";

/* Version 2.11 and later: given before, and not known yet to be stored. */
enum { CODE_IN_PROCESS = 10158 };

void flight_init(struct flight *flight, const char *stream, const char *prefix)
{
    *flight = (struct flight){.stream = stream, .prefix = prefix};
    pthread_mutex_init(&flight->lock, NULL);
    clock_cond_init(&flight->answered);
}

void flight_destroy(struct flight *flight)
{
    pthread_cond_destroy(&flight->answered);
    pthread_mutex_destroy(&flight->lock);
}

/* ---- one answer -------------------------------------------------------------------- */

/* What is not printable ASCII becomes a question mark: it goes into logs and JSON. */
static void copy_words(char out[BUS_REASON_SIZE], const char *words)
{
    snprintf(out, BUS_REASON_SIZE, "%s", words);
    for (char *at = out; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
}

/* With the lock held.  The first answer to an event is the one that counts. */
static void note(struct flight *flight, size_t i, enum bus_answer answer,
                 const char *words)
{
    struct bus_delivery *delivery = &flight->deliveries[i];

    if (delivery->answer != BUS_SILENT)
        return;
    delivery->answer = answer;
    copy_words(delivery->reason, words);
    if (--flight->open == 0)
        pthread_cond_signal(&flight->answered);
}

static int by_position(const void *key, const void *item)
{
    int64_t position = *(const int64_t *)key, of = ((const struct event *)item)->position;

    return (position > of) - (position < of);
}

/* Whose answer this is; `count` when it is nobody's here. */
static size_t find(const struct flight *flight, natsMsg *message)
{
    const char *text = NULL;

    if (natsMsgHeader_Get(message, FLIGHT_POSITION_HEADER, &text) != NATS_OK)
        return flight->count;
    int64_t position = strtoll(text, NULL, 10);
    const struct event *event = bsearch(&position, flight->events, flight->count,
                                        sizeof *flight->events, by_position);
    return event == NULL ? flight->count : (size_t)(event - flight->events);
}

static void note_ack(struct flight *flight, size_t i, const jsPubAck *ack)
{
    char words[BUS_REASON_SIZE];

    if (ack->Stream == NULL || strcmp(ack->Stream, flight->stream) != 0) {
        snprintf(words, sizeof words, "the stream %.64s answered",
                 ack->Stream == NULL ? "of no name" : ack->Stream);
        note(flight, i, BUS_DOUBTFUL, words);
    } else if (ack->Sequence == 0) {
        note(flight, i, BUS_DOUBTFUL,
             "the server knows its id, but has not stored it (sequence 0)");
    } else {
        note(flight, i, ack->Duplicate ? BUS_STORED_BEFORE : BUS_STORED, "");
    }
}

/* Without a code it is libnats' word: nobody was there, or it was no PubAck. */
static bool is_decision(const jsPubAckErr *refusal)
{
    return refusal->ErrCode != 0 && (int)refusal->ErrCode != CODE_IN_PROCESS;
}

/* The message is ours to destroy, neither answer is. */
static void on_acknowledged(jsCtx *jetstream, natsMsg *message, jsPubAck *ack,
                            jsPubAckErr *refusal, void *closure)
{
    struct flight *flight = closure;

    pthread_mutex_lock(&flight->lock);
    size_t i = flight->jetstream == jetstream ? find(flight, message) : flight->count;
    if (i < flight->count && ack != NULL)
        note_ack(flight, i, ack);
    else if (i < flight->count && refusal != NULL)
        note(flight, i, is_decision(refusal) ? BUS_REFUSED : BUS_DOUBTFUL,
             refusal->ErrText != NULL ? refusal->ErrText
                                      : natsStatus_GetText(refusal->Err));
    pthread_mutex_unlock(&flight->lock);
    natsMsg_Destroy(message);
}

/* ---- what the connection says ------------------------------------------------------ */

/* Of a subject that may not be published to the server says no more than this one error,
 * `Permissions Violation for Publish to "SUBJECT"`: its events are not answered. */
static void refuse_subject(struct flight *flight, const char *words)
{
    for (size_t i = 0; i < flight->count; i++) {
        char quoted[160];
        snprintf(quoted, sizeof quoted, "\"%s.%s\"", flight->prefix,
                 flight->events[i].type);
        if (strstr(words, quoted) != NULL)
            note(flight, i, BUS_REFUSED, words);
    }
}

static void on_error(natsConnection *connection, natsSubscription *subscription,
                     natsStatus status, void *closure)
{
    struct flight *flight = closure;
    const char *words = NULL;

    (void)subscription;
    natsConnection_GetLastError(connection, &words);
    pthread_mutex_lock(&flight->lock);
    if (flight->jetstream != NULL && flight->connection == connection &&
        status == NATS_NOT_PERMITTED && words != NULL)
        refuse_subject(flight, words);
    pthread_mutex_unlock(&flight->lock);
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct flight *flight = closure;

    pthread_mutex_lock(&flight->lock);
    if (flight->jetstream != NULL && flight->connection == connection) {
        flight->closed = true;
        pthread_cond_signal(&flight->answered);
    }
    pthread_mutex_unlock(&flight->lock);
}

natsStatus flight_listen(struct flight *flight, natsOptions *options)
{
    natsStatus status = natsOptions_SetErrorHandler(options, on_error, flight);

    return status == NATS_OK ? natsOptions_SetClosedCB(options, on_closed, flight)
                             : status;
}

void flight_take_answers(struct flight *flight, jsOptions *options)
{
    options->PublishAsync.AckHandler = on_acknowledged;
    options->PublishAsync.AckHandlerClosure = flight;
}

/* ---- a flight ---------------------------------------------------------------------- */

void flight_begin(struct flight *flight, const jsCtx *jetstream,
                  const natsConnection *connection, const struct event *events,
                  struct bus_delivery *deliveries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        deliveries[i] = (struct bus_delivery){.answer = BUS_SILENT};
    pthread_mutex_lock(&flight->lock);
    flight->jetstream = jetstream;
    flight->connection = connection;
    flight->events = events;
    flight->deliveries = deliveries;
    flight->count = flight->open = count;
    flight->closed = false;
    pthread_mutex_unlock(&flight->lock);
}

void flight_refuse(struct flight *flight, size_t i, const char *why)
{
    pthread_mutex_lock(&flight->lock);
    note(flight, i, BUS_REFUSED, why);
    pthread_mutex_unlock(&flight->lock);
}

void flight_wait(struct flight *flight, size_t sent, int64_t deadline_ms)
{
    pthread_mutex_lock(&flight->lock);
    flight->count = sent; /* the others will not be answered */
    flight->open = 0;
    for (size_t i = 0; i < sent; i++)
        flight->open += flight->deliveries[i].answer == BUS_SILENT;
    while (flight->open > 0 && !flight->closed &&
           clock_cond_wait(&flight->answered, &flight->lock, deadline_ms))
        ;
    pthread_mutex_unlock(&flight->lock);
}

void flight_end(struct flight *flight)
{
    pthread_mutex_lock(&flight->lock);
    flight->jetstream = NULL;
    pthread_mutex_unlock(&flight->lock);
}
