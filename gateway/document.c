/* document.c - /openapi.yaml: what this very program answers, as it was built with it. */
#include "gateway/handlers.h"

/* The file's bytes, taken in by the assembler.  CMake names the file. */
__asm__(".section .rodata\n"
        ".type document, @object\n"
        "document: .incbin \"" OPENAPI_FILE "\"\n"
        ".type document_end, @object\n"
        "document_end: .byte 0\n"
        ".previous\n");

extern const char document[] __attribute__((visibility("hidden")));
extern const char document_end[] __attribute__((visibility("hidden")));

struct err document_get(struct request *r)
{
    r->answer.status = 200;
    r->answer.content_type = "application/yaml";
    r->answer.body = document;
    r->answer.size = (size_t)(document_end - document);
    r->answered = true;
    return ERR_NONE;
}
