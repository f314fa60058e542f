# Writes OUTPUT, a C++ header with the bytes of INPUT: an array has no limit on its length, as literals have.
function(pconv_embed_file input output name)
  file(READ ${input} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  file(CONFIGURE OUTPUT ${output} CONTENT "#pragma once\n\nconstexpr unsigned char ${name}[] = {\n${bytes}};\n" @ONLY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${input})
endfunction()
