// Sizes of what windows see, for the shapes in graphs and for the operations alike.
#pragma once

#include <cstdint>
#include <limits>

namespace blocks {

// How many windows of `taps` entries, `stride` apart, fit into an axis of `size` entries with `before` and `after`
// others beside them; 0 where not even one does, or more than an int counts. The stride is positive.
inline int64_t windows_along(int64_t size, int64_t before, int64_t after, int64_t taps, int64_t stride) {
  const int64_t rest = size + before + after - taps;
  if (rest < 0 || rest / stride >= std::numeric_limits<int>::max()) return 0;
  return rest / stride + 1;
}

}  // namespace blocks
