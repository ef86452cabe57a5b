/* findings.c - see findings.h. */
#include "cli/findings.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "cli/output.h"

/* The check's advice, with every %s of it the id. */
static char *advice(struct arena *arena, const char *todo, const char *id)
{
    size_t room = strlen(todo) + 1;

    for (const char *at = todo; (at = strstr(at, "%s")) != NULL; at += 2)
        room += strlen(id);
    char *text = arena_alloc(arena, room), *end = text;
    if (text == NULL)
        return NULL;
    for (; *todo != '\0'; todo++) {
        if (strncmp(todo, "%s", 2) != 0) {
            *end++ = *todo;
            continue;
        }
        end = stpcpy(end, id);
        todo++;
    }
    return text;
}

struct err findings_add(struct findings *findings, enum check check, const char *id,
                        const char *what)
{
    findings->violations[check]++;
    findings->total++;
    if (findings->listed == FINDINGS_LISTED_MAX)
        return ERR_NONE;
    struct finding *f = &findings->list[findings->listed];
    *f = (struct finding){check, arena_strdup(findings->arena, id),
                          arena_strdup(findings->arena, what),
                          advice(findings->arena, CHECKS[check].todo, id)};
    if (f->id == NULL || f->what == NULL || f->todo == NULL)
        return err_memory();
    findings->listed++;
    return ERR_NONE;
}

static bool was_made(const struct findings *f, int check)
{
    return (f->possible >> check & 1) != 0;
}

/* Whether all there is was looked at, in all respects. */
static bool is_whole(const struct findings *f)
{
    return f->possible == checks_possible(~0U) && !f->cut_short;
}

/* ---- for people --------------------------------------------------------------- */

static void print_finding(const struct finding *f, FILE *out)
{
    fprintf(out, "\n%s ", CHECKS[f->check].name);
    output_text(out, f->id);
    fprintf(out, "\n  ");
    output_text(out, f->what);
    fprintf(out, "\n  What to do: ");
    output_text(out, f->todo);
    fprintf(out, "\n");
}

static void print_row(const struct findings *f, int check, FILE *out)
{
    const struct check_row *row = &CHECKS[check];

    if (!was_made(f, check))
        fprintf(out, "%-18s %-53s %20s\n", row->name, row->holds, "not checked");
    else
        fprintf(out, "%-18s %-53s %9" PRId64 " %10" PRId64 "\n", row->name, row->holds,
                f->looked_at[check], f->violations[check]);
}

void findings_print(const struct findings *findings, FILE *out)
{
    fprintf(out, "%-18s %-53s %9s %10s\n", "check", "what must hold", "looked at",
            "violations");
    for (int c = 0; c < CHECK_COUNT; c++)
        print_row(findings, c, out);
    if (findings->under_way > 0)
        fprintf(out, "\n%" PRId64 " under way, and not judged.\n", findings->under_way);
    for (size_t i = 0; i < findings->listed; i++)
        print_finding(&findings->list[i], out);
    if (findings->total > (int64_t)findings->listed)
        fprintf(out, "\nand %" PRId64 " more.\n",
                findings->total - (int64_t)findings->listed);
    if (findings->total == 0)
        fprintf(out, is_whole(findings)
                         ? "\nAll of it holds.\n"
                         : "\nWhat could be looked at holds; that is not all of it.\n");
}

/* ---- for programs ------------------------------------------------------------- */

struct err findings_json(const struct findings *findings, FILE *out)
{
    json_t *checks = json_array(), *violations = json_array();

    for (int c = 0; c < CHECK_COUNT; c++)
        json_array_append_new(
            checks, json_pack("{s:s, s:s, s:b, s:I, s:I}", "check", CHECKS[c].name,
                              "holds", CHECKS[c].holds, "checked", was_made(findings, c),
                              "looked_at", (json_int_t)findings->looked_at[c],
                              "violations", (json_int_t)findings->violations[c]));
    for (size_t i = 0; i < findings->listed; i++) {
        const struct finding *f = &findings->list[i];
        json_array_append_new(violations, json_pack("{s:s, s:s, s:s, s:s}", "check",
                                                    CHECKS[f->check].name, "id", f->id,
                                                    "what", f->what, "todo", f->todo));
    }
    json_t *all =
        json_pack("{s:b, s:b, s:I, s:I, s:o, s:o}", "holds",
                  findings->total == 0 && is_whole(findings), "whole", is_whole(findings),
                  "under_way", (json_int_t)findings->under_way, "not_listed",
                  (json_int_t)(findings->total - (int64_t)findings->listed), "checks",
                  checks, "violations", violations);
    if (all == NULL)
        return err_memory();
    int rc = json_dumpf(all, out, JSON_COMPACT);
    json_decref(all);
    fputc('\n', out);
    return rc == 0 ? ERR_NONE
                   : err_make(ERR_DATA_LOSS, "the output could not be written");
}
