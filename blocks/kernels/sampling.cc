// Every n-th row and column of images, and its gradient.
#include <cstring>

#include "kernels.h"

namespace blocks {

void subsample(const Sampling& s, const char* x, char* y, const Parallel& parallel) {
  const int64_t pixel = s.pixel_bytes, rows = s.batch * s.out_height();
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      const int64_t image = row / s.out_height(), in_row = row % s.out_height() * s.stride_height;
      const char* from = x + (image * s.height + in_row) * s.width * pixel;
      char* to = y + row * s.out_width() * pixel;
      for (int column = 0; column < s.out_width(); ++column)
        std::memcpy(to + column * pixel, from + column * s.stride_width * pixel, pixel);
    }
  });
}

void subsample_gradient(const Sampling& s, const char* dy, char* dx, const Parallel& parallel) {
  const int64_t pixel = s.pixel_bytes, rows = s.batch * s.height;
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      const int64_t image = row / s.height, in_row = row % s.height;
      char* to = dx + row * s.width * pixel;
      if (in_row % s.stride_height) {
        std::memset(to, 0, s.width * pixel);
        continue;
      }
      const char* from = dy + (image * s.out_height() + in_row / s.stride_height) * s.out_width() * pixel;
      for (int column = 0; column < s.width; ++column, to += pixel) {
        if (column % s.stride_width) std::memset(to, 0, pixel);
        else std::memcpy(to, from + column / s.stride_width * pixel, pixel);
      }
    }
  });
}

}  // namespace blocks
