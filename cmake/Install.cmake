# Install.cmake - checkoutctl with its man page and completions, which it prints itself:
#
#   cmake --install build --prefix /usr/local
include(GNUInstallDirs)

set(share ${CMAKE_BINARY_DIR}/share)
file(MAKE_DIRECTORY ${share})

# checkout_printed(FILE WORD...): share/FILE is what `checkoutctl WORD...` prints.
function(checkout_printed file)
  add_custom_command(OUTPUT ${share}/${file} COMMAND checkoutctl ${ARGN} > ${share}/${file}
                     DEPENDS checkoutctl VERBATIM)
endfunction()

checkout_printed(checkoutctl.1 manual)
checkout_printed(checkoutctl.bash completion bash)
checkout_printed(_checkoutctl completion zsh)
add_custom_target(checkoutctl_share ALL
  DEPENDS ${share}/checkoutctl.1 ${share}/checkoutctl.bash ${share}/_checkoutctl)

install(TARGETS checkoutctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${share}/checkoutctl.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${share}/checkoutctl.bash RENAME checkoutctl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${share}/_checkoutctl DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
