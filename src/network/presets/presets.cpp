#include "network/presets/model.h"

namespace pconv::network {

const std::vector<Preset>& presets() {
    static const std::vector<Preset> all = {
        {"pconv_unet", makePconvUnet, false},
        {"paper_unet", makePaperUnet, false},
        {"mmagic_pconv", makeMmagicUnet, false},
        {"keras_pconv", makeKerasUnet, false},
        {"pdresnet18", makeResnet, true},
        {"pdresnet34", makeResnet, true},
        {"pdresnet50", makeResnet, true},
        {"pdresnet101", makeResnet, true},
        {"pdresnet152", makeResnet, true},
        {"pdvgg11", makeVgg, true},
        {"pdvgg13", makeVgg, true},
        {"pdvgg16", makeVgg, true},
        {"pdvgg19", makeVgg, true},
        {"pdvgg11_bn", makeVgg, true},
        {"pdvgg13_bn", makeVgg, true},
        {"pdvgg16_bn", makeVgg, true},
        {"pdvgg19_bn", makeVgg, true},
    };
    return all;
}

}  // namespace pconv::network
