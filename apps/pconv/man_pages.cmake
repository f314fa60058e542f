# The manual pages, which are the command's own --help in their form: pconv(1), and one for each of its commands. Without help2man,
# or where the command cannot be run, there are none.
find_program(PCONV_HELP2MAN help2man)
mark_as_advanced(PCONV_HELP2MAN)
if(NOT PCONV_HELP2MAN OR CMAKE_CROSSCOMPILING)
  return()
endif()
set(pages "")
set(folder ${CMAKE_CURRENT_BINARY_DIR}/man)
# pconv_man_page(SUMMARY [COMMAND...]): without COMMAND, the whole.
function(pconv_man_page summary)
  set(name pconv ${ARGN})
  list(JOIN name - name)
  list(JOIN ARGN " " command)
  # A page is called as the program that prints its help is.
  file(GENERATE OUTPUT ${folder}/${name} CONTENT "#!/bin/sh\nexec '$<TARGET_FILE:pconv_command>' ${command} \"$@\"\n"
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  add_custom_command(OUTPUT ${folder}/${name}.1 DEPENDS pconv_command ${folder}/${name} VERBATIM
    COMMAND ${PCONV_HELP2MAN} --no-info --version-string=${PROJECT_VERSION} --name=${summary} --manual=pconv
      "--source=pconv ${PROJECT_VERSION}" --output=${folder}/${name}.1 ${folder}/${name})
  set(pages ${pages} ${folder}/${name}.1 PARENT_SCOPE)
endfunction()
pconv_man_page("fill the holes of pictures, and compute partial convolutions")
pconv_man_page("fill the holes of pictures" inpaint)
pconv_man_page("compute one operator call on tensors from a file" run)
pconv_man_page("list what there is to compute on" devices)
pconv_man_page("hold a device to the reference numerics" conformance)
pconv_man_page("measure how fast a device is" bench)
pconv_man_page("show a model file, or make one of a checkpoint" model)
pconv_man_page("print a model file's layers as a table" model show)
pconv_man_page("make a model file of a checkpoint" model import)
pconv_man_page("say what a picture shows, by a trained network" classify)
add_custom_target(pconv_man_pages ALL DEPENDS ${pages})
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT pconv)
