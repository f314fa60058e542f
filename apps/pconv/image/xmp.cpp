#include "image/xmp.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace pconv::app {
namespace {

bool startsWith(std::string_view text, std::string_view start) {
    return text.substr(0, start.size()) == start;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

bool isSpace(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// A walk over XML that copies what stays. It knows elements, attributes and namespaces; a document type,
/// whose entities could hide anything, is refused.
class Filter {
  public:
    Filter(std::string_view input, std::uint32_t width, std::uint32_t height, LeftOut& left_out)
        : in_(input), width_(width), height_(height), left_out_(left_out) {}

    std::optional<std::string> run() {
        while (at_ < in_.size()) {
            if (in_[at_] != '<') {
                copy(std::min(in_.find('<', at_), in_.size()));
            } else if (startsWith(in_.substr(at_), "<!--")) {
                if (!copyThrough("-->")) return std::nullopt;
            } else if (startsWith(in_.substr(at_), "<?")) {
                if (!copyThrough("?>")) return std::nullopt;
            } else if (startsWith(in_.substr(at_), "<![CDATA[")) {
                if (!copyThrough("]]>")) return std::nullopt;
            } else if (startsWith(in_.substr(at_), "</")) {
                if (!endElement()) return std::nullopt;
            } else if (startsWith(in_.substr(at_), "<!") || !startElement()) {
                return std::nullopt;
            }
        }
        if (!open_.empty() || !any_element_) return std::nullopt;
        if (!keeps_element_) return std::string();  // what stands about an element is none
        return std::move(out_);
    }

  private:
    struct Element {
        std::string_view name;
        std::size_t namespaces;  // that were in force outside it
    };
    struct Attribute {
        std::string_view text;  // with the space before it
        std::string_view name;
        std::string_view value;
    };

    void copy(std::size_t end) {
        if (!isRemoving()) out_.append(in_.substr(at_, end - at_));
        at_ = end;
    }
    bool copyThrough(std::string_view end) {
        const std::size_t found = in_.find(end, at_);
        if (found == std::string_view::npos) return false;
        copy(found + end.size());
        return true;
    }
    bool isRemoving() const { return removed_depth_ != 0; }

    bool endElement() {
        const std::size_t end = in_.find('>', at_);
        if (end == std::string_view::npos || open_.empty()) return false;
        std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
        while (!name.empty() && isSpace(name.back())) name.remove_suffix(1);
        if (name != open_.back().name) return false;
        copy(end + 1);
        if (removed_depth_ == open_.size()) removed_depth_ = 0;
        namespaces_.resize(open_.back().namespaces);
        open_.pop_back();
        return true;
    }

    bool readAttributes(std::size_t& at, std::vector<Attribute>& attributes) const {
        for (;;) {
            const std::size_t start = at;
            while (at < in_.size() && isSpace(in_[at])) ++at;
            if (at >= in_.size()) return false;
            if (in_[at] == '>' || in_[at] == '/') {
                at = start;
                return true;
            }
            const std::size_t name = at;
            while (at < in_.size() && !isSpace(in_[at]) && in_[at] != '=' && in_[at] != '>') ++at;
            const std::size_t name_end = at;
            while (at < in_.size() && isSpace(in_[at])) ++at;
            if (at >= in_.size() || in_[at] != '=' || name == name_end) return false;
            ++at;
            while (at < in_.size() && isSpace(in_[at])) ++at;
            if (at >= in_.size() || (in_[at] != '"' && in_[at] != '\'')) return false;
            const std::size_t end = in_.find(in_[at], at + 1);
            if (end == std::string_view::npos) return false;
            attributes.push_back({in_.substr(start, end + 1 - start), in_.substr(name, name_end - name),
                                  in_.substr(at + 1, end - at - 1)});
            at = end + 1;
        }
    }

    bool startElement() {
        constexpr std::size_t kDeepest = 200;
        std::size_t at = at_ + 1;
        while (at < in_.size() && !isSpace(in_[at]) && in_[at] != '>' && in_[at] != '/') ++at;
        const std::string_view name = in_.substr(at_ + 1, at - at_ - 1);
        std::vector<Attribute> attributes;
        if (name.empty() || !readAttributes(at, attributes)) return false;
        const std::size_t tail = at;
        while (at < in_.size() && isSpace(in_[at])) ++at;
        const bool empty = at < in_.size() && in_[at] == '/';
        if (empty) ++at;
        if (at >= in_.size() || in_[at] != '>' || open_.size() >= kDeepest) return false;
        ++at;
        any_element_ = true;
        open_.push_back({name, namespaces_.size()});
        for (const Attribute& attribute : attributes) {
            if (attribute.name == "xmlns") namespaces_.emplace_back("", attribute.value);
            if (startsWith(attribute.name, "xmlns:"))
                namespaces_.emplace_back(attribute.name.substr(6), attribute.value);
        }
        const std::size_t text_end = std::min(in_.find('<', at), in_.size());
        if (!isRemoving() && isUntrue(name, in_.substr(at, text_end - at))) removed_depth_ = open_.size();
        if (!isRemoving()) {
            keeps_element_ = true;
            out_.append("<").append(name);
            for (const Attribute& attribute : attributes) {
                if (!isUntrue(attribute.name, attribute.value)) out_.append(attribute.text);
            }
            out_.append(in_.substr(tail, at - tail));
        }
        at_ = at;
        if (empty) {
            if (removed_depth_ == open_.size()) removed_depth_ = 0;
            namespaces_.resize(open_.back().namespaces);
            open_.pop_back();
        }
        return true;
    }

    std::string_view uriOf(std::string_view prefix) const {
        for (auto found = namespaces_.rbegin(); found != namespaces_.rend(); ++found) {
            if (found->first == prefix) return found->second;
        }
        return {};
    }

    /// Whether a property is not true of the filled picture, by its name and the text it begins with.
    bool isUntrue(std::string_view name, std::string_view value) {
        const std::size_t colon = name.find(':');
        const std::string_view prefix =
            colon == std::string_view::npos ? std::string_view() : name.substr(0, colon);
        const std::string_view local = colon == std::string_view::npos ? name : name.substr(colon + 1);
        if (prefix == "xmlns" || prefix == "xml" || prefix.empty()) return false;
        const std::string_view uri = uriOf(prefix);
        if (contains(uri, "/hdr-gain-map/") || contains(uri, "/HDRGainMap/") ||
            contains(uri, "/hdr-metadata/"))
            return leaveOut("the gain map's metadata");
        if (contains(uri, "/photos/") && !contains(uri, "/panorama/")) {
            const bool is_film = contains(name, "MotionPhoto") || contains(name, "MicroVideo");
            return leaveOut(is_film ? "the film's metadata" : "XMP data about other pictures in the file");
        }
        if (startsWith(uri, "http://ns.apple.com/"))
            return leaveOut("XMP data about other pictures in the file");
        if (contains(uri, "/xap/1.0/g/img/") || contains(local, "Thumbnail") || contains(local, "Preview"))
            return leaveOut("XMP thumbnails");
        if (local == "HasExtendedXMP") return leaveOut("extended XMP data");
        if (startsWith(uri, "http://purl.org/dc/terms/") && local == "provenance")
            return leaveOut("the record of provenance");
        const bool is_width = local == "ImageWidth" || local == "PixelXDimension";
        const bool is_height = local == "ImageLength" || local == "PixelYDimension";
        return (is_width && value != std::to_string(width_)) ||
               (is_height && value != std::to_string(height_));
    }

    bool leaveOut(const char* what) {
        left_out_.add(what);
        return true;
    }

    std::string_view in_;
    std::size_t at_ = 0;
    std::uint32_t width_;
    std::uint32_t height_;
    LeftOut& left_out_;
    std::string out_;
    bool any_element_ = false;
    bool keeps_element_ = false;
    std::vector<Element> open_;
    std::size_t removed_depth_ = 0;  // how many elements are open where one is left out
    std::vector<std::pair<std::string_view, std::string_view>> namespaces_;
};

}  // namespace

std::string cleanXmp(const std::string& packet, std::uint32_t width, std::uint32_t height,
                     LeftOut& left_out) {
    if (packet.empty()) return {};
    const std::optional<std::string> clean =
        packet.find('\0') == std::string::npos ? Filter(packet, width, height, left_out).run() : std::nullopt;
    if (!clean) {
        left_out.add("damaged XMP data");
        return {};
    }
    if (mayHoldPicture(reinterpret_cast<const std::uint8_t*>(clean->data()), clean->size())) {
        left_out.add("XMP data");
        return {};
    }
    return *clean;
}

}  // namespace pconv::app
