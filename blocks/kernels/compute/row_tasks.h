// Rows of images cut into tasks.
#pragma once

#include <algorithm>

#include "kernels.h"

namespace blocks {

// Rows cut into equal tasks: enough of them that threads which others slow down don't hold up the rest.
struct RowTasks {
  int64_t rows, count;  // all rows, and how many tasks
  RowTasks(int64_t all_rows, int channels, const Parallel& parallel) : rows(all_rows) {
    const int64_t min_rows = std::max<int64_t>(1, 16384 / std::max(1, channels));
    count = std::max<int64_t>(1, std::min<int64_t>(parallel.threads * 4, rows / min_rows));
  }
  int64_t begin(int64_t task) const { return rows * task / count; }
  int64_t end(int64_t task) const { return begin(task + 1); }
};

}  // namespace blocks
