#pragma once

#include <string>
#include <utility>
#include <vector>

namespace pconv::app {

/// Cells under headings, the columns as wide as what is in them.
class TextTable {
  public:
    /// The columns named in `left` are aligned to the left, the others to the right.
    TextTable(std::vector<std::string> head, const std::vector<std::string>& left);

    void add(std::vector<std::string> cells);
    /// A row of which only the first columns have cells, and then a line of text.
    void addNote(std::vector<std::string> cells, std::string note);
    std::string text() const;

  private:
    struct Row {
        std::vector<std::string> cells;
        std::string note;
    };
    std::vector<bool> left_;
    std::vector<Row> rows_;
};

}  // namespace pconv::app
