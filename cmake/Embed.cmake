# Embed.cmake - a file as C: const unsigned char NAME[] and const size_t NAME_size.
#
# cmake -DIN=FILE -DOUT=FILE.c -DNAME=NAME -DMOST=BYTES -P Embed.cmake
file(SIZE ${IN} size)
if(size GREATER MOST)
  message(FATAL_ERROR "${IN} has ${size} bytes, more than ${MOST}")
endif()
file(READ ${IN} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include <stddef.h>\n\n"
     "extern const unsigned char ${NAME}[];\nextern const size_t ${NAME}_size;\n\n"
     "const unsigned char ${NAME}[] = {${bytes}};\nconst size_t ${NAME}_size = sizeof ${NAME};\n")
