# The installation: headers, library, CMake package and pkg-config file, none of which knows the prefix it lies in. The backends'
# modules and the command are installed where they are made.
include(CMakePackageConfigHelpers)

# The components are Debian's packages (packages.cmake); what is said to be of no other is for developers.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME libpconv-dev)

set(PCONV_CMAKE_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pconv)
get_property(PCONV_BACKEND_NAMES GLOBAL PROPERTY PCONV_BACKENDS)
set(PCONV_FIND_DEPENDENCIES "")
set(PCONV_PC_LIBS "")
set(PCONV_PC_CFLAGS "")
if(NOT BUILD_SHARED_LIBS)
  # A static library leaves its own libraries to the program that links it.
  get_property(packages GLOBAL PROPERTY PCONV_BUILTIN_PACKAGES)
  get_property(flags GLOBAL PROPERTY PCONV_BUILTIN_FLAGS)
  set(lines "")
  foreach(package IN LISTS packages ITEMS Threads)
    string(APPEND lines "find_dependency(${package})\n")
    if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/Find${package}.cmake)
      install(FILES ${CMAKE_CURRENT_LIST_DIR}/Find${package}.cmake DESTINATION ${PCONV_CMAKE_DESTINATION})
    endif()
  endforeach()
  set(PCONV_FIND_DEPENDENCIES "
if(NOT CMAKE_CXX_COMPILER_LOADED)
  set(pconv_FOUND FALSE)
  set(pconv_NOT_FOUND_MESSAGE \"this libpconv is a static C++ library; expected CXX among the project's languages\")
  return()
endif()
include(CMakeFindDependencyMacro)
list(PREPEND CMAKE_MODULE_PATH \"\${CMAKE_CURRENT_LIST_DIR}\")
${lines}list(POP_FRONT CMAKE_MODULE_PATH)
")
  list(APPEND flags -lstdc++ -lm -pthread)
  foreach(library IN LISTS CMAKE_DL_LIBS)
    list(APPEND flags -l${library})
  endforeach()
  list(JOIN flags " " flags)
  set(PCONV_PC_LIBS " ${flags}")
  set(PCONV_PC_CFLAGS " -DPCONV_STATIC")
endif()

if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(PCONV_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
  set(PCONV_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
  set(PCONV_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
  file(RELATIVE_PATH up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  string(REGEX REPLACE "/$" "" up "${up}")
  set(PCONV_PC_PREFIX "\${pcfiledir}/${up}")
  set(PCONV_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(PCONV_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()

set(generated ${PROJECT_BINARY_DIR}/cmake)
configure_file(${CMAKE_CURRENT_LIST_DIR}/pconv.pc.in ${generated}/pconv.pc @ONLY)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/pconvConfig.cmake.in ${generated}/pconvConfig.cmake
  INSTALL_DESTINATION ${PCONV_CMAKE_DESTINATION} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${generated}/pconvConfigVersion.cmake COMPATIBILITY SameMajorVersion)

install(TARGETS pconv EXPORT pconvTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libpconv0 NAMELINK_COMPONENT libpconv-dev
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT libpconv0)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pconv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN *.h PATTERN *.hpp)
install(EXPORT pconvTargets NAMESPACE pconv:: DESTINATION ${PCONV_CMAKE_DESTINATION})
install(FILES ${generated}/pconvConfig.cmake ${generated}/pconvConfigVersion.cmake DESTINATION ${PCONV_CMAKE_DESTINATION})
install(FILES ${generated}/pconv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
# A Debian package has it by another name.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT license)
unset(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME)
