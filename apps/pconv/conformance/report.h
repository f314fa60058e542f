#pragma once

#include <string>
#include <vector>

#include "conformance/suite.h"
#include "pconv/pconv.hpp"

namespace pconv::app {

/// What one row made of one case.
struct ReportedCase {
    std::string name;
    std::string profile;
    std::string tier;
    test::CaseResult result;
};

struct ReportedRow {
    std::string name;
    std::vector<ReportedCase> cases;
};

/// One run of the suite on one device. `complete`: every case of the suite was run.
struct Report {
    std::string commit;
    PconvDeviceInfo device = pconvDefaultDeviceInfo();
    bool complete = false;
    std::vector<ReportedRow> rows;
};

/// Passed, failed and unsupported cases of one profile on one row.
struct Tally {
    int passed = 0;
    int failed = 0;
    int not_supported = 0;
    double worst = 0;

    /// Of the cases that were run: "passed" where all passed, "failed" where one failed, else "not
    /// supported", "in part" where some passed; "not run" where there are none.
    std::string verdict() const;
};

Tally tallyOf(const ReportedRow& row, const std::string& profile);

std::string reportText(const Report& report);

/// Reads a report that was sent in and checks that it is whole and agrees with itself: every case of `suite`,
/// once, for every row. Throws FileError with what is wrong.
Report readReport(const std::string& argument, const std::vector<test::SuiteCase>& suite);

}  // namespace pconv::app
