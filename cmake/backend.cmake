# pconv_add_backend(NAME SOURCES...): the module pconv_NAME, opened by the library at run time and found beside it, or
# linked into it with PCONV_BUILTIN_BACKENDS.
function(pconv_add_backend name)
  if(PCONV_BUILTIN_BACKENDS)
    add_library(pconv_${name} OBJECT ${ARGN})
  else()
    add_library(pconv_${name} MODULE ${ARGN})
    target_link_libraries(pconv_${name} PRIVATE pconv_platform)
    pconv_limit_exports(pconv_${name})
    set_target_properties(pconv_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PCONV_MODULE_OUTPUT_DIRECTORY})
    if(WIN32)
      set_target_properties(pconv_${name} PROPERTIES PREFIX "")  # so is it looked for, whatever the compiler
    endif()
    if(PCONV_INSTALL)
      # CUDA's is large, and of use to few.
      set(component libpconv0)
      if(name STREQUAL "cuda")
        set(component libpconv0-cuda)
      endif()
      install(TARGETS pconv_${name} LIBRARY DESTINATION ${PCONV_MODULE_DESTINATION} COMPONENT ${component})
    endif()
  endif()
  set_property(GLOBAL APPEND PROPERTY PCONV_BACKENDS ${name})
  target_link_libraries(pconv_${name} PRIVATE pconv_seam pconv_warnings)
  set_target_properties(pconv_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# pconv_link_backend(NAME PACKAGE TARGET FLAGS): links TARGET, which find_package(PACKAGE) gives, to a backend. Where the
# backend becomes part of the library, so do these: in the build, for find_package(pconv) and, as FLAGS, for pkg-config.
function(pconv_link_backend name package target flags)
  target_link_libraries(pconv_${name} PRIVATE ${target})
  if(PCONV_BUILTIN_BACKENDS)
    set_property(GLOBAL APPEND PROPERTY PCONV_BUILTIN_PACKAGES "${package}")
    set_property(GLOBAL APPEND PROPERTY PCONV_BUILTIN_LIBRARIES ${target})
    set_property(GLOBAL APPEND PROPERTY PCONV_BUILTIN_FLAGS "${flags}")
  endif()
endfunction()

# Only what cmake/exports.map names leaves a shared object; hidden visibility alone lets the standard library's templates out.
function(pconv_limit_exports target)
  if(UNIX AND NOT APPLE)
    target_link_options(${target} PRIVATE -Wl,--no-undefined
      -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map)
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "MODULE_LIBRARY")
      # Modules lie among the system's libraries, where each is expected to say its name.
      target_link_options(${target} PRIVATE -Wl,-soname,$<TARGET_FILE_NAME:${target}>)
    endif()
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
  endif()
endfunction()
