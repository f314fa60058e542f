# The installed package after its prefix was moved, by find_package and pkg-config, in C++ and C and in a project of C alone,
# which a static library refuses; then the snippets of README.md, docs/embedding.md and docs/networks.md as they
# stand there.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
check_installation(${BUILD})
if(LIBRARY MATCHES "[.](a|lib)$")
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${SOURCE}/tests/install/consumer -B ${WORK}/c_alone -G ${GENERATOR}
    -DCMAKE_C_COMPILER=${C_COMPILER} -DCMAKE_PREFIX_PATH=${WORK}/moved -DWITH_CXX=OFF
    OUTPUT_QUIET ERROR_VARIABLE errors RESULT_VARIABLE code)
  if(code EQUAL 0 OR NOT errors MATCHES "expected[ \n]+CXX[ \n]+among[ \n]+the[ \n]+project's[ \n]+languages")
    message(FATAL_ERROR "a project of C alone is not refused: exit ${code}\n${errors}")
  endif()
else()
  build_project(c_alone ${SOURCE}/tests/install/consumer -DCMAKE_PREFIX_PATH=${WORK}/moved -DWITH_CXX=OFF)
  check_consumer(${WORK}/c_alone/consumer_c)
endif()

file(GLOB command ${WORK}/moved/bin/pconv)
if(command)
  run(output ${command} devices)
  message(STATUS "pconv devices\n${output}")
  if(NOT output MATCHES "cpu")
    message(FATAL_ERROR "the installed command lists no CPU device")
  endif()
endif()

# A document's first block of a language, as a file.
function(extract document language file)
  file(READ ${SOURCE}/${document} text)
  string(FIND "${text}" "\n```${language}\n" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "${document} has no ${language} block")
  endif()
  string(SUBSTRING "${text}" ${begin} -1 text)
  string(REGEX REPLACE "^\n```${language}\n" "" text "${text}")
  string(FIND "${text}" "\n```\n" end)
  string(SUBSTRING "${text}" 0 ${end} text)
  file(WRITE ${file} "${text}\n")
endfunction()

extract(README.md cmake ${WORK}/readme/CMakeLists.txt)
extract(README.md cpp ${WORK}/readme/app.cpp)
extract(README.md c ${WORK}/readme/app.c)
build_project(readme_build ${WORK}/readme -DCMAKE_PREFIX_PATH=${WORK}/moved)
run(ignored ${WORK}/readme_build/app)
compile_by_pkg_config(${WORK}/readme/app.c ${WORK}/readme_c)
if(EXISTS ${WORK}/readme_c)
  run(output ${WORK}/readme_c)
  if(output)
    message(FATAL_ERROR "the README's C program says: ${output}")
  endif()
endif()

# The program that fills a hole in a thread of its own.
file(COPY ${WORK}/readme/CMakeLists.txt DESTINATION ${WORK}/filling)
extract(docs/embedding.md cpp ${WORK}/filling/app.cpp)
build_project(filling_build ${WORK}/filling -DCMAKE_PREFIX_PATH=${WORK}/moved)
run(ignored ${WORK}/filling_build/app)

# The network's program comes as far as its weights, which are not there.
file(COPY ${WORK}/readme/CMakeLists.txt DESTINATION ${WORK}/networks)
extract(docs/networks.md cpp ${WORK}/networks/app.cpp)
build_project(networks_build ${WORK}/networks -DCMAKE_PREFIX_PATH=${WORK}/moved)
run(output ${WORK}/networks_build/app)
if(NOT output MATCHES "cannot read 'model.safetensors'")
  message(FATAL_ERROR "the network's program says: ${output}")
endif()
