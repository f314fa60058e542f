// small_model PATH: writes a model file whose network anyone can work out.
#include "support/small_model.h"

#include <cstdio>
#include <exception>

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "small_model PATH\n");
        return 2;
    }
    try {
        pconv::test::writeSmallModel(arguments[1]);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
