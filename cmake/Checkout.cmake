# Checkout.cmake - the three kinds of thing this tree builds.

set(CHECKOUT_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wformat=2 -Wvla)
if(CHECKOUT_WERROR)
  list(APPEND CHECKOUT_WARNINGS -Werror)
endif()

# What runs in production makes an attacker's work harder: checked buffers and string calls,
# no jump over the stack's guard page, addresses that cannot be guessed, and no library
# function's address that can be overwritten.
# (Sanitizers check more, and do not go together with _FORTIFY_SOURCE.)
if(CMAKE_BUILD_TYPE MATCHES "^Rel" AND NOT CHECKOUT_SANITIZE)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
                      -fstack-clash-protection
                      $<$<NOT:$<BOOL:$<TARGET_PROPERTY:POSITION_INDEPENDENT_CODE>>>:-fPIE>)
  add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>
                   -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()

# checkout_protocol(TARGET): a library of the C generated from every proto/*.proto.
function(checkout_protocol target)
  file(GLOB protos CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/proto/*.proto)
  set(out ${CMAKE_BINARY_DIR}/generated/proto)
  file(MAKE_DIRECTORY ${out})
  foreach(proto ${protos})
    get_filename_component(name ${proto} NAME_WE)
    add_custom_command(
      OUTPUT ${out}/${name}.pb-c.c ${out}/${name}.pb-c.h
      COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/proto --c_out=${out} ${proto}
      DEPENDS ${proto} VERBATIM)
    list(APPEND sources ${out}/${name}.pb-c.c)
  endforeach()
  # What reflection answers: all of the contract, comments too.  protoc-c is protoc with
  # one more output.
  add_custom_command(
    OUTPUT ${out}/descriptors.c
    COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/proto --include_imports
            --include_source_info --descriptor_set_out=${out}/descriptors.bin ${protos}
    COMMAND ${CMAKE_COMMAND} -DIN=${out}/descriptors.bin -DOUT=${out}/descriptors.c
            -DNAME=rpc_descriptors -DMOST=524288 -P ${CMAKE_SOURCE_DIR}/cmake/Embed.cmake
    DEPENDS ${protos} ${CMAKE_SOURCE_DIR}/cmake/Embed.cmake VERBATIM)
  list(APPEND sources ${out}/descriptors.c)
  add_library(${target} STATIC ${sources})
  # Generated code is not ours to warn about.
  target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
endfunction()

# checkout_messages(TARGET FOLDER): the same of the one FOLDER/TARGET.proto, which is no part
# of the contract; included as "FOLDER/TARGET.pb-c.h".
function(checkout_messages target folder)
  set(proto ${CMAKE_SOURCE_DIR}/${folder}/${target}.proto)
  set(out ${CMAKE_BINARY_DIR}/generated/${folder})
  file(MAKE_DIRECTORY ${out})
  add_custom_command(
    OUTPUT ${out}/${target}.pb-c.c ${out}/${target}.pb-c.h
    COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/${folder} --c_out=${out} ${proto}
    DEPENDS ${proto} VERBATIM)
  add_library(${target} STATIC ${out}/${target}.pb-c.c)
  target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
endfunction()

# checkout_library(TARGET FOLDER PUBLIC LIBRARY...): lib/<folder>, all that is below, included as "folder/x.h".
function(checkout_library target folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/lib)
  target_compile_options(${target} PRIVATE ${CHECKOUT_WARNINGS})
  target_link_libraries(${target} ${ARGN})
endfunction()

# checkout_program(NAME FOLDER LIBRARY...): all of folder.  All but main.c is a library of its
# own, NAME_parts, so that unit tests can link it.
function(checkout_program name folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
  list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/${folder}/main.c)
  add_library(${name}_parts STATIC ${sources})
  target_include_directories(${name}_parts PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/lib)
  target_compile_options(${name}_parts PRIVATE ${CHECKOUT_WARNINGS})
  target_link_libraries(${name}_parts PUBLIC ${ARGN})
  add_executable(${name} ${CMAKE_SOURCE_DIR}/${folder}/main.c)
  target_compile_options(${name} PRIVATE ${CHECKOUT_WARNINGS})
  target_link_libraries(${name} PRIVATE ${name}_parts)
endfunction()
