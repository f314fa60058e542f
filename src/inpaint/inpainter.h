// Fills one picture after another, and keeps its memory and operators in between.
#pragma once

#include <memory>
#include <vector>

#include "inpaint/pyramid.h"
#include "inpaint/view.h"
#include "pconv/inpaint.h"

namespace pconv::inpaint {

class Inpainter {
  public:
    // `device` must outlive it. `beside`: what else takes of the device's memory, as a fault is to name it.
    explicit Inpainter(PconvDevice device, const char* beside = "") : device_(device), beside_(beside) {}

    // The picture is written when nothing can fail any more.
    void fill(View& view, const ProgressFunction* progress);
    // What it would look like reduced, into `reduced`.
    void preview(const View& view, View& reduced, const ProgressFunction* progress);

  private:
    template <typename T>
    class Job;
    template <typename T>
    void fillAs(View& view, const ProgressFunction* progress);
    template <typename T>
    void previewAs(const View& view, View& reduced, const ProgressFunction* progress);
    Pyramid& pyramid();

    PconvDevice device_;
    const char* beside_;
    std::unique_ptr<Pyramid> pyramid_;  // when there is something to fill
    std::vector<Holes> parts_;          // holes of the rows that a thread looks at
    std::vector<unsigned char> filled_;
    std::vector<float> reduced_;
    std::vector<uint8_t> reduced_mask_;
};

}  // namespace pconv::inpaint
