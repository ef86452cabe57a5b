/* version.h - the version of this tree; project(VERSION) in CMakeLists.txt is its one source. */
#pragma once

/* Such as "0.1.0". */
const char *version_text(void);
