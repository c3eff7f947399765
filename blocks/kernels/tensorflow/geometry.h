// Sizes of what windows see, for the shapes in graphs and for the operations alike.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include <cstdint>

namespace blocks {

constexpr int64_t kMaxAxis = 1 << 26;  // entries with padding, of which the kernels count small multiples as int

// How many windows of `taps` entries, `stride` apart, fit into an axis of `size` entries with `before` and `after`
// others beside them. An error where not even one does, or the axis is too long; `window` is what the message calls
// it. The stride is positive.
inline absl::Status windows_along(const char* window, int64_t size, int64_t before, int64_t after, int64_t taps,
                                  int64_t stride, int64_t* count) {
  const int64_t padded = size + before + after;
  if (padded > kMaxAxis)
    return absl::InvalidArgumentError(absl::StrCat("images of ", size, " rows or columns with padding ", before,
                                                   " and ", after, " are too large: at most ", kMaxAxis,
                                                   " with their padding"));
  if (padded < taps)
    return absl::InvalidArgumentError(absl::StrCat("the images are smaller than the ", window, ": ", padded,
                                                   " rows or columns with their padding, ", taps, " of the ", window));
  *count = (padded - taps) / stride + 1;
  return absl::OkStatus();
}

}  // namespace blocks
