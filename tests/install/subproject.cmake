# The library as a part of another build: with its modules, and static with its backends inside; the latter installed too.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
set(options -DPCONV_SOURCE=${SOURCE} -DPCONV_BACKEND_VULKAN=${VULKAN})
build_project(shared ${SOURCE}/tests/install/consumer ${options})
check_consumer(${WORK}/shared/consumer_c)
build_project(static ${SOURCE}/tests/install/consumer ${options} -DBUILD_SHARED_LIBS=OFF -DPCONV_INSTALL=ON)
check_consumer(${WORK}/static/consumer_cpp)
check_installation(${WORK}/static)
