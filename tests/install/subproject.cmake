# The library as a part of another build: with its modules, and static with its backends inside; the latter installed too.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
set(CONFIG Debug)  # the quickest to compile
list(REMOVE_ITEM BACKENDS cuda)  # minutes to compile, and no other in its packaging
# The host may compile with fast math; the library then does not, or the consumer's NaN would come through.
set(options -DPCONV_SOURCE=${SOURCE} "-DCMAKE_CXX_FLAGS_DEBUG=-O0 -ffast-math" -DPCONV_BACKEND_CUDA=OFF)
build_project(shared ${SOURCE}/tests/install/consumer ${options} -DPCONV_BACKEND_VULKAN=OFF)
check_consumer(${WORK}/shared/consumer_c cpu)
build_project(static ${SOURCE}/tests/install/consumer ${options} -DPCONV_BACKEND_VULKAN=${VULKAN} -DBUILD_SHARED_LIBS=OFF
  -DPCONV_INSTALL=ON)
check_consumer(${WORK}/static/consumer_cpp)
check_installation(${WORK}/static)
