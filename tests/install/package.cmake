# The installed package after its prefix was moved, by find_package and pkg-config, in C++ and C and in a project of C alone.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
check_installation(${BUILD})
build_project(c_alone ${SOURCE}/tests/install/consumer -DCMAKE_PREFIX_PATH=${WORK}/moved -DWITH_CXX=OFF)
check_consumer(${WORK}/c_alone/consumer_c)

file(GLOB command ${WORK}/moved/bin/pconv)
if(command)
  run(output ${command} devices)
  message(STATUS "pconv devices\n${output}")
  if(NOT output MATCHES "cpu")
    message(FATAL_ERROR "the installed command lists no CPU device")
  endif()
endif()
