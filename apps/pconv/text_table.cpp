#include "text_table.h"

#include <algorithm>

namespace pconv::app {

TextTable::TextTable(std::vector<std::string> head, const std::vector<std::string>& left) {
    for (const std::string& name : head)
        left_.push_back(std::find(left.begin(), left.end(), name) != left.end());
    add(std::move(head));
}

void TextTable::add(std::vector<std::string> cells) {
    rows_.push_back({std::move(cells), ""});
}

void TextTable::addNote(std::vector<std::string> cells, std::string note) {
    rows_.push_back({std::move(cells), std::move(note)});
}

std::string TextTable::text() const {
    std::vector<std::size_t> widths(left_.size(), 0);
    for (const Row& row : rows_)
        for (std::size_t i = 0; i < row.cells.size(); ++i)
            widths[i] = std::max(widths[i], row.cells[i].size());
    std::string text;
    for (const Row& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < row.cells.size(); ++i) {
            const std::string pad(widths[i] - row.cells[i].size(), ' ');
            line += (i > 0 ? "  " : "") + (left_[i] ? row.cells[i] + pad : pad + row.cells[i]);
        }
        if (!row.note.empty()) line += "  " + row.note;
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

}  // namespace pconv::app
