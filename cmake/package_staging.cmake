# What cpack runs between installing and packing. In a Debian package the system's loader finds the library: its policy wants no
# paths in files, and manual pages compressed. Archives keep them, relative to each file.
if(CPACK_GENERATOR STREQUAL "DEB")
  file(GLOB_RECURSE files ${CPACK_TEMPORARY_DIRECTORY}/*/usr/bin/* ${CPACK_TEMPORARY_DIRECTORY}/*/usr/lib/*)
  foreach(file IN LISTS files)
    if(NOT EXISTS ${file})
      continue()  # a link into another package
    endif()
    file(READ ${file} magic LIMIT 4 HEX)
    if(magic STREQUAL "7f454c46")
      file(RPATH_REMOVE FILE ${file})
    endif()
  endforeach()
  file(GLOB pages ${CPACK_TEMPORARY_DIRECTORY}/*/usr/share/man/man1/*.1)
  find_program(GZIP gzip)
  if(pages AND GZIP)
    execute_process(COMMAND ${GZIP} -9 -n ${pages} COMMAND_ERROR_IS_FATAL ANY)
  endif()
endif()
