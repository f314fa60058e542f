#include "bench/hole_patterns.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace pconv::app {
namespace {

class Painter {
  public:
    Painter(int width, int height, std::size_t holes, std::uint32_t seed)
        : width_(width),
          height_(height),
          left_(holes),
          mask_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), 1),
          random_(seed) {}

    std::vector<std::uint8_t> paint(const std::string& pattern) {
        while (left_ > 0) {
            if (pattern == "strokes")
                stroke();
            else if (pattern == "boxes")
                box();
            else
                punch(whole(0, width_ - 1), whole(0, height_ - 1));
        }
        return std::move(mask_);
    }

  private:
    int whole(int least, int most) {
        return std::uniform_int_distribution<int>(least, std::max(least, most))(random_);
    }
    double real(double least, double most) {
        return std::uniform_real_distribution<double>(least, most)(random_);
    }

    void punch(int x, int y) {
        if (x < 0 || y < 0 || x >= width_ || y >= height_ || left_ == 0) return;
        std::uint8_t& pixel = mask_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) +
                                    static_cast<std::size_t>(x)];
        left_ -= pixel;
        pixel = 0;
    }

    void box() {
        const int x = whole(0, width_ - 1);
        const int y = whole(0, height_ - 1);
        const int wide = whole(width_ / 16, width_ / 4);
        const int high = whole(height_ / 16, height_ / 4);
        for (int dy = 0; dy <= high; ++dy)
            for (int dx = 0; dx <= wide; ++dx) punch(x + dx - wide / 2, y + dy - high / 2);
    }

    void disc(double x, double y, double radius) {
        const int reach = static_cast<int>(radius) + 1;
        for (int dy = -reach; dy <= reach; ++dy)
            for (int dx = -reach; dx <= reach; ++dx)
                if (dx * dx + dy * dy <= radius * radius)
                    punch(static_cast<int>(x) + dx, static_cast<int>(y) + dy);
    }

    /// A brush that wanders in straight pieces, as in the irregular masks of Liu et al.
    void stroke() {
        constexpr double kPi = 3.14159265358979;
        constexpr double kSharpestTurn = kPi / 3;
        const double extent = std::min(width_, height_);
        double x = real(0, width_);
        double y = real(0, height_);
        double heading = real(0, 2 * kPi);
        const double radius = std::max(0.5, real(extent / 80, extent / 25));
        const int pieces = whole(3, 10);
        for (int piece = 0; piece < pieces && left_ > 0; ++piece) {
            heading += real(-kSharpestTurn, kSharpestTurn);
            const double length = real(extent / 20, extent / 6);
            const double step = std::max(1.0, radius / 2);
            for (double along = 0; along < length && left_ > 0; along += step) {
                disc(x, y, radius);
                x += step * std::cos(heading);
                y += step * std::sin(heading);
            }
        }
    }

    int width_, height_;
    std::size_t left_;
    std::vector<std::uint8_t> mask_;
    std::mt19937 random_;
};

}  // namespace

const std::vector<std::string> kHolePatterns = {"strokes", "boxes", "pixels"};

std::vector<std::uint8_t> holePattern(const std::string& pattern, int width, int height, std::size_t holes,
                                      std::uint32_t seed) {
    return Painter(width, height, holes, seed).paint(pattern);
}

}  // namespace pconv::app
